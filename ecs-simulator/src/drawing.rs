//! A cluster drawn as text: the one notation of all tests.
//!
//! ```text
//! a  i-1  web web api  cpu=2048 status=DRAINING
//! b  i-2  web
//! service web  desired=4 strategy=spread:instanceId
//! provider od  minimum=2 scaling=DISABLED
//! ```
//!
//! One line a container instance: its zone, its name, its tasks by service, and settings `key=value` in any order.
//! A line that begins with `service` sets what is not ECS's default about a service, one that begins with `provider` what a
//! capacity provider and its Auto Scaling group keep. `#` begins a comment.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

/// What a text draws.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawing {
    /// In the order drawn.
    pub instances: Vec<DrawnInstance>,
    /// The services that have a line of their own, by name.
    pub services: BTreeMap<String, Settings>,
    /// The capacity providers that have one, by name.
    pub providers: BTreeMap<String, Settings>,
}

/// The settings of a line, `key=value`.
pub type Settings = BTreeMap<String, String>;

/// One container instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrawnInstance {
    /// Its zone, as drawn.
    pub zone: String,
    /// Its name, as drawn.
    pub name: String,
    /// The service of each task on it.
    pub tasks: Vec<String>,
    /// Whatever differs from the default.
    pub settings: Settings,
}

impl Drawing {
    /// Reads a drawing.
    ///
    /// # Errors
    /// Names the line that can't be read.
    pub fn parse(text: &str) -> Result<Self> {
        let mut drawing = Self::default();
        for (index, line) in text.lines().enumerate() {
            let content = line.split('#').next().unwrap_or_default();
            let mut words = content.split_whitespace();
            let Some(first) = words.next() else { continue };
            let second =
                words.next().with_context(|| format!("line {}: a name is missing after `{first}`", index + 1))?;
            let (plain, settings) = sort_words(words).with_context(|| format!("line {}", index + 1))?;
            let named = match first {
                "service" => Some(&mut drawing.services),
                "provider" => Some(&mut drawing.providers),
                _ => None,
            };
            if let Some(named) = named {
                ensure!(plain.is_empty(), "line {}: `{}` is not a setting", index + 1, plain.join(" "));
                if named.insert(second.to_owned(), settings).is_some() {
                    bail!("line {}: {first} {second} is drawn twice", index + 1);
                }
            } else {
                drawing.instances.push(DrawnInstance {
                    zone: first.to_owned(),
                    name: second.to_owned(),
                    tasks: plain,
                    settings,
                });
            }
        }
        Ok(drawing)
    }

    /// The names of all services, in order: those with tasks and those with a line of their own.
    pub fn service_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.instances.iter().flat_map(|instance| instance.tasks.iter().cloned()).collect();
        names.extend(self.services.keys().cloned());
        names.sort();
        names.dedup();
        names
    }
}

fn sort_words<'a>(words: impl Iterator<Item = &'a str>) -> Result<(Vec<String>, Settings)> {
    let mut plain = Vec::new();
    let mut settings = Settings::new();
    for word in words {
        match word.split_once('=') {
            None => plain.push(word.to_owned()),
            Some((key, value)) => {
                ensure!(!key.is_empty(), "`{word}` has no key before the `=`");
                ensure!(settings.insert(key.to_owned(), value.to_owned()).is_none(), "`{key}` is set twice");
            }
        }
    }
    Ok((plain, settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_tasks_and_settings_are_told_apart() {
        let drawing =
            Drawing::parse("a i-1 web api cpu=2048 web # two webs\n\nb i-2\nservice web desired=4\n").unwrap();
        assert_eq!(drawing.instances[0].tasks, ["web", "api", "web"]);
        assert_eq!(drawing.instances[0].settings["cpu"], "2048");
        assert_eq!(drawing.instances[1].tasks, Vec::<String>::new());
        assert_eq!(drawing.services["web"]["desired"], "4");
        assert_eq!(drawing.service_names(), ["api", "web"]);
    }

    #[test]
    fn what_cannot_be_read_names_its_line() {
        for (text, expected) in [
            ("a", "line 1: a name is missing after `a`"),
            ("a i-1\nservice web api", "line 2: `api` is not a setting"),
            ("service web\nservice web", "line 2: service web is drawn twice"),
            ("provider od\nservice od\nprovider od", "line 3: provider od is drawn twice"),
        ] {
            assert_eq!(Drawing::parse(text).unwrap_err().to_string(), expected);
        }
        let error = Drawing::parse("a i-1 cpu=1 cpu=2").unwrap_err();
        assert_eq!(format!("{error:#}"), "line 1: `cpu` is set twice");
    }
}
