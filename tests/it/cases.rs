//! Clusters as people have them, beside the project in `../shared/cases`: each with what its README says is right.

use std::{collections::BTreeSet, fs, path::Path};

use ecs_rebalancer::{
    config::{Clusters, Config},
    rehearsal::Rehearsal,
    report::{InstanceReport, Outcome, Report, ServiceReport, Summary},
};
use ecs_simulator::{Options, snapshot::Snapshot};

use crate::{
    estimate::by_default,
    snapshot,
    support::{behaviours, config, in_simulated_time, leftovers, options, rehearse, spread_of},
};

/// A case's cluster; none where the folder is absent, which is said.
fn case(name: &str) -> Option<Snapshot> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases").join(name).with_extension("json");
    let Ok(text) = fs::read_to_string(&path) else {
        println!("skipped: {} is absent", path.display());
        return None;
    };
    Some(Snapshot::from_json(&text).unwrap_or_else(|error| panic!("{name}: {error:#}")))
}

/// A run on a case as its README has it: never for the instances' load alone, unless that is said.
fn run_with(cluster: &Snapshot, settings: &str, behaviour: &[&str], faults: &[&str]) -> (Report, Rehearsal) {
    run_in(cluster, settings, options(1, behaviour, faults))
}

fn run_in(cluster: &Snapshot, settings: &str, options: Options) -> (Report, Rehearsal) {
    let load = if settings.contains("LOAD_THRESHOLD") { "" } else { " LOAD_THRESHOLD=100" };
    let name = cluster.cluster_name().to_owned();
    let config = Config { clusters: Clusters::Named(vec![name.clone()]), ..config(&format!("{settings}{load}")) };
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(cluster, options).unwrap();
        let report = rehearsal.run(&config, &name, "run-1").await;
        (report, rehearsal)
    })
}

fn run(cluster: &Snapshot, settings: &str) -> (Report, Rehearsal) {
    run_with(cluster, settings, &[], &[])
}

fn service<'a>(report: &'a Report, name: &str) -> &'a ServiceReport {
    report.services.iter().find(|service| service.name == name).unwrap_or_else(|| panic!("no service {name}"))
}

/// Misplaced and stuck before, moves planned, tasks started, errors, and why a service is left alone.
fn told(report: &Report, rehearsal: &Rehearsal, name: &str) -> String {
    let before = report.before.as_ref().unwrap();
    let started = rehearsal.simulator().timeline().tasks_started();
    let (misplaced, stuck, planned) = (before.misplaced_tasks, before.stuck_tasks, report.plan.len());
    let why = service(report, name).reason_code;
    format!("{misplaced} misplaced, {stuck} stuck, {planned} planned, {started} started, {:?} {why}", report.errors)
}

/// Runs a case under every value of every switch, and compares what is told each time.
#[track_caller]
fn check(name: &str, service: &str, settings: &str, expected: &str) {
    let Some(cluster) = case(name) else { return };
    for switch in behaviours() {
        let (report, rehearsal) = run_with(&cluster, settings, &[&switch], &[]);
        assert_eq!(told(&report, &rehearsal, service), expected, "{name} with {switch}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{name} with {switch}");
    }
}

#[test]
fn several_capacity_providers() {
    check("providers-zones-even", "web", "", "0 misplaced, 0 stuck, 0 planned, 0 started, [] ");
    // The next tasks all go to spot, and of od's two one would have to go.
    check("provider-base", "web", "", "1 misplaced, 1 stuck, 0 planned, 0 started, [] several-providers");
    let nowhere = "2 misplaced, 2 stuck, 0 planned, 0 started, [] several-providers";
    check("provider-without-instances", "web", "", nowhere);
    let Some(cluster) = case("provider-without-instances") else { return };
    let (report, _) = run(&cluster, "DRY_RUN=true");
    let why = &service(&report, "web").reason;
    assert!(why.ends_with("a replacement would go to spot, which has no container instance that takes tasks"), "{why}");
}

/// The tasks on od (container instances 1 and 2) and on spot (3 and 4).
fn shares(rehearsal: &Rehearsal) -> [usize; 2] {
    let tasks = rehearsal.simulator().service("web").unwrap().tasks;
    [["/1", "/2"], ["/3", "/4"]]
        .map(|of_it| tasks.values().filter(|on| of_it.iter().any(|name| on.ends_with(name))).count())
}

#[test]
fn each_capacity_provider_keeps_its_tasks_whichever_ecs_chooses() {
    let Some(cluster) = case("provider-weights") else { return };
    let (report, rehearsal) = run(&cluster, "");
    assert_eq!(report.plan.len(), 1, "{:?}", report.plan);
    assert_eq!(spread_of(&rehearsal, "web"), "1=1 2=1 3=1 4=1", "{report:?}");
    for switch in behaviours() {
        for settings in ["", "STRATEGY=surge SURGE=100", "DEADLINE=6m"] {
            let (report, rehearsal) = run_with(&cluster, settings, &[&switch], &[]);
            assert_eq!(shares(&rehearsal), [2, 2], "{switch} {settings}: {}", spread_of(&rehearsal, "web"));
            let after = report.after.map_or(1, |after| after.misplaced_tasks);
            assert!(after <= 1, "{switch} {settings}: {}", spread_of(&rehearsal, "web"));
            let lowest = rehearsal.simulator().timeline().services()["web"].lowest_healthy;
            assert!(lowest >= 4, "{switch} {settings}: {lowest}");
            assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{switch} {settings}");
        }
    }
}

#[test]
fn tasks_that_may_not_run_beside_another_or_whose_data_stay_behind() {
    check("maximum-100", "worker", "", "2 misplaced, 2 stuck, 0 planned, 0 started, [] at-maximum");
    for load in ["LOAD_THRESHOLD=100", "LOAD_THRESHOLD=0"] {
        let steered = format!("STEER=true {load}");
        let nothing = |why: &str| format!("0 misplaced, 0 stuck, 0 planned, 0 started, [] {why}");
        let (maximum, data) = if load == "LOAD_THRESHOLD=0" { ("at-maximum", "keeps-data") } else { ("", "") };
        check("never-two-singletons", "db0", &steered, &nothing(maximum));
        check("host-path-singletons", "db0", &steered, &nothing(data));
    }
}

#[test]
fn an_agent_that_reconnects_sets_nothing_off() {
    let Some(cluster) = case("agent-blip-8-services") else { return };
    let (report, rehearsal) = run(&cluster, "");
    assert_eq!(report.before.as_ref().unwrap().misplaced_tasks, 0);
    assert_eq!(rehearsal.simulator().timeline().tasks_started(), 0);
}

#[test]
fn where_a_task_may_go() {
    check("trunk-ten-of-ten", "web", "", "2 misplaced, 2 stuck, 0 planned, 0 started, [] no-room");
    check("m5-4xlarge-interfaces", "web", "", "2 misplaced, 0 stuck, 2 planned, 2 started, [] ");
    check("subnets-two-of-three-zones", "web", "", "0 misplaced, 0 stuck, 0 planned, 0 started, [] ");
    for gpus in ["gpu-ALL", "gpu-share"] {
        check(gpus, "web", "", "0 misplaced, 0 stuck, 0 planned, 0 started, [] ");
    }
    let java = "0 misplaced, 0 stuck, 0 planned, 0 started, [] unreadable-placement-constraint";
    check("constraint-java-pattern", "web", "", java);
    let Some(cluster) = case("interfaces-shared-by-moves") else { return };
    let (report, _) = run(&cluster, "DRY_RUN=true");
    assert_eq!(report.before.as_ref().unwrap().misplaced_tasks, 3, "what it can never hold is no imbalance");
    assert_eq!(report.plan.len(), 3);
    let (report, _) = run(&cluster, "");
    assert_eq!((service(&report, "web").moved, report.after.as_ref().unwrap().misplaced_tasks), (3, 0));
    assert_eq!(report.errors, Vec::<String>::new());
}

#[test]
fn a_zone_rebalancing_that_is_over_holds_nobody_up() {
    for name in ["az-stopped", "az-now-disabled"] {
        let Some(cluster) = case(name) else { return };
        let (report, _) = run(&cluster, "");
        assert_eq!((report.before.as_ref().unwrap().misplaced_tasks, service(&report, "web").moved), (1, 1), "{name}");
    }
}

#[test]
fn a_slow_starter_is_named_with_the_deadline_that_it_needs() {
    check("slow-start-grace-900", "web", "", "2 misplaced, 2 stuck, 0 planned, 0 started, [] deadline-too-short");
    let Some(cluster) = case("slow-start-grace-900") else { return };
    let (report, _) = run(&cluster, "DRY_RUN=true");
    let why = &service(&report, "web").reason;
    assert!(why.ends_with("REBALANCER_DEADLINE must be 17m at least"), "{why}");
    let (report, _) = run(&cluster, "DRY_RUN=true DEADLINE=17m");
    assert_eq!(report.plan.len(), 2);
}

#[test]
fn as_even_as_it_gets_with_gpus() {
    let drawing = "a i-1 web web web web gpus=4\na i-2 gpus=1\nservice web gpus=1 strategy=spread:instanceId";
    let (report, rehearsal) = rehearse(drawing, "LOAD_THRESHOLD=100", options(0, &[], &[]));
    assert_eq!(report.before.as_ref().unwrap().misplaced_tasks, 1);
    assert_eq!(report.after.as_ref().unwrap().misplaced_tasks, 0);
    assert_eq!(spread_of(&rehearsal, "web"), "i-1=3 i-2=1");
}

#[test]
fn no_task_of_ec2_goes_to_an_external_instance() {
    let Some(cluster) = case("ecs-anywhere-beside-ec2") else { return };
    for switch in behaviours() {
        let (report, rehearsal) = run_with(&cluster, "", &[&switch], &[]);
        assert_eq!(service(&report, "web").moved, 2, "{switch}: {:?}", report.errors);
        assert_eq!(spread_of(&rehearsal, "web"), "1=2 2=2", "{switch}");
    }
}

#[test]
fn what_is_not_whole_or_not_listed_is_rehearsed_as_it_was_read() {
    for name in ["task-on-unlisted-instance", "service-being-deleted", "constraint-java-pattern"] {
        let Some(cluster) = case(name) else { return };
        let settings = Config {
            clusters: Clusters::Named(vec![cluster.cluster_name().to_owned()]),
            ..config("DRY_RUN=true LOAD_THRESHOLD=100")
        };
        snapshot::check_with(name, &cluster, settings);
    }
}

#[test]
fn one_answer_pasted_whole_is_accepted() {
    check("one-definition-answer", "web", "", "2 misplaced, 0 stuck, 2 planned, 2 started, [] ");
}

#[test]
fn a_replacement_beside_a_task_that_drains_waits_for_it() {
    let Some(cluster) = case("beside-a-draining-task") else { return };
    // Five minutes are a task's time by default, and just as long the other drains.
    let (report, rehearsal) = run_with(&cluster, "", &["deregistration-delay=300s"], &[]);
    assert_eq!((report.outcome, service(&report, "web").moved), (Outcome::Rebalanced, 2), "{report:#?}");
    let simulator = rehearsal.simulator();
    let counts = &simulator.timeline().services()["web"].counts;
    let first = counts.iter().find(|counts| counts.running > 4).unwrap().at;
    assert!(first.0 - simulator.start().0 >= 300_000, "it didn't wait until the other had drained: {counts:?}");
    drop(simulator);
    let (report, rehearsal) =
        run_with(&cluster, "", &["deregistration-delay=300s", "resources-freed=when-stopped"], &[]);
    let nowhere = "2 misplaced, 2 stuck, 0 planned, 0 started, [] no-room";
    assert_eq!(told(&report, &rehearsal, "web"), nowhere);
    assert!(service(&report, "web").reason.ends_with("140 MiB of memory short"), "{}", service(&report, "web").reason);
}

/// Whichever of equal container instances ECS takes. In four of these ten runs it puts a task beside one that drains longer than a
/// task may take to start.
#[test]
fn forty_services_are_evened_out_by_any_luck() {
    let Some(cluster) = case("forty-services") else { return };
    for seed in 1..=10 {
        let settings = "MAX_SERVICES=40 LOAD_THRESHOLD=25 DEADLINE=1h";
        let (report, rehearsal) = run_in(&cluster, settings, options(seed, &[], &[]));
        let after = report.after.as_ref().unwrap();
        assert_eq!((report.outcome, &report.errors[..]), (Outcome::Rebalanced, &[][..]), "seed {seed}");
        assert!(after.load_imbalance_percent < 25.0 && after.empty_instances == 0, "seed {seed}: {after:?}");
        assert_eq!(far_from_mean(&report), far_in_pictures(&report), "seed {seed}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "seed {seed}");
    }
}

/// By luck one run takes longer than another: on average it is as a dry run tells.
#[test]
fn a_dry_run_tells_about_what_it_takes_to_level_forty_services() {
    let Some(cluster) = case("forty-services") else { return };
    let mut shares = Vec::new();
    for seed in 1..=8 {
        let settings = "MAX_SERVICES=40 LOAD_THRESHOLD=25 DEADLINE=1h TASK_TIMEOUT=15m";
        let (report, _) = run_in(&cluster, settings, by_default(seed));
        let (told, took) = (report.estimate.unwrap(), report.duration_seconds);
        let moved: u32 = report.services.iter().map(|service| service.moved).sum();
        let seconds_told = f64::from(u32::try_from(told.seconds).unwrap());
        shares.push([took / seconds_told, f64::from(moved) / f64::from(told.restarts)]);
    }
    for kind in [0, 1] {
        let average = shares.iter().map(|share| share[kind]).sum::<f64>() / 8.0;
        assert!((0.8..1.2).contains(&average), "{shares:?}");
    }
}

/// The container instances that the report names as far from the mean, each of which has a reason.
fn far_from_mean(report: &Report) -> BTreeSet<String> {
    let far = report.far_from_mean.as_ref().unwrap();
    let instances = far.under_half.iter().chain(&far.over_twice);
    let named = instances.map(|it| {
        assert_eq!(it.reason_code, "below-threshold", "{it:?}");
        it.place.name().to_owned()
    });
    named.collect()
}

/// Those that the picture shows with less than half or more than twice of what all have on average. There each percent is rounded
/// up, and no instance of this case is near enough to a bound for that to matter.
fn far_in_pictures(report: &Report) -> BTreeSet<String> {
    let instances = &report.pictures.after;
    let share = |it: &InstanceReport| u64::from(it.reserved_cpu_percent.max(it.reserved_memory_percent));
    let (all, number) = (instances.iter().map(share).sum::<u64>(), instances.len() as u64);
    let far = instances.iter().filter(|it| share(it) * number * 2 < all || share(it) * number > all * 2);
    far.map(|it| it.name.clone()).collect()
}

#[test]
fn an_only_task_makes_way_across_zones() {
    let Some(cluster) = case("make-room-across-zones") else { return };
    for switch in behaviours().filter(|switch| switch != "constraints-bind=next-deployment") {
        let (report, rehearsal) = run_with(&cluster, "STEER=true", &[&switch], &[]);
        assert_eq!((report.outcome, service(&report, "A").moved), (Outcome::Rebalanced, 1), "{switch}: {report:#?}");
        assert_eq!(spread_of(&rehearsal, "C").matches("=1").count(), 1, "{switch}");
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{switch}");
    }
}

#[test]
fn blue_and_green_are_healthy_in_either_target_group() {
    let Some(cluster) = case("bluegreen") else { return };
    for live in ["first", "second"] {
        for switch in behaviours() {
            let live = format!("live-target-group={live}");
            let (report, rehearsal) = run_with(&cluster, "", &[&live, &switch], &[]);
            assert_eq!((report.outcome, service(&report, "web").moved), (Outcome::Rebalanced, 1), "{live} {switch}");
            assert!(report.duration_seconds < 540.0, "{live} {switch}: {} s", report.duration_seconds);
            let simulator = rehearsal.simulator();
            assert!(simulator.timeline().services()["web"].lowest_healthy >= 2, "{live} {switch}");
        }
    }
}

#[test]
fn a_slow_starter_is_waited_for_as_long_as_its_grace_period() {
    let Some(cluster) = case("slow-start-grace-900") else { return };
    let (report, _) = run_with(&cluster, "DEADLINE=1h", &["target-checks=5x30s"], &["slow-start=15"]);
    assert_eq!((report.outcome, service(&report, "web").moved), (Outcome::Rebalanced, 2), "{report:#?}");
    assert!(report.duration_seconds > 300.0, "it started in {} s, which is not slow", report.duration_seconds);
}

#[test]
fn what_auto_scaling_did_meanwhile_is_told() {
    let Some(cluster) = case("scaled-meanwhile") else { return };
    let (report, rehearsal) = run_with(&cluster, "", &[], &["auto-scaling=15"]);
    assert_eq!(report.outcome, Outcome::Failed);
    let told = "web: the desired count was set to 8 by somebody else while the run had raised it by 1; that change stands, and up to \
                1 of it may be the run's: check whether 7 is meant";
    assert_eq!(report.errors, [told]);
    assert_eq!(rehearsal.simulator().service("web").unwrap().desired_count, 8);
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
}

#[test]
fn protection_that_comes_late_or_is_refused_stops_the_run() {
    let Some(cluster) = case("twelve") else { return };
    // The scheduler knows of it by the time at which the desired count is lowered.
    let (report, rehearsal) = run_with(&cluster, "", &[], &["late-protection=5"]);
    assert_eq!((report.outcome, service(&report, "web").moved), (Outcome::Rebalanced, 6), "{:?}", report.errors);
    assert_eq!(rehearsal.simulator().timeline().tasks_started(), 6);
    for (fault, told) in [
        (
            "late-protection=60",
            "web: ECS stopped protected tasks, so this run lowers no more desired counts of others: ",
        ),
        ("refused-protection=1", "web: ECS refused to protect tasks, so the step was undone: "),
        ("refused-protection=0.5", "web: ECS refused to protect tasks, so the step was undone: "),
    ] {
        let (report, rehearsal) = run_with(&cluster, "", &["scale-in=newest"], &[fault]);
        assert_eq!((report.outcome, report.exit_status()), (Outcome::Failed, 1), "{fault}");
        assert!(report.errors[0].starts_with(told), "{fault}: {:?}", report.errors);
        let simulator = rehearsal.simulator();
        let history = &simulator.timeline().services()["web"];
        // A quarter of twelve is started at a time: no second step is begun.
        assert!(history.started <= 3 && history.lowest_healthy >= 12, "{fault}: {history:?}");
        assert_eq!(simulator.service("web").unwrap().desired_count, 12, "{fault}");
        drop(simulator);
        assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new(), "{fault}");
    }
}

#[test]
fn constraints_that_take_effect_late_end_the_steering() {
    let Some(cluster) = case("consol") else { return };
    let steered = "MODE=consolidate STEER=true";
    let (report, rehearsal) = run_with(&cluster, steered, &["constraints-bind=next-deployment"], &[]);
    assert_eq!(report.outcome, Outcome::Failed);
    let told = "ECS placed a task elsewhere than the placement constraint asks, so this run steers no more";
    assert!(report.errors.iter().any(|error| error.contains(told)), "{:?}", report.errors);
    // What landed where it was meant by chance stays; those on the way then are undone, and none is begun after.
    let moved = report.moved();
    let most = moved + config("").policy.parallel;
    assert!(rehearsal.simulator().timeline().tasks_started() <= most, "{report:#?}");
    assert_eq!(leftovers(&rehearsal, &[]), Vec::<String>::new());
    let misses = rehearsal.simulator().service_names().into_iter().filter(|name| {
        let tags = rehearsal.simulator().service(name).unwrap().tags;
        tags.get("ecs-rebalancer:last").is_some_and(|note| note.contains("misses=1"))
    });
    assert!(misses.count() > 0, "the next run backs off");
}

#[test]
fn a_note_that_is_none_of_a_run_s_changes_no_count() {
    for name in ["note-a-month-old", "note-to-zero"] {
        let Some(cluster) = case(name) else { return };
        for settings in ["", "STEER=true", "EXCLUDE=web", "THRESHOLD=0"] {
            let (report, rehearsal) = run(&cluster, settings);
            let simulator = rehearsal.simulator();
            assert_eq!(simulator.service("web").unwrap().desired_count, 3, "{name} {settings}");
            assert_eq!(simulator.timeline().tasks_stopped(), 0, "{name} {settings}");
            assert!(report.errors[0].starts_with("web: "), "{name} {settings}: {:?}", report.errors);
        }
    }
}

#[test]
fn a_run_ends_where_its_plan_ends() {
    let Some(cluster) = case("planned-moves-made-by-hand") else { return };
    let (planned, _) = run(&cluster, "THRESHOLD=0 DRY_RUN=true");
    for switch in behaviours() {
        let (report, rehearsal) = run_with(&cluster, "THRESHOLD=0", &[&switch], &[]);
        assert_eq!(report.plan, planned.plan, "{switch}");
        if switch == "resources-freed=when-stopped" {
            // What still stops is counted in what its container instance has free.
            let misplaced = |summary: &Option<Summary>| summary.as_ref().map(|summary| summary.misplaced_tasks);
            assert_eq!(misplaced(&report.after), misplaced(&planned.predicted), "{switch}");
        } else {
            assert_eq!(report.after, planned.predicted, "{switch}");
        }
        let made = u32::try_from(report.moves_made.len()).unwrap();
        assert_eq!(planned.estimate.unwrap().restarts, made, "{switch}: as many restarts as the dry run told");
        assert_eq!(rehearsal.simulator().timeline().tasks_started(), made, "{switch}");
    }
}
