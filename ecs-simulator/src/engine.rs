//! The loop: what is due happens, in order, up to the moment of each request.

use crate::{
    instances, life,
    moment::Moment,
    outside, scheduler,
    world::{Due, World},
};

/// Looks at everything once, before anything happens.
pub(crate) fn begin(world: &mut World) {
    outside::expect(world);
    let names: Vec<String> = world.state.services.keys().cloned().collect();
    for name in names {
        world.note_counts(&name);
        world.wake(&name);
        scheduler::expect_steadiness(world, &name);
    }
    life::resume(world);
    world.remember();
}

/// Lets happen what is due until then.
pub(crate) fn advance(world: &mut World, now: Moment) {
    while let Some(due) = world.take_due(now) {
        match due {
            Due::Scheduler(service) => scheduler::look(world, &service),
            Due::Steady(service) => scheduler::confirm_steadiness(world, &service),
            Due::Task(task, version) if world.state.tasks.get(&task).is_some_and(|it| it.version == version) => {
                life::go_on(world, &task);
            }
            Due::Task(..) => {}
            Due::Forgotten(task) => drop(world.state.tasks.remove(&task)),
            Due::Health(task) => life::decide_health(world, &task),
            Due::Target(task) => life::decide_target(world, &task),
            Due::Settled(task) => world.note_task(&task),
            Due::Launched(group) => instances::join_group(world, &group),
            Due::Outside(outside) => outside::happen(world, outside),
        }
        world.remember();
    }
    world.now = world.now.max(now);
}
