//! The table of the waiting for tasks for which room was made.

use super::*;
use crate::planning::strategy::testing::{Shown, ago, told};

#[track_caller]
fn check(drawing: &str, since_seconds: i64, shown: &str, expected: &str) {
    let shown_words = shown;
    let shown = Shown::new(drawing, shown);
    let mut arrival = Arrival { since: Some(ago(since_seconds)), ..Arrival::new(1, 2) };
    let step = arrival.next(&shown.seen(), &shown.limits);
    assert_eq!(told(&step), expected, "{drawing} after {since_seconds} s | {shown_words}");
}

#[test]
fn it_ends_when_all_run_or_the_time_is_up_or_nobody_wants_them_any_more() {
    let (lacks, has) = ("a i-1 web\nservice web desired=2", "a i-1 web web\nservice web desired=2");
    // What makes way may drain for five minutes; then a task has five minutes to start.
    check(lacks, 599, "", "wait");
    check(lacks, 600, "", "note last, misses 1");
    check(lacks, 0, "stop=signal", "done: the run was told to end (SIGTERM)");
    check(has, 300, "stop=signal", "done: capacity was made: 1 task started");
    check(has, 0, "tasks=unseen", "see tasks");
    check(has, 0, "unready=1", "wait");
    check(lacks, 0, "gone-service", "done: the service was deleted meanwhile");
    check("a i-1 web", 0, "", "done: the desired count was set to 1 meanwhile; that change stands");
    check(lacks, 0, "stale=5", "wait");
}
