//! Progress of the reading, for people at a terminal; silent elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::RefCell;

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

/// One line that says how far the reading is.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    counts: RefCell<[(u64, u64); 4]>,
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
        Self { bar, counts: RefCell::default() }
    }

    /// Counts one kind of thing.
    pub fn of(&self, kind: Kind) -> Counter<'_> {
        Counter { progress: self, kind }
    }

    /// Takes the line away.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }

    fn add(&self, kind: Kind, listed: u64, described: u64) {
        let mut counts = self.counts.borrow_mut();
        let of_kind = &mut counts[kind as usize];
        of_kind.0 += listed;
        of_kind.1 += described;
        self.bar.inc_length(listed);
        self.bar.inc(described);
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
