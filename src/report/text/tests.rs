//! What holds of the text whatever the report and the screen are.

use std::collections::BTreeMap;

use super::*;
use crate::{
    planning::policy::Mode,
    report::{
        Action, Configured, Estimate, Facts, Hint, InstanceReport, LeftRaised, Moment, Place, PlannedMove, Played,
        PlayedService, ServiceReport,
    },
};

impl Facts {
    /// Of a run that has done nothing yet.
    pub(in crate::report) fn of_tests() -> Self {
        Self {
            run_id: "run-1".to_owned(),
            cluster: "prod".to_owned(),
            mode: Mode::Spread,
            dry_run: false,
            trigger: None,
            configuration: Vec::new(),
        }
    }
}

/// A report with something in each of its parts; every text from outside is `word` and a number.
pub(in crate::report) fn report(word: &str) -> Report {
    let name = |number: usize| format!("{word}{number}");
    let mut report = Report::new(Facts {
        run_id: name(0),
        cluster: name(1),
        mode: Mode::Spread,
        dry_run: true,
        trigger: Some(name(2)),
        configuration: vec![Configured { name: "REBALANCER_CLUSTER", value: name(3), is_default: false }],
    });
    let figures = Summary {
        task_imbalance_percent: 12.5,
        misplaced_tasks: 3,
        stuck_tasks: 1,
        task_skew: 2,
        load_imbalance_percent: 40.0,
        cpu_load_imbalance_percent: 40.0,
        memory_load_imbalance_percent: 30.0,
        running_tasks: 24,
        container_instances: 3,
        empty_instances: 1,
        cpu_reservation_percent: 12.0,
        memory_reservation_percent: 26.3,
    };
    report.before = Some(figures.clone());
    report.predicted = Some(figures);
    let service = |number: usize, action, reason: &str| ServiceReport {
        name: name(number),
        task_imbalance_percent: 1.0,
        misplaced_tasks: 1,
        stuck_tasks: 0,
        task_skew: 2,
        running_tasks: 8,
        action,
        strategy: Some("surge"),
        reason: reason.to_owned(),
        reason_code: "",
        planned_moves: 2,
        moved: 0,
    };
    let long =
        format!("{} is one of very many words that a reason may have, none of which is to be lost on the way", name(4));
    report.services = vec![
        service(5, Action::Rebalance, ""),
        service(6, Action::LeaveAlone, &long),
        service(7, Action::NotMeasured, &long),
    ];
    let place = |number: usize| Place { ec2_instance_id: name(number), container_instance: name(number) };
    report.plan = vec![PlannedMove { service: name(5), task: name(8), from: place(9), to: place(10) }];
    report.estimate = Some(Estimate { restarts: 1, starts_in_vain: 0, seconds: 45, services_below_desired: 0 });
    report.hints = vec![Hint { setting: String::new(), sentence: long.clone() }];
    report.left_raised = vec![LeftRaised { service: name(5), count: 3, count_meant: 2 }];
    report.errors = vec![format!("{}: {long}", name(5)), format!("{}: {long}", name(6))];
    report.warnings = vec![long];
    let instance = |number: usize| InstanceReport {
        availability_zone: name(11),
        name: name(number),
        usable: number == 9,
        running_tasks: 3,
        reserved_cpu_percent: 60,
        reserved_memory_percent: 10,
        arn: name(number),
        ec2_instance_id: name(number),
        tasks: BTreeMap::new(),
    };
    report.pictures.found = vec![instance(9), instance(10)];
    report.pictures.predicted = report.pictures.found.clone();
    let moments = vec![Moment { seconds: 1, desired: 2, running: 2, healthy: 2 }];
    let played = PlayedService {
        name: name(5),
        lowest_healthy: 1,
        desired: 2,
        minimum_healthy: 2,
        started: 1,
        stopped: 1,
        moments,
    };
    report.rehearsal = Some(Played {
        simulated_seconds: 9,
        tasks_started: 1,
        tasks_stopped: 1,
        services: vec![played],
        instead: Vec::new(),
    });
    report
}

/// Every sequence of a colour taken away.
fn stripped(text: &str) -> String {
    console::strip_ansi_codes(text).into_owned()
}

#[test]
fn colour_changes_nothing_but_colour_and_no_line_is_wider_than_the_screen() {
    for columns in [60, 80, 132, 200] {
        for word in ["web-", "i-0123456789abcdef", "服务"] {
            let report = report(word);
            let of = |colour| on_screen(&report, Screen { colour, columns: Some(columns) });
            let (plain, coloured) = (of(false), of(true));
            assert!(coloured.contains("\u{1b}[1m") && !plain.contains('\u{1b}'));
            assert_eq!(stripped(&coloured), plain, "{columns} columns");
            for line in plain.lines() {
                assert!(width(line) <= columns, "{} of {columns} columns:\n{line}\n{plain}", width(line));
            }
        }
    }
}

#[test]
fn a_long_name_behind_a_label_goes_to_a_line_that_holds_it() {
    let mut report = report("web-");
    for service in &mut report.services {
        service.name = "billing-invoice-pdf-generator-of-the-archive".to_owned();
    }
    let text = on_screen(&report, Screen { colour: false, columns: Some(60) });
    assert!(text.contains("(billing-invoice-pdf-generator-of-the-archive)"), "{text}");
    assert!(text.lines().all(|line| width(line) <= 60), "{text}");
}

#[test]
fn names_are_whole_and_no_word_is_lost_however_narrow_the_screen_is() {
    let long = "a-name-of-a-service-that-no-column-of-a-small-screen-holds-";
    let report = report(long);
    let words = |columns| -> Vec<String> {
        let text = on_screen(&report, Screen { colour: false, columns });
        let mut words: Vec<String> =
            text.split_whitespace().filter(|word| word.chars().any(char::is_alphabetic)).map(str::to_owned).collect();
        words.sort();
        words.dedup();
        words
    };
    for word in words(None).iter().filter(|word| word.starts_with(long)) {
        assert!(words(Some(60)).contains(word), "{word}");
    }
}

#[test]
fn a_sentence_is_one_line_where_there_is_no_terminal() {
    let text = on_screen(&report("web-"), Screen { colour: false, columns: None });
    assert!(text.lines().any(|line| line.starts_with("  note: ") && line.ends_with("on the way")), "{text}");
}

#[test]
fn characters_that_move_the_cursor_or_turn_text_round_are_shown_escaped() {
    let text = on_screen(&report("w\u{1b}[2J\r\n\u{202e}\u{7}"), Screen { colour: true, columns: Some(80) });
    assert!(stripped(&text).chars().all(|letter| letter == '\n' || !letter.is_control()), "{text:?}");
    assert!(!text.contains('\u{202e}') && !text.contains("[2J\r"), "{text:?}");
    assert!(text.contains("\\u{202e}") && text.contains("\\u{1b}[2J"), "{text}");
}

#[test]
fn an_error_of_several_services_is_told_once() {
    let text = on_screen(&report("web-"), Screen { colour: false, columns: None });
    assert!(text.contains("  error: web-5, web-6: web-4 is one of"), "{text}");
    assert_eq!(text.matches("  error: ").count(), 1, "{text}");
}
