//! What a run begins with beside its settings: on which clusters, in which task, with which clients, and which run it is. SIGTERM
//! ends it at once, whatever it waits for.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::OnceLock,
    time::SystemTime,
};

use anyhow::{Context, Result};
use time::{OffsetDateTime, macros::format_description};

use crate::{
    aws::{
        Clients,
        metadata::{self, OwnTask},
    },
    config::{Clusters, Config, Problem, Problems, Retries},
    planning::model::{TaskArn, Timestamp},
    shutdown::Shutdown,
};

/// How much of a task's id tells two runs of the same second apart.
const TASK_ID_CHARACTERS: usize = 8;

/// On which clusters, and in which task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// By name or ARN.
    pub clusters: Vec<String>,
    /// The job's own, on ECS.
    pub own_task: Option<TaskArn>,
}

/// All that a run begins with.
#[derive(Debug)]
pub struct Ready {
    /// The settings, with what the files that they name hold.
    pub config: Config,
    /// On which clusters, and in which task.
    pub place: Place,
    /// The clients of AWS's services.
    pub clients: Clients,
}

/// Why no run begins.
#[derive(Debug)]
pub enum Unready {
    /// What is wrong with the settings, or with what AWS's SDK finds.
    Misconfigured(Problems),
    /// The process was told to end.
    Ended,
    /// The run's time is over before it began.
    Late(anyhow::Error),
}

/// Makes ready for a run: reads the files that the settings name, asks in which task this is, and finds Region and credentials.
/// Ends at once when the process is told to end, and in any case by the run's deadline.
///
/// # Errors
/// Why no run begins.
pub async fn ready(config: Config, shutdown: &Shutdown) -> Result<Ready, Unready> {
    let deadline = config.policy.deadline;
    let ready = tokio::time::timeout(deadline, shutdown.unless_asked(Box::pin(gather(config)))).await;
    match ready {
        Ok(Some(ready)) => ready.map_err(Unready::Misconfigured),
        Ok(None) => Err(Unready::Ended),
        Err(_) => Err(Unready::Late(anyhow::anyhow!(
            "the run's deadline of {} came before its settings were read: a file that they name gives no end",
            humantime::format_duration(deadline)
        ))),
    }
}

async fn gather(config: Config) -> Result<Ready, Problems> {
    // A file may be one that never ends, as a pipe: so it is read beside, and need not be waited for.
    let config = tokio::task::spawn_blocking(|| config.ready());
    let config = config.await.unwrap_or_else(|error| Err(Problems::of_error(&error.into())))?;
    let place = place(&config).await.map_err(|error| Problems::of_error(&error))?;
    let Retries { max_attempts, is_adaptive } = config.retries;
    let clients =
        Clients::from_environment(max_attempts, is_adaptive).await.map_err(|error| Problems::of_error(&error))?;
    check_region(&place.clusters, clients.region())?;
    Ok(Ready { config, place, clients })
}

/// Asks the task metadata endpoint, where there is one, and takes from it what the configuration leaves open.
///
/// # Errors
/// When the endpoint gives no answer, and the clusters aren't named.
async fn place(config: &Config) -> Result<Place> {
    let own = match &config.metadata_uri {
        Some(uri) => Some(metadata::own_task(uri).await),
        None => None,
    };
    place_of(&config.clusters, own)
}

fn place_of(clusters: &Clusters, own: Option<Result<OwnTask>>) -> Result<Place> {
    match (clusters, own) {
        (Clusters::Named(clusters), None) => Ok(Place { clusters: clusters.clone(), own_task: None }),
        (Clusters::Named(clusters), Some(Ok(own))) => {
            Ok(Place { clusters: clusters.clone(), own_task: Some(own.task) })
        }
        (Clusters::Named(clusters), Some(Err(error))) => {
            tracing::warn!(reason = format!("{error:#}"), "the job's own task is unknown, so it counts as any other");
            Ok(Place { clusters: clusters.clone(), own_task: None })
        }
        (Clusters::OwnTasks, Some(own)) => {
            let OwnTask { cluster, task } = own.context("set REBALANCER_CLUSTER to the name or ARN of the cluster")?;
            Ok(Place { clusters: vec![cluster], own_task: Some(task) })
        }
        (Clusters::OwnTasks, None) => {
            anyhow::bail!("set REBALANCER_CLUSTER to the name or ARN of the cluster: this is not a task on ECS")
        }
    }
}

/// A run has one Region's clients, so it can't work on a cluster of another.
///
/// # Errors
/// Names each ARN that is of another Region than `region`.
fn check_region(clusters: &[String], region: &str) -> Result<(), Problems> {
    let elsewhere = clusters.iter().filter_map(|cluster| {
        let of_cluster = region_of(cluster).filter(|of_cluster| *of_cluster != region)?;
        let sentence = format!("is {cluster}, but this run works in {region}: set AWS_REGION={of_cluster}");
        Some(Problem { variable: "REBALANCER_CLUSTER".to_owned(), sentence })
    });
    let problems: Vec<Problem> = elsewhere.collect();
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

/// The Region that an ARN names.
fn region_of(arn: &str) -> Option<&str> {
    arn.strip_prefix("arn:")?.split(':').nth(2).filter(|region| !region.is_empty())
}

/// The wall clock's time as the rest of the job has it.
pub fn moment(time: SystemTime) -> Timestamp {
    let milliseconds = OffsetDateTime::from(time).unix_timestamp_nanos() / 1_000_000;
    Timestamp(i64::try_from(milliseconds).unwrap_or(i64::MAX))
}

/// What tells this process from all others: two containers may both be process 1, and start in the same second. By the operating
/// system's own chance, once for the process.
fn nonce() -> u64 {
    static NONCE: OnceLock<u64> = OnceLock::new();
    *NONCE.get_or_init(|| RandomState::new().build_hasher().finish())
}

/// A name for the run that no other run has, in letters that a tag may hold: when it began, and in which task or else in
/// which process, with a number by chance.
pub fn run_id(began: Timestamp, own_task: Option<&TaskArn>, process: u32) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(began.0 / 1_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let compact = format_description!("[year][month][day]T[hour][minute][second]Z");
    // Formatting fails only for components that a moment lacks, and it has all of these.
    let moment = moment.format(compact).unwrap_or_default();
    let by_chance = || format!("{process}-{:016x}", nonce());
    let whose = own_task.map_or_else(by_chance, |task| task.short().chars().take(TASK_ID_CHARACTERS).collect());
    format!("{moment}-{whose}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "arn:aws:ecs:us-west-2:111122223333:task/own/158d1c8083dd49d6b527399fd6414f5c";

    fn named() -> Clusters {
        Clusters::Named(vec!["prod".to_owned()])
    }

    /// The clusters and the task that come out, or the error.
    fn check(clusters: &Clusters, own: Option<Result<OwnTask>>, expected: &str) {
        let shown = match place_of(clusters, own) {
            Ok(Place { clusters, own_task }) => format!("{} {}", clusters.join(","), own_task.map_or(0, |_| 1)),
            Err(error) => format!("{error:#}"),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_endpoint_is_asked_for_the_cluster_only_where_none_is_named() {
        let own = || OwnTask { cluster: "own".to_owned(), task: TASK.into() };
        let dead = || anyhow::anyhow!("no answer");
        check(&named(), None, "prod 0");
        check(&named(), Some(Ok(own())), "prod 1");
        check(&named(), Some(Err(dead())), "prod 0");
        check(&Clusters::OwnTasks, Some(Ok(own())), "own 1");
        check(
            &Clusters::OwnTasks,
            Some(Err(dead())),
            "set REBALANCER_CLUSTER to the name or ARN of the cluster: no answer",
        );
        check(
            &Clusters::OwnTasks,
            None,
            "set REBALANCER_CLUSTER to the name or ARN of the cluster: this is not a task on ECS",
        );
    }

    #[test]
    fn an_arn_of_another_region_is_told_with_what_to_set() {
        let clusters = |arn: &str| [arn.to_owned(), "prod".to_owned()];
        assert_eq!(check_region(&clusters("arn:aws:ecs:eu-west-1:111122223333:cluster/prod"), "eu-west-1"), Ok(()));
        let told = check_region(&clusters("arn:aws:ecs:eu-west-1:111122223333:cluster/prod"), "us-east-1");
        assert_eq!(
            told.unwrap_err().to_string(),
            "REBALANCER_CLUSTER is arn:aws:ecs:eu-west-1:111122223333:cluster/prod, but this run works in us-east-1: set \
             AWS_REGION=eu-west-1"
        );
    }

    #[test]
    fn a_run_is_named_by_its_second_and_its_task_or_process() {
        let began = Timestamp(1_795_518_000_999);
        assert_eq!(run_id(began, Some(&TASK.into()), 7), "20261124T110000Z-158d1c80");
        let (one, again) = (run_id(began, None, 7), run_id(began, None, 7));
        assert!(one.starts_with("20261124T110000Z-7-") && one.len() == 35, "{one}");
        assert_eq!(one, again, "a process is one run");
    }
}
