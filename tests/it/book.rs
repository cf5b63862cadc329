//! The book in `docs/` shows what the code does: its drawings, outputs and tables are made here.
//! `UPDATE_EXPECT=1 cargo test book` writes them anew, to be reviewed as a diff.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use ecs_rebalancer::{
    config::{Clusters, Config},
    rehearsal::Rehearsal,
    report::{Report, json, text},
};
use ecs_simulator::{
    Options,
    behaviour::{Behaviour, SWITCHES},
    faults::NAMES,
    operations::OPERATIONS,
    snapshot::Snapshot,
};

use crate::{
    compare::beside_others,
    contract::held,
    support::{config, in_simulated_time, options, rehearse},
};

fn pages() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/src")
}

#[track_caller]
pub(crate) fn check(page: &str, section: &str, expected: &str) {
    held(&pages().join(page), section, expected);
}

/// What the job prints of a long run, as a page shows it: without its single steps.
#[track_caller]
pub(crate) fn shown(page: &str, section: &str, report: &Report) {
    let text = text::render(report, false);
    let is_step_head = |line: &&str| line.starts_with("  service ") && line.contains(" second ");
    let lines: Vec<&str> = text.lines().take_while(|line| !is_step_head(line)).collect();
    check(page, section, &block(&lines.join("\n")));
}

fn block(text: &str) -> String {
    format!("```text\n{}\n```\n", text.trim_end())
}

/// A drawing, and what the job prints about it.
fn drawn(drawing: &str, settings: &str, faults: &[&str]) -> String {
    let (mut report, _) = rehearse(drawing, settings, options(0, &[], faults));
    "drawn".clone_into(&mut report.cluster);
    format!("{}\n{}", block(drawing), block(&text::render(&report, false)))
}

#[test]
fn concepts_are_shown_on_small_clusters() {
    let dry = "DRY_RUN=true METRICS=off";
    check(
        "concepts.md",
        "misplaced",
        &drawn("a  i-1  web web web web\nb  i-2\nservice web  strategy=spread:instanceId", dry, &[]),
    );
    let zones = "a  i-1  web web\na  i-2  web web\nb  i-3  web\nservice web  strategy=spread:attribute:ecs.availability-zone,spread:instanceId";
    check("concepts.md", "domains", &drawn(zones, dry, &[]));
    let stuck = "a  i-1  web web\nb  i-2  job  cpu=1024\nservice web  cpu=256 strategy=spread:instanceId\nservice job  cpu=1024 strategy=spread:instanceId";
    check("concepts.md", "stuck", &drawn(stuck, dry, &[]));
    let load = "a  i-1  big small\nb  i-2  small\nservice big  cpu=2048 memory=8192 strategy=spread:instanceId\nservice small  cpu=128 strategy=spread:instanceId";
    check("concepts.md", "load", &drawn(load, dry, &[]));
}

#[test]
fn decisions_and_failures_are_shown_as_they_are_made() {
    let rounds = "a  i-1  web web web web\nb  i-2\nservice web  lb=true strategy=spread:instanceId";
    check("deciding.md", "rounds", &drawn(rounds, "METRICS=off", &[]));
    let one = "a  i-1  web web\nb  i-2\nservice web  lb=true strategy=spread:instanceId";
    check("operations.md", "dry", &drawn(one, "DRY_RUN=true", &[]));
    check("operations.md", "failed", &drawn(one, "", &["broken-image=0"]));
}

/// The cluster by which is judged what people read. Its snapshot is not the project's, so the page is held only where it is there.
#[test]
fn a_dry_run_of_forty_services_is_shown() {
    let path = pages().join("../../../shared/cases/forty-services.json");
    let Ok(text) = fs::read_to_string(&path) else {
        println!("skipped: {} is not here", path.display());
        return;
    };
    let snapshot = Snapshot::from_json(&text).unwrap();
    let cluster = snapshot.cluster_name();
    let config =
        Config { clusters: Clusters::Named(vec![cluster.to_owned()]), ..config("DRY_RUN=true MAX_SERVICES=40") };
    let report = in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot, Options::default()).unwrap();
        rehearsal.run(&config, cluster, "rehearsal").await
    });
    let text = text::on_screen(&report, text::Screen { colour: false, columns: Some(120) });
    check("dry-run.md", "forty", &block(&text));
    let lines: Vec<String> = json::lines(&report).collect();
    let some = ["service", "move", "summary"].map(|message| {
        lines.iter().find(|line| line.contains(&format!(r#""message":"{message}""#))).unwrap().clone() + "\n"
    });
    check("log.md", "lines", &format!("```json\n{}```\n", some.concat()));
}

#[test]
fn a_rehearsal_is_shown_as_it_goes() {
    let help = Command::new(env!("CARGO_BIN_EXE_rehearse")).arg("--help").output().unwrap();
    check("rehearsals.md", "help", &block(&String::from_utf8(help.stdout).unwrap()));
    check("rehearsals.md", "compared", &block(&text::render(&beside_others(), false)));
    check("rehearsals.md", "pasted", &pasted());
}

/// Answers of the CLI as a snapshot, and what the job prints about it.
fn pasted() -> String {
    let document = r#"{
  "cluster": {"clusters": [{"clusterName": "prod"}], "failures": []},
  "containerInstances": {"containerInstances": [
    {"containerInstanceArn": "arn:aws:ecs:us-east-1:111122223333:container-instance/prod/1", "ec2InstanceId": "i-1",
     "attributes": [{"name": "ecs.availability-zone", "value": "us-east-1a"}],
     "registeredResources": [{"name": "CPU", "integerValue": 2048}, {"name": "MEMORY", "integerValue": 3884}]},
    {"containerInstanceArn": "arn:aws:ecs:us-east-1:111122223333:container-instance/prod/2", "ec2InstanceId": "i-2",
     "attributes": [{"name": "ecs.availability-zone", "value": "us-east-1b"}],
     "registeredResources": [{"name": "CPU", "integerValue": 2048}, {"name": "MEMORY", "integerValue": 3884}]}], "failures": []},
  "services": [{"services": [
    {"serviceName": "web", "desiredCount": 2, "taskDefinition": "arn:aws:ecs:us-east-1:111122223333:task-definition/web:1",
     "placementStrategy": [{"type": "spread", "field": "instanceId"}], "createdAt": "2026-05-04T09:30:00+02:00"}]}],
  "tasks": {"tasks": [
    {"taskArn": "arn:aws:ecs:us-east-1:111122223333:task/prod/a", "group": "service:web", "startedAt": "2026-05-04T09:31:00+02:00",
     "containerInstanceArn": "arn:aws:ecs:us-east-1:111122223333:container-instance/prod/1"},
    {"taskArn": "arn:aws:ecs:us-east-1:111122223333:task/prod/b", "group": "service:web", "startedAt": "2026-05-04T09:31:00+02:00",
     "containerInstanceArn": "arn:aws:ecs:us-east-1:111122223333:container-instance/prod/1"}]},
  "takenAt": "2026-05-04T12:00:00+02:00"
}"#;
    let snapshot = Snapshot::from_json(document).unwrap();
    let config = Config { clusters: Clusters::Named(vec!["prod".to_owned()]), ..config("DRY_RUN=true") };
    let report = in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot, Options::default()).unwrap();
        rehearsal.run(&config, "prod", "rehearsal").await
    });
    format!("```json\n{document}\n```\n\n{}", block(&text::render(&report, false)))
}

#[test]
fn switches_and_faults_are_those_of_the_code() {
    let switches = SWITCHES.iter().map(|switch| {
        assert!(Behaviour::from_settings(&[format!("{}={}", switch.name, switch.values[0])]).is_ok());
        format!("| `{}` | {} | {} |\n", switch.name, code(switch.values), switch.sources)
    });
    let head = "| switch | values | what is open, and who says what |\n| --- | --- | --- |\n";
    check("switches.md", "switches", &format!("{head}{}", switches.collect::<String>()));
    let faults = NAMES.iter().map(|(name, takes)| format!("| `{name}` | {takes} |\n"));
    check("switches.md", "faults", &format!("| fault | takes |\n| --- | --- |\n{}", faults.collect::<String>()));
}

#[test]
fn operations_are_those_that_are_simulated() {
    let rows = OPERATIONS.iter().map(|it| format!("| {} | {} | {} |\n", it.service, it.name, it.modelled));
    let head = "| service | operation | what of it is modelled |\n| --- | --- | --- |\n";
    check("simulator.md", "operations", &format!("{head}{}", rows.collect::<String>()));
}

/// Words as code, with commas between.
fn code(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let summary = fs::read_to_string(pages().join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<&str> = summary.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let files: BTreeSet<String> = fs::read_dir(pages())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "SUMMARY.md" && name != "images")
        .collect();
    assert_eq!(files.iter().map(String::as_str).collect::<BTreeSet<_>>(), listed);
}
