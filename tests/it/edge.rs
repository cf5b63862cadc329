//! The job's own binary at its edges: what a wrong configuration makes of it. What it does on a cluster is tested without a
//! socket, in the other modules.

use std::{
    io::ErrorKind,
    net::TcpListener,
    process::{Command, Output},
};

use ecs_rebalancer::exit;

/// Runs the binary with just these variables, and gives what came of it. Whatever it would call is here, and hears nothing.
#[track_caller]
fn run_without_a_call(variables: &[(&str, &str)]) -> Output {
    let aws = TcpListener::bind("127.0.0.1:0").unwrap();
    aws.set_nonblocking(true).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ecs-rebalancer"))
        .env_clear()
        .env("AWS_ENDPOINT_URL", format!("http://{}", aws.local_addr().unwrap()))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ACCESS_KEY_ID", "nobody")
        .env("AWS_SECRET_ACCESS_KEY", "nothing")
        .env("REBALANCER_LOG_FORMAT", "text")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert_eq!(aws.accept().map_err(|error| error.kind()).unwrap_err(), ErrorKind::WouldBlock, "it called");
    output
}

/// Ends as misconfigured, with these lines on standard error and nothing on standard output.
#[track_caller]
fn check(variables: &[(&str, &str)], lines: &[&str]) {
    let Output { status, stdout, stderr } = run_without_a_call(variables);
    assert_eq!(String::from_utf8_lossy(&stderr).lines().collect::<Vec<_>>(), lines);
    assert_eq!(String::from_utf8_lossy(&stdout), "");
    assert_eq!(status.code(), Some(i32::from(exit::MISCONFIGURED)));
}

const REGION: (&str, &str) = ("AWS_REGION", "eu-central-1");

#[test]
fn a_wrong_configuration_is_told_whole_and_nothing_is_called() {
    check(
        &[
            REGION,
            ("REBALANCER_CLUSTER", "my cluster"),
            ("REBALANCER_TRESHOLD", "20"),
            ("REBALANCER_DEADLINE", "4m"),
            ("REBALANCER_REPORT", "report.pdf"),
        ],
        &[
            "REBALANCER_TRESHOLD is no variable of ecs-rebalancer; the nearest is REBALANCER_THRESHOLD",
            "REBALANCER_CLUSTER is \"my cluster\", but it takes names or ARNs of clusters, comma-separated: \
             \"my cluster\" is not one",
            "REBALANCER_REPORT is \"report.pdf\", but it takes files that end in .json or .html, comma-separated: \
             \"report.pdf\" is not one",
            "REBALANCER_TASK_TIMEOUT is 5m, but must be shorter than REBALANCER_DEADLINE, which is 4m: no step would have \
             time to end",
        ],
    );
}

#[test]
fn without_a_cluster_and_outside_ecs_nothing_is_called() {
    check(
        &[REGION],
        &[
            "REBALANCER_CLUSTER is not set, and outside ECS there is no default: set it to the name or ARN of the cluster that \
           is meant",
        ],
    );
}

#[test]
fn without_a_cluster_and_with_a_dead_endpoint_nothing_is_called() {
    // Bound and dropped: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let Output { status, stdout, stderr } =
        run_without_a_call(&[REGION, ("ECS_CONTAINER_METADATA_URI_V4", &format!("http://{address}/v4/1"))]);
    let stderr = String::from_utf8_lossy(&stderr);
    let beginning = format!(
        "set REBALANCER_CLUSTER to the name or ARN of the cluster: cannot learn from the task metadata endpoint \
         http://{address}/v4/1/task which cluster this is: "
    );
    assert!(stderr.starts_with(&beginning), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert_eq!(String::from_utf8_lossy(&stdout), "");
    assert_eq!(status.code(), Some(i32::from(exit::MISCONFIGURED)));
}

#[test]
fn without_a_region_nothing_is_called() {
    check(&[("REBALANCER_CLUSTER", "prod")], &["no AWS region is configured; set AWS_REGION"]);
}

#[test]
fn what_is_wrong_is_lines_of_the_log_where_the_log_is_json() {
    for (variables, variable, reason) in [
        (
            vec![REGION, ("REBALANCER_STEER", "ja")],
            "REBALANCER_STEER",
            "REBALANCER_STEER is \"ja\", but it takes true or false",
        ),
        (vec![("REBALANCER_CLUSTER", "prod")], "", "no AWS region is configured; set AWS_REGION"),
        (
            vec![REGION, ("REBALANCER_CLUSTER", "arn:aws:ecs:eu-west-1:111122223333:cluster/prod")],
            "REBALANCER_CLUSTER",
            "REBALANCER_CLUSTER is arn:aws:ecs:eu-west-1:111122223333:cluster/prod, but this run works in eu-central-1: set \
             AWS_REGION=eu-west-1",
        ),
    ] {
        let settings: Vec<(&str, &str)> = variables.into_iter().chain([("REBALANCER_LOG_FORMAT", "json")]).collect();
        let Output { status, stdout, stderr } = run_without_a_call(&settings);
        let lines = String::from_utf8(stdout).unwrap();
        let line = lines.lines().find(|line| line.contains(reason.split('"').next().unwrap())).expect(&lines);
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["level"], &line["message"]), (&"ERROR".into(), &"configuration".into()));
        assert_eq!((&line["variable"], &line["reason"]), (&variable.into(), &reason.into()));
        assert!(line["run_id"].is_string() && line["cluster"].is_string() && line["timestamp"].is_string(), "{line}");
        assert_eq!(String::from_utf8_lossy(&stderr), "");
        assert_eq!(status.code(), Some(i32::from(exit::MISCONFIGURED)));
    }
}

#[test]
fn arguments_are_answered_and_nothing_is_called() {
    let given = |argument: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_ecs-rebalancer")).env_clear().arg(argument).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (status, stdout, _) = given("--help");
    assert!(status == Some(0) && stdout.contains("REBALANCER_DRY_RUN"), "{stdout}");
    assert_eq!(
        given("--version"),
        (Some(0), concat!("ecs-rebalancer ", env!("CARGO_PKG_VERSION"), "\n").into(), String::new())
    );
    let (status, stdout, stderr) = given("--dry-run");
    assert_eq!((status, stdout.as_str()), (Some(2), ""));
    assert!(stderr.starts_with("ecs-rebalancer takes no arguments; set REBALANCER_DRY_RUN=true"), "{stderr}");
}
