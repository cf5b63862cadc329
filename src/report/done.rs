//! What was done and what it came to, taken over into the report.

use std::collections::BTreeMap;

use super::{
    Action, LeftRaised, MadeMove, Outcome, Place, Report, ServiceReport, Summary, WatchedService, container_instances,
    counted, instances, tasks,
};
use crate::{
    execute::{Finished, Watched},
    planning::{
        imbalance::Measure,
        model::{Cluster, ContainerInstanceArn, ServiceName, Timestamp},
        policy::{Policy, Strategy},
        strategy::{Ending, Stop},
    },
};

impl Report {
    /// Takes over what was seen of the services in hand.
    pub fn watched(&mut self, watched: &Watched) {
        self.pictures.watched =
            watched.iter().map(|(name, counts)| WatchedService::of(name.as_str(), counts)).collect();
    }

    /// Takes over what was measured anew, since an earlier run's leftovers were cleared or more is known: what was done stays.
    pub fn found_again(&mut self, cluster: &Cluster, measure: &Measure) {
        let moved: BTreeMap<String, u32> =
            self.services.iter().map(|service| (service.name.clone(), service.moved)).collect();
        self.found(cluster, measure);
        for service in &mut self.services {
            service.moved = moved.get(&service.name).copied().unwrap_or(0);
        }
    }

    /// Takes over what was done, before it is seen what it came to.
    pub fn did(&mut self, finished: &[Finished]) {
        let mut endings: BTreeMap<&ServiceName, Vec<&Ending>> = BTreeMap::new();
        for done in finished {
            let earlier = endings.entry(&done.name).or_default();
            self.did_one(done, earlier);
            earlier.push(&done.ending);
        }
        // Where a service ended otherwise than planned, that explains why more is left than was predicted.
        self.is_explained = finished.iter().any(|done| !done.ending.is_as_planned());
        self.made_room = rooms(finished);
        let moved = finished.iter().map(|done| done.record.moved()).sum::<u32>();
        if moved > 0 || self.is_deployed_anew(finished) {
            self.conclude(Outcome::Rebalanced, format!("{} moved", tasks(moved)));
        } else if finished.iter().any(|done| !done.recovery) {
            self.conclude(Outcome::Unchanged, format!("none of {} was moved", tasks(self.plan.len())));
        }
    }

    /// One service, which may have been in hand before: then it is told how each time ended.
    fn did_one(&mut self, done: &Finished, earlier: &[&Ending]) {
        let failed = done.ending.is_failure();
        if failed {
            self.error(format!("{}: {}", done.name, done.ending));
        } else if done.recovery {
            self.warn(vec![format!("{}: {}", done.name, done.ending)]);
        }
        let remarks = done.record.remarks.iter().map(|remark| format!("{}: {remark}", done.name));
        self.warn(remarks.collect());
        if let Some((count, count_meant)) = done.record.left_raised {
            let name = done.name.to_string();
            self.error(format!(
                "{name}: left at desired count {count}, and {count_meant} is meant; the next run restores that"
            ));
            self.left_raised.push(LeftRaised { service: name, count, count_meant });
        }
        let made = done.record.moves.iter().map(|made| MadeMove {
            service: done.name.to_string(),
            task: made.task.to_string(),
            from: self.place_of(&made.from),
            to: made.to.as_ref().map(|to| self.place_of(to)),
        });
        let made: Vec<MadeMove> = made.collect();
        self.moves_made.extend(made);
        self.starts_in_vain += done.record.in_vain;
        self.ended_by_deadline |= done.ending == Ending::Limit(Stop::Deadline);
        if let Some(service) = self.services.iter_mut().find(|service| service.name == done.name.as_str()) {
            service.moved += done.record.moved();
            // What a task was moved for says more than that it went.
            let says_what_for =
                matches!(done.ending, Ending::Relocated | Ending::Cleared) && !service.reason.is_empty();
            if (!done.recovery || failed) && !says_what_for {
                service.reason = told_with(&service.reason, earlier, &done.ending);
            }
        }
    }

    /// A container instance by both its names, as it was found.
    fn place_of(&self, arn: &ContainerInstanceArn) -> Place {
        let found = self.pictures.found.iter().find(|instance| instance.arn == arn.as_str());
        let ec2_instance_id = found.map(|instance| instance.ec2_instance_id.clone()).unwrap_or_default();
        Place { ec2_instance_id, container_instance: arn.to_string() }
    }

    /// Whether a service was deployed anew: that moves tasks, though none of them by itself.
    fn is_deployed_anew(&self, finished: &[Finished]) -> bool {
        let deploys = [Strategy::Redeploy, Strategy::Revision].map(|strategy| Some(strategy.name()));
        finished.iter().filter(|done| !done.recovery && done.ending == Ending::Spread).any(|done| {
            let of_service = self.services.iter().find(|service| service.name == done.name.as_str());
            of_service.is_some_and(|service| deploys.contains(&service.strategy))
        })
    }

    /// Takes over how the cluster is after the run.
    pub fn looked_again(&mut self, cluster: &Cluster, after: &Measure, policy: &Policy, now: Timestamp) {
        self.after = Some(Summary::of(after));
        self.left_far_from_mean(cluster, after, policy, now);
        self.pictures.after = instances::of(cluster, after);
        let moved = self.moved();
        let left = after.misplaced_tasks;
        let predicted = self.predicted.as_ref().map_or(left, |predicted| predicted.misplaced_tasks);
        if left > predicted && !self.is_explained {
            self.differs_unexplained = true;
            let told = counted(left, "misplaced task is", "misplaced tasks are");
            self.warnings.push(format!(
                "{told} left, and {predicted} predicted, though every service in hand ended spread: \
                 something else changed the cluster"
            ));
        }
        let came_of_it = match &mut self.consolidation {
            None => {
                format!("{} moved, {} left", tasks(moved), counted(left, "misplaced task is", "misplaced tasks are"))
            }
            Some(consolidation) => {
                consolidation.done(cluster);
                let (free, planned) = (consolidation.number(), consolidation.freed.len());
                if free < planned && !self.is_explained {
                    self.differs_unexplained = true;
                    self.warnings.push(format!(
                        "{} again, though all of theirs were moved: ECS placed others there",
                        counted(planned - free, "container instance holds tasks", "container instances hold tasks")
                    ));
                }
                format!("{} moved, {free} of {} came free", tasks(moved), container_instances(planned))
            }
        };
        self.outcome_reason = format!("{came_of_it}{}", self.made_room);
    }

    /// Tasks still misplaced at the end that by the settings were to be moved: not stuck, not below the threshold, not left out.
    pub fn misplaced_left(&self) -> u32 {
        let of_service = |service: &ServiceReport| match service.action {
            Action::Rebalance | Action::MakeRoom => {
                service.misplaced_tasks.saturating_sub(service.stuck_tasks).saturating_sub(service.moved)
            }
            // A limit of the run's leaves it for a later one.
            Action::LeaveAlone if matches!(service.reason_code, "max-services" | "max-moves") => {
                service.misplaced_tasks.saturating_sub(service.stuck_tasks)
            }
            Action::LeaveAlone | Action::None | Action::NotMeasured => 0,
        };
        if self.mode == "consolidate" { 0 } else { self.services.iter().map(of_service).sum() }
    }
}

/// What is told of a service that ended so now, beside what was told of earlier endings in this run. The same is not told twice: a
/// service may be levelled several times.
fn told_with(reason: &str, earlier: &[&Ending], ending: &Ending) -> String {
    if earlier.is_empty() {
        ending.to_string()
    } else if earlier.contains(&ending) {
        reason.to_owned()
    } else {
        format!("{reason}; {ending}")
    }
}

/// For whom room was made, as an appendix.
fn rooms(finished: &[Finished]) -> String {
    let started = finished.iter().filter_map(|done| match done.ending {
        Ending::Started { tasks: started } => {
            Some(format!("; made capacity for {}: {} started", done.name, tasks(started)))
        }
        _ => None,
    });
    started.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        planning::{
            imbalance::measure,
            testing::{NOW, cluster},
        },
        report::Facts,
    };

    #[test]
    fn a_made_move_names_a_container_instance_as_a_planned_one_does() {
        let mut cluster = cluster("a i-1 web web\na i-2\na i-3");
        // An ARN that ends in the EC2 id, one that doesn't, and one whose EC2 instance isn't known.
        for (instance, id) in cluster.container_instances.values_mut().zip(["i-1", "i-0a1b", ""]) {
            std::sync::Arc::make_mut(instance).ec2_instance_id = id.to_owned();
        }
        let mut report = Report::new(Facts::of_tests());
        report.found(&cluster, &measure(&cluster, &Policy::default(), NOW));
        for (arn, id) in cluster.container_instances.keys().zip(["i-1", "i-0a1b", ""]) {
            assert_eq!(report.place_of(arn), super::super::planned::place(&cluster, arn));
            assert_eq!(report.place_of(arn).ec2_instance_id, id);
        }
    }

    #[test]
    fn how_a_service_ended_is_told_once() {
        let told = |endings: &[&Ending]| {
            let (mut reason, mut earlier) = ("2 to be moved".to_owned(), Vec::new());
            for ending in endings {
                reason = told_with(&reason, &earlier, ending);
                earlier.push(ending);
            }
            reason
        };
        let (spread, levelled, badly) = (Ending::Spread, Ending::Levelled, Ending::LandedBadly);
        assert_eq!(told(&[&spread]), "spread");
        assert_eq!(told(&[&spread, &levelled]), format!("spread; {levelled}"));
        assert_eq!(told(&[&levelled, &levelled, &badly, &levelled, &badly]), format!("{levelled}; {badly}"));
    }
}
