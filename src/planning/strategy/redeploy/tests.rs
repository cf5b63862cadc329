//! The table of `redeploy` and `revision`: what is remembered, what is shown, and the step that follows.

use super::*;
use crate::planning::strategy::testing::{Shown, ago, numbers, told, unlimited};

const TWO: &str = "a i-1 web web\nb i-2";
const SPREAD: &str = "a i-1 web\nb i-2 web";

/// `begin`, or `deploying=SECONDS` (ago) `failed` `new` (the deployment before was another) `old=1` (tasks from before it).
fn memory(kind: Kind, words: &str) -> Redeploy {
    let mut redeploy = Redeploy::new(kind);
    for word in words.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match (key, &mut redeploy.phase) {
            ("begin", _) => {}
            ("deploying", phase) => {
                redeploy.record.touched = true;
                redeploy.first_misplaced = Some(1);
                *phase = Phase::Deploying {
                    since: ago(value.parse().unwrap()),
                    before: "ecs-svc/web".to_owned(),
                    definition: "web:0".to_owned(),
                    own: Some(Shown::new(TWO, "").service.unwrap().task_definition.to_string()),
                    is_taken_back: false,
                    failed: None,
                    in_doubt: None,
                };
            }
            ("new", Phase::Deploying { before, .. }) => "ecs-svc/old".clone_into(before),
            ("in-doubt", Phase::Deploying { in_doubt, .. }) => {
                *in_doubt = Some(std::time::Duration::from_secs(value.parse().unwrap()));
            }
            ("own", Phase::Deploying { own, .. }) => *own = Some(value.to_owned()),
            ("old", _) => redeploy.old = numbers(value).into_iter().map(|task| (task, "i-1".into())).collect(),
            ("failed", Phase::Deploying { failed, .. }) => *failed = Some("the deployment failed".to_owned()),
            _ => panic!("{word} says nothing"),
        }
    }
    redeploy
}

#[track_caller]
fn check(kind: Kind, drawing: &str, remembered: &str, shown: &str, expected: &str) {
    let shown_words = shown;
    let shown = Shown::new(drawing, shown);
    let step = memory(kind, remembered).next(&shown.seen(), &shown.limits);
    assert_eq!(told(&step), expected, "{drawing}\n{remembered} | {shown_words}");
}

#[test]
fn it_deploys_once_and_judges_what_came_of_it() {
    use Kind::{Redeploy, Revision};
    check(Redeploy, TWO, "begin", "", "deploy anew");
    check(Revision, TWO, "begin", "", "deploy a new revision");
    check(Redeploy, TWO, "begin", "tasks=unseen", "see tasks");
    check(Redeploy, TWO, "begin", "protections=unseen", "see protections 1,2");
    check(
        Redeploy,
        TWO,
        "begin",
        "protected=1",
        "done: an application protects 1 of its tasks, and a deployment would wait for as long as it does",
    );
    check(Redeploy, TWO, "begin", "deployments=2", "done: a deployment began meanwhile; that change stands");
    check(Redeploy, TWO, "begin", "stop=signal", "done: the run was told to end (SIGTERM)");
    check(Redeploy, TWO, "deploying=20", "", "wait");
    check(Redeploy, TWO, "deploying=30", "", "done: the new deployment was not seen to begin");
    // One bad answer, and no deployment began: it is asked for once more.
    check(Redeploy, TWO, "deploying=29 in-doubt=30", "", "wait");
    check(Redeploy, TWO, "deploying=30 in-doubt=30", "", "deploy anew");
    check(Redeploy, TWO, "deploying=59 in-doubt=60", "", "wait");
    check(Redeploy, TWO, "deploying=60 new in-doubt=60", "deployments=2", "wait");
    check(Redeploy, TWO, "deploying=60 new", "deployments=2", "wait");
    check(Redeploy, SPREAD, "deploying=60 new", "", "note last, misses 0");
    check(Redeploy, TWO, "deploying=60 new", "", "note last, misses 1");
    check(Redeploy, TWO, "deploying=60 new", "deployments=2 stop=signal", "done: the run was told to end (SIGTERM)");
    check(Revision, TWO, "deploying=60 new", "deployments=2 failed=10", "deploy the old revision");
    check(Redeploy, TWO, "deploying=60 new failed", "deployments=2", "wait");
    // Somebody else deployed another task definition meanwhile: however that goes, it is theirs.
    for shown in ["deployments=2 failed=10", "failed=10", ""] {
        let step = memory(Revision, "deploying=300 new own=web:1").next(&Shown::new(TWO, shown).seen(), &unlimited());
        assert!(told(&step).contains("was deployed meanwhile; that change stands"), "{shown}: {}", told(&step));
    }
    check(Redeploy, TWO, "begin", "lease=lapsed", "done: the run's lease has lapsed, so it changes nothing any more");
}

#[test]
fn none_is_begun_that_could_not_go_forward() {
    for (maximum, minimum, goes_forward) in
        [(100, 100, false), (120, 100, false), (120, 76, false), (120, 75, true), (125, 100, true)]
    {
        let drawing = format!("a i-1 web web web web\nb i-2\nservice web max={maximum} min={minimum}");
        let stands_still = format!(
            "done: its maximumPercent of {maximum} allows no task above its desired count of 4, and its \
             minimumHealthyPercent of {minimum} none below: a deployment would stand still"
        );
        for (kind, begins) in [(Kind::Redeploy, "deploy anew"), (Kind::Revision, "deploy a new revision")] {
            check(kind, &drawing, "begin", "", if goes_forward { begins } else { &stands_still });
        }
    }
    // The desired count that it is deployed with counts, not the planned one: five may become six.
    let drawing = "a i-1 web web web web\nb i-2\nservice web max=120";
    check(Kind::Redeploy, drawing, "begin", "desired=5", "deploy anew");
}

#[test]
fn a_deployment_is_taken_back_where_it_stands_still_and_not_where_it_drains() {
    let late = |remembered: &str, shown: &str, expected: &str| {
        let shown = format!("deployments=2 desired=2 running=2 {shown}");
        check(Kind::Revision, TWO, &format!("deploying=300 new {remembered}"), &shown, expected);
    };
    late("old=1", "", "deploy the old revision");
    late("", "unready=1", "deploy the old revision");
    // A new task that stands beside one that still stops can't start before.
    late("old=1", "unready=2 freed=i-1:10", "wait");
    late("old=1", "unready=2 freed=unseen", "see when others have stopped there");
    // All are new and ready: what is left is the draining of the old ones' connections.
    late("old=8,9", "", "wait");
    late("old=8,9", "tasks=unseen", "see tasks");
    late("old=8,9", "stop=deadline", "note last, misses 1");
}

#[test]
fn a_deployment_whose_answer_was_lost_is_not_begun_again() {
    let shown = Shown::new(TWO, "");
    let mut redeploy = memory(Kind::Redeploy, "begin");
    let failure = Failure { text: "no".to_owned(), kind: FailureKind::Unanswered, before: Done::default() };
    redeploy.failed(Some(&Action::ForceNewDeployment), &failure, &shown.seen());
    assert_eq!(told(&redeploy.next(&shown.seen(), &shown.limits)), "wait");
}
