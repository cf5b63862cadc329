//! What the compiler can't hold: modules import each other in no circle. A module and those below it count as one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The source files but for tests, each with its module: the first part of its path.
fn sources(folder: &Path, module: Option<&str>, found: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let of = module.unwrap_or(&stem).to_owned();
        if path.is_dir() {
            sources(&path, Some(&of), found);
        } else if path.extension().is_some_and(|it| it == "rs")
            && !["tests", "testing", "sequences", "imports"].contains(&stem.as_str())
        {
            found.push((of, path));
        }
    }
}

/// The modules that a file imports: each first name behind `crate::`, those of a list in braces too.
fn imported(text: &str, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut names: BTreeSet<String> = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        if let Some(list) = rest.strip_prefix('{') {
            names.extend(first_names(list));
        } else {
            names.extend(
                rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().map(str::to_owned),
            );
        }
    }
    names.retain(|name| modules.contains(name));
    names
}

/// The first name of each path in a list, up to the brace that closes it.
fn first_names(list: &str) -> Vec<String> {
    let (mut depth, mut paths) = (0, vec![String::new()]);
    for letter in list.chars() {
        match letter {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => paths.push(String::new()),
            _ if depth == 0 => paths.last_mut().unwrap().push(letter),
            _ => {}
        }
    }
    paths.iter().filter_map(|path| path.split("::").next()).map(|name| name.trim().to_owned()).collect()
}

#[test]
fn modules_import_each_other_in_no_circle() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), None, &mut files);
    let modules: BTreeSet<String> = files.iter().map(|(module, _)| module.clone()).collect();
    assert!(modules.len() > 20, "{modules:?}");
    let mut graph = BTreeMap::<String, BTreeSet<String>>::new();
    for (module, path) in &files {
        let imports = imported(&fs::read_to_string(path).unwrap(), &modules);
        graph.entry(module.clone()).or_default().extend(imports.into_iter().filter(|other| other != module));
    }
    assert!(graph["engine"].contains("scheduler") && graph["scheduler"].contains("world"), "{graph:#?}");
    // What imports nothing that is left is taken away; a circle stays.
    while let Some(leaf) = graph.iter().find(|(_, imports)| imports.is_empty()).map(|(module, _)| module.clone()) {
        graph.remove(&leaf);
        for imports in graph.values_mut() {
            imports.remove(&leaf);
        }
    }
    assert!(graph.is_empty(), "these are in a circle, or lead into one: {graph:#?}");
}
