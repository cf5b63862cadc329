//! The book's page and the stack's README say what the probes and the Terraform do. `UPDATE_EXPECT=1` writes the tables anew.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use conformance::{
    page::{self, Proof},
    probe::Probe,
    probes::{PROBES, RATES},
    stack::Stack,
};

const README: &str = include_str!("../../examples/conformance/README.md");
const TERRAFORM: &str = include_str!("../../examples/conformance/main.tf");
const STACK: &str = include_str!("../examples/conformance/stack.json");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compares what stands between two marks in the page, or writes it there.
#[track_caller]
fn held(section: &str, expected: &str) {
    let path = root().join("docs/src/how-sure.md");
    let page = fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {section} -->\n"), format!("<!-- end of {section} -->"));
    let (before, rest) = page.split_once(&begin).unwrap();
    let (found, after) = rest.split_once(&end).unwrap();
    #[expect(clippy::disallowed_methods, reason = "what a person asks of these tests")]
    let updates = std::env::var_os("UPDATE_EXPECT").is_some();
    if updates {
        fs::write(path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert_eq!(found, expected, "{section} differs; UPDATE_EXPECT=1 writes it anew");
    }
}

/// What accounts have proved, oldest first.
fn proofs() -> Vec<Proof> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(root().join("conformance/proved")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    files.iter().map(|path| Proof::from_json(&fs::read_to_string(path).unwrap()).unwrap()).collect()
}

#[test]
fn the_page_tells_of_every_probe() {
    let stack = Stack::from_json(STACK).unwrap();
    let probes: Vec<Probe> = PROBES.iter().chain([&RATES]).copied().collect();
    held("assumptions", &page::assumptions(&probes, &proofs()));
    held("costs", &page::costs(&probes, u32::try_from(stack.hundredths_of_a_cent_an_hour).unwrap()));
}

/// The parts and prices of the Terraform, in hundredths of a cent.
fn prices() -> Vec<(String, u64)> {
    let list = TERRAFORM.split_once("  prices = {\n").unwrap().1.split_once("  }\n").unwrap().0;
    let price = |line: &str| {
        let (part, price) = line.trim().split_once(" = ").unwrap();
        (part.trim().trim_matches('"').to_owned(), price.trim().parse().unwrap())
    };
    list.lines().map(price).collect()
}

#[test]
fn the_stack_s_readme_tells_its_prices() {
    let prices = prices();
    let all: u64 = prices.iter().map(|(_, price)| price).sum();
    for (part, price) in prices.iter().map(|(part, price)| (part.as_str(), *price)).chain([("all", all)]) {
        let row = format!("| {part} | {}.{:02} |\n", price / 100, price % 100);
        assert!(README.contains(&row), "README lacks {row}");
    }
    assert_eq!(Stack::from_json(STACK).unwrap().hundredths_of_a_cent_an_hour, all);
    // What the issue asked for: an afternoon for less than half a dollar.
    let minutes: u64 = PROBES.iter().map(|probe| u64::from(probe.minutes)).sum();
    assert!(all * minutes / 60 < 5_000, "all probes cost {} hundredths of a cent", all * minutes / 60);
}

#[test]
fn the_stack_s_output_is_what_the_command_takes() {
    let output = TERRAFORM.split_once("output \"stack\" {").unwrap().1.split_once("\n  }\n").unwrap().0;
    let stack: serde_json::Value = serde_json::from_str(STACK).unwrap();
    for name in stack.as_object().unwrap().keys() {
        let is_there = output.lines().any(|line| line.trim_start().starts_with(&format!("{name} ")));
        assert!(is_there, "the output has no {name}");
    }
    for name in stack["task_definitions"].as_object().unwrap().keys() {
        let is_there = TERRAFORM.lines().any(|line| line.trim_start().starts_with(&format!("{name} ")));
        assert!(is_there, "there is no task definition {name}");
    }
}

/// The operations that probes call, by the names that they are told under.
fn called() -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders = ["", "lab", "probes"].map(|folder| source.join(folder));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let texts = files
        .filter(|path| path.extension().is_some_and(|it| it == "rs"))
        .map(|path| fs::read_to_string(path).unwrap());
    let mut called = BTreeSet::new();
    for text in texts {
        for begin in ["call(\"", "attempt(\"", "tried(\"", "call_page(\""] {
            called.extend(text.split(begin).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
    called
}

#[test]
fn whoever_runs_the_probes_is_allowed_what_they_call_and_no_more() {
    let list = TERRAFORM.split_once("  statements = [").unwrap().1.split_once("\n  ]\n").unwrap().0;
    let quoted = list.split('"').skip(1).step_by(2);
    let allowed: BTreeSet<&str> = quoted
        .filter_map(|text| text.split_once(':'))
        .filter(|(service, _)| *service != "arn")
        .map(|(_, action)| action)
        .collect();
    let called = called();
    assert!(called.contains("UpdateService") && called.len() > 20, "{called:?}");
    let mut expected: BTreeSet<&str> = called.iter().map(String::as_str).collect();
    // What comes with CreateService of two target groups, and with the first scalable target of an account.
    expected.extend(["PassRole", "CreateServiceLinkedRole"]);
    let allowed: BTreeSet<&str> = allowed.into_iter().filter(|action| action.starts_with(char::is_uppercase)).collect();
    assert_eq!(allowed, expected);
}
