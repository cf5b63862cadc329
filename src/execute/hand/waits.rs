//! What a service in hand is waiting for, in a few words for somebody who waits too.

use super::{Hand, Work};
use crate::planning::{stop, surge};

impl Hand {
    /// As `web: 3 of 4 tasks healthy`.
    pub(in crate::execute) fn waits_for(&self) -> String {
        let what = match &self.work {
            Work::Surge(progress) => match &progress.phase {
                surge::Phase::Between => "being looked at".to_owned(),
                surge::Phase::Marked(mark, _) => format!("{} more tasks to be started", mark.to - mark.from),
                surge::Phase::Raised(mark, _) => self.healthy_of(mark.to),
                surge::Phase::Protected(mark, ..) => format!("to go back to {} tasks", mark.from),
                surge::Phase::Lowered(mark, ..) => format!("{} old tasks to go", mark.to - mark.from),
                surge::Phase::Clearing(..) => "being cleared up".to_owned(),
            },
            Work::Stop { phase: stop::Phase::Between, .. } => "being looked at".to_owned(),
            Work::Stop { phase: stop::Phase::Stopped(..), .. } => {
                self.healthy_of(self.service.as_ref().map_or(0, |service| service.desired_count))
            }
            Work::Arrival { awaited, .. } => self.healthy_of(awaited.wanted),
            Work::Redeploy { .. } => "its deployment to be through".to_owned(),
        };
        format!("{}: {what}", self.name)
    }

    /// Tasks aren't looked at before as many run as are wanted.
    fn healthy_of(&self, wanted: u32) -> String {
        let running = self.service.as_ref().map_or(0, |service| service.running_count);
        match &self.known {
            Some(tasks) if running >= wanted => format!("{} of {wanted} tasks healthy", tasks.ready.len()),
            _ => format!("{running} of {wanted} tasks running"),
        }
    }
}
