//! The table of `stop`: what is remembered, what is shown, and the step that follows.

use super::*;
use crate::planning::strategy::testing::{Shown, ago, numbers, task, told};

/// Four tasks on one of three container instances; two at least are to run.
const FOUR: &str = "a i-1 web web web web\nb i-2\nc i-3\nservice web min=50";
/// The same, after two were stopped and replaced.
const REPLACED: &str = "a i-1 web web\nb i-2 web\nc i-3 web\nservice web min=50";

/// `between`, or `stopped=SECONDS` (ago) `victims=1,2` `in-doubt=SECONDS` (no answer said so).
fn memory(words: &str) -> StopTasks {
    let mut stop = StopTasks::new();
    stop.began = Some(ago(60));
    for word in words.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "between" => {}
            "stopped" => {
                stop.record.touched = true;
                stop.first_misplaced = Some(2);
                let since = ago(value.parse().unwrap());
                stop.phase = Phase::Stopped { since, victims: BTreeSet::new(), before: 2, in_doubt: None };
            }
            "victims" => {
                let Phase::Stopped { victims, .. } = &mut stop.phase else { panic!("{word}") };
                *victims = numbers(value);
                stop.old = numbers(value).into_iter().map(|task| (task, "i-1".into())).collect();
            }
            "in-doubt" => {
                let Phase::Stopped { in_doubt, .. } = &mut stop.phase else { panic!("{word}") };
                *in_doubt = Some(Duration::from_secs(value.parse().unwrap()));
            }
            _ => panic!("{word} says nothing"),
        }
    }
    stop
}

#[track_caller]
fn check(drawing: &str, remembered: &str, shown: &str, expected: &str) {
    let shown_words = shown;
    let shown = Shown::new(drawing, shown);
    let step = memory(remembered).next(&shown.seen(), &shown.limits);
    assert_eq!(told(&step), expected, "{drawing}\n{remembered} | {shown_words}");
}

#[test]
fn as_many_are_stopped_as_the_minimum_permits_and_never_a_protected_one() {
    check(FOUR, "between", "", "stop 1,2");
    check("a i-1 web web web web\nb i-2\nc i-3\nservice web min=75", "between", "", "stop 1");
    check(
        "a i-1 web web web web\nb i-2\nc i-3\nservice web min=100",
        "between",
        "",
        "done: no further move would help now; 2 tasks are still misplaced",
    );
    check(FOUR, "between", "protected=1,2", "stop 3,4");
    check(FOUR, "between", "protected=1,2,3,4", "done: no further move would help now; 2 tasks are still misplaced");
    check(FOUR, "between", "protections=unseen", "see protections 1,2,3,4");
    check(FOUR, "between", "tasks=unseen", "see tasks");
    check(FOUR, "between", "moves=1", "stop 1");
    check(REPLACED, "between", "", "done: spread");
    check(FOUR, "between", "stop=signal", "done: the run was told to end (SIGTERM)");
    check(FOUR, "between", "lease=lapsed", "done: the run's lease has lapsed, so it changes nothing any more");
    check(FOUR, "between", "running=3", "done: of 4 desired, 3 run meanwhile; that change stands");
    check(FOUR, "between", "running=1", "done: of 4 desired, 1 runs meanwhile; that change stands");
    check(FOUR, "between", "unready=2", "done: of 4 desired, 3 are healthy meanwhile; that change stands");
    check(FOUR, "between", "unready=2,3,4", "done: of 4 desired, 1 is healthy meanwhile; that change stands");
    check(
        FOUR,
        "between",
        "tag=from=4_to=5_run=r9_at=1_protect=20",
        "done: run r9 has put its note on the service, so this run left everything as it was; that run or the next one finishes it",
    );
}

#[test]
fn none_is_stopped_only_to_be_replaced_where_it_is() {
    // All that are too many are protected: what is left is where it belongs.
    let one_came = "a i-1 web web web\nb i-2 web\nservice web min=50";
    let one_left = "done: no further move would help now; 1 task is still misplaced";
    check(one_came, "between", "protected=1,2,3", one_left);
    check(one_came, "stopped=40 victims=9", "protected=1,2,3", "note last, misses 0");
    check(one_came, "between", "protected=1,2", "stop 3");
    // Of two that could go at once, only the one that is too many goes.
    let two_misplaced = "a i-1 web web web web\nb i-2 web\nc i-3\nservice web min=50";
    check(two_misplaced, "between", "protected=1,2,3", "stop 4");
}

#[test]
fn the_replacements_are_waited_for_with_patience_for_reads_that_lag() {
    // What was stopped is listed still: ECS is eventually consistent.
    check(FOUR, "stopped=11 victims=3,4", "", "wait");
    check(FOUR, "stopped=31 victims=3,4", "", "note last, misses 1");
    // One bad answer, and nothing was stopped: it is tried again.
    check(FOUR, "stopped=29 victims=3,4 in-doubt=30", "", "wait");
    check(FOUR, "stopped=30 victims=3,4 in-doubt=30", "", "stop 1,2");
    check(FOUR, "stopped=59 victims=3,4 in-doubt=60", "", "wait");
    check(REPLACED, "stopped=60 victims=5,6 in-doubt=60", "", "note last, misses 0");
    check(FOUR, "stopped=11 victims=3,4", "running=2 gone=3,4", "wait");
    check(REPLACED, "stopped=40 victims=5,6", "unready=3", "wait");
    check(REPLACED, "stopped=40 victims=5,6", "", "note last, misses 0");
    check(FOUR, "stopped=40 victims=3,4", "running=2 failed=10", "note last, misses 1");
    check(FOUR, "stopped=300 victims=3,4", "running=2", "note last, misses 1");
    check(REPLACED, "stopped=300 victims=5,6", "unready=3 freed=i-2:10", "wait");
    check(REPLACED, "stopped=300 victims=5,6", "unready=3", "note last, misses 0");
    check(FOUR, "stopped=40 victims=3,4", "running=2 stop=signal", "done: the run was told to end (SIGTERM)");
}

#[test]
fn it_knows_its_own_stops_when_one_of_several_is_refused() {
    let shown = Shown::new(FOUR, "");
    let mut stop = memory("between");
    let Step::Act(action) = stop.next(&shown.seen(), &shown.limits) else { panic!("it stops nothing") };
    let before = Done { stopped: vec![task("1")], ..Done::default() };
    let failure = Failure { text: "no".to_owned(), kind: FailureKind::NotNow, before };
    stop.failed(Some(&action), &failure, &shown.seen());
    let shown = Shown::new(FOUR, "running=3 gone=1");
    assert_eq!(told(&stop.next(&shown.seen(), &shown.limits)), "wait");
}
