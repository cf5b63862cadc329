//! What the compiler can't hold: what a part of the code may not know, how long files get, where links lead.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The binary's edge is to be seen at one look.
const LONGEST_MAIN_LINES: usize = 60;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder of the project with one of these endings (all, where none is given), by its path from the root;
/// build output and what git keeps for itself aside.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    const ASIDE: [&str; 5] = ["target", ".git", "corpus", "artifacts", "node_modules"];
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if ASIDE.iter().any(|name| path.ends_with(name)) {
                continue;
            }
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if endings.is_empty() || endings.contains(&ending) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn code() -> Vec<PathBuf> {
    let folders = ["src", "conformance", "ecs-simulator/src", "tests", "benches", "fuzz"];
    let files: Vec<PathBuf> = folders.iter().flat_map(|folder| files(folder, &["rs"])).collect();
    assert!(files.len() > folders.len(), "the code is elsewhere");
    files
}

/// A file's text, or none where it isn't text.
fn text(path: &Path) -> Option<String> {
    String::from_utf8(fs::read(root().join(path)).unwrap()).ok()
}

/// The lines of a file's code with their numbers, less comments.
fn lines_of_code(path: &Path) -> Vec<(usize, String)> {
    let text = text(path).unwrap();
    let without_comment = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text.lines().enumerate().map(|(index, line)| (index + 1, without_comment(line))).collect()
}

/// Fails with every line of code in `files` that holds one of `words`.
#[track_caller]
fn check_absent(files: &[PathBuf], words: &[&str], why: &str) {
    let found: Vec<String> = files
        .iter()
        .flat_map(|path| lines_of_code(path).into_iter().map(move |(number, line)| (path, number, line)))
        .filter(|(_, _, line)| words.iter().any(|word| line.contains(word)))
        .map(|(path, number, line)| format!("{}:{number}: {}", path.display(), line.trim()))
        .collect();
    assert!(found.is_empty(), "{why}:\n{}", found.join("\n"));
}

#[test]
fn planning_is_pure() {
    // What it may import is listed in `imports`; this is what needs no import.
    let forbidden = ["async ", ".await", "print!", "println!"];
    // Tests may read a file and say so.
    let is_for_tests = |path: &PathBuf| path.ends_with("tests.rs") || path.ends_with("testing.rs");
    let files: Vec<PathBuf> = files("src/planning", &["rs"]).into_iter().filter(|path| !is_for_tests(path)).collect();
    check_absent(&files, &forbidden, "planning decides, and knows nobody");
}

#[test]
fn only_the_edge_names_the_sdk() {
    let outside: Vec<PathBuf> = files("src", &["rs"]).into_iter().filter(|path| !path.starts_with("src/aws")).collect();
    let crates = ["aws_config::", "aws_sdk_", "aws_smithy_", "aws_types::", "aws_credential_types::"];
    check_absent(&outside, &crates, "only src/aws may name AWS's SDK");
}

#[test]
fn the_simulator_knows_neither_the_job_nor_the_sdk() {
    check_absent(&files("ecs-simulator", &["rs"]), &["ecs_rebalancer", "aws_sdk_", "aws_smithy_"], "a far side apart");
    let manifest = text(Path::new("ecs-simulator/Cargo.toml")).unwrap();
    let dependencies = manifest.split_once("[dependencies]").unwrap().1;
    assert!(!dependencies.contains("aws-") && !dependencies.contains("ecs-rebalancer"), "{dependencies}");
}

#[test]
fn the_probes_know_neither_the_job_nor_the_simulator() {
    // What they are to find, they may not read; their tests and their command may.
    check_absent(
        &files("conformance/src", &["rs"]),
        &["ecs_rebalancer", "ecs_simulator"],
        "a probe sees the SDK alone",
    );
    let manifest = text(Path::new("conformance/Cargo.toml")).unwrap();
    let dependencies = manifest.split_once("[dependencies]").unwrap().1.split_once("[dev-dependencies]").unwrap().0;
    assert!(!dependencies.contains("ecs-"), "{dependencies}");
}

#[test]
fn nothing_waits_in_earnest_and_nothing_is_left_out() {
    // In two parts, so that this line isn't among what it finds.
    let forbidden =
        [concat!("thread::", "sleep"), concat!("#[", "ignore"), concat!("#[", "allow("), concat!("#![", "allow(")];
    check_absent(
        &code(),
        &forbidden,
        "tests don't sleep and none is ignored; an exception is `expect` with its reason",
    );
}

/// Without `biased`, tokio asks its branches in an order by chance, and no seed would play the same again.
#[test]
fn what_is_waited_for_is_asked_in_the_order_in_which_it_stands() {
    for path in files("src", &["rs"]) {
        let text = text(&path).unwrap();
        let by_chance = text
            .split("select!")
            .skip(1)
            .filter(|rest| !rest.trim_start_matches([' ', '{', '\n']).starts_with("biased;"));
        assert_eq!(by_chance.count(), 0, "{} has a `select!` that is not biased", path.display());
    }
}

#[test]
fn files_say_what_they_are_for_and_the_edge_is_seen_at_one_look() {
    let mut wrong = Vec::new();
    for path in code() {
        let text = text(&path).unwrap();
        let lines = text.lines().count();
        if path == Path::new("src/main.rs") && lines > LONGEST_MAIN_LINES {
            wrong.push(format!("{} has {lines} lines, at most {LONGEST_MAIN_LINES} are allowed", path.display()));
        }
        if !text.starts_with("//! ") {
            wrong.push(format!("{} doesn't begin with a `//!` line that says its one job", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    for path in files("", &["md"]) {
        let text = text(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()) {
            if target.starts_with("https://") || target.starts_with("http://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let linked = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            let leads = root().join(&linked).exists() && (anchor.is_empty() || headings(&linked).contains(anchor));
            if !leads {
                dead.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "links that lead nowhere:\n{}", dead.join("\n"));
}

/// What stands between backticks in a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2))
}

fn is_code(quoted: &str) -> bool {
    let folders = ["src/", "tests/", "benches/", "examples/", "ecs-simulator/", "conformance/", "docs/", ".ci/"];
    folders.iter().any(|folder| quoted.starts_with(folder)) && !quoted.contains(['*', ' ', '<', '{'])
}

#[test]
fn files_that_are_named_are_there() {
    let mut absent = Vec::new();
    for path in files("", &["md"]).iter().filter(|path| !path.ends_with("CHANGELOG.md")) {
        let text = text(path).unwrap();
        let named = quoted(&text).filter(|quoted| is_code(quoted));
        absent
            .extend(named.filter(|name| !root().join(name).exists()).map(|name| format!("{}: {name}", path.display())));
    }
    assert!(absent.is_empty(), "files that are named and not there:\n{}", absent.join("\n"));
}

/// Newcomers follow one task through the code: each stop names files, and after each what is to be seen in it.
#[test]
fn the_way_of_one_task_leads_past_what_it_names() {
    let page = text(Path::new("docs/src/way.md")).unwrap();
    let is_stop = |line: &str| line.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    let mut stops: Vec<String> = Vec::new();
    for line in page.lines() {
        match stops.last_mut() {
            _ if is_stop(line) => stops.push(line.to_owned()),
            Some(stop) if line.starts_with("   ") => stop.push_str(line),
            _ => {}
        }
    }
    assert!((5..=10).contains(&stops.len()), "ten stops at most, not {}", stops.len());
    let mut names = 0;
    for stop in &stops {
        let in_view: Vec<String> =
            quoted(stop).filter(|it| is_code(it)).map(|it| text(Path::new(it)).unwrap()).collect();
        for quoted in quoted(stop).filter(|it| !is_code(it) && !it.starts_with("i-")) {
            names += 1;
            let is_whole = |code: &String| {
                code.match_indices(quoted).any(|(at, _)| {
                    let is_part = |letter: Option<char>| letter.is_some_and(|it| it.is_alphanumeric() || it == '_');
                    !is_part(code[..at].chars().next_back()) && !is_part(code[at + quoted.len()..].chars().next())
                })
            };
            assert!(in_view.iter().any(is_whole), "{quoted} is in none of the files of its stop: {stop}");
        }
    }
    assert!(names > 10, "{names} names");
}

/// The anchors of a Markdown file's headings, made as GitHub makes them.
fn headings(path: &Path) -> BTreeSet<String> {
    let text = text(path).unwrap_or_default();
    let anchor = |heading: &str| {
        let letters = heading.trim().to_lowercase();
        let kept = letters.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.collect::<String>().replace(' ', "-")
    };
    text.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    // In two parts, so that this file isn't among what it finds.
    let places = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
        concat!("C:", "\\"),
    ];
    let found: Vec<String> = files("", &[])
        .iter()
        .filter_map(|path| Some((path, text(path)?)))
        .flat_map(|(path, text)| {
            let line = |(index, line): (usize, &str)| {
                let place = places.iter().find(|place| line.contains(**place))?;
                Some(format!("{}:{}: {place}", path.display(), index + 1))
            };
            text.lines().enumerate().filter_map(line).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
