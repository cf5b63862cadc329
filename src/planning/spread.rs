//! Mode `spread`: where ECS will put a service's next tasks, which of its tasks should go, and how many moves help.
//!
//! Each question is asked of a service's layout, which a plan keeps as it goes along; asked of a cluster, it is made for that
//! one question.

mod coming;
mod cured;
mod eligible;
mod layout;
mod pace;
mod site;
mod stops;
mod targets;
mod victims;

use std::collections::BTreeSet;

pub(super) use self::{
    cured::{MayGo, curable as curable_in, surely_curing_surge as surely_curing_surge_in},
    eligible::Eligible,
    layout::{Layout, Place, Ties},
    pace::{Paced, paced_surge as paced_surge_in},
    targets::{Aimed, MOST_TARGETS, Sought, targets as targets_in},
    victims::victims as victims_in,
};
use super::{
    imbalance,
    model::{Cluster, ContainerInstanceArn, ServiceName, TaskArn},
    placement::{Index, occupancy::Occupancy},
    several,
    tasks::Tasks,
    view,
};

/// The misplaced tasks of one service; nothing where it is not measured.
pub fn misplaced(cluster: &Cluster, service: &ServiceName) -> u32 {
    imbalance::misplaced(cluster, service)
}

/// Which tasks should go, so that of those that stay the fewest are misplaced, and on the way there each level of domains
/// stays as even as can be: one after another from the fullest domain, level by level; among equal ones from the fullest
/// instance, the youngest there. Never one that is spared, nor one that isn't ready or sits where ECS wouldn't place it.
///
/// ECS puts the next tasks into the emptiest zone. Where the next round would therefore cure less than it could, the victims are
/// taken as if what is missing were there already: then the zones that miss more are emptier by just that much, and fill first.
/// Where not even the next task would land in a zone in which one is missing, the victims are taken there first.
pub fn victims(
    cluster: &Cluster,
    service: &ServiceName,
    tasks: &Tasks,
    spared: &BTreeSet<TaskArn>,
    number: u32,
) -> BTreeSet<TaskArn> {
    let may_go = |task: &TaskArn| tasks.ready.contains(task) && !spared.contains(task);
    asked(cluster, service, number, |layout| victims_in(layout, &may_go, number)).unwrap_or_default()
}

/// Which tasks, at most `most`, are worth stopping now: each of them is one too many where it is, and ECS will put its replacement
/// where one is missing. Never one that is spared, nor one that isn't ready or sits where ECS wouldn't place it.
pub fn worthwhile_stops(
    cluster: &Cluster,
    service: &ServiceName,
    tasks: &Tasks,
    spared: &BTreeSet<TaskArn>,
    most: u32,
) -> BTreeSet<TaskArn> {
    let may_go = |task: &TaskArn| tasks.ready.contains(task) && !spared.contains(task);
    asked(cluster, service, most, |layout| stops::worthwhile_stops(layout, &may_go, most)).unwrap_or_default()
}

/// How many tasks, at most `most`, are worth starting on top now: each of them lands, by ECS's documented rules, where one
/// is missing, so that as many old ones can go and as many fewer are misplaced. Where none would, a few are worth starting
/// if after them the next ones do: see [`victims`].
///
/// A few less where that spares a round: the last round can cure all that is left only if its tasks fill the domains of the first
/// level evenly, since in which of several that are equal ECS begins is not known.
pub fn paced_surge(cluster: &Cluster, service: &ServiceName, spared: &BTreeSet<TaskArn>, most: u32) -> u32 {
    if several::is_shared_out(cluster, service) {
        return u32::try_from(several::starts(cluster, service, spared, most).len()).unwrap_or(u32::MAX);
    }
    let may_go = |task: &TaskArn| !spared.contains(task);
    asked(cluster, service, most, |layout| paced_surge_in(layout, &may_go, most).number()).unwrap_or(0)
}

/// Where ECS will put the service's next tasks, by its documented rules: of the instances that may take one and have room,
/// those in the domain with the fewest tasks of the service, level by level. Fewer than asked where room runs out.
/// Which of several equal ones it takes is not documented; here it is the one with the most room, then by ARN.
pub fn placements(cluster: &Cluster, service: &ServiceName, number: u32) -> Vec<ContainerInstanceArn> {
    let placements = |layout: &Layout<'_>| {
        let places = layout.predict(number, Ties::MostFree).into_iter();
        places.map(|place| layout.arn_of(place).clone()).collect()
    };
    asked(cluster, service, number, placements).unwrap_or_default()
}

/// Asks a question of a service as it is in a cluster, which is about at most `more` further tasks at once.
pub(super) fn asked<Answer>(
    cluster: &Cluster,
    service: &ServiceName,
    more: u32,
    ask: impl FnOnce(&Layout<'_>) -> Answer,
) -> Option<Answer> {
    let cluster = &*view::alone(cluster, service);
    let index = Index::new(cluster);
    let ledger = Occupancy::read(&index);
    let service = cluster.services.get(service)?;
    // One round, and the next.
    let more = (more as usize).saturating_mul(2).saturating_add(1);
    Layout::of(&ledger, &index, &mut Eligible::default(), service, more).map(|layout| ask(&layout))
}
