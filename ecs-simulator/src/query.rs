//! `memberOf` expressions as ECS evaluates them: a reading of the guide of its own, so that it can contradict the job's.
//!
//! [ECS developer guide, "Cluster query language"]

use std::collections::BTreeSet;

use regex::Regex;

use crate::state::{Instance, State};

/// An expression in reverse Polish order: tests push, connectives pop.
#[derive(Clone, Debug)]
pub(crate) struct Query(Vec<Item>);

#[derive(Clone, Debug)]
enum Item {
    Test { subject: String, operator: String, values: Vec<String>, pattern: Option<Regex> },
    Not,
    And,
    Or,
}

impl Query {
    /// Reads an expression; the error is a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() > 2_000 {
            return Err("is longer than 2000 characters".to_owned());
        }
        let words = split(text)?;
        let mut output = Vec::new();
        let mut waiting: Vec<&str> = Vec::new();
        let mut rest = words.as_slice();
        let mut expects_test = true;
        while let Some((word, behind)) = rest.split_first() {
            rest = behind;
            match (word.as_str(), expects_test) {
                ("not" | "!", true) => waiting.push("not"),
                ("(", true) => waiting.push("("),
                (")", false) => {
                    loop {
                        match waiting.pop() {
                            None => return Err("has a `)` too many".to_owned()),
                            Some("(") => break,
                            Some(connective) => output.push(item(connective)),
                        }
                    }
                    settle_not(&mut waiting, &mut output);
                }
                ("and" | "&&" | "or" | "||", false) => {
                    let connective = if matches!(word.as_str(), "and" | "&&") { "and" } else { "or" };
                    while let Some(top) = waiting.last().copied() {
                        if top == "(" || (connective == "and" && top == "or") {
                            break;
                        }
                        waiting.pop();
                        output.push(item(top));
                    }
                    waiting.push(connective);
                    expects_test = true;
                }
                (_, true) => {
                    let (parsed, after) = test(word, rest)?;
                    output.push(parsed);
                    rest = after;
                    settle_not(&mut waiting, &mut output);
                    expects_test = false;
                }
                (other, false) => return Err(format!("has `{other}` where a connective belongs")),
            }
        }
        if expects_test {
            return Err("ends where a test belongs".to_owned());
        }
        while let Some(top) = waiting.pop() {
            if top == "(" {
                return Err("has a `(` that is not closed".to_owned());
            }
            output.push(item(top));
        }
        Ok(Self(output))
    }

    /// Whether an instance fulfils it.
    pub(crate) fn holds(&self, instance: &Instance, state: &State) -> bool {
        let mut stack = Vec::new();
        for item in &self.0 {
            let result = match item {
                Item::Test { subject, operator, values, pattern } => {
                    evaluate(subject, operator, values, pattern.as_ref(), instance, state)
                }
                Item::Not => !stack.pop().unwrap_or(false),
                Item::And | Item::Or => {
                    let (right, left) = (stack.pop().unwrap_or(false), stack.pop().unwrap_or(false));
                    if matches!(item, Item::And) { left && right } else { left || right }
                }
            };
            stack.push(result);
        }
        stack.pop().unwrap_or(false)
    }
}

fn item(word: &str) -> Item {
    match word {
        "not" => Item::Not,
        "and" => Item::And,
        _ => Item::Or,
    }
}

/// `not` binds to the one test or group right behind it.
fn settle_not(waiting: &mut Vec<&str>, output: &mut Vec<Item>) {
    while waiting.last() == Some(&"not") {
        waiting.pop();
        output.push(Item::Not);
    }
}

const OPERATORS: [(&str, &str); 20] = [
    ("==", "=="),
    ("equals", "=="),
    ("!=", "!="),
    ("not_equals", "!="),
    (">=", ">="),
    ("greater_than_equal", ">="),
    (">", ">"),
    ("greater_than", ">"),
    ("<=", "<="),
    ("less_than_equal", "<="),
    ("<", "<"),
    ("less_than", "<"),
    ("exists", "exists"),
    ("not_exists", "!exists"),
    ("in", "in"),
    ("not_in", "!in"),
    ("=~", "=~"),
    ("matches", "=~"),
    ("!~", "!~"),
    ("not_matches", "!~"),
];

fn test<'a>(subject: &str, rest: &'a [String]) -> Result<(Item, &'a [String]), String> {
    let plain = ["agentConnected", "agentVersion", "ec2InstanceId", "registeredAt", "runningTasksCount", "task:group"];
    if !plain.contains(&subject) && subject.strip_prefix("attribute:").is_none_or(str::is_empty) {
        return Err(format!("has the unknown subject `{subject}`"));
    }
    let (negated, rest) = match rest.split_first() {
        Some((word, behind)) if word == "!" => (true, behind),
        _ => (false, rest),
    };
    let Some((word, mut rest)) = rest.split_first() else { return Err(format!("lacks an operator after `{subject}`")) };
    let Some((_, operator)) = OPERATORS.iter().find(|(name, _)| name == word) else {
        return Err(format!("has the unknown operator `{word}`"));
    };
    let mut operator = (*operator).to_owned();
    if negated {
        if !["exists", "in"].contains(&operator.as_str()) {
            return Err(format!("has `!` before `{operator}`"));
        }
        operator.insert(0, '!');
    }
    let mut values = Vec::new();
    if operator.ends_with("in") {
        let end = rest.iter().position(|word| word == "]").ok_or("has a list that is not closed")?;
        if rest.first().is_none_or(|word| word != "[") || end < 2 {
            return Err("lacks a list".to_owned());
        }
        values.extend(rest[1..end].iter().filter(|word| *word != ",").map(|word| unquoted(word)));
        rest = &rest[end + 1..];
    } else if !operator.ends_with("exists") {
        let Some((value, behind)) = rest.split_first() else { return Err("ends where a value belongs".to_owned()) };
        if ["(", ")", "[", "]", ",", "!"].contains(&value.as_str()) {
            return Err("lacks a value".to_owned());
        }
        values.push(unquoted(value));
        rest = behind;
    }
    let pattern = if operator.ends_with('~') && operator != "!=" {
        Some(Regex::new(&format!("^(?:{})$", values[0])).map_err(|_| "has a pattern that can't be read".to_owned())?)
    } else {
        None
    };
    Ok((Item::Test { subject: subject.to_owned(), operator, values, pattern }, rest))
}

/// Quotes are kept until here, so that a quoted `(` is a value.
fn unquoted(word: &str) -> String {
    word.strip_prefix(['\'', '"']).and_then(|word| word.strip_suffix(['\'', '"'])).unwrap_or(word).to_owned()
}

fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '\'' || first == '"' {
            rest[1..].find(first).ok_or("has a quote that is not closed")? + 2
        } else if let Some(symbol) =
            ["==", "!=", ">=", "<=", "=~", "!~", "&&", "||"].iter().find(|s| rest.starts_with(**s))
        {
            symbol.len()
        } else if "()[],!<>".contains(first) {
            1
        } else {
            rest.find(|letter: char| letter.is_whitespace() || "()[],!<>=&|'\"".contains(letter)).unwrap_or(rest.len())
        };
        if length == 0 {
            return Err(format!("has `{first}` where it means nothing"));
        }
        words.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    Ok(words)
}

fn evaluate(
    subject: &str,
    operator: &str,
    values: &[String],
    pattern: Option<&Regex>,
    instance: &Instance,
    state: &State,
) -> bool {
    let actual: Vec<String> = match subject {
        "agentConnected" => vec![instance.agent_connected.to_string()],
        "agentVersion" => vec![instance.agent_version.clone()],
        "ec2InstanceId" => vec![instance.ec2_instance_id.clone()],
        "registeredAt" => instance.registered_at.iter().map(|moment| (moment.0 / 1000).to_string()).collect(),
        "runningTasksCount" => vec![state.instance_tasks(&instance.arn).filter(|task| task.wanted).count().to_string()],
        "task:group" => {
            let groups: BTreeSet<String> = state.instance_tasks(&instance.arn).map(|task| task.group.clone()).collect();
            groups.into_iter().collect()
        }
        attribute => {
            let name = attribute.strip_prefix("attribute:").unwrap_or_default();
            match (instance.attributes.get(name), operator) {
                (has, "exists") => return has.is_some(),
                (has, "!exists") => return has.is_none(),
                (has, _) => has.cloned().flatten().into_iter().collect(),
            }
        }
    };
    let expected = values.first().map_or("", String::as_str);
    match operator {
        "exists" => !actual.is_empty(),
        "!exists" => actual.is_empty(),
        "==" => actual.iter().any(|value| order(subject, value, expected).is_eq()),
        "!=" => !actual.iter().any(|value| order(subject, value, expected).is_eq()),
        "in" => actual.iter().any(|value| values.contains(value)),
        "!in" => !actual.iter().any(|value| values.contains(value)),
        "=~" => actual.iter().any(|value| pattern.is_some_and(|pattern| pattern.is_match(value))),
        "!~" => !actual.iter().any(|value| pattern.is_some_and(|pattern| pattern.is_match(value))),
        ">" => actual.iter().any(|value| order(subject, value, expected).is_gt()),
        ">=" => actual.iter().any(|value| order(subject, value, expected).is_ge()),
        "<" => actual.iter().any(|value| order(subject, value, expected).is_lt()),
        _ => actual.iter().any(|value| order(subject, value, expected).is_le()),
    }
}

/// Numbers by value, versions part by part, dates by their moment, the rest as text.
fn order(subject: &str, value: &str, expected: &str) -> std::cmp::Ordering {
    let numbers = |text: &str| text.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u64>>();
    match subject {
        "runningTasksCount" | "agentVersion" => numbers(value).cmp(&numbers(expected)),
        "registeredAt" => {
            let json = serde_json::Value::String(if expected.contains('T') {
                if expected.ends_with('Z') || expected.contains('+') {
                    expected.to_owned()
                } else {
                    format!("{expected}Z")
                }
            } else {
                format!("{expected}T00:00:00Z")
            });
            let moment = crate::place::Place::root(&json).moment().ok().flatten().map_or(0, |moment| moment.0 / 1000);
            value.parse::<i64>().unwrap_or(0).cmp(&moment)
        }
        _ => value.cmp(expected),
    }
}

#[cfg(test)]
mod tests;
