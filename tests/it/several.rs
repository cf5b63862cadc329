//! Several clusters in one run: read side by side, acted on one after the other, and none stands in another's way.

use std::{io, path::Path};

use ecs_rebalancer::{
    config::{Config, LogFormat, ReportFile, ReportFormat},
    exit,
    job::job,
    rehearsal::Rehearsal,
    report::text::Screen,
    shutdown::Shutdown,
};
use serde_json::Value;

use crate::{
    snapshot::folder,
    support::{CLUSTER, config, in_simulated_time, leftovers, options, snapshot, spread_of},
};

const UNEVEN: &str = "a i-1 web web web web\na i-2";

struct Ended {
    status: u8,
    /// The last lines, in the order in which they were printed.
    reports: Vec<Value>,
    seconds: f64,
    rehearsal: Rehearsal,
}

fn run(drawing: &str, settings: &str, clusters: &[&str]) -> Ended {
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(drawing), options(0, &[], &[])).unwrap();
        let edge = rehearsal.edge("run-1", Shutdown::never()).await;
        let clusters: Vec<String> = clusters.iter().map(|name| (*name).to_owned()).collect();
        let mut out = Vec::new();
        let status = job(
            &config(settings),
            &clusters,
            &edge,
            LogFormat::Json,
            Screen { colour: false, columns: None },
            &mut out,
        )
        .await
        .unwrap();
        let lines = String::from_utf8(out).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap());
        let reports = lines.filter(|line: &Value| line["message"] == "summary").collect();
        Ended { status, reports, seconds: edge.clock.elapsed().as_secs_f64(), rehearsal }
    })
}

/// What takes no byte, as a disk that is full.
struct Full;

impl io::Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn where_no_report_can_be_printed_every_run_ends_and_every_file_is_written() {
    let folder = folder("unprinted");
    let (file, nowhere) = (folder.join("report.json"), folder.join("absent/report.json"));
    let reports = |path: &Path| ReportFile { path: path.to_owned(), format: ReportFormat::Json };
    let (told, rehearsal) = in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(UNEVEN), options(0, &[], &[])).unwrap();
        let edge = rehearsal.edge("run-1", Shutdown::never()).await;
        let settings = Config { reports: vec![reports(&nowhere), reports(&file)], ..config("COOLDOWN=0") };
        let (clusters, screen) = ([CLUSTER.to_owned(), "absent".to_owned()], Screen { colour: false, columns: None });
        let told = job(&settings, &clusters, &edge, LogFormat::Json, screen, &mut Full).await;
        (format!("{:#}", told.unwrap_err()), rehearsal)
    });
    assert_eq!(spread_of(&rehearsal, "web"), "i-1=2 i-2=2");
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
    assert!(told.starts_with("cannot print the report: "), "{told}");
    assert!(told.contains("cannot write the report to") && !told.contains('\n'), "{told}");
    for cluster in [CLUSTER, "absent"] {
        let written = std::fs::read(file.with_extension(format!("{cluster}.json"))).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&written).unwrap()["run_id"], "run-1");
    }
}

fn arn() -> String {
    format!("arn:aws:ecs:us-east-1:111122223333:cluster/{CLUSTER}")
}

#[test]
fn they_are_read_side_by_side_and_each_report_counts_its_own_requests() {
    let one = run(UNEVEN, "DRY_RUN=true", &[CLUSTER]);
    let two = run(UNEVEN, "DRY_RUN=true", &[CLUSTER, &arn()]);
    assert!(two.seconds < one.seconds * 1.1, "{} s for one, {} s for two", one.seconds, two.seconds);
    assert_eq!((one.status, two.status, two.reports.len()), (exit::DONE, exit::DONE, 2));
    for report in &two.reports {
        assert_eq!(report["requests"], one.reports[0]["requests"]);
        assert_eq!(report["planned_moves"], one.reports[0]["planned_moves"]);
    }
}

#[test]
fn they_are_acted_on_one_after_the_other_and_the_later_one_looks_anew() {
    // Under two names it is one cluster: what the first has moved, the second finds in its place.
    let two = run(UNEVEN, "COOLDOWN=0", &[CLUSTER, &arn()]);
    let outcomes: Vec<&str> = two.reports.iter().map(|report| report["outcome"].as_str().unwrap()).collect();
    assert_eq!((two.status, outcomes), (exit::DONE, vec!["rebalanced", "balanced"]), "{:#?}", two.reports);
    assert_eq!(spread_of(&two.rehearsal, "web"), "i-1=2 i-2=2");
    assert_eq!(two.rehearsal.simulator().timeline().tasks_stopped(), 2);
    assert_eq!(leftovers(&two.rehearsal, &[]), Vec::<String>::new());
}

#[test]
fn one_that_fails_stops_no_other() {
    let ended = run(UNEVEN, "COOLDOWN=0", &["missing", CLUSTER]);
    let outcomes: Vec<&str> = ended.reports.iter().map(|report| report["outcome"].as_str().unwrap()).collect();
    assert_eq!((ended.status, outcomes), (exit::FAILED, vec!["failed", "rebalanced"]), "{:#?}", ended.reports);
    assert_eq!(spread_of(&ended.rehearsal, "web"), "i-1=2 i-2=2");
}
