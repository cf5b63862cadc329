//! A reviewed plan from its file: the JSON report of a dry run.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

use super::{Clusters, Config, Problem, Problems, values};
use crate::planning::{
    model::ServiceName,
    moves::{Move, Reviewed, ReviewedService},
    policy::Mode,
};

/// As much of a report as a plan needs; the contract names these.
#[derive(Debug, Deserialize)]
struct Document {
    cluster: String,
    mode: String,
    dry_run: bool,
    services: Vec<DocumentService>,
    plan: Vec<DocumentMove>,
}

#[derive(Debug, Deserialize)]
struct DocumentService {
    name: String,
    running_tasks: u32,
}

#[derive(Debug, Deserialize)]
struct DocumentMove {
    service: String,
    task: String,
    from: DocumentPlace,
    to: DocumentPlace,
}

#[derive(Debug, Deserialize)]
struct DocumentPlace {
    container_instance: String,
}

const CURE: &str =
    "give the .json report of a dry run on this cluster (REBALANCER_DRY_RUN=true REBALANCER_REPORT=plan.json)";

impl Config {
    /// Makes the configuration ready to run by: reads the reviewed plan, and finds out whether the files that the run is to
    /// write can be written, before anything is called.
    ///
    /// # Errors
    /// Each setting that is in the way.
    pub fn ready(mut self) -> Result<Self, Problems> {
        let reports = self.reports.iter().map(|report| ("REBALANCER_REPORT", &report.path));
        let files = reports.chain(self.snapshot.iter().map(|path| ("REBALANCER_SNAPSHOT", path)));
        let unwritable: Vec<Problem> = files.filter_map(|(variable, path)| unwritable(variable, path)).collect();
        if !unwritable.is_empty() {
            return Err(Problems(unwritable));
        }
        if let Some(path) = &self.plan {
            let reviewed = read(path).and_then(|document| self.reviewed(document)).map_err(|wrong| {
                Problems(vec![Problem::new("REBALANCER_PLAN", format!("is {}, but {wrong}: {CURE}", path.display()))])
            })?;
            self.policy.reviewed = Some(reviewed);
        }
        Ok(self)
    }

    fn reviewed(&self, document: Document) -> Result<Reviewed, String> {
        // A report names the cluster by its ARN.
        let cluster = values::short_name(&document.cluster).to_owned();
        if !document.dry_run {
            return Err("it reports what a run did, not what a dry run planned".to_owned());
        }
        let mode = match self.policy.mode {
            Mode::Spread => "spread",
            Mode::Consolidate => "consolidate",
        };
        if document.mode != mode {
            return Err(format!("it was planned in mode {}, and REBALANCER_MODE is {mode}", document.mode));
        }
        // Where the job finds its cluster by itself, the run compares it.
        // Two ARNs also tell the account and the Region.
        let is_another = |named: &&String| {
            let by_arn =
                named.starts_with("arn:") && document.cluster.starts_with("arn:") && **named != document.cluster;
            by_arn || values::short_name(named) != cluster
        };
        if let Clusters::Named(clusters) = &self.clusters
            && let Some(other) = clusters.iter().find(is_another)
        {
            let of = if other.starts_with("arn:") { &document.cluster } else { &cluster };
            return Err(format!("it is of cluster {of}, and REBALANCER_CLUSTER is {other}"));
        }
        let mut services: BTreeMap<ServiceName, ReviewedService> = BTreeMap::new();
        for DocumentMove { service, task, from, to } in document.plan {
            let running = document.services.iter().find(|seen| seen.name == service).map(|seen| seen.running_tasks);
            let running_tasks =
                running.ok_or_else(|| format!("its plan names {service}, which is not among its services"))?;
            let entry = services.entry(service.as_str().into());
            let planned = entry.or_insert_with(|| ReviewedService { running_tasks, moves: Vec::new() });
            let (task, from, to) =
                (task.as_str().into(), from.container_instance.as_str().into(), to.container_instance.as_str().into());
            planned.moves.push(Move { task, from, to });
        }
        Ok(Reviewed { cluster, services })
    }
}

/// Opens the file as the run will, and leaves it as it was.
fn unwritable(variable: &str, path: &Path) -> Option<Problem> {
    let is_new = !path.exists();
    let opened = fs::OpenOptions::new().append(true).create(true).open(path);
    if opened.is_ok() && is_new {
        // It was made a moment ago, by this line's neighbour; not so the link that may have led to it.
        drop(fs::canonicalize(path).and_then(fs::remove_file));
    }
    let error = opened.err()?;
    let sentence =
        format!("names {}, which cannot be written ({error}): name a file in a folder that exists", path.display());
    Some(Problem::new(variable, sentence))
}

fn read(path: &Path) -> Result<Document, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("it cannot be read ({error})"))?;
    // Some editors begin a file with a byte order mark.
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| format!("it is no such report ({error})"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const REPORT: &str = r#"{"cluster": "arn:aws:ecs:us-east-1:111122223333:cluster/prod", "mode": "spread", "dry_run": true, "more": [1],
        "services": [{"name": "web", "running_tasks": 2}],
        "plan": [{"service": "web", "task": "t-1", "from": {"ec2_instance_id": "i-0a", "container_instance": "i-1"}, "to": {"container_instance": "i-2"}}]}"#;

    fn ready(content: Option<&str>, cluster: &str) -> Result<Config, Problems> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("reviewed-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("plan.json");
        match content {
            Some(content) => fs::write(&path, content).unwrap(),
            None => drop(fs::remove_file(&path)),
        }
        let clusters = Clusters::Named(vec![cluster.to_owned()]);
        let ready = Config { clusters, plan: Some(path), ..Config::default() }.ready();
        fs::remove_dir_all(folder).unwrap();
        ready
    }

    #[track_caller]
    fn check_refused(content: Option<&str>, cluster: &str, expected: &str) {
        let told = ready(content, cluster).unwrap_err().to_string();
        assert!(
            told.starts_with("REBALANCER_PLAN is ") && told.contains("plan.json, but ") && told.contains(expected),
            "{told}"
        );
        assert!(told.ends_with(CURE), "{told}");
    }

    #[test]
    fn a_dry_run_s_report_is_a_plan() {
        let reviewed =
            ready(Some(REPORT), "arn:aws:ecs:us-east-1:111122223333:cluster/prod").unwrap().policy.reviewed.unwrap();
        assert_eq!(reviewed.cluster, "prod");
        let marked = ready(Some(&format!("\u{feff}{REPORT}")), "prod").unwrap().policy.reviewed;
        assert_eq!(marked.as_ref(), Some(&reviewed), "an editor has put a byte order mark before it");
        let web = &reviewed.services[&ServiceName::from("web")];
        assert_eq!((web.running_tasks, web.moves.len()), (2, 1));
        assert_eq!(Config::default().ready(), Ok(Config::default()));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_before_the_run_and_one_that_can_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("writable-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (kept, absent, nowhere) = (folder.join("kept.json"), folder.join("new.json"), folder.join("no/where.json"));
        fs::write(&kept, "kept").unwrap();
        let report =
            |path: &Path| super::super::ReportFile { path: path.to_owned(), format: super::super::ReportFormat::Json };
        let config =
            |paths: &[&Path]| Config { reports: paths.iter().map(|path| report(path)).collect(), ..Config::default() };
        assert!(config(&[&kept, &absent]).ready().is_ok());
        assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
        assert!(!absent.exists());
        let (link, behind) = (folder.join("link.json"), folder.join("behind.json"));
        std::os::unix::fs::symlink("behind.json", &link).unwrap();
        assert!(config(&[&link]).ready().is_ok());
        assert!(fs::read_link(&link).is_ok() && !behind.exists(), "a link that leads to nothing yet stays as it was");
        let told =
            Config { snapshot: Some(nowhere.clone()), ..config(&[&kept, &nowhere]) }.ready().unwrap_err().to_string();
        fs::remove_dir_all(folder).unwrap();
        let lines: Vec<&str> = told.lines().collect();
        assert!(
            lines[0].starts_with("REBALANCER_REPORT names ") && lines[1].starts_with("REBALANCER_SNAPSHOT names "),
            "{told}"
        );
        assert!(lines.iter().all(|line| line.contains("where.json, which cannot be written (No such file")), "{told}");
    }

    #[test]
    fn what_is_no_plan_for_this_run_is_refused_with_its_cure() {
        check_refused(None, "a", "it cannot be read (No such file");
        check_refused(Some("<!doctype html>"), "b", "it is no such report (expected value at line 1 column 1)");
        check_refused(Some("{}"), "c", "missing field `cluster`");
        check_refused(Some(REPORT), "other", "it is of cluster prod, and REBALANCER_CLUSTER is other");
        let elsewhere = "arn:aws:ecs:eu-west-1:999988887777:cluster/prod";
        let both = format!(
            "it is of cluster arn:aws:ecs:us-east-1:111122223333:cluster/prod, and REBALANCER_CLUSTER is {elsewhere}"
        );
        check_refused(Some(REPORT), elsewhere, &both);
        check_refused(Some(&REPORT.replace("true", "false")), "prod", "not what a dry run planned");
        check_refused(Some(&REPORT.replace("spread", "consolidate")), "prod2", "it was planned in mode consolidate");
        let unknown = REPORT.replace("\"name\": \"web\"", "\"name\": \"api\"");
        check_refused(Some(&unknown), "prod", "its plan names web, which is not among its services");
    }
}
