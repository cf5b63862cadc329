//! What users get wrong, by its sentence and exit status: arguments, variables, files, the account. Each as a process, as they have it.

use std::process::{Command, Stdio};

use ecs_rebalancer::exit::{DONE, FAILED, MISCONFIGURED};
use ecs_simulator::snapshot::Snapshot;

use crate::processes::{Ended, Served};

const JOB: &str = env!("CARGO_BIN_EXE_ecs-rebalancer");
const REHEARSE: &str = env!("CARGO_BIN_EXE_rehearse");

/// Whom a mistake is made with, what is wrong (arguments, then variables), the exit status, and the sentence that must be told.
type Mistake = (&'static str, &'static str, u8, &'static str);

const MISTAKES: [Mistake; 46] = [
    (JOB, "--dry-run", MISCONFIGURED, "ecs-rebalancer takes no arguments; set REBALANCER_DRY_RUN=true."),
    (JOB, "--max-moves=5", MISCONFIGURED, "ecs-rebalancer takes no arguments; set REBALANCER_MAX_MOVES."),
    (JOB, "prod", MISCONFIGURED, "It was given \"prod\". `ecs-rebalancer --help` lists the variables."),
    (JOB, "REBALANCER_CLUSTER=", MISCONFIGURED, "REBALANCER_CLUSTER is not set, and outside ECS there is no default"),
    (JOB, "AWS_REGION=", MISCONFIGURED, "no AWS region is configured; set AWS_REGION"),
    (JOB, "AWS_REGION=US-EAST-1", MISCONFIGURED, "AWS_REGION is \"US-EAST-1\", but it takes the name of a Region"),
    (JOB, "AWS_MAX_ATTEMPTS=abc", MISCONFIGURED, "AWS_MAX_ATTEMPTS is \"abc\", but it takes a whole number, 1 or more"),
    (JOB, "AWS_MAX_ATTEMPTS=0", MISCONFIGURED, "AWS_MAX_ATTEMPTS is \"0\", but it takes a whole number, 1 or more"),
    (JOB, "AWS_RETRY_MODE=legacy", MISCONFIGURED, "AWS_RETRY_MODE is \"legacy\", but it takes standard or adaptive"),
    (JOB, "AWS_ENDPOINT_URL=garbage", MISCONFIGURED, "AWS_ENDPOINT_URL is \"garbage\", but it takes an address"),
    (
        JOB,
        "AWS_ENDPOINT_URL_CLOUDWATCH=garbage",
        MISCONFIGURED,
        "AWS_ENDPOINT_URL_CLOUDWATCH is \"garbage\", but it takes an address",
    ),
    (JOB, "REBALANCER_CLUSTER=prod/web", MISCONFIGURED, "\"prod/web\" is not one"),
    (
        JOB,
        "REBALANCER_CLUSTER=arn:aws:ecs:eu-west-1:111122223333:cluster/prod",
        MISCONFIGURED,
        "but this run works in us-east-1: set AWS_REGION=eu-west-1",
    ),
    (
        JOB,
        "REBALANCER_CLUSTER=refrence",
        FAILED,
        "Region us-east-1 has no cluster of that name: check REBALANCER_CLUSTER",
    ),
    (
        JOB,
        "REBALANCER_DRYRUN=true",
        MISCONFIGURED,
        "REBALANCER_DRYRUN is no variable of ecs-rebalancer; the nearest is REBALANCER_DRY_RUN",
    ),
    (JOB, "REBALANCER_DRY_RUN=yes", MISCONFIGURED, "REBALANCER_DRY_RUN is \"yes\", but it takes true or false"),
    (JOB, "REBALANCER_THRESHOLD=10%", MISCONFIGURED, "leave the percent sign away"),
    (JOB, "REBALANCER_THRESHOLD=12,5", MISCONFIGURED, "write decimals with a point"),
    (JOB, "REBALANCER_COOLDOWN=10", MISCONFIGURED, "REBALANCER_COOLDOWN is \"10\", but it takes"),
    (JOB, "REBALANCER_TASK_TIMEOUT=20m", MISCONFIGURED, "REBALANCER_TASK_TIMEOUT"),
    (JOB, "REBALANCER_MAX_MOVES=0", MISCONFIGURED, "REBALANCER_MAX_MOVES is \"0\", but it takes"),
    (JOB, "REBALANCER_MODE=Spread", MISCONFIGURED, "did you mean spread?"),
    (JOB, "REBALANCER_STRATEGY=surgery", MISCONFIGURED, "REBALANCER_STRATEGY is \"surgery\", but it takes"),
    (JOB, "REBALANCER_METRICS=some", MISCONFIGURED, "REBALANCER_METRICS is \"some\", but it takes"),
    (JOB, "REBALANCER_METRIC_NAMESPACE=AWS/ECS", MISCONFIGURED, "REBALANCER_METRIC_NAMESPACE is \"AWS/ECS\""),
    (JOB, "REBALANCER_LOG=loud", MISCONFIGURED, "\"loud\" is not a level"),
    (JOB, "REBALANCER_LOG=info;", MISCONFIGURED, "\"info;\" is not a level"),
    (JOB, "REBALANCER_LOG=ecs-rebalancer=debug", MISCONFIGURED, "did you mean ecs_rebalancer?"),
    (JOB, "REBALANCER_LOG_FORMAT=xml", MISCONFIGURED, "but it takes text or json"),
    (JOB, "REBALANCER_INCLUDE=web REBALANCER_EXCLUDE=web", MISCONFIGURED, "REBALANCER_EXCLUDE"),
    (
        JOB,
        "REBALANCER_INCLUDE=wbe",
        DONE,
        "REBALANCER_INCLUDE holds wbe, which matches no service of cluster reference",
    ),
    (JOB, "REBALANCER_REPORT=report.pdf", MISCONFIGURED, "files that end in .json or .html"),
    (JOB, "REBALANCER_REPORT=absent/report.html", MISCONFIGURED, "which cannot be written (No such file or directory"),
    (JOB, "REBALANCER_PLAN=absent.json", MISCONFIGURED, "give the .json report of a dry run on this cluster"),
    (JOB, "REBALANCER_PLAN=Cargo.toml", MISCONFIGURED, "REBALANCER_PLAN is Cargo.toml, but it"),
    (
        JOB,
        "REBALANCER_TRIGGER_INSTANCE=i-0a1b2c3d",
        MISCONFIGURED,
        "REBALANCER_TRIGGER_INSTANCE is \"i-0a1b2c3d\", but it takes",
    ),
    (JOB, "AWS_ACCESS_KEY_ID=", FAILED, "no credentials were found: set AWS_PROFILE to a profile that has some"),
    (REHEARSE, "absent.json", MISCONFIGURED, "error: cannot read snapshot absent.json: No such file or directory"),
    (REHEARSE, "Cargo.toml", MISCONFIGURED, "error: cannot use snapshot Cargo.toml: not a JSON document"),
    (REHEARSE, "--sed 1", MISCONFIGURED, "a similar argument exists: '--seed'"),
    (REHEARSE, "--seed one", MISCONFIGURED, "invalid value 'one' for '--seed <SEED>'"),
    (REHEARSE, "--fault broken-image", MISCONFIGURED, "fault \"broken-image\" is not NAME=VALUE"),
    (REHEARSE, "--fault lost=0.1", MISCONFIGURED, "there is no fault \"lost\"; there are throttle,"),
    (REHEARSE, "--behaviour scale_in=random", MISCONFIGURED, "there is no behaviour \"scale_in\"; there are scale-in,"),
    (REHEARSE, "--report report.pdf", MISCONFIGURED, "files that end in .json or .html"),
    (REHEARSE, "--report a.json,b.html", MISCONFIGURED, "has a comma in it; give --report once for each file"),
];

/// The program with a mistake in it, beside what is right.
fn made(served: &Served, program: &str, words: &str) -> Ended {
    Ended::of(command(served, program, words).spawn().unwrap())
}

fn command(served: &Served, program: &str, words: &str) -> Command {
    let is_variable = |word: &&str| word.split('=').next().is_some_and(|name| name == name.to_uppercase());
    let (variables, arguments): (Vec<&str>, Vec<&str>) = words.split_whitespace().partition(is_variable);
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("AWS_ENDPOINT_URL", format!("http://{}", served.address))
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "simulated")
        .env("AWS_SECRET_ACCESS_KEY", "simulated")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("REBALANCER_LOG_FORMAT", "text")
        .envs((program == JOB).then_some(("REBALANCER_CLUSTER", "reference")))
        .args(arguments);
    for (name, value) in variables.iter().filter_map(|word| word.split_once('=')) {
        if value.is_empty() {
            command.env_remove(name)
        } else {
            command.env(name, value)
        };
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn each_mistake_is_told_in_a_sentence_and_by_the_exit_status() {
    let served = Served::at_speed(&Snapshot::reference_cluster(), 0, &[], 60.0);
    let mut wrong = Vec::new();
    for (program, words, status, sentence) in MISTAKES {
        let ended = made(&served, program, words);
        let told = format!("{}{}", ended.stdout, ended.stderr);
        if ended.status.code() != Some(status.into()) || !told.contains(sentence) || told.contains("panicked") {
            wrong.push(format!("{words}: {}, where {status} and {sentence:?} are expected:\n{told}", ended.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn several_mistakes_are_told_together() {
    let served = Served::at_speed(&Snapshot::reference_cluster(), 0, &[], 60.0);
    let ended = made(&served, JOB, "REBALANCER_THRESHOLD=10% REBALANCER_MODE=Spread REBALANCER_DRYRUN=true");
    assert_eq!(ended.status.code(), Some(MISCONFIGURED.into()));
    assert_eq!(ended.stderr.lines().count(), 3, "{}", ended.stderr);
}

#[test]
fn a_profile_that_the_sdk_would_panic_at_does_not_keep_a_run() {
    let served = Served::at_speed(&Snapshot::reference_cluster(), 0, &[], 60.0);
    let file = std::env::temp_dir().join(format!("mistakes-{}-config", std::process::id()));
    for wrong in ["retry_mode = legacy", "max_attempts = 0", "max_attempts = many"] {
        std::fs::write(&file, format!("[default]\n{wrong}\n")).unwrap();
        let ended = made(&served, JOB, &format!("AWS_CONFIG_FILE={} REBALANCER_DRY_RUN=true", file.display()));
        assert_eq!(ended.status.code(), Some(DONE.into()), "{wrong}: {}", ended.stderr);
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_profile_that_cannot_be_used_is_told_at_once() {
    let served = Served::at_speed(&Snapshot::reference_cluster(), 0, &[], 60.0);
    let file = std::env::temp_dir().join(format!("mistakes-{}-profiles", std::process::id()));
    for (wrong, why) in [
        ("[default", "could not parse profile file"),
        ("[default]\naws_access_key_id = simulated", "profile missing aws_secret_access_key"),
    ] {
        std::fs::write(&file, wrong).unwrap();
        let keys = "AWS_ACCESS_KEY_ID= AWS_SECRET_ACCESS_KEY=";
        let ended = made(&served, JOB, &format!("AWS_CONFIG_FILE={} {keys}", file.display()));
        assert_eq!(ended.status.code(), Some(FAILED.into()), "{wrong}: {}", ended.stderr);
        assert!(ended.stderr.contains("the profile can't be used (") && ended.stderr.contains(why), "{}", ended.stderr);
        assert!(!ended.stderr.contains("calling again"), "{wrong}: {}", ended.stderr);
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn where_standard_output_takes_nothing_that_is_told_on_standard_error_and_the_files_are_written() {
    let served = Served::at_speed(&Snapshot::reference_cluster(), 0, &[], 60.0);
    let file = std::env::temp_dir().join(format!("mistakes-{}.json", std::process::id()));
    let run = format!("REBALANCER_DRY_RUN=true REBALANCER_REPORT={}", file.display());
    let as_json = format!("{run} REBALANCER_LOG_FORMAT=json");
    let rehearsal = format!("--report {}", file.display());
    let unprinted = "error: cannot print the report: ";
    for (program, words, status_if_closed, status_if_full, sentence) in [
        (JOB, "--help", DONE, FAILED, ""),
        (JOB, "--version", DONE, FAILED, ""),
        (JOB, &*run, FAILED, FAILED, unprinted),
        (JOB, &*as_json, FAILED, FAILED, unprinted),
        (JOB, "REBALANCER_MODE=even REBALANCER_LOG_FORMAT=json", MISCONFIGURED, MISCONFIGURED, "REBALANCER_MODE is"),
        (REHEARSE, &*rehearsal, FAILED, FAILED, unprinted),
    ] {
        for (is_full, status) in [(false, status_if_closed), (true, status_if_full)] {
            drop(std::fs::remove_file(&file));
            // A pipe of which nobody has the other end, and a disk without a free byte.
            let stdout = if is_full {
                Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
            } else {
                Stdio::from(std::io::pipe().unwrap().1)
            };
            let ended = Ended::of(command(&served, program, words).stdout(stdout).spawn().unwrap());
            let what = format!("{words}, full: {is_full}: {} {}", ended.status, ended.stderr);
            assert_eq!(ended.status.code(), Some(status.into()), "{what}");
            let told = ended.stderr.lines().filter(|line| line.contains(sentence)).count();
            assert_eq!(told, usize::from(status != DONE), "{what}");
            assert!(!ended.stderr.contains("panicked"), "{what}");
            assert_eq!(file.exists(), words.contains("mistakes-"), "{what}");
        }
    }
    std::fs::remove_file(file).unwrap();
}
