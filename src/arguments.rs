//! The command line of the job: `--help` and `--version` alone. Settings come from the environment.

use std::{
    ffi::OsString,
    io::{self, Write},
};

use crate::{
    config::{GROUPS, PREFIX, VARIABLES},
    exit, log,
};

/// The width of the help page: what every terminal can show.
const WIDTH: usize = 80;
/// How far a variable's meaning is indented.
const INDENT: usize = 6;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A run.
    Run,
    /// A text to print on standard output.
    Text(String),
    /// Something that the job doesn't take, as a sentence.
    Wrong(String),
}

/// Answers the arguments after the program's name, and gives the status to end with; none where a run is asked for.
pub fn answer(arguments: impl IntoIterator<Item = OsString>) -> Option<u8> {
    match asked(arguments) {
        Asked::Run => None,
        Asked::Text(text) => {
            let mut out = io::stdout();
            let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            Some(match printed {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    log::complain(&format_args!("error: cannot print it: {error}"));
                    exit::FAILED
                }
                // Whoever reads no further has read enough.
                Ok(()) | Err(_) => exit::DONE,
            })
        }
        Asked::Wrong(sentence) => {
            log::complain(&sentence);
            Some(exit::MISCONFIGURED)
        }
    }
}

/// Reads the arguments after the program's name.
pub fn asked(arguments: impl IntoIterator<Item = OsString>) -> Asked {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match arguments.as_slice() {
        [] => Asked::Run,
        [only] if only == "--help" || only == "-h" => Asked::Text(help()),
        [only] if only == "--version" || only == "-V" => Asked::Text(format!("ecs-rebalancer {VERSION}\n")),
        [first, ..] => Asked::Wrong(wrong(&first.to_string_lossy())),
    }
}

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

fn wrong(argument: &str) -> String {
    let word = argument.trim_start_matches('-').split('=').next().unwrap_or_default();
    let name = format!("{PREFIX}{}", word.replace('-', "_").to_uppercase());
    let known = VARIABLES
        .iter()
        .map(|setting| setting.name)
        .find(|known| argument.starts_with('-') && *known == name && name != DRY_RUN);
    let instead = known.map_or_else(|| format!("set {DRY_RUN}=true"), |known| format!("set {known}"));
    format!(
        "ecs-rebalancer takes no arguments; {instead}. It was given {argument:?}. `ecs-rebalancer --help` lists the variables."
    )
}

const DRY_RUN: &str = "REBALANCER_DRY_RUN";

const WHAT_IT_IS: &str = "\
ecs-rebalancer rebalances the tasks of an Amazon ECS cluster over its EC2
container instances: one run, configured by the environment alone.

USAGE
  REBALANCER_CLUSTER=prod REBALANCER_DRY_RUN=true ecs-rebalancer
      Measures the cluster, publishes the metrics, prints the plan and changes
      nothing. Without REBALANCER_DRY_RUN=true the run makes the planned moves.
  ecs-rebalancer --help | --version

Region, credentials, endpoint and proxy come from the AWS SDK's own environment
(AWS_REGION, AWS_PROFILE, HTTPS_PROXY and others).
";

const THE_REST: &str = "
EXIT STATUS
  0    the run did what it should, including nothing
  1    something failed, or a service is left above its desired count
  2    the configuration is wrong, and nothing was called
  143  ended by SIGTERM or Ctrl-C

READ ON
  README.md, and the book in docs/src: variables.md, strategies.md, reasons.md,
  metrics.md, permissions.md and troubleshooting.md.
";

/// The whole help page.
pub fn help() -> String {
    let mut page = WHAT_IT_IS.to_owned();
    for (group, heading) in GROUPS {
        page += &format!("\n{heading}\n");
        for setting in VARIABLES.iter().filter(|setting| setting.group == group) {
            let default = setting.default_text().replace('`', "");
            page += &format!("  {}\n", setting.name);
            page += &indented(&format!("{} [default: {default}]", setting.meaning.replace('`', "")));
        }
    }
    page + THE_REST
}

/// A paragraph, indented and wrapped.
fn indented(paragraph: &str) -> String {
    let mut lines = vec![String::new()];
    for word in paragraph.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && INDENT + line + 1 + word.chars().count() > WIDTH {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            let blank = if line.is_empty() { "" } else { " " };
            *line += &format!("{blank}{word}");
        }
    }
    lines.iter().map(|line| format!("{:INDENT$}{line}\n", "")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Asked {
        asked(arguments.iter().map(OsString::from))
    }

    #[test]
    fn help_lists_every_variable_once_and_fits_a_terminal() {
        let Asked::Text(help) = of(&["--help"]) else { panic!("no help") };
        for setting in &VARIABLES {
            let named = help.lines().filter(|line| line.trim() == setting.name).count();
            assert_eq!(named, 1, "{}", setting.name);
        }
        let longest = help.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(WIDTH), "{longest:?} columns");
    }

    #[test]
    fn help_and_version_are_all_that_can_be_asked() {
        assert_eq!(of(&[]), Asked::Run);
        assert_eq!(of(&["--version"]), Asked::Text(format!("ecs-rebalancer {VERSION}\n")));
        assert_eq!(of(&["-h"]), of(&["--help"]));
        for (arguments, expected) in [
            (&["--dry-run"][..], "takes no arguments; set REBALANCER_DRY_RUN=true."),
            (&["plan"], "takes no arguments; set REBALANCER_DRY_RUN=true. It was given \"plan\"."),
            (&["--max-moves=5"], "takes no arguments; set REBALANCER_MAX_MOVES. It was given \"--max-moves=5\"."),
            (&["--help", "me"], "takes no arguments; set REBALANCER_DRY_RUN=true. It was given \"--help\"."),
            (&[""], "It was given \"\"."),
        ] {
            let Asked::Wrong(sentence) = of(arguments) else { panic!("{arguments:?} is taken") };
            assert!(sentence.contains(expected), "{sentence}");
        }
    }
}
