//! The columns of the matrix: each container instance, or where there are many, those of a zone that were equally full.

use std::collections::{BTreeMap, BTreeSet};

use crate::report::{
    InstanceReport,
    html::{EACH, instances::fullness},
};

/// One column.
pub(super) struct Column {
    pub(super) zone: String,
    pub(super) name: String,
    /// As much of the name's end as tells it from the others.
    pub(super) head: String,
    /// Their ARNs.
    pub(super) instances: BTreeSet<String>,
    /// How many of them take tasks.
    pub(super) usable: u32,
    /// Whether it is the first one of its zone.
    pub(super) begins_zone: bool,
}

/// How a count compares with an even arrangement, as a class of colour: by one task, or by two and a fifth at least.
pub(super) fn level(count: u32, even_hundredths: u32) -> &'static str {
    let (count, even) = (u64::from(count) * 100, u64::from(even_hundredths));
    let far = 200.max(even / 5);
    match (count.checked_sub(even), even.saturating_sub(count)) {
        (Some(more), _) if more >= far => "p2",
        (Some(more), _) if more >= 100 => "p1",
        (None, fewer) if fewer >= far => "m2",
        (None, fewer) if fewer >= 100 => "m1",
        _ => "n0",
    }
}

/// The columns, and whether they are more than one instance each. What was there only before, or only after, is in it too.
pub(super) fn of(before: &[InstanceReport], after: &[InstanceReport]) -> (Vec<Column>, bool) {
    let known: BTreeSet<&str> = before.iter().map(|instance| instance.arn.as_str()).collect();
    let mut all: Vec<&InstanceReport> = before.iter().collect();
    all.extend(after.iter().filter(|instance| !known.contains(instance.arn.as_str())));
    let is_aggregated = all.len() > EACH;
    let mut columns: BTreeMap<(String, usize, String), Column> = BTreeMap::new();
    for instance in all {
        let (order, name) = if is_aggregated { fullness(instance) } else { (0, instance.name.as_str()) };
        let key = (instance.availability_zone.clone(), order, name.to_owned());
        let column = columns.entry(key).or_insert_with(|| Column {
            zone: instance.availability_zone.clone(),
            name: name.to_owned(),
            head: String::new(),
            instances: BTreeSet::new(),
            usable: 0,
            begins_zone: false,
        });
        column.instances.insert(instance.arn.clone());
        column.usable += u32::from(instance.usable);
    }
    let mut columns: Vec<Column> = columns.into_values().collect();
    let mut zone = None;
    for column in &mut columns {
        column.begins_zone = zone.as_ref() != Some(&column.zone);
        zone = Some(column.zone.clone());
        if is_aggregated {
            // In percent, as the text above the table says.
            column.head = column.name.trim_end_matches(" %").replace(" to ", "–");
            column.name = format!("{} ({})", column.name, column.instances.len());
        } else if column.usable == 0 {
            column.name.push_str(" (not usable)");
        }
    }
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let letters = shortest_end(&names);
    for column in &mut columns {
        if !is_aggregated {
            end_of(&column.name, letters).clone_into(&mut column.head);
        }
    }
    (columns, is_aggregated)
}

/// With how many letters from their ends names differ from each other; at least four, at which people recognise an id.
fn shortest_end(names: &[String]) -> usize {
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let differ = |letters: usize| {
        let ends: BTreeSet<&str> = names.iter().map(|name| end_of(name, letters)).collect();
        ends.len() == names.iter().collect::<BTreeSet<_>>().len()
    };
    (4..longest).find(|letters| differ(*letters)).unwrap_or(longest)
}

/// The last letters of a name; all of it where only a few more would be left out.
fn end_of(name: &str, letters: usize) -> &str {
    const FEW: usize = 4;
    let number = name.chars().count();
    if number <= letters + FEW {
        return name;
    }
    let at = name.char_indices().nth(number - letters).map_or(0, |(at, _)| at);
    &name[at..]
}

/// The zones in order, and how many columns each has.
pub(super) fn zones(columns: &[Column]) -> Vec<(&str, usize)> {
    let mut zones: Vec<(&str, usize)> = Vec::new();
    for column in columns {
        match zones.last_mut() {
            Some((zone, span)) if *zone == column.zone => *span += 1,
            _ => zones.push((&column.zone, 1)),
        }
    }
    zones
}
