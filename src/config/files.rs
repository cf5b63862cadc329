//! To which file a path leads, however it is spelt.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// More links than these in a row lead nowhere [Linux, path_resolution(7)].
const MOST_LINKS: usize = 40;

/// Whether both lead to one file: what is written to one of them is written over the other.
pub fn is_one_file(one: &Path, other: &Path) -> bool {
    let found = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    match (found(one), found(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => destination(one) == destination(other),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Where a file would be made that isn't there yet.
fn destination(path: &Path) -> PathBuf {
    let folder_of = |path: &Path| match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&path) else { break };
        path = folder_of(&path).join(target);
    }
    match (fs::canonicalize(folder_of(&path)), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => std::path::absolute(&path).unwrap_or(path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn one_file_is_known_by_all_its_names_whether_it_is_there_or_not() {
        let folder = std::env::temp_dir().join(format!("files-{}", std::process::id()));
        fs::create_dir_all(folder.join("in")).unwrap();
        fs::write(folder.join("a.json"), "").unwrap();
        fs::hard_link(folder.join("a.json"), folder.join("hard.json")).unwrap();
        symlink("a.json", folder.join("link.json")).unwrap();
        symlink("../new.json", folder.join("in/dangling.json")).unwrap();
        symlink("in", folder.join("also")).unwrap();
        symlink("loop.json", folder.join("loop.json")).unwrap();
        let is_one = |one: &str, other: &str| is_one_file(&folder.join(one), &folder.join(other));
        for (one, other, expected) in [
            ("a.json", "./a.json", true),
            ("a.json", "in/../a.json", true),
            ("a.json", "link.json", true),
            ("a.json", "hard.json", true),
            ("a.json", "b.json", false),
            ("new.json", "in/dangling.json", true),
            ("new.json", "in/new.json", false),
            ("in/new.json", "also/new.json", true),
            ("nowhere/a.json", "./nowhere/a.json", true),
            ("loop.json", "a.json", false),
        ] {
            assert_eq!(is_one(one, other), expected, "{one} {other}");
        }
        // Spelt from the working folder, and whole.
        assert!(is_one_file(Path::new("new.json"), &std::path::absolute("./new.json").unwrap()));
        assert!(is_one_file(Path::new("Cargo.toml"), &std::path::absolute("Cargo.toml").unwrap()));
        fs::remove_dir_all(folder).unwrap();
    }
}
