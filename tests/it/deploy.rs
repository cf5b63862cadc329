//! What carries the job into an account names what the code has: no variable and no placeholder is in one place only.

use std::{collections::BTreeSet, fs, path::Path};

use ecs_rebalancer::config::VARIABLES;

/// What the Terraform sets by itself, or doesn't offer, each of which it names in full.
const NOT_OFFERED: [&str; 5] = [
    "REBALANCER_CLUSTER",
    "REBALANCER_TRIGGER_INSTANCE",
    "REBALANCER_REPORT",
    "REBALANCER_SNAPSHOT",
    "REBALANCER_PLAN",
];

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{begin:?} is nowhere"));
    rest.split_once(end).unwrap_or_else(|| panic!("{end:?} doesn't follow {begin:?}")).0
}

/// The names and values of lines `name = value`.
fn assignments(block: &str) -> Vec<(&str, &str)> {
    block.lines().filter_map(|line| line.split_once(" = ")).map(|(name, value)| (name.trim(), value.trim())).collect()
}

#[test]
fn terraform_offers_each_variable_with_its_own_default() {
    let terraform = read("schedule.tf");
    let offered = assignments(between(&terraform, "type = map(object({\n", "\n\n"));
    let names: BTreeSet<String> =
        offered.iter().map(|(name, _)| format!("REBALANCER_{}", name.to_uppercase())).collect();
    let expected: BTreeSet<String> = VARIABLES
        .iter()
        .map(|setting| setting.name.to_owned())
        .filter(|name| !NOT_OFFERED.contains(&name.as_str()))
        .collect();
    assert_eq!(names, expected);
    for name in NOT_OFFERED {
        assert!(VARIABLES.iter().any(|setting| setting.name == name), "{name} is no variable");
        assert!(terraform.contains(name), "schedule.tf doesn't say what becomes of {name}");
    }
    for (name, value) in offered {
        let setting = VARIABLES.iter().find(|setting| setting.name.eq_ignore_ascii_case(&format!("REBALANCER_{name}")));
        if let Some((_, default)) = value.trim_end_matches(')').split_once(", ") {
            assert_eq!(
                Some(format!("`{}`", default.trim_matches('"'))),
                setting.map(ecs_rebalancer::config::Setting::default_text),
                "{name}"
            );
        }
    }
}

#[test]
fn task_definition_and_terraform_have_the_same_placeholders() {
    let (definition, terraform) = (read("taskdef.json"), read("schedule.tf"));
    let asked: BTreeSet<&str> =
        definition.split("${").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect();
    let given = between(&terraform, "/taskdef.json\", {\n", "\n  }))");
    assert_eq!(asked, assignments(given).into_iter().map(|(name, _)| name).collect());
}

#[test]
fn the_book_tells_the_permissions_that_terraform_grants() {
    let (page, terraform) = (read("docs/src/permissions.md"), read("schedule.tf"));
    let services = ["ecs:", "iam:", "autoscaling:", "cloudwatch:", "elasticloadbalancing:"];
    let is_action = |word: &&str| services.iter().any(|it| word.starts_with(it));
    let told: BTreeSet<&str> = page.split('`').filter(is_action).collect();
    let granted = assignments(between(&terraform, "  statements = {", "\n  ] : merge("));
    let granted = granted.into_iter().filter(|(name, _)| *name == "Action").flat_map(|(_, value)| value.split('"'));
    assert_eq!(told, granted.filter(is_action).collect());
}
