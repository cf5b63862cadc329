//! How long a run's calls are waited for: until its deadline, and after SIGTERM only as long as ECS leaves it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::shutdown::Shutdown;

/// ECS kills a task 30 s after SIGTERM, unless told otherwise; by then everything is in order or noted.
pub const AFTER_SIGNAL: Duration = Duration::from_secs(18);
/// So much of the time is for what comes last: giving the lease back, and publishing.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// Why nothing is called any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The run's deadline has come.
    Deadline,
    /// The run was told to end, and that was a while ago.
    Signal,
    /// The run's lease may be another run's by now.
    LeaseLapsed,
}

impl fmt::Display for Over {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Deadline => "no answer came before the run's deadline",
            Self::Signal => "no answer came in the time that is left after SIGTERM",
            Self::LeaseLapsed => "not called: the run's lease has lapsed, so another run may be at work",
        })
    }
}

/// The time that a run's calls have; cheap to clone, all clones are one.
#[derive(Clone, Debug)]
pub struct Patience {
    shutdown: Shutdown,
    times: Arc<Mutex<Times>>,
}

#[derive(Debug, Default)]
struct Times {
    deadline: Option<Instant>,
    writes_until: Option<Instant>,
    are_last_calls: bool,
}

impl Patience {
    /// Without a deadline as yet.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, times: Arc::default() }
    }

    /// From now on calls end by then.
    pub fn set_deadline(&self, deadline: Instant) {
        self.lock().deadline = Some(deadline);
    }

    /// From now on the time is used up that was kept for the last calls.
    pub fn allow_last_calls(&self) {
        self.lock().are_last_calls = true;
    }

    /// From now on nothing is changed after that moment.
    pub fn set_writes_until(&self, until: Instant) {
        self.lock().writes_until = Some(until);
    }

    /// Whether a change may be asked for.
    pub fn may_write(&self) -> bool {
        self.lock().writes_until.is_none_or(|until| Instant::now() < until)
    }

    /// When the last call ends; none where that is not known.
    pub fn end(&self) -> Option<Instant> {
        let (deadline, after_signal) = self.times();
        let asked = self.shutdown.asked_at().map(|asked| asked + after_signal);
        deadline.into_iter().chain(asked).min()
    }

    /// Waits until nothing is called any more.
    pub async fn over(&self) -> Over {
        let (deadline, after_signal) = self.times();
        let until_deadline = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let until_after_signal = async {
            let asked = self.shutdown.asked().await;
            sleep_until(asked + after_signal).await;
        };
        tokio::select! {
            biased;
            () = until_deadline => Over::Deadline,
            () = until_after_signal => Over::Signal,
        }
    }

    fn times(&self) -> (Option<Instant>, Duration) {
        let times = self.lock();
        if times.are_last_calls {
            (times.deadline, AFTER_SIGNAL + LAST_CALLS)
        } else {
            (times.deadline.map(|deadline| deadline - LAST_CALLS), AFTER_SIGNAL)
        }
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
