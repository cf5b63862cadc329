//! README says what the code does: its picture, its variables and its reasons are those of the code.
//! `UPDATE_EXPECT=1 cargo test contract` writes them anew, to be reviewed as a diff.

use std::{fs, path::Path};

use ecs_rebalancer::{
    config::VARIABLES,
    planning::{
        policy::Policy,
        reason::{Blocked, LeftAlone, Outdated, Unmeasured},
    },
    rehearsal::Rehearsal,
    report::text,
};
use ecs_simulator::{Options, snapshot::Snapshot};

use crate::support::{config, in_simulated_time};

fn check(section: &str, expected: &str) {
    held(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"), section, expected);
}

/// Compares what stands between two marks in a page, or writes it there.
#[track_caller]
pub(crate) fn held(path: &Path, section: &str, expected: &str) {
    let page = fs::read_to_string(path).unwrap();
    let name = path.display();
    let (begin, end) = (format!("<!-- {section} -->\n"), format!("<!-- end of {section} -->"));
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("{name} has no mark {begin:?}"));
    let (found, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{name} has no mark {end:?}"));
    #[expect(clippy::disallowed_methods, reason = "what a person asks of these tests")]
    let updates = std::env::var_os("UPDATE_EXPECT").is_some();
    if updates {
        fs::write(path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert_eq!(found, expected, "{name}: {section} differs; UPDATE_EXPECT=1 writes it anew");
    }
}

#[test]
fn readme_is_what_the_code_does() {
    check("picture", &picture());
    check("variables", &variables());
    check("reasons", &reasons());
}

/// What `cargo rehearse` prints.
fn picture() -> String {
    let report = in_simulated_time(async {
        let rehearsal = Rehearsal::new(&Snapshot::reference_cluster(), Options::default()).unwrap();
        let mut settings = config("");
        settings.clusters = ecs_rebalancer::config::Clusters::Named(vec!["reference".to_owned()]);
        rehearsal.run(&settings, "reference", "rehearsal").await
    });
    format!("```\n$ cargo rehearse\n{}```\n", text::render(&report, false))
}

fn variables() -> String {
    let rows = VARIABLES
        .iter()
        .map(|setting| format!("| `{}` | {} | {} |\n", setting.name, code(&setting.default_text()), setting.meaning));
    format!("| variable | default | meaning |\n| --- | --- | --- |\n{}", rows.collect::<String>())
}

fn code(text: &str) -> String {
    let is_word = !text.is_empty() && !text.contains(' ');
    if is_word && !text.contains('`') { format!("`{text}`") } else { text.to_owned() }
}

fn reasons() -> String {
    let policy = Policy::default();
    let blocked = Blocked::examples().into_iter().map(LeftAlone::Blocked).chain([
        LeftAlone::BelowThreshold(policy.threshold),
        LeftAlone::MaxServices(policy.max_services),
        LeftAlone::MaxMoves(policy.max_moves),
        LeftAlone::NoHelp,
        LeftAlone::NeedsSteering { tasks: 1 },
        LeftAlone::NoRoomToMake { tasks: 2, told: None },
        LeftAlone::NotInPlan,
        LeftAlone::PlanOutdated(Outdated::DesiredCount { was: 4, is: 6 }),
    ]);
    let left_alone = blocked.map(|reason| (reason.code(), reason.to_string()));
    let unmeasured =
        Unmeasured::examples().into_iter().map(|reason| (reason.code(), format!("not measured: {reason}")));
    let rows = left_alone
        .chain(unmeasured)
        .map(|(code, sentence)| format!("| `{code}` | {} |\n", sentence.replace('|', "\\|")));
    format!("| code | for example |\n| --- | --- |\n{}", rows.collect::<String>())
}
