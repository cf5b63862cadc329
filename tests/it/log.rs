//! The log of a run as it goes on: whoever watches it is never left without a word for long.

use std::{cell::RefCell, time::Duration};

use ecs_rebalancer::rehearsal::Rehearsal;
use tokio::time::Instant;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    filter::Targets,
    layer::{Context, Layer, SubscriberExt},
    registry,
};

use crate::support::{CLUSTER, config, in_simulated_time, options, snapshot};

/// The longest that a run may wait without an event at level info.
const LONGEST_SILENCE: Duration = Duration::from_secs(15);

thread_local! {
    /// When each event of the run on this thread came; none where nobody watches.
    static TIMES: RefCell<Option<Vec<Instant>>> = const { RefCell::new(None) };
}

/// Notes when events come, on threads that are watched. It is the process's own subscriber: one of a thread alone misses what
/// other threads' tests have switched off before.
struct Watch;

impl<S: Subscriber> Layer<S> for Watch {
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        TIMES.with_borrow_mut(|times| times.iter_mut().for_each(|times| times.push(Instant::now())));
    }
}

/// The longest time between two events of a run, or between one and the run's begin or end; and the run's length.
fn longest_silence(drawing: &str, settings: &str, behaviour: &[&str]) -> (Duration, Duration) {
    in_simulated_time(async {
        let rehearsal = Rehearsal::new(&snapshot(drawing), options(0, behaviour, &[])).unwrap();
        let began = Instant::now();
        TIMES.set(Some(vec![began]));
        rehearsal.run(&config(settings), CLUSTER, "run-1").await;
        let ended = Instant::now();
        let times: Vec<Instant> = TIMES.take().unwrap().into_iter().chain([ended]).collect();
        assert!(times.len() > 5, "{settings}: there are no events");
        let longest = times.windows(2).map(|two| two[1] - two[0]).max().unwrap();
        (longest, ended - began)
    })
}

#[test]
fn nothing_is_waited_for_in_silence() {
    let own = Targets::new().with_target("ecs_rebalancer", Level::INFO);
    tracing::subscriber::set_global_default(registry().with(own).with(Watch)).unwrap();
    let drawing = "a i-1 web web web web api api\na i-2\nb i-3\nservice web lb=true\nservice api";
    let drains = ["deregistration-delay=300s", "target-checks=5x30s"];
    for (settings, behaviour) in
        [("", &[][..]), ("DEADLINE=1h", &drains[..]), ("STRATEGY=redeploy DEADLINE=1h", &drains)]
    {
        let (longest, whole) = longest_silence(drawing, settings, behaviour);
        assert!(whole > Duration::from_mins(1), "{settings}: {whole:?} is no wait");
        assert!(longest <= LONGEST_SILENCE, "{settings} {behaviour:?}: {longest:?} of {whole:?} without a word");
    }
}
