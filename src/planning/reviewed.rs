//! A reviewed plan: which tasks may go, and whether the cluster is still as it was when somebody looked at it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    model::{Capacity, Cluster, ContainerInstance, ContainerInstanceArn, Service, ServiceName, TaskArn},
    plan::{Move, Plan},
    policy::Strategy,
    reason::{LeftAlone, Outdated},
    spread,
    tasks::Tasks,
    view,
};

pub use super::moves::{Reviewed, ReviewedService};

impl ReviewedService {
    /// Why none of its moves holds any more; none where that is not so.
    pub fn outdated(&self, service: &Service) -> Option<Outdated> {
        let (was, is) = (self.running_tasks, service.desired_count);
        (was != is).then_some(Outdated::DesiredCount { was, is })
    }
}

impl Reviewed {
    /// Which of a service's tasks are not to go: all but those that were planned to, and whose moves the cluster still allows.
    pub fn barred(&self, cluster: &Cluster, service: &ServiceName, tasks: &Tasks) -> BTreeSet<TaskArn> {
        let planned = self.services.get(service).into_iter().flat_map(|planned| &planned.moves);
        let holding = planned.filter(|a_move| outdated(cluster, service, a_move).is_none());
        let may_go: BTreeSet<&TaskArn> = holding.map(|a_move| &a_move.task).collect();
        tasks.all.keys().filter(|task| !may_go.contains(task)).cloned().collect()
    }

    /// The tasks that levelling may move: each is where it was, and the container instance where it was to go takes tasks and is
    /// emptier than the one that it leaves.
    pub(super) fn to_level(&self, cluster: &Cluster) -> BTreeSet<TaskArn> {
        let mut holding = BTreeSet::new();
        for (name, planned) in &self.services {
            if cluster.services.get(name).is_some_and(|service| planned.outdated(service).is_none()) {
                let holds = |it: &&Move| outdated(cluster, name, it).is_none() && is_downhill(cluster, it);
                holding.extend(planned.moves.iter().filter(holds).map(|a_move| a_move.task.clone()));
            }
        }
        holding
    }

    /// Whether a service may be taken at all, and if so, which of its tasks may go. `now` is what would be planned without a
    /// review: what was planned then and is still, holds; other moves hold where each by itself helps.
    pub(super) fn admits(
        &self,
        cluster: &Cluster,
        service: &Service,
        strategy: Strategy,
        now: &[Move],
    ) -> Result<BTreeSet<TaskArn>, LeftAlone> {
        let planned = self.services.get(&service.name).ok_or(LeftAlone::NotInPlan)?;
        if matches!(strategy, Strategy::Redeploy | Strategy::Revision) {
            return Err(LeftAlone::PlanOutdated(Outdated::RestartsAll));
        }
        if let Some(outdated) = planned.outdated(service) {
            return Err(LeftAlone::PlanOutdated(outdated));
        }
        let (mut holding, mut first) = (BTreeSet::new(), None);
        for a_move in &planned.moves {
            let helps = || now.iter().any(|it| it.task == a_move.task) || helps(cluster, &service.name, a_move);
            let why = outdated(cluster, &service.name, a_move);
            match why.or_else(|| (!helps()).then_some(Outdated::NoHelp)) {
                None => drop(holding.insert(a_move.task.clone())),
                Some(why) => drop(first.get_or_insert(why)),
            }
        }
        match first {
            Some(why) if holding.is_empty() => Err(LeftAlone::PlanOutdated(why)),
            _ => Ok(holding),
        }
    }

    /// The reviewed moves that a plan doesn't hold, and why, in a sentence for each service and reason.
    pub fn not_made(&self, cluster: &Cluster, plan: &Plan) -> Vec<String> {
        let mut sentences = Vec::new();
        let made: BTreeSet<&TaskArn> = plan.moves().map(|(_, a_move)| &a_move.task).collect();
        for (name, planned) in &self.services {
            let mut by_reason: BTreeMap<String, usize> = BTreeMap::new();
            for a_move in planned.moves.iter().filter(|a_move| !made.contains(&a_move.task)) {
                let reason = match (cluster.services.get(name), plan.left_alone.get(name)) {
                    (None, _) => "the service is gone".to_owned(),
                    (Some(_), Some(left_alone)) => left_alone.to_string(),
                    (Some(service), None) => planned
                        .outdated(service)
                        .or_else(|| outdated(cluster, name, a_move))
                        .unwrap_or(Outdated::NoHelp)
                        .to_string(),
                };
                *by_reason.entry(reason).or_default() += 1;
            }
            let all = planned.moves.len();
            let told = by_reason
                .into_iter()
                .map(|(reason, number)| format!("{name}: {number} of {all} reviewed moves left out: {reason}"));
            sentences.extend(told);
        }
        sentences
    }
}

/// Why one move no longer holds by itself; none where it does.
fn outdated(cluster: &Cluster, service: &ServiceName, a_move: &Move) -> Option<Outdated> {
    let is_there = cluster.tasks.get(&a_move.task).is_some_and(|task| {
        task.service.as_ref() == Some(service) && task.container_instance.as_ref() == Some(&a_move.from)
    });
    let takes_tasks = |arn: &&ContainerInstanceArn| {
        cluster.container_instances.get(*arn).is_some_and(|instance| instance.is_usable())
    };
    if !is_there {
        return Some(Outdated::TasksGone);
    }
    let lost = [&a_move.from, &a_move.to].into_iter().find(|arn| !takes_tasks(arn));
    lost.map(|arn| Outdated::Instance(arn.clone()))
}

/// Whether a move leads to a container instance of which a smaller part of the CPU or of the memory is reserved. Each one that
/// levelling plans does, for it evens out at least one of the two.
fn is_downhill(cluster: &Cluster, a_move: &Move) -> bool {
    let [from, to] = [&a_move.from, &a_move.to].map(|arn| cluster.container_instances.get(arn));
    let (Some(from), Some(to)) = (from, to) else { return false };
    let resources: [fn(&Capacity) -> u32; 2] = [|it| it.cpu_units, |it| it.memory_mib];
    // Both parts by one denominator, so that nothing is rounded.
    let part = |one: &ContainerInstance, other: &ContainerInstance, of: fn(&Capacity) -> u32| {
        u64::from(one.reserved(of)) * u64::from(of(&other.registered))
    };
    resources.into_iter().any(|of| part(to, from, of) < part(from, to, of))
}

/// Whether fewer tasks would be misplaced after this move alone.
fn helps(cluster: &Cluster, service: &ServiceName, a_move: &Move) -> bool {
    let before = spread::misplaced(cluster, service);
    let mut after = view::alone(cluster, service).into_owned();
    let Some(task) = view::foreseen(&after, service, &a_move.to, 0) else { return false };
    view::remove(&mut after, &a_move.task);
    view::insert(&mut after, task);
    spread::misplaced(&after, service) < before
}

#[cfg(test)]
mod tests;
