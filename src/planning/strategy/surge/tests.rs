//! The table of surge: what is remembered, what is shown, and the step that follows.

use super::*;
use crate::planning::{
    bounds::ceiling,
    strategy::{
        FailureKind, REFUSALS,
        testing::{Shown, ago, numbers, task, told},
    },
    testing::NOW,
};

/// Two tasks on one of two container instances: one is misplaced.
const TWO: &str = "a i-1 web web\nb i-2";
/// The same with a third task, on the empty one.
const THREE: &str = "a i-1 web web\nb i-2 web";
/// This run's note, as the service carries it.
const OURS: &str = "tag=from=2_to=3_run=r1_at=1799999940_protect=20";
const ANOTHERS: &str = "tag=from=2_to=3_run=r9_at=1799999940_protect=20";

/// What is remembered: the phase, then words.
///
/// Phases: `between`, `noted`, `raised`, `chosen`, `lowered`, `clearing`. Words: `since=SECONDS` (60) `written=SECONDS` (60)
/// `mine=1,2` (protected by this run until in 20 minutes) `asked=1` (the answer was lost) `in-doubt=1` (one answer of several was)
/// `protected-at=SECONDS` `victims=1` `among=1,2` (of which these were chosen) `leaving=1` (it was in a scale-in of this run before) `steered` `unsettled=SECONDS`
/// `lowered-at=SECONDS` (ago, by this run) `lowering-shown` (a look has shown that) `perhaps-raised` (the answer was lost) `idle=ROUNDS` `undo` (the step is to be undone) `level=MOVES` `vain=TRIES` (tasks are levelled).
fn memory(words: &str) -> Surge {
    let mut surge = Surge::new("r1", &"web".into());
    let (mut since, mut victims, mut ending, mut written) = (60, BTreeSet::new(), None, 60);
    let mut words = words.split_whitespace();
    let phase = words.next().unwrap();
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "since" => since = value.parse().unwrap(),
            "written" => written = value.parse().unwrap(),
            "mine" => surge.ours.extend(numbers(value).into_iter().map(|task| (task, Some(ago(-1_200))))),
            "asked" => surge.ours.extend(numbers(value).into_iter().map(|task| (task, None))),
            "protected-at" => surge.protected_at = Some(ago(value.parse().unwrap())),
            "victims" => victims = numbers(value),
            "among" => surge.chosen_among = Some(numbers(value)),
            "steered" => {
                surge.constrained = true;
                surge.targets = BTreeSet::from(["i-2".into()]);
            }
            "in-doubt" => surge.in_doubt = numbers(value),
            "leaving" => surge = surge.after(numbers(value)),
            "unsettled" => surge.unsettled_until = Some(ago(value.parse::<i64>().unwrap() - 60)),
            "idle" => (surge.misplaced, surge.idle_rounds) = (1, value.parse().unwrap()),
            // So many moves are planned, and so many tries in a row came to nothing.
            "level" => surge.goal = Goal::Tries(Tries::to_level(value.parse().unwrap(), None)),
            "vain" => {
                if let Goal::Tries(tries) = &mut surge.goal {
                    (0..value.parse().unwrap()).for_each(|_| tries.tried(0));
                }
            }
            "lowered-at" => surge.lowered_at = Some(ago(value.parse().unwrap())),
            "perhaps-raised" => surge.is_raised = true,
            "lowering-shown" => surge.is_lowering_shown = true,
            "undo" => ending = Some(Ending::Undone("no place".to_owned())),
            _ => panic!("{word} says nothing"),
        }
    }
    if phase != "between" {
        let steer = surge.constrained.then(|| "4f2a".to_owned());
        let spared = Vec::new();
        let note =
            SurgeNote { from: 2, to: 3, run_id: "r1".to_owned(), at: ago(60), protect_minutes: 20, spared, steer };
        surge.note = Some(note);
        surge.written = Some(Written { run_id: "r1".to_owned(), at: ago(written) });
        surge.is_surely_written = true;
        surge.old_tasks = numbers("1,2");
        surge.record.touched = true;
        surge.is_raised |= !matches!(phase, "noted");
    }
    let before = [("1", "i-1"), ("2", "i-1"), ("3", "i-2")].map(|(number, place)| (task(number), place.into()));
    surge.phase = match phase {
        "between" => Phase::Between,
        "noted" => Phase::Noted(surge.targets.clone()),
        "raised" => Phase::Raised(ago(since)),
        "chosen" => Phase::Chosen { since: ago(since), victims, waits: false, ending },
        "lowered" => Phase::Lowered { since: ago(since), victims, before: before.into(), ending },
        "clearing" => Phase::Clearing(ending.unwrap_or(Ending::Spread)),
        _ => panic!("{phase} is no phase"),
    };
    surge
}

#[track_caller]
fn check(drawing: &str, remembered: &str, shown: &str, expected: &str) {
    let shown_words = shown;
    let shown = Shown::new(drawing, shown);
    let step = memory(remembered).next(&shown.seen(), &shown.limits);
    assert_eq!(told(&step), expected, "{drawing}\n{remembered} | {shown_words}");
}

#[test]
fn a_round_begins_with_a_note_unless_something_stands_against_it() {
    check(TWO, "between", "", "note 2 to 3");
    check(TWO, "between", "tasks=unseen", "see tasks");
    check(TWO, "between", "protections=unseen", "see protections 1,2");
    check("a i-1 web\nb i-2 web", "between", "", "done: spread");
    check(TWO, "between", "stop=signal", "done: the run was told to end (SIGTERM)");
    check(TWO, "between", "fits=no", "done: the run's deadline (REBALANCER_DEADLINE) has come");
    check(TWO, "between", "enabled=false", "done: its tag ecs-rebalancer:enabled no longer allows it");
    check(TWO, "between", "deployments=2", "done: a deployment began meanwhile; that change stands");
    check(TWO, "between", "status=draining", "done: the service is being deleted meanwhile; that change stands");
    check(TWO, "between", "gone-service", "done: the service was deleted meanwhile");
    check(
        TWO,
        "between",
        "moves=0",
        "done: the limit of moves (REBALANCER_MAX_MOVES, REBALANCER_PLAN, or the tag ecs-rebalancer:max-moves) is reached",
    );
    // Rounds that don't help end: the third without a cure is not begun.
    check(TWO, "between idle=1", "", "note 2 to 3");
    check(TWO, "between idle=2", "", "done: no further move would help now; 1 task is still misplaced");
    // maximumPercent leaves no capacity for one more.
    let full = "a i-1 web web\nb i-2\nservice web max=100";
    check(full, "between", "", "done: no further move would help now; 1 task is still misplaced");
    // A task that somebody stopped before and that drains still counts: two run, one stops, and three are allowed.
    let three = "a i-1 web web\nb i-2\nservice web max=150";
    check(three, "between", "stopping=unseen", "see who is stopping");
    check(three, "between", "stopping=9", "see why 9 stopped");
    check(three, "between", "stopping=9 died=9", "note 2 to 3");
    check(three, "between leaving=9", "stops-still=9", "wait");
    // Both are protected by the application: nobody could go.
    check(TWO, "between", "protected=1,2", "done: no further move would help now; 1 task is still misplaced");
    check(TWO, "between unsettled=30", "", "wait");
    check(TWO, "between unsettled=60", "", "note 2 to 3");
    check(TWO, "between", "stale=5", "wait");
}

#[test]
fn a_round_is_steered_where_ecs_would_not_do_as_well_or_might_take_what_another_is_steered_to() {
    let by_zone = format!("{TWO}\nservice web strategy=spread:attribute:ecs.availability-zone");
    check(&by_zone, "between", "", "note 2 to 3");
    check(&by_zone, "between", "steer", "note 2 to 3");
    check(TWO, "between", "steer", "note 2 to 3, steered");
    // Another service is steered to i-2: on i-3 nobody is in its way, and where there is no such instance, it waits.
    let two_free = "a i-1 web web\nb i-2\nb i-3\nservice web strategy=spread:attribute:ecs.availability-zone";
    check(two_free, "between", "steer others-target=i-2", "note 2 to 3, steered");
    check(&by_zone, "between", "steer others-target=i-2", "wait");
    check(&by_zone, "between", "steer others-target=i-1", "note 2 to 3, steered");
    // A task of another's that has no place yet may come to i-2, which web is to be steered to; and one that has a place does not.
    let beside = format!("{TWO}\na i-3 api\nservice api desired=1 strategy=spread:attribute:ecs.availability-zone");
    check(&beside, "between", "steer promised=api:2", "wait");
    check(&beside, "between", "steer promised=api:1", "note 2 to 3, steered");
    check(&by_zone, "between", "promised=api:1", "note 2 to 3");
}

#[test]
fn a_noted_count_is_raised_once() {
    check(TWO, "noted", OURS, "count 3");
    check(TWO, "noted perhaps-raised", &format!("{OURS} desired=3"), "wait");
    check(TWO, "noted written=60", "", "wait 0 s");
    check(TWO, "noted written=5", "", "wait");
    check(
        TWO,
        "noted",
        ANOTHERS,
        "done: run r9 has put its note on the service, so this run left everything as it was; that run or the next one finishes it",
    );
    check(TWO, "noted", &format!("{OURS} desired=5"), "clear note");
    check(TWO, "noted", &format!("{OURS} stop=signal"), "clear note");
    check(
        TWO,
        "noted",
        &format!("{OURS} lease=lapsed"),
        "done: the run's lease has lapsed, so it changes nothing any more; the next run finishes it",
    );
    check(TWO, "noted steered", OURS, "attribute on 1");
}

#[test]
fn what_was_raised_waits_for_healthy_tasks_and_no_longer_than_it_may() {
    let raised = format!("{OURS} desired=3");
    check(TWO, "raised", &raised, "wait");
    check(THREE, "raised", &format!("{raised} tasks=unseen"), "see tasks");
    check(THREE, "raised", &format!("{raised} unready=3"), "wait");
    check(THREE, "raised", &raised, "protect 2,3");
    check(THREE, "raised", &format!("{raised} protections=unseen"), "see protections 1,2,3");
    // The count is not shown yet; or somebody has set another.
    check(TWO, "raised since=5", &format!("{OURS} desired=2"), "wait");
    check(TWO, "raised since=31", &format!("{OURS} desired=2"), "clear note");
    check(TWO, "raised", &format!("{OURS} desired=7"), "clear note");
    // The time is up, a task found no place, or the run is to end: the new ones go, the old ones are protected.
    check(THREE, "raised since=299", &format!("{raised} unready=3"), "wait");
    check(THREE, "raised since=300", &format!("{raised} unready=3"), "protect 1,2");
    // It stands beside a task that still stops, and can't start before; all are healthy by now; nobody has looked yet.
    check(THREE, "raised since=300", &format!("{raised} unready=3 freed=i-2:0"), "wait");
    check(THREE, "raised since=600", &format!("{raised} unready=3 freed=i-2:0"), "protect 1,2");
    check(THREE, "raised since=600", &raised, "protect 2,3");
    check(THREE, "raised since=300", &format!("{raised} tasks=unseen"), "see tasks");
    let unseen = "see when others have stopped there";
    check(THREE, "raised since=300", &format!("{raised} unready=3 freed=unseen"), unseen);
    check(THREE, "raised", &format!("{raised} unready=3 failed=10"), "protect 1,2");
    check(THREE, "raised", &format!("{raised} unready=3 failed=100"), "wait");
    check(THREE, "raised", &format!("{raised} unready=3 stop=signal"), "protect 1,2");
    // What an application protects is no victim; what this run protected before is protected still.
    check(THREE, "raised", &format!("{raised} protected=2"), "protect 3");
    check(THREE, "raised mine=2,3 protected-at=4", &format!("{raised} ends=2,3"), "wait 6 s");
    check(THREE, "raised mine=1,2,3", &format!("{raised} ends=1,2,3"), "unprotect 1");
    // The application has protected it anew: that is not this run's to take away.
    check(THREE, "raised mine=1", &format!("{raised} protected=1"), "protect 3");
    check(THREE, "raised asked=1", &format!("{raised} ends=1"), "unprotect 1");
}

#[test]
fn a_steered_service_is_free_again_as_soon_as_its_tasks_have_a_place() {
    let raised = format!("{OURS} desired=3 constraint=4f2a");
    check(TWO, "raised steered", &raised, "wait");
    check(THREE, "raised steered", &format!("{raised} unready=3"), "constraints 0");
    let elsewhere = "a i-1 web web web\nb i-2";
    check(elsewhere, "raised steered", &raised, "protect 2,3");
}

#[test]
fn the_count_is_lowered_once_the_scheduler_knows_of_the_protection() {
    let raised = format!("{OURS} desired=3");
    check(THREE, "chosen victims=2 protected-at=3", &raised, "wait 7 s");
    check(THREE, "chosen victims=2 protected-at=10", &raised, "count 2");
    check(THREE, "chosen victims=2 protected-at=10", &format!("{raised} tasks=unseen"), "see tasks");
    // The answer was a minute on its way, or the process was paused: somebody may have set another count since.
    check(THREE, "chosen victims=2 protected-at=10", &format!("{raised} slow=59"), "count 2");
    check(THREE, "chosen victims=2 protected-at=10", &format!("{raised} slow=60"), "wait 0 s");
    // A task was lost since: its replacement must not be what the scale-in takes.
    check(THREE, "chosen victims=2 protected-at=10", &format!("{raised} running=2 gone=3"), "wait");
    check(THREE, "chosen victims=3 protected-at=10 undo", &format!("{raised} running=2"), "count 2");
    // Nor must one that came since, which nobody has protected.
    check(THREE, "chosen victims=2 protected-at=10 among=1,2,3", &raised, "count 2");
    check(THREE, "chosen victims=1 protected-at=10 mine=2 among=1,2", &format!("{raised} ends=2"), "protect 3");
    check(THREE, "chosen victims=2 protected-at=10 undo among=1,2", &raised, "count 2");
    // Somebody has set another count.
    check(THREE, "chosen victims=2 protected-at=10", &format!("{OURS} desired=7"), "clear note");
    check(THREE, "chosen victims=2 protected-at=10", &format!("{OURS} desired=1"), "clear note");
    check(
        THREE,
        "chosen victims=2 protected-at=10",
        &format!("{ANOTHERS} desired=3"),
        "done: run r9 has put its note on the service, so this run left everything as it was; that run or the next one finishes it",
    );
    // The note was taken off: the step is finished all the same.
    check(THREE, "chosen victims=2 protected-at=10 written=60", "desired=3", "count 2");
    check(THREE, "chosen victims=2 protected-at=10 written=20", "desired=3", "wait");
}

#[test]
fn who_went_is_compared_with_who_was_meant() {
    let lowered = format!("{OURS} desired=2");
    check(THREE, "lowered victims=2", &lowered, "wait");
    check(THREE, "lowered victims=2", &format!("{lowered} tasks=unseen"), "see tasks");
    check(THREE, "lowered victims=2 mine=1,3", &format!("{lowered} gone=2 ends=1,3"), "unprotect 1,3");
    check(THREE, "lowered victims=2 since=5", &format!("{OURS} desired=3"), "wait");
    check(THREE, "lowered victims=2 since=30", &format!("{OURS} desired=3"), "count 2");
    check(THREE, "lowered victims=2", &format!("{OURS} desired=4"), "clear note");
    check(THREE, "lowered victims=2", &format!("{lowered} gone=1"), "see why 1 stopped");
    check(THREE, "lowered victims=2", &format!("{lowered} gone=1 died=1"), "clear note");
    let mut surge = memory("lowered victims=2");
    let shown = Shown::new(THREE, &format!("{lowered} gone=1 scaled-in=1"));
    surge.next(&shown.seen(), &shown.limits);
    let Phase::Clearing(ending) = &surge.phase else { panic!("{surge:?}") };
    assert!(matches!(ending, Ending::Distrust(Distrust::WrongTasksStopped(_))), "{ending}");
    // What drains is ECS's own to move, and was never protected: that it went says nothing against ECS.
    let drains = THREE.replacen("i-1", "i-1 status=DRAINING", 1);
    let mut surge = memory("lowered victims=2");
    let shown = Shown::new(&drains, &format!("{lowered} gone=1 scaled-in=1"));
    surge.next(&shown.seen(), &shown.limits);
    assert!(!matches!(surge.phase, Phase::Clearing(Ending::Distrust(_))), "{surge:?}");
    check(THREE, "lowered victims=2", &format!("{lowered} gone=1 instances=unseen"), "see instances");
    check(THREE, "lowered victims=2 since=180", &lowered, "clear note");
    let too_long = |remembered: &str, seen: &str| {
        let mut surge = memory(&format!("lowered victims=2 since=180 {remembered}"));
        let shown = Shown::new(&drains, &format!("{lowered} {seen}"));
        surge.next(&shown.seen(), &shown.limits);
        let Phase::Clearing(Ending::Undone(why)) = surge.phase else { panic!("{surge:?}") };
        why
    };
    let why = "ECS did not scale in to 2 tasks within 180 s";
    let application = format!("{why}: its application protects 1 task on a draining container instance");
    assert_eq!(too_long("", "protected=1"), application);
    assert_eq!(too_long("mine=1", "ends=1"), why);
}

#[test]
fn what_was_set_is_cleared_and_the_note_goes_last() {
    check(TWO, "clearing", OURS, "clear note");
    check(TWO, "clearing mine=1", &format!("{OURS} ends=1"), "unprotect 1");
    // Protected anew by the application.
    check(TWO, "clearing mine=1", &format!("{OURS} protected=1"), "clear note");
    // One that was not answered, and that landed after the one that was: it lasts longer, and is this run's still.
    check(TWO, "clearing mine=1 in-doubt=1", &format!("{OURS} protected=1"), "unprotect 1");
    // A request to protect that was not answered may land after that: it is taken off once more, and the note goes last.
    let shown = Shown::new(TWO, &format!("{OURS} ends=1"));
    let mut surge = memory("clearing mine=1 unsettled=30");
    let step = surge.next(&shown.seen(), &shown.limits);
    assert_eq!(told(&step), "unprotect 1");
    surge.done(&Action::Unprotect(vec![task("1")]), &Done::default(), &shown.seen());
    let taken_off = Shown::new(TWO, OURS);
    assert_eq!(told(&surge.next(&taken_off.seen(), &taken_off.limits)), "wait");
    surge.unsettled_until = Some(NOW);
    assert_eq!(told(&surge.clone().next(&shown.seen(), &shown.limits)), "unprotect 1");
    assert_eq!(told(&surge.next(&taken_off.seen(), &taken_off.limits)), "clear note");
    check(TWO, "clearing steered", &format!("{OURS} constraint=4f2a"), "constraints 0");
    check(TWO, "clearing unsettled=30", OURS, "wait");
    // A request to raise that was not answered has taken effect since.
    check(THREE, "clearing unsettled=30", &format!("{OURS} desired=3"), "count 2");
    check(TWO, "clearing", &format!("{OURS} tasks=unseen"), "see tasks");
}

#[test]
fn without_a_fresh_look_only_what_the_last_one_makes_sure_of_is_done() {
    let ready = "chosen victims=2 protected-at=10";
    let unseen = "done: the service could not be looked at any more; the next run finishes it";
    check(THREE, ready, &format!("{OURS} desired=3 stale=30"), "wait");
    check(THREE, ready, &format!("{OURS} desired=3 stale=30 last-chance"), "count 2");
    check(THREE, ready, &format!("{OURS} desired=3 stale=61 last-chance"), unseen);
    check(THREE, ready, &format!("{OURS} desired=4 stale=30 last-chance"), unseen);
    check(THREE, ready, &format!("{ANOTHERS} desired=3 stale=30 last-chance"), unseen);
    // Nobody is protected for sure: the count stays.
    check(THREE, "raised", &format!("{OURS} desired=3 stale=30 last-chance"), unseen);
    check(THREE, "chosen victims=2 protected-at=5", &format!("{OURS} desired=3 stale=30 last-chance"), unseen);
    check(THREE, "raised steered", &format!("{OURS} desired=3 constraint=4f2a stale=30 last-chance"), "constraints 0");
    let with_another = "a i-1 web web\nb i-2 web\nservice web constraint=distinctInstance";
    check(
        with_another,
        "raised steered",
        &format!("{OURS} desired=3 constraint=4f2a stale=30 last-chance"),
        "constraints 1",
    );
    check(THREE, "raised steered", &format!("{OURS} desired=3 constraint=aaaa stale=30 last-chance"), unseen);
}

/// What a dead run left, and the first change that follows, or the ending.
#[track_caller]
fn check_recovery(drawing: &str, note: &str, shown: &str, expected: &str) {
    let shown_words = shown;
    let shown = Shown::new(drawing, &format!("tag={note} {shown}"));
    let service = shown.service.as_ref().unwrap();
    let leftover = match SurgeNote::of(service, NOW) {
        Ok(note) => Leftover::Note(note.unwrap()),
        Err(impossible) => Leftover::Impossible(impossible.to_string()),
    };
    let mut surge = Surge::recovered("r1", service, leftover);
    assert_eq!(told(&surge.next(&shown.seen(), &shown.limits)), expected, "{drawing}\n{note} | {shown_words}");
}

#[test]
fn a_dead_run_s_note_is_finished_only_where_the_cluster_bears_it_out() {
    let note = "from=2_to=3_run=r0_at=1799999400_protect=20";
    // Nobody was started in its time, and three run: the owner may have set that.
    check_recovery(THREE, note, "desired=3", "clear note");
    // The third found no place in all that time: the two that run stay.
    check_recovery(TWO, note, "desired=3 running=2", "protect 1,2");
    check_recovery(TWO, note, "desired=2", "clear note");
    check_recovery(TWO, note, "desired=4", "clear note");
    check_recovery(THREE, "from=0_to=3_run=r0_at=1799999400_protect=20", "desired=3", "clear note");
    check_recovery(THREE, "from=40_to=3_run=r0_at=1799999400_protect=20", "desired=3", "clear note");
    check_recovery(THREE, "from=2_to=3_run=r0_at=1809999400_protect=20", "desired=3", "clear note");
    // Protection that the dead run may have set goes; what it spared stays.
    let spares = "from=2_to=3_run=r0_at=1800000000_protect=20_spared=00001";
    check_recovery(TWO, spares, "desired=2 ends=1,2", "unprotect 2");
}

#[test]
fn the_moves_that_are_told_are_those_that_changed_something() {
    let shown = Shown::new(THREE, &format!("{OURS} desired=2 gone=2"));
    let mut surge = memory("lowered victims=2");
    surge.next(&shown.seen(), &shown.limits);
    let made = crate::planning::strategy::Made { task: task("2"), from: "i-1".into(), to: Some("i-2".into()) };
    assert_eq!((&surge.record.moves[..], surge.record.in_vain), (&[made][..], 0));
    // Its replacement started where it was: a restart, and no move.
    let same = "a i-1 web web web\nb i-2";
    let shown = Shown::new(same, &format!("{OURS} desired=2 gone=2"));
    let mut surge = memory("lowered victims=2");
    surge.next(&shown.seen(), &shown.limits);
    assert_eq!((surge.record.moves.len(), surge.record.in_vain), (0, 1));
    // The step was undone: the new task went.
    let shown = Shown::new(THREE, &format!("{OURS} desired=2 gone=3"));
    let mut surge = memory("lowered victims=3 undo");
    surge.next(&shown.seen(), &shown.limits);
    assert_eq!((surge.record.moves.len(), surge.record.in_vain), (0, 1));
}

#[test]
fn what_follows_a_failure() {
    let failure = |kind| Failure { text: "no".to_owned(), kind, before: Done::default() };
    let shown = Shown::new(THREE, &format!("{OURS} desired=3"));
    // Refused again and again: lowered without protection.
    let mut surge = memory("raised");
    let protect = Action::Protect(vec![task("2"), task("3")], 20);
    for _ in 0..REFUSALS {
        surge.failed(Some(&protect), &failure(FailureKind::Refused), &shown.seen());
    }
    assert_eq!(told(&surge.next(&shown.seen(), &shown.limits)), "count 2");
    // Not answered: tried again for as long as there is time, and what was asked for is this run's.
    let mut surge = memory("raised");
    for _ in 0..100 {
        surge.failed(Some(&protect), &failure(FailureKind::Unanswered), &shown.seen());
    }
    assert_eq!(told(&surge.next(&shown.seen(), &shown.limits)), "protect 2,3");
    assert!(surge.ours.contains_key(&task("2")));
    // ECS refuses to protect a task: undone at once, whoever goes.
    let mut surge = memory("raised");
    let refused = BTreeMap::from([(task("2"), "DEPLOYMENT_BLOCKED".to_owned())]);
    surge.done(&protect, &Done { refused, ..Done::default() }, &shown.seen());
    assert_eq!(told(&surge.next(&shown.seen(), &shown.limits)), "count 2");
    // One that has gone meanwhile is MISSING, and no reason.
    let mut surge = memory("raised");
    let refused = BTreeMap::from([(task("2"), "MISSING".to_owned())]);
    surge.done(&protect, &Done { refused, ..Done::default() }, &shown.seen());
    assert_eq!(told(&surge.next(&shown.seen(), &shown.limits)), "protect 2,3");
}

#[test]
fn what_is_left_raised_is_told_with_its_numbers() {
    let shown = Shown::new(TWO, OURS);
    let mut surge = memory("noted");
    surge.done(&Action::SetDesiredCount(3, None), &Done::default(), &shown.seen());
    assert_eq!(surge.record.left_raised, Some((3, 2)));
    let raised = Shown::new(TWO, &format!("{OURS} desired=3"));
    surge.next(&raised.seen(), &raised.limits);
    assert_eq!(surge.record.left_raised, Some((3, 2)));
    let by_others = Shown::new(TWO, &format!("{OURS} desired=7"));
    surge.phase = Phase::Raised(ago(60));
    let _ = surge.next(&by_others.seen(), &by_others.limits);
    assert_eq!(surge.record.left_raised, None);
    let Phase::Clearing(ending) = &surge.phase else { panic!("{surge:?}") };
    assert_eq!(*ending, Ending::CountChanged { count: 7, ours: 1 });
    assert!(ending.is_failure());
}

#[test]
fn the_most_tasks_an_owner_allows_is_rounded_down() {
    for (desired, percent, expected) in [(4, 150, 6), (1, 150, 1), (3, 150, 4), (2, 100, 2), (10, 200, 20)] {
        let mut service = Shown::new(TWO, "").service.unwrap();
        (service.desired_count, service.maximum_percent) = (desired, percent);
        assert_eq!(ceiling(&service), expected, "{desired} at {percent} %");
    }
}

/// One task on a full container instance; two are empty, and one is full of others' tasks.
const LEVEL: &str = "a i-1 web x x x\na i-2\nservice web desired=1\nservice x strategy=binpack:memory";
/// A second task of web's has landed on the empty instance.
const LANDED_WELL: &str = "a i-1 web x x x\na i-2 web\nservice web desired=1\nservice x strategy=binpack:memory";
/// It has landed beside the first.
const LANDED_BADLY: &str = "a i-1 web x x x web\na i-2\nservice web desired=1\nservice x strategy=binpack:memory";

#[test]
fn a_try_for_which_ecs_has_no_capacity_left_is_no_failure() {
    for (words, fails) in [("level=1", false), ("", true)] {
        let surge = memory(&format!("raised {words}"));
        let shown = Shown::new(LEVEL, "tag=from=1_to=2_run=r1_at=1799999940_protect=20 desired=2 failed=10");
        let (note, service) = (surge.note.clone().unwrap(), shown.service.clone().unwrap());
        let ending = surge.trouble(&note, ago(60), &service, &shown.seen(), &shown.limits).unwrap().unwrap();
        assert_eq!(ending.is_failure(), fails, "{ending}");
        assert!(ending.to_string().ends_with("was unable to place a task"), "{ending}");
    }
}

#[test]
fn the_best_of_old_and_new_tasks_stay_where_load_is_levelled() {
    let note = "tag=from=1_to=2_run=r1_at=1799999940_protect=20";
    check(LEVEL, "between level=1", "", "note 1 to 2");
    check(LEVEL, "between level=1 vain=1", "", "note 1 to 2");
    let badly =
        "done: in 2 tries in a row ECS put the new tasks on container instances where they don't help; they went again";
    check(LEVEL, "between level=1 vain=2", "", badly);
    let spent = "done: half as many tasks as were moved, and at least four, were started in vain; no more are tried";
    check(LEVEL, "between level=1", "in-vain=0", spent);
    check(LEVEL, "between level=1", "in-vain=0 others-try", "wait");
    check(LEVEL, "between level=0", "", "done: to emptier container instances");
    // Its application protects the task that would go.
    check(LEVEL, "between level=1", "protected=1", "done: to emptier container instances");
    // A new task that landed well must be healthy before another goes; one that landed badly goes as soon as it runs.
    let raised = |words: &str, drawing: &str, shown: &str, expected: &str| {
        let mut surge = memory(&format!("raised level=1 {words}"));
        surge.note = surge.note.map(|note| SurgeNote { from: 1, to: 2, ..note });
        surge.old_tasks = numbers("1");
        let shown = Shown::new(drawing, &format!("{note} desired=2 {shown}"));
        assert_eq!(told(&surge.next(&shown.seen(), &shown.limits)), expected, "{drawing} {words}");
    };
    raised("", LANDED_WELL, "unready=5", "wait");
    raised("", LANDED_WELL, "", "protect 5");
    // Its application protects the task that would go, so that the new one goes.
    raised("", LANDED_WELL, "protected=1", "count 1");
    raised("", LANDED_BADLY, "unready=5", "protect 1");
    raised("", LANDED_BADLY, "", "protect 1");
    // An old task that is not healthy is no reason to hurry.
    raised("", LANDED_BADLY, "unready=1,5", "wait");
}

#[test]
fn a_count_that_this_run_did_not_set_is_somebody_elses_even_if_it_is_the_one_that_it_meant() {
    // It was never asked for: each request was throttled.
    check(TWO, "noted", &format!("{OURS} desired=3"), "clear note");
    // A look that is older than the last round's scale-in.
    check(TWO, "noted lowered-at=29", &format!("{OURS} desired=3"), "wait");
    check(TWO, "noted lowered-at=30", &format!("{OURS} desired=3"), "clear note");
    // Lowered, and not seen yet: perhaps a request to raise came later than it.
    check(TWO, "lowered since=60", &format!("{OURS} desired=3"), "count 2");
    check(TWO, "lowered since=60 lowering-shown unsettled=30", &format!("{OURS} desired=3"), "count 2");
    check(TWO, "lowered since=60 lowering-shown", &format!("{OURS} desired=3"), "clear note");
    // No round begins from a count that a late look shows as it was.
    let mut surge = memory("lowered lowered-at=29");
    surge.phase = Phase::Between;
    let shown = Shown::new(TWO, &format!("{OURS} desired=3"));
    assert_eq!(told(&surge.next(&shown.seen(), &shown.limits)), "wait");
    surge.lowered_at = Some(ago(30));
    assert_ne!(told(&surge.next(&shown.seen(), &shown.limits)), "wait");
}

#[test]
fn a_scale_in_sends_constraints_only_where_this_run_s_own_may_be_among_them() {
    let raised = format!("{OURS} desired=3 running=3");
    let shown = Shown::new(THREE, &raised);
    let lowers = |surge: &Surge| match surge.scale_in(surge.note().unwrap(), shown.service.as_ref().unwrap()) {
        Action::SetDesiredCount(2, constraints) => constraints.is_some(),
        other => panic!("{other:?}"),
    };
    let mut surge = memory("chosen steered victims=1");
    assert!(lowers(&surge));
    surge.done(&Action::SetConstraints(Vec::new()), &Done::default(), &shown.seen());
    assert!(!lowers(&surge));
}

#[test]
fn a_raise_of_which_a_servers_error_was_the_answer_may_show_later() {
    let shown = Shown::new(TWO, OURS);
    let mut surge = memory("noted");
    let failure = Failure { text: "500".to_owned(), kind: FailureKind::Unclear, before: Done::default() };
    surge.failed(Some(&Action::SetDesiredCount(3, None)), &failure, &shown.seen());
    // The run is told to end, and a look shows the old count still: the note stays until no other can show.
    surge.phase = Phase::Clearing(Ending::Limit(Stop::Signal));
    assert_eq!(told(&surge.next(&shown.seen(), &shown.limits)), "wait");
}
