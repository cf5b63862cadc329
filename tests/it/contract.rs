//! README and the book's reference pages say what the code does: their picture, variables, reasons, inputs and outputs are those
//! of the code.
//! `UPDATE_EXPECT=1 cargo test contract` writes them anew, to be reviewed as a diff.

use std::{collections::BTreeSet, fs, path::Path};

use ecs_rebalancer::{
    config::VARIABLES,
    planning::{
        policy::Policy,
        reason::{Blocked, LeftAlone, Outdated, Unlevelled, Unmeasured},
    },
    rehearsal::Rehearsal,
    report::text,
};
use ecs_simulator::{Options, snapshot::Snapshot};

use crate::support::{config, in_simulated_time};

/// README is read in five minutes.
const README_LINES: usize = 200;
/// An ordinary width, also of a table's row.
const README_COLUMNS: usize = 140;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn check(page: &str, section: &str, expected: &str) {
    held(&root().join(page), section, expected);
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
fn pages_are_what_the_code_does() {
    check("README.md", "picture", &picture());
    check("docs/src/variables.md", "variables", &variables());
    check("docs/src/reasons.md", "reasons", &reasons());
    check("docs/src/reasons.md", "instances", &reasons_of_instances());
    let terraform = fs::read_to_string(root().join("schedule.tf")).unwrap();
    check("docs/src/deploying.md", "inputs", &inputs(&terraform));
    check("docs/src/deploying.md", "outputs", &outputs(&terraform));
}

#[test]
fn the_page_of_metrics_lists_what_is_published() {
    let page = fs::read_to_string(root().join("docs/src/metrics.md")).unwrap();
    let mut told = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [names, unit, of, _meaning] = cells[..] else { panic!("{row}") };
        for name in names.split('`').skip(1).step_by(2) {
            told.extend(
                ["cluster", "service"].into_iter().filter(|it| of.contains(it)).map(|it| format!("{name} {unit} {it}")),
            );
        }
    }
    let rehearsal = in_simulated_time(async {
        let rehearsal = Rehearsal::new(&Snapshot::reference_cluster(), Options::default()).unwrap();
        rehearsal.run(&config("METRICS=all"), "reference", "rehearsal").await;
        rehearsal
    });
    let simulator = rehearsal.simulator();
    let published = simulator.metrics().all().iter().flat_map(|(it, points)| {
        points.iter().map(move |point| {
            let of = if it.dimensions.len() > 1 { "service" } else { "cluster" };
            format!("{} {} {of}", it.name, point.unit)
        })
    });
    assert_eq!(told, published.collect());
}

#[test]
fn readme_is_short() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let lines = readme.lines().count();
    assert!(lines <= README_LINES, "README has {lines} lines");
    for line in readme.lines() {
        let columns = line.chars().count();
        assert!(columns <= README_COLUMNS, "{columns} columns: {line}");
    }
}

/// Terraform's blocks of one kind: their names and bodies.
fn blocks<'a>(terraform: &'a str, kind: &str) -> Vec<(&'a str, &'a str)> {
    let begin = format!("\n{kind} \"");
    let found = terraform.split(&begin).skip(1);
    let blocks: Vec<_> = found.filter_map(|rest| rest.split_once("\n}\n")?.0.split_once("\" {\n")).collect();
    assert!(!blocks.is_empty(), "schedule.tf has no {kind}");
    blocks
}

/// What a block says of itself by one of its arguments.
fn argument<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = body.lines().filter_map(|line| line.strip_prefix("  ")?.split_once('='));
    lines.find(|(argument, _)| argument.trim() == name).map(|(_, value)| value.trim())
}

fn description(body: &str) -> String {
    argument(body, "description").expect(body).trim_matches('"').replace('|', "\\|")
}

fn inputs(terraform: &str) -> String {
    let default =
        |body: &str| argument(body, "default").map_or("required".to_owned(), |default| format!("`{default}`"));
    let row = |(name, body): (&str, &str)| format!("| `{name}` | {} | {} |\n", default(body), description(body));
    let rows: String = blocks(terraform, "variable").into_iter().map(row).collect();
    format!("| variable | default | meaning |\n| --- | --- | --- |\n{rows}")
}

fn outputs(terraform: &str) -> String {
    let row = |(name, body): (&str, &str)| format!("| `{name}` | {} |\n", description(body));
    let rows: String = blocks(terraform, "output").into_iter().map(row).collect();
    format!("| output | meaning |\n| --- | --- |\n{rows}")
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
        LeftAlone::NoRoomToMake { tasks: 2, told: None, disconnected: None },
        LeftAlone::NotInPlan,
        LeftAlone::PlanOutdated(Outdated::DesiredCount { was: 4, is: 6 }),
    ]);
    let left_alone = blocked.map(|reason| (reason.code(), reason.to_string()));
    let unmeasured =
        Unmeasured::examples().into_iter().map(|reason| (reason.code(), format!("not measured: {reason}")));
    table_of_reasons(left_alone.chain(unmeasured))
}

fn reasons_of_instances() -> String {
    table_of_reasons(Unlevelled::examples().into_iter().map(|reason| (reason.code(), reason.to_string())))
}

fn table_of_reasons(reasons: impl Iterator<Item = (&'static str, String)>) -> String {
    let rows = reasons.map(|(code, sentence)| format!("| `{code}` | {} |\n", sentence.replace('|', "\\|")));
    format!("| code | for example |\n| --- | --- |\n{}", rows.collect::<String>())
}
