//! The lease on a cluster: of several runs, exactly one changes anything. Each run has a key of its own, a tag on the cluster, so
//! that a late write of one can't land over the other's.
//!
//! A run asks (it writes its key), waits, and reads all keys. It withdraws where another holds the lease, or where one with a
//! lower id asks. Else it writes that it holds it, and reads once more before its first other write: one with a lower id wins.
//! A run id begins with the moment at which the run began, so the lower id is the older run.
//!
//! Why never two go on: let A have the lower id. If B read before A's key was written, then B writes that it holds the lease
//! before its second read, and A's first read, which comes later, shows that: A withdraws. Else B sees A's key in its second read
//! and gives way. Each read counts only once it shows the run's own last write: so a read that lags shows others' writes as well.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    model::Timestamp,
    notes::{CLOCKS_APART, LEASE_MARGIN, LEASE_TAG_PREFIX, LONGEST_DEADLINE, milliseconds, seconds, words},
};

/// Between a write and the read that counts: longer than it takes another run to write after it has read.
pub const SETTLES: Duration = Duration::from_secs(3);
/// How long a run waits for its own write to be read, or for another run to make up its mind.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// What a run's key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The run would like to have the lease.
    Asking,
    /// The run has it.
    Holding,
}

/// One run's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The run; where it had to ask again, with the number of the attempt behind a `.`.
    pub run_id: String,
    /// What it says.
    pub state: State,
    /// Until when it keeps others away.
    pub until: Timestamp,
}

impl Key {
    /// The tag's key.
    pub fn tag(&self) -> String {
        format!("{LEASE_TAG_PREFIX}{}", self.run_id)
    }

    /// Reads a tag; none where it isn't a lease's.
    fn parse(tag: &str, value: &str) -> Option<Self> {
        let run_id = tag.strip_prefix(LEASE_TAG_PREFIX).filter(|id| !id.is_empty())?;
        let words = words(value)?;
        let state = match *words.get("state")? {
            "asking" => State::Asking,
            "holding" => State::Holding,
            _ => return None,
        };
        Some(Self { run_id: run_id.to_owned(), state, until: seconds(words.get("until")?)? })
    }

    /// Whether both keys are one run's.
    fn is_of(&self, run_id: &str) -> bool {
        self.run_id.strip_prefix(run_id).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl fmt::Display for Key {
    /// The tag's value.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Asking => "asking",
            State::Holding => "holding",
        };
        write!(formatter, "state={state} until={}", self.until.0 / 1000)
    }
}

/// Until when a run that begins now keeps others away: its deadline, and a margin for the last calls and for clocks apart.
pub fn lasts_until(now: Timestamp, deadline: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(milliseconds(deadline + LEASE_MARGIN)))
}

/// The last moment at which the holder may write: another run, whose clock may be ahead, may take the lease as lapsed after it.
pub fn writes_until(lasts_until: Timestamp) -> Timestamp {
    Timestamp(lasts_until.0.saturating_sub(milliseconds(CLOCKS_APART)))
}

/// The keys on a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Those that keep others away.
    pub live: Vec<Key>,
    /// Tags of keys whose time is over: their runs have ended without taking them away.
    pub lapsed: Vec<String>,
    /// Tags that no run can have written, with their values.
    pub impossible: Vec<String>,
}

impl Keys {
    /// Reads a cluster's tags.
    pub fn of(tags: &BTreeMap<String, String>, now: Timestamp) -> Self {
        let latest = lasts_until(now, LONGEST_DEADLINE).0.saturating_add(milliseconds(CLOCKS_APART));
        let mut keys = Self::default();
        for (tag, value) in tags.iter().filter(|(tag, _)| tag.starts_with(LEASE_TAG_PREFIX)) {
            match Key::parse(tag, value) {
                Some(key) if key.until.0 > latest => keys.impossible.push(format!("{tag}={value}")),
                Some(key) if key.until > now => keys.live.push(key),
                Some(_) => keys.lapsed.push(tag.clone()),
                None => keys.impossible.push(format!("{tag}={value}")),
            }
        }
        keys
    }

    /// The run that holds the lease, if another than this one does.
    pub fn held_by_another(&self, run_id: &str) -> Option<&Key> {
        self.live.iter().find(|key| key.state == State::Holding && !key.is_of(run_id))
    }
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has written nothing.
    Begun,
    /// It has written that it asks.
    Asked,
    /// It has written that it holds the lease.
    Held,
}

/// What a run does next about the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Write that it asks.
    Ask,
    /// Write that it holds the lease.
    Hold,
    /// Go to work.
    Go,
    /// Read again in a moment.
    Wait,
    /// Take its key away: this run has the lease, or is to have it. None: nobody made up their mind in time.
    Withdraw(Option<String>),
}

/// The next step. `own` is the key that this run wrote last, `waited` how long ago that was.
pub fn next(stage: Stage, own: &str, keys: &Keys, waited: Duration) -> Next {
    let run_id = own.split('.').next().unwrap_or(own);
    let others = || keys.live.iter().filter(|key| !key.is_of(run_id));
    let lower = |state| others().find(|key| key.state == state && key.run_id.as_str() < own);
    let ours = keys.live.iter().find(|key| key.run_id == own).map(|key| key.state);
    let wait = || if waited < PATIENCE { Next::Wait } else { Next::Withdraw(None) };
    let withdraw = |key: &Key| Next::Withdraw(Some(key.run_id.clone()));
    match (stage, ours) {
        // One that was going to give way later need not ask.
        (Stage::Begun, _) => keys.held_by_another(run_id).or_else(|| lower(State::Asking)).map_or(Next::Ask, withdraw),
        // Not to be read yet: then others' writes may not be either.
        (Stage::Asked, None) | (Stage::Held, None | Some(State::Asking)) => wait(),
        (Stage::Asked, Some(_)) => {
            let other = keys.held_by_another(run_id).or_else(|| lower(State::Asking));
            other.map_or(Next::Hold, withdraw)
        }
        (Stage::Held, Some(State::Holding)) => match (lower(State::Holding), lower(State::Asking)) {
            (Some(other), _) => withdraw(other),
            // It may have read before this run's last write, and then it goes on; or after, and then it withdraws.
            (None, Some(_)) => wait(),
            (None, None) => Next::Go,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    /// Keys as `r1=asking r2=holding`; `r3=lapsed` is one whose time is over, `r4=ever` one that no run can have written.
    fn keys(drawn: &str) -> Keys {
        let tag = |word: &str| {
            let (run, state) = word.split_once('=').unwrap();
            let (state, until) = match state {
                "lapsed" => ("holding", NOW.0 - 1_000),
                "ever" => ("holding", NOW.0 + 26 * 3_600_000),
                state => (state, NOW.0 + 600_000),
            };
            (format!("{LEASE_TAG_PREFIX}{run}"), format!("state={state} until={}", until / 1000))
        };
        Keys::of(&drawn.split_whitespace().map(tag).collect(), NOW)
    }

    fn check(stage: Stage, drawn: &str, waited_seconds: u64, expected: &Next) {
        let next = next(stage, "r5", &keys(drawn), Duration::from_secs(waited_seconds));
        assert_eq!(next, *expected, "{stage:?}, and the cluster has {drawn:?}");
    }

    #[test]
    fn each_stage_goes_on_gives_way_or_waits() {
        let gives_way_to = |run: &str| Next::Withdraw(Some(run.to_owned()));
        for (stage, drawn, waited, expected) in [
            (Stage::Begun, "", 0, Next::Ask),
            (Stage::Begun, "r1=holding", 0, gives_way_to("r1")),
            (Stage::Begun, "r9=holding", 0, gives_way_to("r9")),
            (Stage::Begun, "r1=lapsed", 0, Next::Ask),
            (Stage::Begun, "r1=ever", 0, Next::Ask),
            (Stage::Begun, "r1=asking", 0, gives_way_to("r1")),
            (Stage::Begun, "r9=asking", 0, Next::Ask),
            // What this run wrote is not to be read yet.
            (Stage::Asked, "", 3, Next::Wait),
            (Stage::Asked, "r1=asking", 3, Next::Wait),
            (Stage::Asked, "", 60, Next::Withdraw(None)),
            (Stage::Asked, "r5=asking", 3, Next::Hold),
            (Stage::Asked, "r5=asking r1=asking", 3, gives_way_to("r1")),
            (Stage::Asked, "r5=asking r9=asking", 3, Next::Hold),
            (Stage::Asked, "r5=asking r9=holding", 3, gives_way_to("r9")),
            (Stage::Asked, "r5=asking r1=lapsed", 3, Next::Hold),
            (Stage::Held, "", 3, Next::Wait),
            (Stage::Held, "r5=asking", 3, Next::Wait),
            (Stage::Held, "r5=asking", 60, Next::Withdraw(None)),
            (Stage::Held, "r5=holding", 3, Next::Go),
            (Stage::Held, "r5=holding r1=holding", 3, gives_way_to("r1")),
            (Stage::Held, "r5=holding r9=holding", 3, Next::Go),
            (Stage::Held, "r5=holding r1=asking", 3, Next::Wait),
            (Stage::Held, "r5=holding r1=asking", 60, Next::Withdraw(None)),
            (Stage::Held, "r5=holding r9=asking", 3, Next::Go),
        ] {
            check(stage, drawn, waited, &expected);
        }
    }

    #[test]
    fn a_run_that_asks_again_is_not_in_its_own_way() {
        let keys = keys("r5=asking r5.2=asking");
        assert_eq!(next(Stage::Asked, "r5.2", &keys, Duration::ZERO), Next::Hold);
        assert_eq!(next(Stage::Held, "r5.2", &super::tests::keys("r5=holding r5.2=holding"), Duration::ZERO), Next::Go);
    }

    #[test]
    fn a_lapsed_key_is_to_be_swept_and_a_live_one_is_not() {
        let keys = keys("r1=lapsed r2=holding r3=ever r4=asking");
        assert_eq!(keys.lapsed, ["ecs-rebalancer:lease-r1"]);
        assert_eq!(keys.live.iter().map(|key| key.run_id.as_str()).collect::<Vec<_>>(), ["r2", "r4"]);
        assert_eq!(keys.impossible.len(), 1);
    }

    #[test]
    fn a_holder_stops_writing_before_another_run_s_clock_can_take_the_lease_as_lapsed() {
        let until = lasts_until(NOW, Duration::from_mins(15));
        assert_eq!(until.milliseconds_since(NOW), 21 * 60_000);
        assert_eq!(writes_until(until).milliseconds_since(NOW), 16 * 60_000);
    }

    /// Every interleaving of two runs' reads and writes, each write taking effect at any moment between two of the other's steps.
    #[test]
    fn two_runs_never_both_go_to_work() {
        #[derive(Clone, Debug, PartialEq, Eq)]
        struct Run {
            id: &'static str,
            stage: Stage,
            /// Written, and not in effect yet.
            pending: Option<State>,
            over: Option<bool>,
        }
        fn play(runs: &[Run; 2], cluster: &Keys, went: &mut u32, depth: u32) {
            let mut is_stuck = true;
            for turn in 0..2 {
                let (mut runs, mut cluster) = (runs.clone(), cluster.clone());
                let run = &mut runs[turn];
                if run.over.is_some() {
                    continue;
                }
                if let Some(state) = run.pending.take() {
                    cluster.live.retain(|key| key.run_id != run.id);
                    cluster.live.push(Key { run_id: run.id.to_owned(), state, until: NOW });
                } else {
                    // It waits only where that helps: so the other's turn comes as well.
                    match next(run.stage, run.id, &cluster, Duration::ZERO) {
                        Next::Ask => (run.stage, run.pending) = (Stage::Asked, Some(State::Asking)),
                        Next::Hold => (run.stage, run.pending) = (Stage::Held, Some(State::Holding)),
                        Next::Go => run.over = Some(true),
                        Next::Withdraw(_) => {
                            run.over = Some(false);
                            cluster.live.retain(|key| key.run_id != run.id);
                        }
                        Next::Wait => continue,
                    }
                }
                is_stuck = false;
                assert!(depth < 50);
                play(&runs, &cluster, went, depth + 1);
            }
            let at_work = runs.iter().filter(|run| run.over == Some(true)).count();
            assert!(at_work <= 1, "{runs:?}");
            if is_stuck {
                assert!(runs.iter().all(|run| run.over.is_some()), "they wait for each other: {runs:?}");
                assert_eq!(at_work, 1, "nobody went to work");
                *went += 1;
            }
        }
        let run = |id| Run { id, stage: Stage::Begun, pending: None, over: None };
        let mut went = 0;
        play(&[run("r1"), run("r2")], &Keys::default(), &mut went, 0);
        assert!(went > 10, "{went} interleavings");
    }
}
