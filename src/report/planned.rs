//! What was found and what is planned, taken over into the report.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Action, ConsolidationReport, Outcome, Place, PlannedMove, Report, ServiceReport, Summary, container_instances,
    counted, estimate, hints, instances, shown, tasks,
};
use crate::planning::{
    eligibility::would_be_blocked,
    imbalance::{Measure, ServiceMeasure},
    model::{Cluster, ContainerInstanceArn, ServiceName, Task, Timestamp},
    plan::{Plan, Room},
    policy::{Percent, Policy},
    reason::{Kept, LeftAlone},
};

impl Report {
    /// Takes over what was measured before anything moved.
    pub fn found(&mut self, cluster: &Cluster, measure: &Measure) {
        self.pictures.found = instances::of(cluster, measure);
        self.place(cluster);
        self.measure = Some(measure.clone());
        self.before = Some(Summary::of(measure));
        self.services = measure.services.iter().map(|(name, service)| service_report(name, service)).collect();
    }

    /// Takes over a plan. If nothing follows, that is how the run ends.
    pub fn planned(&mut self, cluster: &Cluster, plan: &Plan, policy: &Policy) {
        self.without_a_match(policy);
        self.predicted = Some(Summary::of(&plan.predicted));
        let foreseen = instances::foreseen(cluster, plan);
        self.pictures.predicted = instances::of(&foreseen, &plan.predicted);
        self.plan = plan
            .moves()
            .map(|(service, a_move)| PlannedMove {
                service: service.to_string(),
                task: a_move.task.to_string(),
                from: place(cluster, &a_move.from),
                to: place(cluster, &a_move.to),
            })
            .collect();
        let mut tasks_of: BTreeMap<&ServiceName, Vec<&Task>> = BTreeMap::new();
        for task in cluster.tasks.values() {
            if let Some(service) = &task.service {
                tasks_of.entry(service).or_default().push(task);
            }
        }
        for service in &mut self.services {
            let name = ServiceName::from(service.name.as_str());
            let of_it = || plan.services.iter().filter(|planned| planned.name == name);
            if let Some(planned) = of_it().next() {
                service.action = Action::Rebalance;
                service.strategy = Some(planned.strategy.name());
                let moves: usize = of_it().map(|planned| planned.moves.len()).sum();
                service.planned_moves = u32::try_from(moves).unwrap_or(u32::MAX);
                let made_for: Vec<&str> = plan
                    .rooms
                    .iter()
                    .filter(|room| room.movers.contains(&name))
                    .map(|room| room.service.as_str())
                    .collect();
                if !made_for.is_empty() {
                    service.reason = format!("to make capacity for {}", made_for.join(", "));
                } else if service.stuck_tasks == 0 {
                    service.reason = String::new();
                }
            } else if let Some(room) = plan.rooms.iter().find(|room| room.service == name) {
                service.action = Action::MakeRoom;
                service.reason = room_reason(room);
            } else if let Some(reason) = plan.left_alone.get(&name) {
                service.action = Action::LeaveAlone;
                service.reason = reason.to_string();
                service.reason_code = reason.code();
            } else if service.action == Action::None
                && let Some((code, sentence)) = would_be_left_alone(cluster, &name, &tasks_of, policy, self.began)
            {
                service.reason = format!("{}; would be left alone: {sentence}", service.reason);
                service.reason_code = code;
            }
        }
        self.estimate = Some(estimate::of(cluster, plan, policy));
        if self.dry_run {
            self.hints = hints::of(cluster, self.measure.as_ref(), plan, policy, self.began);
        }
        self.consolidation = ConsolidationReport::planned(cluster, plan);
        if self.dry_run || plan.services.is_empty() {
            let now = self.began.unwrap_or(Timestamp(0));
            self.left_far_from_mean(&foreseen, &plan.predicted, policy, now);
        }
        self.conclude_planned(plan);
    }

    /// How the run ends if nothing follows.
    fn conclude_planned(&mut self, plan: &Plan) {
        let misplaced = self.before.as_ref().map_or(0, |before| before.misplaced_tasks);
        let moves = self.plan.len();
        let lacks_room =
            |reason: &&LeftAlone| matches!(reason, LeftAlone::NeedsSteering { .. } | LeftAlone::NoRoomToMake { .. });
        let lacking_capacity = plan.left_alone.values().filter(lacks_room).count();
        let below = self.all_below(plan);
        if let Some(consolidation) = &self.consolidation {
            let instances = container_instances(consolidation.number());
            if moves == 0 {
                let by_steering = consolidation.kept.iter().any(|kept| kept.reason_code == Kept::NeedsSteering.code());
                let how = if by_steering { " without steering" } else { "" };
                self.conclude(Outcome::Balanced, format!("no container instance can be set free{how}"));
            } else {
                let used = consolidation.used(self.before.as_ref(), &plan.predicted);
                self.conclude(
                    Outcome::Planned,
                    format!("{instances} would come free, by {} moved{used}", tasks(moves)),
                );
            }
        } else if misplaced == 0 && moves == 0 && lacking_capacity > 0 {
            let services = counted(lacking_capacity, "service has tasks", "services have tasks");
            self.conclude(Outcome::Balanced, format!("no task is misplaced; {services} that fit nowhere"));
        } else if misplaced == 0 && moves == 0 {
            self.conclude(Outcome::Balanced, "no task is misplaced".to_owned());
        } else if moves > 0 {
            let services = plan.services.iter().map(|service| &service.name).collect::<BTreeSet<_>>().len();
            self.conclude(
                Outcome::Planned,
                format!("{} of {} would move", tasks(moves), counted(services, "service", "services")),
            );
        } else if let Some(thresholds) = below {
            // A service's tag may name another than the run's settings.
            let below = match thresholds.first() {
                Some(threshold) if thresholds.len() == 1 => format!("below the threshold of {threshold} %"),
                _ => "in each service below its threshold".to_owned(),
            };
            self.conclude(Outcome::Balanced, format!("{} misplaced, {below}", are(misplaced as usize)));
        } else {
            let reason = format!("{} misplaced, and none of them can be moved now", are(misplaced as usize));
            self.conclude(Outcome::Unchanged, reason);
        }
    }

    /// The thresholds of the services with misplaced tasks, where each of them is left alone since these are below its threshold. What
    /// keeps other services doesn't count.
    fn all_below(&self, plan: &Plan) -> Option<BTreeSet<Percent>> {
        let threshold = |service: &ServiceReport| match plan.left_alone.get(&ServiceName::from(service.name.as_str())) {
            Some(LeftAlone::BelowThreshold(threshold)) => Some(*threshold),
            _ => None,
        };
        self.services.iter().filter(|service| service.misplaced_tasks > 0).map(threshold).collect()
    }

    /// Warns of each pattern that matches no service: most are slips of the pen.
    fn without_a_match(&mut self, policy: &Policy) {
        let mut unmatched = Vec::new();
        let (include, exclude) = (&policy.services.include, &policy.services.exclude);
        for (variable, patterns) in [("REBALANCER_INCLUDE", include), ("REBALANCER_EXCLUDE", exclude)] {
            for pattern in patterns.iter().filter(|it| !self.services.iter().any(|service| it.matches(&service.name))) {
                let warning =
                    format!("{variable} holds {pattern}, which matches no service of cluster {}", self.cluster);
                unmatched.push(warning);
            }
        }
        self.warn(unmatched);
    }

    /// Takes Region, account and the cluster's ARN from an ARN of its own: reading the cluster gives no other.
    fn place(&mut self, cluster: &Cluster) {
        let instances = cluster.container_instances.keys().map(ContainerInstanceArn::as_str);
        let services = cluster.services.values().map(|service| service.arn.as_str());
        for arn in instances.chain(services) {
            let parts: Vec<&str> = arn.splitn(6, ':').collect();
            if let ["arn", partition, "ecs", region, account, _] = parts.as_slice() {
                (self.region, self.account) = ((*region).to_owned(), (*account).to_owned());
                self.cluster_arn = format!("arn:{partition}:ecs:{region}:{account}:cluster/{}", self.cluster);
                return;
            }
        }
    }
}

pub(super) fn place(cluster: &Cluster, arn: &ContainerInstanceArn) -> Place {
    let instance = cluster.container_instances.get(arn);
    Place {
        ec2_instance_id: instance.map(|instance| instance.ec2_instance_id.clone()).unwrap_or_default(),
        container_instance: arn.to_string(),
    }
}

/// Why a service that is spread would be left alone, were it not: nobody is to be surprised on the day when it isn't.
fn would_be_left_alone(
    cluster: &Cluster,
    name: &ServiceName,
    tasks_of: &BTreeMap<&ServiceName, Vec<&Task>>,
    policy: &Policy,
    now: Option<Timestamp>,
) -> Option<(&'static str, String)> {
    let tasks = tasks_of.get(name).map_or(&[][..], Vec::as_slice);
    let why = would_be_blocked(cluster.services.get(name)?, tasks, policy, now?)?;
    Some((why.code(), why.to_string()))
}

/// `1 task is`, `4 tasks are`.
fn are(number: usize) -> String {
    counted(number, "task is", "tasks are")
}

fn room_reason(room: &Room) -> String {
    let lacking = counted(room.lacking as usize, "task fits nowhere", "tasks fit nowhere");
    let movers: Vec<&str> = room.movers.iter().map(ServiceName::as_str).collect();
    let (moved, movers) = (tasks(room.moves as usize), movers.join(", "));
    if room.moves == 0 {
        format!("{lacking}; capacity for {} of them is left of what is made for others", room.tasks)
    } else if room.tasks == room.lacking {
        format!("{lacking}; {moved} of {movers} would make capacity")
    } else {
        format!("{lacking}; {moved} of {movers} would make capacity for {} of them", room.tasks)
    }
}

fn service_report(name: &ServiceName, measure: &ServiceMeasure) -> ServiceReport {
    let mut report = ServiceReport {
        name: name.to_string(),
        task_imbalance_percent: shown(measure.task_imbalance()),
        misplaced_tasks: 0,
        stuck_tasks: 0,
        task_skew: 0,
        running_tasks: measure.running_tasks,
        action: Action::NotMeasured,
        strategy: None,
        reason: String::new(),
        reason_code: "",
        planned_moves: 0,
        moved: 0,
    };
    match &measure.spread {
        Err(unmeasured) => {
            report.reason = unmeasured.to_string();
            report.reason_code = unmeasured.code();
        }
        Ok(spread) => {
            report.misplaced_tasks = spread.misplaced_tasks;
            report.stuck_tasks = spread.stuck_tasks();
            report.task_skew = spread.skew;
            let stuck: Vec<String> = spread.stuck.keys().map(ToString::to_string).collect();
            (report.action, report.reason) = match (spread.misplaced_tasks, report.stuck_tasks) {
                (0, _) => (Action::None, "spread as its placement strategy asks".to_owned()),
                (misplaced, stuck_tasks) if stuck_tasks >= misplaced => (Action::LeaveAlone, stuck.join("; ")),
                (_, 0) => (Action::Rebalance, String::new()),
                (_, stuck_tasks) => (Action::Rebalance, format!("{stuck_tasks} stuck: {}", stuck.join("; "))),
            };
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        planning::{
            imbalance::measure,
            reason::Blocked,
            testing::{NOW, cluster},
        },
        report::Facts,
    };

    /// How a run ends that makes no move, by why each of two services with misplaced tasks was left alone.
    fn ends(left_alone: &[(&str, LeftAlone)]) -> (Outcome, String) {
        let (cluster, policy) = (cluster("a i-1 web web api api fits\na i-2\nservice fits"), Policy::default());
        let found = measure(&cluster, &policy, NOW);
        let plan = Plan {
            services: Vec::new(),
            rooms: Vec::new(),
            places: Vec::new(),
            left_alone: left_alone.iter().map(|(name, why)| (ServiceName::from(*name), why.clone())).collect(),
            consolidation: None,
            predicted: found.clone(),
        };
        let mut report = Report::new(Facts::of_tests());
        report.began = Some(NOW);
        report.found(&cluster, &found);
        report.planned(&cluster, &plan, &policy);
        (report.outcome, report.outcome_reason)
    }

    #[test]
    fn a_run_without_a_move_is_balanced_just_where_all_that_is_misplaced_is_below_the_threshold() {
        let below = || LeftAlone::BelowThreshold(Percent::from_hundredths(1_000));
        let (blocked, nowhere) = (LeftAlone::Blocked(Blocked::Deploying), LeftAlone::NeedsSteering { tasks: 1 });
        let balanced = (Outcome::Balanced, "2 tasks are misplaced, below the threshold of 10 %".to_owned());
        let unchanged = (Outcome::Unchanged, "2 tasks are misplaced, and none of them can be moved now".to_owned());
        assert_eq!(ends(&[("api", below()), ("web", below())]), balanced);
        // Where tags say otherwise than the run's settings, what they say counts.
        let tagged = || LeftAlone::BelowThreshold(Percent::from_hundredths(6_000));
        let by = |told: &str| (Outcome::Balanced, format!("2 tasks are misplaced, {told}"));
        assert_eq!(ends(&[("api", tagged()), ("web", tagged())]), by("below the threshold of 60 %"));
        assert_eq!(ends(&[("api", below()), ("web", tagged())]), by("in each service below its threshold"));
        // What isn't misplaced doesn't count, whatever keeps it.
        assert_eq!(ends(&[("api", below()), ("web", below()), ("fits", blocked.clone())]), balanced);
        assert_eq!(ends(&[]), unchanged, "no reason at all is none to be content");
        assert_eq!(ends(&[("api", nowhere.clone()), ("web", nowhere.clone())]), unchanged);
        assert_eq!(ends(&[("api", nowhere), ("web", below())]), unchanged);
        assert_eq!(ends(&[("api", blocked), ("web", below())]), unchanged);
    }
}
