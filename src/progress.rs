//! What is being read or waited for: on one line for people at a terminal, elsewhere by an event now and then.

use std::{
    cell::{Cell, RefCell},
    io::{self, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use crate::planning::words::counted;

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Services.
    Services,
    /// Container instances.
    ContainerInstances,
    /// Tasks.
    Tasks,
    /// Task definitions.
    TaskDefinitions,
}

impl Kind {
    const ALL: [Self; 4] = [Self::ContainerInstances, Self::Services, Self::Tasks, Self::TaskDefinitions];

    fn noun(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::ContainerInstances => "container instances",
            Self::Tasks => "tasks",
            Self::TaskDefinitions => "task definitions",
        }
    }
}

/// What is waited for is told so often where no line is drawn: with a look each five seconds, nothing is silent for longer than
/// fifteen.
pub const TELLS_EVERY: Duration = Duration::from_secs(10);
/// So many services are named there.
const NAMED: usize = 5;

/// One line that says how far the reading is, or what is waited for.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    counts: RefCell<[(u64, u64); 4]>,
    /// When it was last told what is waited for, since the run began.
    told: Cell<Option<Duration>>,
}

impl Progress {
    /// Drawn on standard error, where that is a terminal.
    pub fn on_terminal() -> Self {
        Self::new(ProgressDrawTarget::stderr())
    }

    /// Says nothing.
    pub fn silent() -> Self {
        Self::new(ProgressDrawTarget::hidden())
    }

    fn new(target: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:20} {wide_msg}") {
            bar.set_style(style);
        }
        Self { bar, counts: RefCell::default(), told: Cell::default() }
    }

    /// Counts one kind of thing.
    pub fn of(&self, kind: Kind) -> Counter<'_> {
        Counter { progress: self, kind }
    }

    /// Says what services wait for, and how much of the run's time is used.
    pub fn waiting(&self, elapsed: Duration, deadline: Duration, services: impl Iterator<Item = String>) {
        self.begin();
        self.bar.set_length(deadline.as_secs());
        self.bar.set_position(elapsed.as_secs());
        let services: Vec<String> = services.collect();
        self.bar.set_message(format!("{} s; {}", elapsed.as_secs(), services.join("; ")));
        let is_due = self.told.get().is_none_or(|told| elapsed.saturating_sub(told) >= TELLS_EVERY);
        if self.bar.is_hidden() && !services.is_empty() && is_due {
            self.told.set(Some(elapsed));
            let more = services.len().saturating_sub(NAMED);
            let named = services.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
            let more = if more == 0 { String::new() } else { format!("; and {}", counted(more, "other", "others")) };
            tracing::info!(services = format!("{named}{more}"), elapsed_seconds = elapsed.as_secs(), "waiting");
        }
    }

    /// Takes the line away; the next reading begins at nothing.
    pub fn done(&self) {
        *self.counts.borrow_mut() = Default::default();
        self.bar.finish_and_clear();
    }

    /// A line that was taken away is begun anew only once there is something to say: beginning draws it.
    fn begin(&self) {
        if self.bar.is_finished() {
            self.bar.set_message("");
            self.bar.reset();
        }
    }

    /// Where a log goes, so that its lines and this one don't get into each other's way.
    pub fn beside(&self) -> Beside {
        Beside(self.bar.clone())
    }

    fn add(&self, kind: Kind, listed: u64, described: u64) {
        self.begin();
        let mut counts = self.counts.borrow_mut();
        let of_kind = &mut counts[kind as usize];
        of_kind.0 += listed;
        of_kind.1 += described;
        let sum = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        self.bar.set_length(sum.0);
        self.bar.set_position(sum.1);
        let parts = Kind::ALL.iter().filter_map(|kind| {
            let (listed, described) = counts[*kind as usize];
            (listed > 0).then(|| format!("{described}/{listed} {}", kind.noun()))
        });
        self.bar.set_message(format!("reading {}", parts.collect::<Vec<_>>().join(", ")));
    }
}

/// Counts what was listed and described of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Counter<'a> {
    progress: &'a Progress,
    kind: Kind,
}

impl Counter<'_> {
    /// So many more are known to exist.
    pub fn listed(&self, number: usize) {
        self.progress.add(self.kind, number as u64, 0);
    }

    /// So many more were read.
    pub fn described(&self, number: usize) {
        self.progress.add(self.kind, 0, number as u64);
    }
}

/// Standard error, beside the line of progress.
#[derive(Clone, Debug)]
pub struct Beside(ProgressBar);

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for Beside {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far the line is, and what it says after this.
    #[track_caller]
    fn check(does: impl FnOnce(&Progress), (position, length): (u64, u64), expected: &str) {
        let progress = Progress::silent();
        does(&progress);
        let bar = &progress.bar;
        assert_eq!((bar.position(), bar.length()), (position, Some(length)));
        assert_eq!(bar.message(), expected);
    }

    #[test]
    fn a_reading_is_told_by_kind() {
        check(
            |progress| {
                progress.of(Kind::Tasks).listed(200);
                progress.of(Kind::Services).listed(10);
                progress.of(Kind::Tasks).described(95);
                progress.of(Kind::Services).described(10);
            },
            (105, 210),
            "reading 10/10 services, 95/200 tasks",
        );
    }

    #[test]
    fn a_second_reading_begins_at_nothing() {
        check(
            |progress| {
                progress.of(Kind::Tasks).listed(200);
                progress.of(Kind::Tasks).described(200);
                progress.done();
                assert!(progress.bar.is_finished(), "nothing draws it where nothing is read");
                progress.of(Kind::Tasks).listed(100);
                assert!(!progress.bar.is_finished(), "it is drawn again");
            },
            (0, 100),
            "reading 0/100 tasks",
        );
    }

    #[test]
    fn waiting_names_the_services_and_how_much_of_the_time_is_used() {
        let services = ["web: 3 of 4 tasks healthy".to_owned(), "api: 2 old tasks to go".to_owned()];
        let (elapsed, deadline) = (Duration::from_secs(30), Duration::from_mins(1));
        check(
            |progress| progress.waiting(elapsed, deadline, services.into_iter()),
            (30, 60),
            "30 s; web: 3 of 4 tasks healthy; api: 2 old tasks to go",
        );
    }
}
