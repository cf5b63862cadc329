//! Right and wrong environments.

use std::{os::unix::ffi::OsStringExt, path::Path, time::Duration};

use expect_test::expect_file;
use proptest::prelude::*;
use wildmatch::WildMatch;

use super::*;
use crate::planning::policy::{Mode, Percent, Strategy};

/// Reads an environment written as lines `NAME=value`.
fn config(lines: &str) -> Result<Config, Problems> {
    Config::from_variables(lines.lines().map(|line| {
        let (name, value) = line.split_once('=').unwrap();
        (name.into(), value.into())
    }))
}

/// What the lines make of the default configuration of a cluster that is named.
#[track_caller]
fn check(lines: &str, change: impl Fn(&mut Config)) {
    let mut expected = Config { clusters: Clusters::Named(vec!["prod".to_owned()]), ..Config::default() };
    change(&mut expected);
    let lines = if lines.contains("_CLUSTER=") || lines.contains(METADATA_VARIABLE) {
        lines.to_owned()
    } else {
        format!("{lines}\nREBALANCER_CLUSTER=prod")
    };
    assert_eq!(config(lines.trim_start()), Ok(expected), "{lines}");
}

fn hundredths(hundredths: u32) -> Percent {
    Percent::from_hundredths(hundredths)
}

fn report(path: &str, format: ReportFormat) -> ReportFile {
    ReportFile { path: path.into(), format }
}

/// Each case is a line or more of an environment and, indented, all that is wrong with it.
#[test]
fn each_wrong_environment_says_all_that_is_wrong_with_it() {
    let cases = include_str!("wrong_environments.txt");
    let mut answers = String::new();
    let mut number = 0;
    for case in cases.split("\n\n") {
        let lines: Vec<&str> = case.lines().filter(|line| !line.starts_with("  ") && !line.is_empty()).collect();
        let mut environment = lines.join("\n");
        let names_a_place = |line: &&str| line.contains("_CLUSTER=") || line.starts_with(METADATA_VARIABLE);
        if !lines.iter().any(names_a_place) {
            environment += "\nREBALANCER_CLUSTER=prod";
        }
        let problems = config(&environment).expect_err(case);
        let indented = problems.to_string().replace('\n', "\n  ");
        let separator = if number == 0 { "" } else { "\n" };
        answers += &format!("{separator}{}\n  {indented}\n", lines.join("\n"));
        number += 1;
    }
    assert!(number >= 60, "{number} cases");
    expect_file!["wrong_environments.txt"].assert_eq(&answers);
}

#[test]
fn without_a_variable_the_defaults_hold() {
    check("", |_| ());
    check("PATH=/usr/bin\nAWS_REGION=eu-central-1\nREBALANCERS=3\nBALANCER_LOG=x\nREBALANCE_EVERY=3", |_| ());
    check("REBALANCER_MODE=\nREBALANCER_INCLUDE=  \nREBALANCER_PLAN=", |_| ());
}

#[test]
fn each_variable_has_its_place() {
    check("REBALANCER_MODE=consolidate\nREBALANCER_STEER=true", |config| {
        config.policy.mode = Mode::Consolidate;
        config.policy.steer = true;
    });
    check("REBALANCER_HEADROOM=0", |config| config.policy.headroom = hundredths(0));
    check("REBALANCER_THRESHOLD=0", |config| config.policy.threshold = hundredths(0));
    check("REBALANCER_THRESHOLD=12.5", |config| config.policy.threshold = hundredths(1_250));
    check("REBALANCER_THRESHOLD=100", |config| config.policy.threshold = hundredths(10_000));
    check("REBALANCER_LOAD_THRESHOLD=0.01", |config| config.policy.load_threshold = hundredths(1));
    check("REBALANCER_STRATEGY=surge", |config| config.policy.strategy = Strategy::Surge);
    check("REBALANCER_STRATEGY=stop", |config| config.policy.strategy = Strategy::Stop);
    check("REBALANCER_STRATEGY=redeploy", |config| config.policy.strategy = Strategy::Redeploy);
    check("REBALANCER_STRATEGY=revision", |config| config.policy.strategy = Strategy::Revision);
    check("REBALANCER_STEER=true", |config| config.policy.steer = true);
    check("REBALANCER_DRY_RUN=true", |config| config.dry_run = true);
    check("REBALANCER_INCLUDE=web, api-*", |config| {
        config.policy.services.include = vec![WildMatch::new("web"), WildMatch::new("api-*")];
    });
    check("REBALANCER_EXCLUDE=*-canary?", |config| {
        config.policy.services.exclude = vec![WildMatch::new("*-canary?")];
    });
    check("REBALANCER_MAX_MOVES=1", |config| config.policy.max_moves = 1);
    check("REBALANCER_MAX_SERVICES=5000", |config| config.policy.max_services = 5_000);
    check("REBALANCER_PARALLEL=50", |config| config.policy.parallel = 50);
    check("REBALANCER_SURGE=50", |config| config.policy.surge = hundredths(5_000));
    check("REBALANCER_COOLDOWN=0s", |config| config.policy.cooldown = Duration::ZERO);
    check("REBALANCER_TASK_TIMEOUT=90s", |config| config.policy.task_timeout = Duration::from_secs(90));
    check("REBALANCER_DEADLINE=1h 30m", |config| config.policy.deadline = Duration::from_mins(90));
    check("REBALANCER_METRICS=off", |config| config.metrics = MetricsScope::Off);
    check("REBALANCER_METRICS=cluster", |config| config.metrics = MetricsScope::Cluster);
    check("REBALANCER_METRICS=all", |config| config.metrics = MetricsScope::All);
    check("REBALANCER_METRIC_NAMESPACE=Team A/ECS#1", |config| config.metric_namespace = "Team A/ECS#1".to_owned());
    check("REBALANCER_LOG=info,aws_config=debug", |config| config.log = "info,aws_config=debug".to_owned());
    for filter in ["DEBUG", "ecs_rebalancer=debug", "info, h2::client=TRACE", "warn,h2=2"] {
        check(&format!("REBALANCER_LOG={filter}"), |config| config.log = filter.to_owned());
    }
    check("REBALANCER_LOG_FORMAT=text", |config| config.log_format = Some(LogFormat::Text));
    check("REBALANCER_LOG_FORMAT=json", |config| config.log_format = Some(LogFormat::Json));
    check("REBALANCER_REPORT=out/a.json, b.html", |config| {
        config.reports = vec![report("out/a.json", ReportFormat::Json), report("b.html", ReportFormat::Html)];
    });
    check("REBALANCER_SNAPSHOT=now.json", |config| config.snapshot = Some("now.json".into()));
    check("REBALANCER_PLAN=reviewed.json", |config| config.plan = Some("reviewed.json".into()));
}

#[test]
fn clusters_are_names_or_arns_or_the_own_tasks() {
    let arn = "arn:aws-cn:ecs:cn-north-1:123456789012:cluster/prod";
    check(&format!("REBALANCER_CLUSTER={arn}"), |config| config.clusters = Clusters::Named(vec![arn.to_owned()]));
    check("REBALANCER_CLUSTER=a, b_2", |config| {
        config.clusters = Clusters::Named(vec!["a".to_owned(), "b_2".to_owned()]);
    });
    let uri = "http://169.254.170.2/v4/1f3c";
    check(&format!("{METADATA_VARIABLE}={uri}/"), |config| {
        config.clusters = Clusters::OwnTasks;
        config.metadata_uri = Some(uri.to_owned());
    });
    check(&format!("{METADATA_VARIABLE}={uri}\nREBALANCER_CLUSTER=prod"), |config| {
        config.metadata_uri = Some(uri.to_owned());
    });
}

#[test]
fn a_trigger_is_an_instance_of_a_cluster_that_is_named_or_not_known_yet() {
    let long = "arn:aws:ecs:us-east-1:123456789012:container-instance/prod/0123abcd";
    let short = "arn:aws:ecs:us-east-1:123456789012:container-instance/0123abcd";
    for arn in [long, short] {
        check(&format!("REBALANCER_TRIGGER_INSTANCE={arn}"), |config| config.trigger_instance = Some(arn.into()));
    }
    let uri = "http://169.254.170.2/v4/1f3c";
    check(&format!("{METADATA_VARIABLE}={uri}\nREBALANCER_TRIGGER_INSTANCE={long}"), |config| {
        config.clusters = Clusters::OwnTasks;
        config.metadata_uri = Some(uri.to_owned());
        config.trigger_instance = Some(long.into());
    });
}

#[test]
fn text_that_is_not_utf_8_is_named() {
    let broken = OsString::from_vec(b"pro\xffd".to_vec());
    let mut variables = vec![("REBALANCER_CLUSTER".into(), broken.clone())];
    let problems = Config::from_variables(variables.clone()).unwrap_err();
    assert_eq!(problems.to_string(), "REBALANCER_CLUSTER is pro\u{fffd}d, which is not UTF-8");
    // Of no concern to us, so of no harm.
    variables =
        vec![("REBALANCER_CLUSTER".into(), "prod".into()), ("PS1".into(), broken.clone()), (broken, "1".into())];
    assert!(Config::from_variables(variables).is_ok());
    let odd_name = OsString::from_vec(b"REBALANCER_MOD\xff".to_vec());
    let problems =
        Config::from_variables([(odd_name, "spread".into()), ("REBALANCER_CLUSTER".into(), "a".into())]).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "REBALANCER_MOD\u{fffd} is no variable of ecs-rebalancer; the nearest is REBALANCER_MODE"
    );
}

#[test]
fn each_default_that_a_table_shows_is_what_holds_without_it() {
    for setting in &VARIABLES {
        let shown = setting.default_text();
        let Some(text) =
            shown.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).filter(|text| !text.contains('`'))
        else {
            continue;
        };
        check(&format!("{}={text}", setting.name), |_| ());
    }
}

#[test]
fn each_variable_has_a_name_of_its_own_with_the_prefix_in_upper_case() {
    let names: BTreeSet<&str> = VARIABLES.iter().map(|setting| setting.name).collect();
    assert_eq!(names.len(), VARIABLES.len());
    for name in names {
        assert!(name.starts_with(PREFIX) && name.to_uppercase() == name, "{name}");
        assert_eq!(settings::meant(name), None, "{name}");
    }
}

proptest! {
    #[test]
    fn each_log_filter_that_is_taken_is_one_that_the_log_can_use(
        items in proptest::collection::vec("(ecs[-_]rebalancer|info|h2::x|[a-z;*]{1,3})?( ?=? ?)(debug|OFF|[a-z0-9]{0,2})[; ]?", 1..4)
    ) {
        if let Ok(filter) = values::log_filter(&items.join(",")) {
            prop_assert!(log_targets(&filter).is_ok(), "{}", filter);
        }
    }

    #[test]
    fn any_text_in_any_variables_is_a_configuration_or_problems_of_just_those_variables(
        given in proptest::collection::btree_map(0..VARIABLES.len(), ".{0,40}", 0..6)
    ) {
        let names: BTreeSet<String> = given.keys().map(|index| VARIABLES[*index].name.to_owned()).collect();
        let variables = given.iter().map(|(index, text)| (VARIABLES[*index].name.into(), text.into()));
        match Config::from_variables(variables) {
            Ok(config) => prop_assert_ne!(config.clusters, Clusters::OwnTasks),
            Err(Problems(problems)) => {
                for problem in problems {
                    let is_missing_cluster = problem.variable == "REBALANCER_CLUSTER";
                    // A default may be what doesn't go with what was given.
                    let is_time = problem.variable == "REBALANCER_TASK_TIMEOUT";
                    prop_assert!(names.contains(&problem.variable) || is_missing_cluster || is_time, "{}", problem);
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_alone_is_wrong_in_company(wrong in proptest::collection::btree_set(0..VARIABLES.len(), 1..8)) {
        // No variable takes a lone comma save those that are any path.
        let any_path = |index: &usize| ["REBALANCER_SNAPSHOT", "REBALANCER_PLAN"].contains(&VARIABLES[*index].name);
        let wrong: Vec<usize> = wrong.into_iter().filter(|index| !any_path(index)).collect();
        prop_assume!(!wrong.is_empty());
        let given = wrong.iter().map(|index| (VARIABLES[*index].name.into(), ",".into()));
        let Problems(problems) = Config::from_variables(given).unwrap_err();
        let named: BTreeSet<String> = problems.into_iter().map(|problem| problem.variable).collect();
        for index in wrong {
            prop_assert!(named.contains(VARIABLES[index].name), "{}", VARIABLES[index].name);
        }
    }
}

#[test]
fn paths_are_taken_as_they_are() {
    let config = config("REBALANCER_CLUSTER=a\nREBALANCER_SNAPSHOT=/data/a b/now").unwrap();
    assert_eq!(config.snapshot.as_deref(), Some(Path::new("/data/a b/now")));
}
