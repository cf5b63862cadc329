//! What a dead run left: finished where the cluster bears its note out, else only cleared.

use super::{Phase, Seen, Step, Surge, Turn};
use crate::planning::{
    model::{Service, Timestamp},
    notes::{Proof, SurgeNote},
    strategy::{Ending, Need, fence::Written},
    words::counted,
};

/// What was found on a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// A note.
    Note(SurgeNote),
    /// A tag of a note's name that no run can have written, told in a sentence.
    Impossible(String),
    /// Only the constraint that steers.
    Constraint,
}

impl Surge {
    /// A service on which an earlier run left something. Attributes are swept up for all services at once.
    pub fn recovered(run_id: &str, service: &Service, leftover: Leftover) -> Self {
        let long_ago = Timestamp(i64::MIN);
        let new = Self { recovery: true, ..Self::new(run_id, &service.name) };
        match leftover {
            Leftover::Constraint => Self { phase: Phase::Clearing(Ending::Recovered), ..new },
            Leftover::Impossible(what) => {
                let told = format!("its tag ecs-rebalancer:surge is no note of a run: {what}; it was taken off");
                let written = Some(Written { run_id: what, at: long_ago });
                Self { phase: Phase::Clearing(Ending::NotBorneOut(told)), written, ..new }
            }
            Leftover::Note(note) => Self {
                phase: Phase::Recovering,
                written: Some(Written { run_id: note.run_id.clone(), at: long_ago }),
                constrained: note.steer.is_some(),
                is_raised: true,
                note: Some(note),
                ..new
            },
        }
    }

    /// Whether the note holds, by what the cluster shows.
    pub(super) fn recover(&mut self, service: &Service, seen: &Seen<'_>) -> Turn {
        let Some(note) = self.note.clone() else { return Turn::Go(Phase::Clearing(Ending::Recovered)) };
        let Some(tasks) = seen.tasks else { return Turn::Take(Step::See(Need::Tasks)) };
        let created: Vec<Option<Timestamp>> = tasks.all.values().map(|task| task.created_at).collect();
        let listed = u32::try_from(tasks.all.len()).unwrap_or(u32::MAX);
        let desired = service.desired_count;
        match note.borne_out(desired, listed, &created, seen.now) {
            Proof::LowerTo(count) => {
                self.note = Some(SurgeNote { from: count, ..note.clone() });
                self.record.left_raised = Some((note.to, count));
                Turn::Go(Phase::Raised(note.at))
            }
            Proof::CountChanged if desired == note.from => {
                let lowered = Self::lowered(seen, &std::collections::BTreeSet::new(), Some(&Ending::Recovered));
                Turn::Go(lowered)
            }
            // A part of it may be the dead run's: whoever set it has to know.
            Proof::CountChanged | Proof::Nothing => {
                let told = format!(
                    "an earlier run's note says that it raised the desired count from {} to {}, which the cluster does not \
                     bear out: {}; the note was taken off, and the desired count is {desired}",
                    note.from,
                    note.to,
                    counted(service.running_count, "task runs", "tasks run")
                );
                Turn::Go(Phase::Clearing(Ending::NotBorneOut(told)))
            }
        }
    }
}
