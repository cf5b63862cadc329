//! Which part of the code imports which: never in a circle, and planning nothing but itself and a few pure crates.
//!
//! A module is a file; its path is that of the file, so `src/planning/consolidate/problem.rs` is `planning::consolidate::problem`.
//! A folder's modules are looked at together, each with all that lies below it: a parent and its children count as one from
//! outside, and among themselves the children may not form a circle either.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use regex_lite::Regex;

/// Of the standard library: plain data and its order, no clock, no environment, no file, no thread.
const PURE_STD: [&str; 13] = [
    "borrow",
    "cell",
    "cmp",
    "collections",
    "error",
    "fmt",
    "iter",
    "mem",
    "ops",
    "rc",
    "str",
    "sync::Arc",
    "sync::LazyLock",
];
/// Spans of time, not the clock.
const PURE_TIME: &str = "time::Duration";
/// Patterns, reading and writing values, the calendar: none of them waits or asks the machine for anything.
const PURE_CRATES: [&str; 5] = ["humantime", "regex_lite", "serde", "time", "wildmatch"];

/// A crate's modules by path, as segments, each with the paths that its code names; code that only tests are built with aside.
struct Crate {
    modules: BTreeMap<Vec<String>, BTreeSet<Vec<String>>>,
}

impl Crate {
    fn read(folder: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut found = Vec::new();
        let mut folders = vec![source.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        let rust = found.iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
        let files: BTreeMap<Vec<String>, String> = rust
            .map(|path| {
                (module(path.strip_prefix(&source).unwrap()), without_comments(&fs::read_to_string(path).unwrap()))
            })
            .collect();
        assert!(files.len() > 3, "the code is elsewhere");
        let only_tests: BTreeSet<Vec<String>> =
            files.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
        let is_code = |path: &[String]| !(1..=path.len()).any(|depth| only_tests.contains(&path[..depth]));
        let code = files.iter().filter(|(path, _)| is_code(path));
        Self { modules: code.map(|(path, text)| (path.clone(), named(path, without_tests(text)))).collect() }
    }

    /// The module that a path, as it was named somewhere, lies in.
    fn module_of(&self, path: &[String]) -> Option<&[String]> {
        (1..=path.len())
            .rev()
            .find_map(|depth| self.modules.get_key_value(&path[..depth]))
            .map(|(path, _)| path.as_slice())
    }

    /// For each folder: which of its entries import which.
    fn imports(&self) -> BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> {
        let mut imports: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for (from, named) in &self.modules {
            for to in named.iter().filter_map(|path| self.module_of(path)) {
                let shared = from.iter().zip(to).take_while(|(one, other)| one == other).count();
                if let (Some(one), Some(other)) = (from.get(shared), to.get(shared)) {
                    let of_folder = imports.entry(from[..shared].to_vec()).or_default();
                    of_folder.entry(one.clone()).or_default().insert(other.clone());
                }
            }
        }
        imports
    }
}

/// `planning/consolidate/problem.rs` as `[planning, consolidate, problem]`; the file that speaks for a folder has the folder's.
fn module(path: &Path) -> Vec<String> {
    let mut segments: Vec<String> =
        path.with_extension("").iter().map(|segment| segment.to_str().unwrap().to_owned()).collect();
    if matches!(segments.last().map(String::as_str), Some("mod" | "lib")) {
        segments.pop();
    }
    segments
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The modules that a file declares for tests alone.
fn test_modules(path: &[String], text: &str) -> Vec<Vec<String>> {
    let declared = Regex::new(r"#\[cfg\(test\)\]\s*(?:pub(?:\([a-z ]+\))? )?mod (\w+);").unwrap();
    let below = |name: &str| path.iter().cloned().chain([name.to_owned()]).collect();
    declared.captures_iter(text).map(|found| below(&found[1])).collect()
}

/// What comes before the tests in a file.
fn without_tests(text: &str) -> &str {
    let tests = Regex::new(r"#\[cfg\(test\)\]\s*(?:pub(?:\([a-z: ]+\))? )?mod \w+ \{").unwrap();
    tests.find(text).map_or(text, |found| &text[..found.start()])
}

/// The paths that a module's code names, those of its own crate from the root on; of others with a `::` before them.
fn named(module: &[String], text: &str) -> BTreeSet<Vec<String>> {
    let uses = Regex::new(r"\buse\s+([^;]+);").unwrap();
    let inline = Regex::new(r"\b([a-z]\w*(?:::\w+)+)").unwrap();
    let mut paths: Vec<String> = Vec::new();
    for found in uses.captures_iter(text) {
        spread_out("", &found[1], &mut paths);
    }
    let rest = uses.replace_all(text, "");
    paths.extend(inline.find_iter(&rest).map(|found| found.as_str().to_owned()));
    paths.iter().map(|path| from_root(module, path)).collect()
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d` and `a::c::e`.
fn spread_out(before: &str, tree: &str, paths: &mut Vec<String>) {
    let (mut depth, mut start) = (0, 0);
    let mut branch = |branch: &str| {
        let branch = branch.trim();
        if let Some((path, below)) = branch.split_once('{') {
            spread_out(&format!("{before}{}", path.trim()), below.rsplit_once('}').unwrap().0, paths);
        } else if !branch.is_empty() {
            paths.push(format!("{before}{}", branch.split(" as ").next().unwrap_or_default()));
        }
    };
    for (place, letter) in tree.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branch(&tree[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    branch(&tree[start..]);
}

fn from_root(module: &[String], path: &str) -> Vec<String> {
    let mut segments: Vec<String> = path.split("::").map(str::to_owned).collect();
    let ups = segments.iter().take_while(|segment| *segment == "super").count();
    let first = segments.first().map_or("", String::as_str);
    match first {
        "crate" => segments.split_off(1),
        "super" => module[..module.len().saturating_sub(ups)].iter().cloned().chain(segments.split_off(ups)).collect(),
        "self" => module.iter().cloned().chain(segments.split_off(1)).collect(),
        _ => [String::new()].into_iter().chain(segments).collect(),
    }
}

/// A circle among a folder's entries, if there is one, as `a → b → a`.
fn circle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    fn walk<'a>(
        imports: &'a BTreeMap<String, BTreeSet<String>>,
        at: &'a str,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<String> {
        if let Some(start) = way.iter().position(|before| *before == at) {
            return Some(way[start..].iter().chain([&at]).copied().collect::<Vec<_>>().join(" → "));
        }
        if !done.insert(at) {
            return None;
        }
        way.push(at);
        let found = imports.get(at).into_iter().flatten().find_map(|next| walk(imports, next, way, done));
        way.pop();
        found
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|start| walk(imports, start, &mut Vec::new(), &mut done))
}

fn circles(folder: &str, below: &[&str]) -> Vec<String> {
    let imports = Crate::read(folder).imports();
    let of_folder = |(path, imports): (&Vec<String>, _)| {
        let is_meant = below.iter().zip(path).all(|(one, other)| one == other) && path.len() >= below.len();
        let circle = circle(imports).filter(|_| is_meant)?;
        Some(format!("{}/{}: {circle}", folder, path.join("/")))
    };
    imports.iter().filter_map(of_folder).collect()
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let found = circles("src", &["planning"]);
    assert!(
        found.is_empty(),
        "what both need belongs into a module of its own, mostly of plain data:\n{}",
        found.join("\n")
    );
}

#[test]
fn planning_imports_itself_and_a_few_pure_crates() {
    let mut foreign: BTreeSet<String> = BTreeSet::new();
    for (module, named) in
        Crate::read("src").modules.iter().filter(|(path, _)| path.first().is_some_and(|first| first == "planning"))
    {
        for path in named {
            let segments: Vec<&str> = path.iter().map(String::as_str).collect();
            let is_pure = match segments.as_slice() {
                ["planning", ..] => true,
                ["", "std", rest @ ..] => {
                    let rest = rest.join("::");
                    rest == PURE_TIME
                        || PURE_STD.iter().any(|pure| rest == *pure || rest.starts_with(&format!("{pure}::")))
                }
                // A path that begins with a module or a type that the file has imported already.
                ["", first, ..] => PURE_CRATES.contains(first) || !crates().contains(*first),
                _ => false,
            };
            if !is_pure {
                foreign.insert(format!("{} imports {}", module.join("::"), path.join("::")));
            }
        }
    }
    assert!(foreign.is_empty(), "planning decides, and knows nobody:\n{}", Vec::from_iter(foreign).join("\n"));
}

/// The crates that the manifest names, as code names them; and the standard library's others.
fn crates() -> BTreeSet<String> {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let dependency = Regex::new(r"(?m)^([a-z][a-z0-9_-]*) = \{ (?:version|path|workspace)").unwrap();
    let named = dependency.captures_iter(&manifest).map(|found| found[1].replace('-', "_"));
    let crates: BTreeSet<String> = named.chain(["core", "alloc", "std"].map(str::to_owned)).collect();
    assert!(crates.contains("tokio") && crates.contains("aws_sdk_ecs"), "the manifest reads otherwise: {crates:?}");
    crates
}

#[test]
fn a_circle_is_found_across_files_and_folders() {
    let of = |text: &str| -> BTreeMap<String, BTreeSet<String>> {
        let edge = |edge: &str| edge.split_once('>').map(|(one, other)| (one.to_owned(), other.to_owned())).unwrap();
        let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (one, other) in text.split(' ').map(edge) {
            imports.entry(one).or_default().insert(other);
        }
        imports
    };
    assert_eq!(circle(&of("a>b b>c a>c")), None);
    assert_eq!(circle(&of("a>b b>c c>b")).as_deref(), Some("b → c → b"));
    let module = ["planning", "consolidate", "floor"].map(str::to_owned);
    let paths =
        named(&module, "use super::{largest::{Largest, largest as it}, super::model};\nfn f() { crate::aws::x() }");
    let shown: Vec<String> = paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(
        shown,
        [
            "aws::x",
            "planning::consolidate::largest::Largest",
            "planning::consolidate::largest::largest",
            "planning::model"
        ]
    );
}
