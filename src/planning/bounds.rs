//! How few and how many tasks of a service may run at a time, and how long one may take to start: its owner's bounds.

use std::time::Duration;

use super::{
    model::{Service, TaskDefinition},
    placement::are_zones_left_to_ecs,
    policy::Policy,
    readiness::{SETTLING, is_checked},
    settings::ServiceSettings,
};

/// What a new task may need until it runs, before its grace period for health checks begins.
const UNTIL_RUNNING: Duration = Duration::from_mins(1);
/// What a step needs beside its start: ECS decides within this who goes.
const STEP_ENDS: Duration = Duration::from_mins(1);

/// Elastic Load Balancing's default deregistration delay: so long what made way drains its connections and holds its capacity, and a
/// deployment is completed only after it. A scale-in needs no wait for it [API elbv2, `deregistration_delay.timeout_seconds`].
pub const DRAINS: Duration = Duration::from_mins(5);

/// The fewest healthy tasks that the service's owner allows: ⌈desired × minimumHealthyPercent⌉ [API, DeploymentConfiguration].
pub fn floor(service: &Service) -> u32 {
    let tasks = u64::from(service.desired_count) * u64::from(service.minimum_healthy_percent);
    u32::try_from(tasks.div_ceil(100)).unwrap_or(u32::MAX)
}

/// The most RUNNING, PENDING and STOPPING tasks together that the service's owner allows, by the desired count before a step:
/// ⌊desired × maximumPercent⌋ [API, DeploymentConfiguration].
pub fn ceiling(service: &Service) -> u32 {
    let tasks = u64::from(service.desired_count) * u64::from(service.maximum_percent);
    u32::try_from(tasks / 100).unwrap_or(u32::MAX)
}

/// How many tasks may be started on top of the desired count at a time, where none is stopping.
pub fn on_top(service: &Service) -> u32 {
    ceiling(service).saturating_sub(service.desired_count)
}

/// Whether a deployment of the service can go forward: its owner allows one task more than are desired, or one fewer. Else neither
/// may a new task start nor an old one stop, and the deployment stands still for good.
pub fn may_deploy(service: &Service) -> bool {
    on_top(service) > 0 || floor(service) < service.desired_count
}

/// Whether `auto` may stop tasks of the service before others have started: its owner allows one fewer, no load balancer sends
/// the stopped one requests, and ECS doesn't keep the zones' counts.
pub fn may_stop_first(service: &Service) -> bool {
    floor(service) < service.desired_count
        && service.target_groups.is_empty()
        && service.classic_load_balancers.is_empty()
        && !service.has_health_elsewhere
        && !are_zones_left_to_ecs(service)
}

/// How long a new task of the service may take until it is healthy: as its owner's tag says; else as the run's settings say,
/// and as long as its own grace period for health checks lasts.
pub fn start_wait(service: &Service, settings: &ServiceSettings, policy: &Policy) -> Duration {
    settings.task_timeout.unwrap_or_else(|| {
        let grace = Duration::from_secs(service.health_check_grace_period_seconds.into());
        if grace.is_zero() { policy.task_timeout } else { policy.task_timeout.max(UNTIL_RUNNING + grace) }
    })
}

/// The shortest deadline within which a step of the service can come to its end, if that is longer than `left`.
pub fn deadline_needed(
    service: &Service,
    settings: &ServiceSettings,
    policy: &Policy,
    left: Duration,
) -> Option<Duration> {
    let needed = start_wait(service, settings, policy) + STEP_ENDS;
    (needed > left).then_some(needed)
}

/// Whether a step can come to its end in what is `left` of the run's time, as far as that is known. Else its new tasks would be
/// started just to go again.
///
/// It is known of a slow starter: a service whose owner says, by a tag or by its grace period for health checks, how long a start
/// takes. And of a service without any health check: its new tasks count as healthy only some time after they run. Any other step
/// is begun, and undone when the time is over.
pub fn fits(
    service: &Service,
    definition: Option<&TaskDefinition>,
    settings: &ServiceSettings,
    left: Duration,
) -> bool {
    let grace = Duration::from_secs(service.health_check_grace_period_seconds.into());
    let known = settings.task_timeout.or_else(|| (!grace.is_zero()).then(|| UNTIL_RUNNING + grace));
    let needed = match known {
        Some(start) => start + STEP_ENDS,
        None if is_checked(service, definition) => Duration::ZERO,
        None => SETTLING,
    };
    needed <= left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::testing;

    fn service(settings: &str) -> Service {
        let mut cluster = testing::cluster(&format!("a i-1\nservice web {settings}"));
        cluster.services.remove(&"web".into()).unwrap()
    }

    #[test]
    fn the_fewest_are_rounded_up_and_the_most_down() {
        for (settings, fewest, most) in [
            ("desired=4", 4, 8),
            ("desired=4 min=0 max=100", 0, 4),
            ("desired=3 min=50 max=150", 2, 4),
            ("desired=1 min=50 max=150", 1, 1),
            ("desired=1 min=0 max=199", 0, 1),
            ("desired=1 max=200", 1, 2),
            ("desired=10 min=75 max=125", 8, 12),
            ("desired=0", 0, 0),
            // What ECS would not take is no reason to start fewer than none.
            ("desired=4 max=50", 4, 2),
        ] {
            let service = service(settings);
            assert_eq!((floor(&service), ceiling(&service)), (fewest, most), "{settings}");
            assert_eq!(on_top(&service), most.saturating_sub(service.desired_count), "{settings}");
        }
    }

    #[test]
    fn a_deployment_goes_forward_where_one_task_more_or_one_fewer_may_run() {
        for (settings, expected) in [
            ("desired=4", true),
            ("desired=4 max=100", false),
            ("desired=4 max=124", false),
            ("desired=4 max=125", true),
            ("desired=4 min=76 max=100", false),
            ("desired=4 min=75 max=100", true),
            ("desired=3 min=75 max=120", false),
            ("desired=3 min=66 max=120", true),
            ("desired=1 min=0 max=100", true),
            ("desired=1 min=1 max=199", false),
        ] {
            assert_eq!(may_deploy(&service(settings)), expected, "{settings}");
        }
    }

    #[test]
    fn tasks_may_go_first_where_nobody_misses_them() {
        for (settings, expected) in [
            ("desired=4 min=50", true),
            ("desired=4", false),
            ("desired=1 min=0", true),
            ("desired=1 min=50", false),
            ("desired=4 min=50 lb=true", false),
            ("desired=4 min=50 azrebalancing=true", false),
            ("desired=0 min=0", false),
        ] {
            assert_eq!(may_stop_first(&service(settings)), expected, "{settings}");
        }
        let mut behind_a_classic_one = service("desired=4 min=50");
        behind_a_classic_one.classic_load_balancers.push("lb-1".to_owned());
        assert!(!may_stop_first(&behind_a_classic_one));
        let mut behind_a_lattice = service("desired=4 min=50");
        behind_a_lattice.has_health_elsewhere = true;
        assert!(!may_stop_first(&behind_a_lattice));
    }

    #[test]
    fn a_step_of_a_slow_starter_begins_only_if_it_fits_in_what_is_left() {
        for (tag, grace, left, expected) in [
            ("", 240, 360, true),
            ("", 240, 359, false),
            ("5m", 0, 360, true),
            ("5m", 0, 359, false),
            ("5m", 900, 360, true),
        ] {
            let tag = if tag.is_empty() { String::new() } else { format!("tag.ecs-rebalancer:task-timeout={tag}") };
            assert_eq!(fits_in(&tag, grace, left), expected, "{tag} {grace} {left}");
        }
    }

    #[test]
    fn without_a_health_check_a_step_begins_only_if_its_tasks_can_count_as_healthy_in_what_is_left() {
        for (settings, left, expected) in
            [("", 40, true), ("", 39, false), ("lb=true", 1, true), ("tag.note=health-check", 1, true)]
        {
            assert_eq!(fits_in(settings, 0, left), expected, "{settings} {left}");
        }
    }

    fn fits_in(drawn: &str, grace: u32, seconds_left: u64) -> bool {
        let mut cluster = testing::cluster(&format!("a i-1\nservice web {drawn}"));
        let mut service = cluster.services.remove(&"web".into()).unwrap();
        service.health_check_grace_period_seconds = grace;
        let settings = ServiceSettings::of(&service, &Policy::default()).unwrap();
        let mut definition = cluster.task_definitions[&service.task_definition].clone();
        definition.checked_containers.extend(drawn.contains("health-check").then(|| "web".to_owned()));
        fits(&service, Some(&definition), &settings, Duration::from_secs(seconds_left))
    }

    #[test]
    fn a_slow_starter_is_waited_for_as_its_owner_says() {
        let minutes = Duration::from_mins;
        for (tag, grace, wait, needed) in [
            ("", 0, minutes(5), None),
            ("", 60, minutes(5), None),
            ("", 240, minutes(5), None),
            ("", 300, minutes(6), None),
            ("", 900, minutes(16), Some(minutes(17))),
            ("10m", 900, minutes(10), None),
            ("20m", 0, minutes(20), Some(minutes(21))),
            ("14m", 0, minutes(14), None),
            ("841s", 0, Duration::from_secs(841), Some(Duration::from_secs(901))),
        ] {
            let tag = if tag.is_empty() { String::new() } else { format!("tag.ecs-rebalancer:task-timeout={tag}") };
            let mut service = service(&tag);
            service.health_check_grace_period_seconds = grace;
            let policy = Policy::default();
            let settings = ServiceSettings::of(&service, &policy).unwrap();
            assert_eq!(start_wait(&service, &settings, &policy), wait, "{tag} {grace}");
            assert_eq!(deadline_needed(&service, &settings, &policy, policy.deadline), needed, "{tag} {grace}");
        }
    }
}
