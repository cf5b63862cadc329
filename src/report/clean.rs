//! A report whose texts can be shown: what comes from outside may hold characters that move a terminal's cursor, or turn text round.

use super::{Comparison, Place, Played, Report};
use crate::report::InstanceReport;

/// The same report, each control and each bidirectional character of its texts shown as `\u{..}`.
pub(super) fn clean(report: &Report) -> Report {
    let mut report = report.clone();
    let Report { cluster, cluster_arn, region, account, run_id, trigger, outcome_reason, .. } = &mut report;
    [cluster, cluster_arn, region, account, run_id, outcome_reason].into_iter().chain(trigger).for_each(escape);
    report.errors.iter_mut().chain(&mut report.warnings).for_each(escape);
    for service in &mut report.services {
        [&mut service.name, &mut service.reason].into_iter().for_each(escape);
    }
    for planned in &mut report.plan {
        let places = [&mut planned.from, &mut planned.to];
        places.into_iter().flat_map(|it| [&mut it.ec2_instance_id, &mut it.container_instance]).for_each(escape);
        [&mut planned.service, &mut planned.task].into_iter().for_each(escape);
    }
    for made in &mut report.moves_made {
        let places = [&mut made.from].into_iter().chain(&mut made.to);
        places.flat_map(|it| [&mut it.ec2_instance_id, &mut it.container_instance]).for_each(escape);
        [&mut made.service, &mut made.task].into_iter().for_each(escape);
    }
    for left in &mut report.left_raised {
        escape(&mut left.service);
    }
    for hint in &mut report.hints {
        escape(&mut hint.sentence);
    }
    for far in report.far_from_mean.iter_mut().flat_map(|far| far.under_half.iter_mut().chain(&mut far.over_twice)) {
        let Place { ec2_instance_id, container_instance } = &mut far.place;
        [ec2_instance_id, container_instance, &mut far.reason].into_iter().for_each(escape);
    }
    if let Some(consolidation) = &mut report.consolidation {
        for freed in &mut consolidation.freed {
            let texts = [&mut freed.container_instance, &mut freed.ec2_instance_id, &mut freed.instance_type];
            texts.into_iter().chain(&mut freed.capacity_provider).chain(&mut freed.price).for_each(escape);
        }
        for empty in &mut consolidation.empty {
            [&mut empty.name, &mut empty.instance_type].into_iter().chain(&mut empty.price).for_each(escape);
        }
        consolidation.kept.iter_mut().for_each(|kept| escape(&mut kept.reason));
    }
    let pictures = &mut report.pictures;
    for instance in pictures.found.iter_mut().chain(&mut pictures.after).chain(&mut pictures.predicted) {
        clean_instance(instance);
    }
    pictures.watched.iter_mut().for_each(|watched| escape(&mut watched.name));
    pictures.configuration.iter_mut().for_each(|configured| escape(&mut configured.value));
    report.rehearsal.iter_mut().for_each(clean_played);
    report
}

fn clean_instance(instance: &mut InstanceReport) {
    [&mut instance.availability_zone, &mut instance.name, &mut instance.arn].into_iter().for_each(escape);
    let tasks = std::mem::take(&mut instance.tasks);
    instance.tasks = tasks.into_iter().map(|(name, tasks)| (escaped(&name), tasks)).collect();
}

fn clean_played(played: &mut Played) {
    played.services.iter_mut().for_each(|service| escape(&mut service.name));
    for Comparison { lowest, .. } in &mut played.instead {
        if let Some(lowest) = lowest {
            escape(&mut lowest.service);
        }
    }
}

fn escape(text: &mut String) {
    if text.chars().any(is_hidden) {
        *text = escaped(text);
    }
}

fn escaped(text: &str) -> String {
    text.chars()
        .map(|letter| if is_hidden(letter) { letter.escape_unicode().to_string() } else { letter.to_string() })
        .collect()
}

/// Control characters, and those of Unicode's bidirectional algorithm [UAX 9, sections 2.1 to 2.6].
fn is_hidden(letter: char) -> bool {
    let turns_text =
        matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || turns_text
}
