//! What the job leaves in the cluster for a while: its notes, as tags, and the constraint and attribute that steer. How each is
//! written, read and checked.
//!
//! Notes are input from outside like any other: somebody may have written them by hand, and they may be old. So each is bounded
//! where it is read: what can't have been written by a run is a [`Impossible`].
//!
//! A tag's value holds at most 256 of letters, digits, blanks and `_ . : / = + - @` [API, TagValue], so: words `key=value`.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive, time::Duration};

use super::model::{ContainerInstance, PlacementConstraint, Service, ServiceName, TaskArn, Timestamp};

/// On a service: an unfinished step of a surge.
pub const SURGE_TAG: &str = "ecs-rebalancer:surge";
/// On a service: when it was last rebalanced, and whether that helped.
pub const LAST_TAG: &str = "ecs-rebalancer:last";
/// The tag of a cluster that says which mode moved tasks last, and when.
pub const MODE_TAG: &str = "ecs-rebalancer:mode";
/// On the cluster, followed by a run's id: that run asks for the lease, or holds it.
pub const LEASE_TAG_PREFIX: &str = "ecs-rebalancer:lease-";

/// On container instances, and in the constraint that asks for it: where a service's replacements are to start.
pub const TARGET_ATTRIBUTE: &str = "ecs-rebalancer.target";

/// By so much this machine's clock and ECS's, or two runs' clocks, may differ.
pub const CLOCKS_APART: Duration = Duration::from_mins(5);
/// `REBALANCER_DEADLINE` is at most this, so no lease lasts longer than this and what is added to it.
pub const LONGEST_DEADLINE: Duration = Duration::from_hours(24);
/// How long beyond the deadline a lease lasts: for the last calls, and for clocks that differ.
pub const LEASE_MARGIN: Duration = Duration::from_mins(6);

/// How many characters of a task's id tell it apart from the service's others: 16 million values for at most 5,000 tasks,
/// and a clash only means that one more task keeps its protection until that ends by itself.
const TASK_ID_CHARACTERS: usize = 6;
/// How many protected tasks a surge's note has space for: 7 characters each, beside some 120 for the rest.
pub const SPARED_TASKS: usize = 19;
/// A note of a surge younger than this may be finished even if not all of its tasks were started.
const A_DAY_MILLISECONDS: i64 = 24 * 60 * 60 * 1_000;

/// More moves than this are not remembered: see [`unspent_moves`](super::levelling::unspent_moves).
pub const MOST_UNSPENT_MOVES: u32 = 500;

/// Why a tag's value can't be a note that a run wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impossible {
    /// The tag's value.
    pub value: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for Impossible {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} ({})", self.value, self.why)
    }
}

/// An unfinished step: the desired count is raised, or is about to be, or was just lowered again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurgeNote {
    /// The desired count that the service's owner set.
    pub from: u32,
    /// The desired count of the surge: above `from`, and at most twice as many.
    pub to: u32,
    /// The run that did it.
    pub run_id: String,
    /// When.
    pub at: Timestamp,
    /// How many minutes the protection that the run sets lasts from its setting on.
    pub protect_minutes: u32,
    /// The beginnings of the ids of tasks that the application itself had protected: that protection is not ours to clear.
    pub spared: Vec<String>,
    /// The value of [`TARGET_ATTRIBUTE`] that the service's constraint asks for meanwhile; none where it isn't steered.
    pub steer: Option<String>,
}

impl SurgeNote {
    /// The tasks that the surge starts on top.
    pub fn added(&self) -> u32 {
        self.to.saturating_sub(self.from)
    }

    /// Whether the application had protected this task before the surge.
    pub fn spares(&self, task: &TaskArn) -> bool {
        self.spared.iter().any(|beginning| task.short().starts_with(beginning.as_str()))
    }

    /// What a task is noted by among `spared`.
    pub fn beginning_of(task: &TaskArn) -> String {
        task.short().chars().take(TASK_ID_CHARACTERS).collect()
    }

    /// The note that a service carries, if any.
    ///
    /// # Errors
    /// When no run can have written it.
    pub fn of(service: &Service, now: Timestamp) -> Result<Option<Self>, Impossible> {
        service.tags.get(SURGE_TAG).map(|value| Self::parse(value, now)).transpose()
    }

    /// Reads a tag's value.
    ///
    /// # Errors
    /// When no run can have written it by `now`: it isn't in our words, or says to raise from nothing, to lower, to more than
    /// double, or at a moment to come.
    pub fn parse(value: &str, now: Timestamp) -> Result<Self, Impossible> {
        let impossible = |why| Impossible { value: value.to_owned(), why };
        let note = Self::read(value).ok_or_else(|| impossible("it is not in the words of a note"))?;
        if note.from == 0 {
            return Err(impossible("a surge never begins at a desired count of 0"));
        }
        if note.to <= note.from {
            return Err(impossible("a surge never lowers the desired count"));
        }
        if u64::from(note.to) > 2 * u64::from(note.from) {
            return Err(impossible("a surge never more than doubles the desired count"));
        }
        if note.at.milliseconds_since(now) > milliseconds(CLOCKS_APART) {
            return Err(impossible("its time has not come yet"));
        }
        Ok(note)
    }

    fn read(value: &str) -> Option<Self> {
        let words = words(value)?;
        Some(Self {
            from: words.get("from")?.parse().ok()?,
            to: words.get("to")?.parse().ok()?,
            run_id: (*words.get("run")?).to_owned(),
            at: seconds(words.get("at")?)?,
            protect_minutes: words.get("protect")?.parse().ok().filter(|minutes| *minutes <= 2_880)?,
            spared: match words.get("spared") {
                None | Some(&"") => Vec::new(),
                Some(list) => list.split('+').map(str::to_owned).collect(),
            },
            steer: words.get("steer").map(|value| (*value).to_owned()),
        })
    }

    /// Whether a protection that ends then may have been set by the run that wrote the note: within its own lifetime, which is
    /// shorter than the protection that it set.
    pub fn may_have_set(&self, until: Timestamp) -> bool {
        let lasts = i64::from(self.protect_minutes) * 60_000;
        let earliest = self.at.0.saturating_add(lasts).saturating_sub(60_000);
        (earliest..=earliest.saturating_add(lasts)).contains(&until.0)
    }

    /// Whether the cluster bears out that a run raised the service from `from` to `to` and died: only then is its count lowered.
    ///
    /// `running` are the tasks that run, `created_at` is when each listed task was asked for. With `from=2 to=4`: two tasks that
    /// were created while the run lived are its surge, however long ago that was. If only one task was started and 3 of 4 run,
    /// lowering to 2 stops just that one. If none was started within its time, lowering to what runs stops nothing.
    ///
    /// A note may also outlive a step that was completed: its run died between the lowering and the removal of the note. So after
    /// a day more is asked: more than `from` tasks must be left of those that were created by the end of the run's time. A service
    /// whose owner has set a count of 4 since has just two of them, and two that are younger.
    pub fn borne_out(&self, desired: u32, running: u32, created_at: &[Option<Timestamp>], now: Timestamp) -> Proof {
        if desired != self.to {
            return Proof::CountChanged;
        }
        let is_recent = now.milliseconds_since(self.at) < A_DAY_MILLISECONDS;
        // The note has the run's time, and a task has ECS's. In an old note that would let in what others started.
        let apart = if is_recent { milliseconds(CLOCKS_APART) } else { 0 };
        let begins = self.at.0.saturating_sub(apart);
        let ends = self.at.0.saturating_add(i64::from(self.protect_minutes) * 60_000 + apart);
        let created_in = |time: RangeInclusive<i64>| {
            let count = created_at.iter().flatten().filter(|at| time.contains(&at.0)).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        let started = created_in(begins..=ends);
        if started >= self.added() && (is_recent || created_in(i64::MIN..=ends) > self.from) {
            return Proof::LowerTo(self.from);
        }
        if is_recent && running < self.to {
            let is_ours = started >= running.saturating_sub(self.from);
            return Proof::LowerTo(if is_ours { self.from } else { self.from.max(running) });
        }
        Proof::Nothing
    }
}

/// What the cluster says of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It holds: the desired count may be lowered to this.
    LowerTo(u32),
    /// The desired count is not the noted one: somebody has set another, or it was lowered already.
    CountChanged,
    /// Nothing: the desired count may be its owner's.
    Nothing,
}

impl fmt::Display for SurgeNote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, run_id, at, protect_minutes, spared, steer } = self;
        write!(formatter, "from={from} to={to} run={run_id} at={} protect={protect_minutes}", at.0 / 1000)?;
        if !spared.is_empty() {
            write!(formatter, " spared={}", spared.join("+"))?;
        }
        if let Some(value) = steer {
            write!(formatter, " steer={value}")?;
        }
        Ok(())
    }
}

/// How the last rebalancing of a service went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastNote {
    /// When it ended.
    pub at: Timestamp,
    /// How many rebalancings in a row did not help.
    pub misses: u32,
}

impl LastNote {
    /// The note that a service carries, if any.
    ///
    /// # Errors
    /// When no run can have written it by `now`.
    pub fn of(service: &Service, now: Timestamp) -> Result<Option<Self>, Impossible> {
        let Some(value) = service.tags.get(LAST_TAG) else { return Ok(None) };
        let impossible = |why| Impossible { value: value.clone(), why };
        let note = Self::parse(value).ok_or_else(|| impossible("it is not in the words of a note"))?;
        if note.at.milliseconds_since(now) > milliseconds(CLOCKS_APART) {
            return Err(impossible("its time has not come yet"));
        }
        Ok(Some(note))
    }

    /// Reads a tag's value; none where it isn't one of ours.
    pub fn parse(value: &str) -> Option<Self> {
        let words = words(value)?;
        Some(Self { at: seconds(words.get("at")?)?, misses: words.get("misses")?.parse().ok()? })
    }
}

impl fmt::Display for LastNote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "at={} misses={}", self.at.0 / 1000, self.misses)
    }
}

/// What is said of the `last` notes that no run can have written: they keep no service.
pub fn impossible_lasts<'a>(services: impl Iterator<Item = &'a Service>, now: Timestamp) -> Vec<String> {
    let tell = |service: &Service| {
        let impossible = LastNote::of(service, now).err()?;
        let name = &service.name;
        Some(format!("the tag {LAST_TAG} of {name} is no note of a run: {impossible}; it is ignored, take it off"))
    };
    services.filter_map(tell).collect()
}

/// Which mode moved a cluster's tasks last, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeNote {
    /// Mode `consolidate`, when it last began to move tasks: what it packed, levelling would undo.
    Consolidated(Timestamp),
    /// Mode `spread`, when it last levelled the load.
    Levelled {
        /// When.
        at: Timestamp,
        /// Moves against which no start in vain has been set yet: see [`unspent_moves`](super::levelling::unspent_moves).
        unspent_moves: u32,
    },
}

impl ModeNote {
    /// The note that a cluster carries, if any.
    ///
    /// # Errors
    /// When no run can have written it by `now`.
    pub fn of(tags: &BTreeMap<String, String>, now: Timestamp) -> Result<Option<Self>, Impossible> {
        let Some(value) = tags.get(MODE_TAG) else { return Ok(None) };
        let impossible = |why| Impossible { value: value.clone(), why };
        let note = Self::parse(value).ok_or_else(|| impossible("it is not in the words of a note"))?;
        let (Self::Consolidated(at) | Self::Levelled { at, .. }) = note;
        if at.milliseconds_since(now) > milliseconds(CLOCKS_APART) {
            return Err(impossible("its time has not come yet"));
        }
        if matches!(note, Self::Levelled { unspent_moves, .. } if unspent_moves > MOST_UNSPENT_MOVES) {
            return Err(impossible("no run leaves so many moves unspent"));
        }
        Ok(Some(note))
    }

    fn parse(value: &str) -> Option<Self> {
        let words = words(value)?;
        let at = seconds(words.get("at")?)?;
        match *words.get("mode")? {
            "consolidate" => Some(Self::Consolidated(at)),
            "spread" => Some(Self::Levelled { at, unspent_moves: words.get("unspent")?.parse().ok()? }),
            _ => None,
        }
    }
}

impl fmt::Display for ModeNote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consolidated(at) => write!(formatter, "mode=consolidate at={}", at.0 / 1000),
            Self::Levelled { at, unspent_moves } => {
                write!(formatter, "mode=spread at={} unspent={unspent_moves}", at.0 / 1000)
            }
        }
    }
}

/// The value of [`TARGET_ATTRIBUTE`] by which a run steers a service: sixteen letters and digits, which need no quotes in an
/// expression. Two services of one run, or two runs, have the same by a chance of one in 2^64.
pub fn steer_value(run_id: &str, service: &ServiceName) -> String {
    // FNV-1a: the same on every machine, in one line, and nobody has a reason to forge it.
    let hash = run_id
        .bytes()
        .chain([b'/'])
        .chain(service.as_str().bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// The constraint that steers.
pub fn steering_constraint(value: &str) -> PlacementConstraint {
    PlacementConstraint::MemberOf(format!("attribute:{TARGET_ATTRIBUTE} == {value}"))
}

/// Whether a constraint is one that steers, of whatever run.
pub fn is_steering(constraint: &PlacementConstraint) -> bool {
    match constraint {
        PlacementConstraint::MemberOf(expression) => {
            let name = expression.trim_start().strip_prefix("attribute:");
            name.is_some_and(|name| name.starts_with(TARGET_ATTRIBUTE))
        }
        PlacementConstraint::DistinctInstance | PlacementConstraint::Unknown(_) => false,
    }
}

/// The constraints of a service's owner: all but those that steer.
pub fn owners_constraints(constraints: &[PlacementConstraint]) -> Vec<PlacementConstraint> {
    constraints.iter().filter(|constraint| !is_steering(constraint)).cloned().collect()
}

/// Whether an instance carries the attribute by which a run steers, or steered.
pub fn is_target(instance: &ContainerInstance) -> bool {
    instance.attributes.contains_key(TARGET_ATTRIBUTE)
}

pub(super) fn words(value: &str) -> Option<BTreeMap<&str, &str>> {
    value.split_whitespace().map(|word| word.split_once('=')).collect()
}

pub(super) fn seconds(text: &str) -> Option<Timestamp> {
    text.parse::<i64>().ok()?.checked_mul(1000).map(Timestamp)
}

pub(super) fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const A_MINUTE: i64 = 60_000;

    /// What a tag's value may hold [API, TagValue].
    fn is_tag_value(text: &str) -> bool {
        text.len() <= 256 && text.chars().all(|letter| letter.is_ascii_alphanumeric() || " _.:/=+-@".contains(letter))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_fits_a_tag(
            from in 1_u32..5_000,
            share in 1_u32..=100,
            at in 0_i64..1_800_000_000,
            protect_minutes in 1_u32..=2_880,
            spared in proptest::collection::vec("[0-9a-f]{6}", 0..=SPARED_TASKS),
            is_steered in any::<bool>(),
        ) {
            let run_id = "20261124T101650Z-4f2a9c01".to_owned();
            let steer = is_steered.then(|| steer_value(&run_id, &"web".into()));
            let to = from + (from * share / 100).max(1);
            let note = SurgeNote { from, to, run_id, at: Timestamp(at * 1000), protect_minutes, spared, steer };
            prop_assert!(is_tag_value(&note.to_string()), "{note}");
            prop_assert_eq!(SurgeNote::parse(&note.to_string(), NOW), Ok(note));
        }

        #[test]
        fn whatever_else_a_tag_holds_is_refused_without_a_panic(value in "[ -~]{0,256}") {
            let _ = (SurgeNote::parse(&value, NOW), LastNote::parse(&value));
        }

        /// What is noted is never lowered below what runs, unless the tasks that go were started by the noted run.
        #[test]
        fn a_count_is_lowered_only_by_what_was_started_in_time_or_by_what_does_not_run(
            from in 1_u32..9, added in 1_u32..9, running in 0_u32..20, started in 0_usize..20, age in 0_i64..3_000,
        ) {
            let note = note(from, from + added.min(from), age);
            let created: Vec<Option<Timestamp>> = vec![Some(Timestamp(note.at.0 + 1)); started];
            let running = running.min(note.to);
            if let Proof::LowerTo(count) = note.borne_out(note.to, running, &created, NOW) {
                let gone = running.saturating_sub(count);
                prop_assert!(count >= from);
                prop_assert!(gone as usize <= started, "{gone} of {running} would go, and {started} were started");
            }
        }
    }

    fn note(from: u32, to: u32, age_minutes: i64) -> SurgeNote {
        let at = Timestamp(NOW.0 - age_minutes * A_MINUTE);
        SurgeNote { from, to, run_id: "r".to_owned(), at, protect_minutes: 20, spared: Vec::new(), steer: None }
    }

    #[test]
    fn a_note_that_no_run_can_have_written_is_impossible() {
        let later = (NOW.0 + 6 * A_MINUTE) / 1000;
        let soon = (NOW.0 + 4 * A_MINUTE) / 1000;
        for (value, expected) in [
            ("from=2 to=3 run=r at=1 protect=20", "possible"),
            (&format!("from=2 to=3 run=r at={soon} protect=20"), "possible"),
            ("from=0 to=3 run=r at=1 protect=20", "a surge never begins at a desired count of 0"),
            ("from=3 to=3 run=r at=1 protect=20", "a surge never lowers the desired count"),
            ("from=40 to=3 run=r at=1 protect=20", "a surge never lowers the desired count"),
            ("from=2 to=5 run=r at=1 protect=20", "a surge never more than doubles the desired count"),
            ("from=4000000000 to=4294967295 run=r at=1 protect=20", "possible"),
            (&format!("from=2 to=3 run=r at={later} protect=20"), "its time has not come yet"),
            ("from=2 to=3 run=r at=9223372036854775807 protect=20", "it is not in the words of a note"),
            ("from=2 to=3 run=r at=1 protect=2881", "it is not in the words of a note"),
            ("from=2 to=3 run=r at=1", "it is not in the words of a note"),
            ("from=-2 to=3 run=r at=1 protect=20", "it is not in the words of a note"),
            ("somebody's own words", "it is not in the words of a note"),
        ] {
            let read = SurgeNote::parse(value, NOW);
            assert_eq!(read.as_ref().map_or_else(|impossible| impossible.why, |_| "possible"), expected, "{value}");
        }
    }

    /// `from=2 to=4`, noted so many minutes ago; so many tasks run, and these were created so many minutes after the note.
    #[track_caller]
    fn check_proof(desired: u32, age: i64, running: u32, created_after: &[i64], expected: Proof) {
        let note = note(2, 4, age);
        let created: Vec<_> = created_after.iter().map(|after| Some(Timestamp(note.at.0 + after * A_MINUTE))).collect();
        assert_eq!(note.borne_out(desired, running, &created, NOW), expected);
    }

    #[test]
    fn a_note_is_finished_only_where_the_cluster_bears_it_out() {
        let before = -600;
        check_proof(4, 30, 4, &[before, before, 1, 1], Proof::LowerTo(2));
        let a_month = 30 * 24 * 60;
        check_proof(4, a_month, 4, &[before, before, 1, 1], Proof::LowerTo(2));
        // The run's clock was ahead of ECS's.
        check_proof(4, 30, 4, &[before, before, -4, -4], Proof::LowerTo(2));
        check_proof(4, 30, 4, &[before, before, -6, -6], Proof::Nothing);
        check_proof(4, a_month, 4, &[before, before, -4, -4], Proof::Nothing);
        // Somebody scaled it to 4 later.
        check_proof(4, a_month, 4, &[before, before, 900, 900], Proof::Nothing);
        // The step was completed, and somebody scaled it to 4 later: what the run started is among the two that remained.
        check_proof(4, a_month, 4, &[before, 1, 900, 900], Proof::Nothing);
        check_proof(4, a_month, 4, &[1, 1, 900, 900], Proof::Nothing);
        // One of the raised count's tasks was replaced since.
        check_proof(4, a_month, 4, &[before, 1, 1, 900], Proof::LowerTo(2));
        // Within a day, the next run, the count is more likely the dead run's than its owner's.
        check_proof(4, 30, 4, &[before, 1, 1, 28], Proof::LowerTo(2));
        check_proof(4, 30, 4, &[before, before, before, before], Proof::Nothing);
        check_proof(4, 30, 4, &[before, before, before, 1], Proof::Nothing);
        // One of two was started, and it goes.
        check_proof(4, 30, 3, &[before, before, 1], Proof::LowerTo(2));
        // The third is not the run's: nothing that runs is stopped.
        check_proof(4, 30, 3, &[before, before, before], Proof::LowerTo(3));
        check_proof(4, a_month, 3, &[before, before, before], Proof::Nothing);
        check_proof(4, 30, 2, &[before, before], Proof::LowerTo(2));
        check_proof(3, 30, 3, &[before, before, 1], Proof::CountChanged);
        check_proof(2, 30, 2, &[before, before], Proof::CountChanged);
    }

    #[test]
    fn the_notes_read_as_written_here() {
        let last = LastNote { at: Timestamp(1_764_000_000_000), misses: 2 };
        assert_eq!(last.to_string(), "at=1764000000 misses=2");
        assert_eq!(LastNote::parse("at=1764000000 misses=2"), Some(last));
        assert_eq!(LastNote::parse("someone else's"), None);
    }

    #[test]
    fn a_last_note_that_no_run_can_have_written_is_told() {
        let mut cluster = crate::planning::testing::cluster("a i-1 web");
        let mut told = |value: &str| {
            let web = cluster.services.get_mut(&ServiceName::from("web")).unwrap();
            web.tags.insert(LAST_TAG.to_owned(), value.to_owned());
            impossible_lasts(cluster.services.values(), NOW).join("\n")
        };
        let at = |seconds: i64| LastNote { at: Timestamp(NOW.0 + seconds * 1000), misses: 1 }.to_string();
        assert_eq!([at(-60), at(0), at(300)].map(|value| told(&value)), ["", "", ""]);
        for (value, why) in
            [(at(301), "its time has not come yet"), ("yesterday".to_owned(), "it is not in the words of a note")]
        {
            let expected = format!(
                "the tag ecs-rebalancer:last of web is no note of a run: {value:?} ({why}); it is ignored, take it off"
            );
            assert_eq!(told(&value), expected);
        }
    }

    #[test]
    fn a_mode_s_note_is_read_as_it_was_written_and_nothing_else_is_one() {
        let read = |value: &str| ModeNote::of(&[(MODE_TAG.to_owned(), value.to_owned())].into(), NOW);
        for note in [ModeNote::Consolidated(NOW), ModeNote::Levelled { at: NOW, unspent_moves: MOST_UNSPENT_MOVES }] {
            assert_eq!(read(&note.to_string()), Ok(Some(note)));
        }
        assert_eq!(ModeNote::of(&BTreeMap::new(), NOW), Ok(None));
        for (value, why) in [
            ("mode=spread at=1800000000", "words of a note"),
            ("mode=spread at=1800000000 unspent=-1", "words of a note"),
            ("mode=spread at=1800000000 unspent=501", "so many moves"),
            ("mode=consolidate at=1800000301", "not come yet"),
            ("mode=sideways at=1800000000", "words of a note"),
            ("somebody else's", "words of a note"),
        ] {
            let told = read(value).unwrap_err().to_string();
            assert!(told.contains(why) && told.contains(value), "{told}");
        }
    }

    #[test]
    fn each_run_and_service_steers_by_a_value_of_its_own() {
        let value = steer_value("20261124T101650Z-4f2a9c01", &"web".into());
        assert!(value.len() == 16 && value.chars().all(|letter| letter.is_ascii_hexdigit()), "{value}");
        assert_ne!(value, steer_value("20261124T101650Z-4f2a9c01", &"api".into()));
        assert_ne!(value, steer_value("20261124T101650Z-4f2a9c02", &"web".into()));
    }

    #[test]
    fn the_owner_s_constraints_are_told_from_ours_whatever_run_set_that() {
        let own = [
            PlacementConstraint::DistinctInstance,
            PlacementConstraint::MemberOf("attribute:ecs.instance-type =~ m5.*".to_owned()),
        ];
        let mut all = own.to_vec();
        all.insert(1, steering_constraint("4f2a9c01"));
        assert_eq!(all[1], PlacementConstraint::MemberOf("attribute:ecs-rebalancer.target == 4f2a9c01".to_owned()));
        assert_eq!(owners_constraints(&all), own);
    }

    #[test]
    fn a_task_that_the_application_protected_is_known_by_the_beginning_of_its_id() {
        let task = TaskArn::from("arn:aws:ecs:us-east-1:111122223333:task/prod/0123456789abcdef");
        let note = SurgeNote::parse("from=1 to=2 run=r at=1 protect=20 spared=012345+ffffff", NOW).unwrap();
        assert_eq!(SurgeNote::beginning_of(&task), "012345");
        assert!(note.spares(&task));
        assert!(!note.spares(&"arn:aws:ecs:us-east-1:111122223333:task/prod/0123999999".into()));
    }
}
