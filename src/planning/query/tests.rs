//! The query language: good and bad expressions, and what holds of all.

use proptest::prelude::*;

use super::*;
use crate::planning::testing;

/// i-1 in zone a: rack 7, an attribute `ssd` without a value, agent 1.89.0, registered on 2027-01-14 at 08:00 UTC, and two
/// tasks of the services web and api.
fn instance() -> ContainerInstance {
    let cluster = testing::cluster("a i-1 web api attr.rack=7 attr.ssd= attr.name=it's type=m5.large");
    ContainerInstance::clone(cluster.container_instances.values().next().unwrap())
}

fn groups() -> BTreeSet<String> {
    ["service:web", "service:api"].map(str::to_owned).into()
}

fn holds(query: &Query) -> bool {
    query.matches(&instance(), &groups)
}

#[test]
fn what_holds_for_an_instance() {
    for (expected, text) in [
        (true, "attribute:rack == 7"),
        (true, "attribute:rack==7"),
        (true, "attribute:rack equals 7"),
        (false, "attribute:rack == 07"),
        (true, "attribute:rack != 8"),
        (true, "attribute:rack not_equals 8"),
        (true, "attribute:rack > 10"),
        (true, "attribute:rack greater_than '10'"),
        (true, "attribute:rack >= 7 and attribute:rack <= 7"),
        (false, "attribute:rack less_than 7 or attribute:rack > 7"),
        (true, "attribute:rack greater_than_equal 7 && attribute:rack less_than_equal 7"),
        (true, "attribute:rack in [6, 7]"),
        (true, "attribute:rack in ['6','7']"),
        (false, "attribute:rack !in [6, 7]"),
        (false, "attribute:rack not_in [6,7]"),
        (true, "attribute:ssd exists"),
        (false, "attribute:ssd !exists"),
        (true, "attribute:gpu not_exists"),
        (false, "attribute:ssd == yes"),
        (true, "attribute:ssd != yes"),
        (false, "attribute:gpu == yes"),
        (true, "attribute:gpu != yes"),
        (true, "attribute:gpu !in [yes]"),
        (false, "attribute:gpu =~ .*"),
        (true, "attribute:gpu !~ .*"),
        (false, "attribute:gpu > 1"),
        (true, "attribute:name == \"it's\""),
        (true, "attribute:ecs.instance-type =~ m5.*"),
        (true, "attribute:ecs.instance-type matches 'm[45]\\.(large|xlarge)'"),
        (false, "attribute:ecs.instance-type =~ m5"),
        (true, "attribute:ecs.instance-type !~ m5"),
        (true, "attribute:ecs.instance-type not_matches t.*"),
        (true, "attribute:ecs.availability-zone == a"),
        (true, "ec2InstanceId == i-1"),
        (true, "ec2InstanceId in ['i-1', 'i-2']"),
        (false, "ec2InstanceId != i-1"),
        (true, "ec2InstanceId =~ i-[0-9]"),
        (true, "(ec2InstanceId =~ (i|j)-[0-9]{1,2})"),
        (true, "not(ec2InstanceId =~ j-[0-9]) and ec2InstanceId matches i-1"),
        (true, "agentConnected == true"),
        (false, "agentConnected != true"),
        (true, "agentVersion >= 1.9.0"),
        (true, "agentVersion == 1.89"),
        (false, "agentVersion > 1.89.0"),
        (true, "agentVersion < 2"),
        (true, "runningTasksCount == 2"),
        (false, "runningTasksCount > 2"),
        (true, "registeredAt > 2027-01-14"),
        (true, "registeredAt == 2027-01-14T08:00:00Z"),
        (true, "registeredAt == 2027-01-14T08:00:00"),
        (true, "registeredAt == 2027-01-14T09:00:00+01:00"),
        (false, "registeredAt < '2027-01-14T08:00:00+00:00'"),
        (true, "task:group == service:web"),
        (false, "task:group == service:db"),
        (true, "task:group != service:db"),
        (false, "task:group != service:web"),
        (true, "task:group in [service:db, service:api]"),
        (true, "task:group =~ service:.*"),
        (true, "not(task:group == service:db)"),
        (true, "!(attribute:rack == 8)"),
        (true, "not attribute:rack == 8"),
        (true, "not not attribute:rack == 7"),
        (true, "((attribute:rack == 7))"),
        // `and` binds tighter than `or`.
        (true, "attribute:rack == 7 or attribute:rack == 8 and attribute:rack == 9"),
        (false, "(attribute:rack == 7 or attribute:rack == 8) and attribute:rack == 9"),
        (true, "attribute:rack == 9 && attribute:rack == 8 || attribute:rack == 7"),
        (false, "!attribute:rack == 7 or attribute:rack == 8"),
    ] {
        match Query::parse(text) {
            Ok(query) => assert_eq!(holds(&query), expected, "{text}"),
            Err(error) => panic!("{text}: {error}"),
        }
    }
}

#[test]
fn what_cannot_be_read_says_where_and_why() {
    for (text, expected) in [
        ("", "expected a subject, as attribute:NAME or ec2InstanceId at character 1"),
        ("   ", "expected a subject, as attribute:NAME or ec2InstanceId at character 4"),
        ("rack == 7", "`rack` is no subject of the cluster query language at character 1"),
        ("attribute: == 7", "`attribute:` needs a name at character 1"),
        ("'attribute:rack' == 7", "expected a subject, as attribute:NAME or ec2InstanceId at character 1"),
        ("attribute:rack", "expected an operator, as == or exists at character 15"),
        ("attribute:rack 7", "`7` is no operator at character 16"),
        ("attribute:rack = 7", "'=' has no meaning here at character 16"),
        ("attribute:rack ==", "expected a value at character 18"),
        ("attribute:rack == ==", "expected a value at character 19"),
        ("attribute:rack == [7]", "expected a value at character 19"),
        ("attribute:rack == 7 8", "expected `and`, `or` or the end at character 21"),
        ("attribute:rack == 7 and", "expected a subject, as attribute:NAME or ec2InstanceId at character 24"),
        ("or attribute:rack == 7", "`or` is no subject of the cluster query language at character 1"),
        ("attribute:rack == 7 & attribute:ssd exists", "'&' has no meaning here at character 21"),
        ("attribute:rack == 7)", "expected `and`, `or` or the end at character 20"),
        ("(attribute:rack == 7", "expected `)` at character 21"),
        ("()", "expected a subject, as attribute:NAME or ec2InstanceId at character 2"),
        ("not", "expected a subject, as attribute:NAME or ec2InstanceId at character 4"),
        ("attribute:rack in 7", "expected a list, as [a, b] at character 19"),
        ("attribute:rack in []", "expected a value at character 20"),
        ("attribute:rack in [6 7]", "expected `,` or `]` at character 22"),
        ("attribute:rack in [6, 7", "expected `,` or `]` at character 24"),
        ("attribute:rack in [6,]", "expected a value at character 22"),
        ("attribute:rack == '7", "the quote ' is not closed at character 19"),
        ("attribute:rack !== 7", "'=' has no meaning here at character 18"),
        ("attribute:rack ! == 7", "expected an operator, as == or exists at character 18"),
        ("attribute:rack !matches 7", "`matches` is no operator at character 17"),
        ("attribute:rack =~ '(7'", "`(7` is not a pattern that can be read at character 19"),
        ("attribute:rack =~ '7)|(8'", "`7)|(8` is not a pattern that can be read at character 19"),
        ("attribute:rack =~ '7(?=8)'", "`7(?=8)` is not a pattern that can be read at character 19"),
        ("attribute:rack =~ '7*+8'", "`7*+8` is not a pattern that can be read at character 19"),
        (
            "attribute:rack =~ '(((7{999}){999}){999})'",
            "`(((7{999}){999}){999})` is not a pattern that can be read at character 19",
        ),
        ("agentConnected == yes", "agentConnected is true or false, not `yes` at character 19"),
        ("agentConnected > true", "this operator doesn't go with agentConnected at character 16"),
        ("agentVersion == newest", "`newest` is no version, as 1.74.1 at character 17"),
        ("agentVersion in [1.74.1]", "this operator doesn't go with agentVersion at character 14"),
        ("runningTasksCount == -1", "`-1` is no number of tasks at character 22"),
        ("runningTasksCount exists", "this operator doesn't go with runningTasksCount at character 19"),
        ("registeredAt > yesterday", "`yesterday` is no date, as 2018-06-18T22:28:28Z or 2018-06-18 at character 16"),
        ("registeredAt > 2018-13-18", "`2018-13-18` is no date, as 2018-06-18T22:28:28Z or 2018-06-18 at character 16"),
        ("registeredAt =~ 2018.*", "this operator doesn't go with registeredAt at character 14"),
        ("ec2InstanceId < i-2", "this operator doesn't go with ec2InstanceId at character 15"),
        ("ec2InstanceId exists", "this operator doesn't go with ec2InstanceId at character 15"),
    ] {
        match Query::parse(text) {
            Ok(query) => panic!("{text} was read as {query}"),
            Err(error) => assert_eq!(error.to_string(), expected, "{text}"),
        }
    }
}

#[test]
fn length_and_depth_are_bounded() {
    let named = |length: usize| format!("attribute:{} exists", "x".repeat(length - "attribute: exists".len()));
    assert!(Query::parse(&named(LONGEST)).is_ok());
    assert_eq!(
        Query::parse(&named(LONGEST + 1)).unwrap_err().to_string(),
        "the expression has 2001 characters where ECS takes 2000 at character 2001"
    );
    let nested = |depth: usize| format!("{}ec2InstanceId == i-1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Query::parse(&nested(60)).is_ok());
    for deep in [nested(900), format!("{}ec2InstanceId == i-1", "!".repeat(1_900))] {
        let error = Query::parse(&deep).unwrap_err();
        assert_eq!(error.sentence, "the groups are nested too deeply");
    }
}

#[test]
fn only_a_query_over_attributes_alone_is_static() {
    for (text, is_static, attributes) in [
        ("attribute:rack == 7 and not(attribute:ssd exists)", true, &["rack", "ssd"][..]),
        ("attribute:rack == 7 or runningTasksCount < 3", false, &["rack"]),
        ("task:group == service:web", false, &[]),
    ] {
        let query = Query::parse(text).unwrap();
        assert_eq!(query.is_static(), is_static, "{text}");
        assert_eq!(query.attributes(), attributes.iter().copied().collect(), "{text}");
    }
}

#[test]
fn what_denies_a_group_alone_is_told_from_what_asks_more() {
    for (text, only, others) in [
        ("task:group != service:web", true, &[][..]),
        ("not(task:group == service:web)", true, &[]),
        ("not(not(task:group != service:web))", true, &[]),
        ("task:group !in [service:web]", true, &[]),
        ("not(task:group in [service:web])", true, &[]),
        ("attribute:rack == 7 and task:group != service:web", true, &["attribute:rack == '7'"]),
        ("not(task:group == service:web or attribute:ssd exists)", true, &["not(attribute:ssd exists)"]),
        ("task:group == service:web", false, &["task:group == 'service:web'"]),
        ("not(task:group != service:web)", false, &["not(task:group != 'service:web')"]),
        ("task:group != service:api", false, &["task:group != 'service:api'"]),
        ("task:group !in [service:web, service:api]", false, &["task:group !in ['service:web', 'service:api']"]),
        (
            "attribute:ssd exists or task:group != service:web",
            false,
            &["(attribute:ssd exists or task:group != 'service:web')"],
        ),
        (
            "not(task:group == service:web and attribute:ssd exists)",
            false,
            &["not((task:group == 'service:web' and attribute:ssd exists))"],
        ),
    ] {
        let asked = Query::parse(text).unwrap().all_asked();
        let (denied, rest): (Vec<_>, Vec<_>) = asked.into_iter().partition(|it| it.only_denies_group("service:web"));
        let rest: Vec<String> = rest.iter().map(ToString::to_string).collect();
        assert_eq!((!denied.is_empty(), rest), (only, others.iter().map(|it| (*it).to_owned()).collect()), "{text}");
    }
}

/// Expressions in ECS's own notation: tests of every kind, joined, negated and nested.
fn expression() -> impl Strategy<Value = String> {
    let value = || prop_oneof!["[a-z0-9]{1,3}", "'[a-z ()!]{0,4}'", "\"[a-z' ]{0,4}\""];
    let subject = || prop_oneof!["attribute:(rack|ssd|gpu|x)", Just("task:group".to_owned())];
    let test = prop_oneof![
        (subject(), "(==|!=|>|>=|<|<=|equals|not_equals|less_than)", value())
            .prop_map(|(s, o, v)| format!("{s} {o} {v}")),
        (subject(), "(exists|!exists|not_exists)").prop_map(|(s, o)| format!("{s} {o}")),
        (subject(), "(in|!in|not_in)", prop::collection::vec(value(), 1..4))
            .prop_map(|(s, o, list)| format!("{s} {o} [{}]", list.join(", "))),
        (subject(), "(=~|!~|matches)", "[a-z0-9.*]{1,3}").prop_map(|(s, o, v)| format!("{s} {o} {v}")),
        "runningTasksCount (==|!=|>|<=) [0-9]",
        "agentVersion (>|<) 1\\.[0-9]{1,2}(\\.[0-9])?",
        "registeredAt (>|<=) 20[12][0-9]-0[1-9]-1[0-9](T1[0-9]:30:00(Z|\\+02:00)?)?",
        "agentConnected (==|!=) (true|false)",
        "ec2InstanceId (=~|!~) i-[0-9]",
    ];
    test.prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            (inner.clone(), "(and|&&|or|\\|\\|)", inner.clone()).prop_map(|(a, o, b)| format!("{a} {o} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("not({a})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

proptest! {
    #[test]
    fn all_that_is_asked_holds_where_the_whole_does(text in expression()) {
        let Ok(query) = Query::parse(&text) else { return Ok(()) };
        prop_assert_eq!(query.clone().all_asked().iter().all(holds), holds(&query), "{}", text);
    }

    #[test]
    fn a_query_that_is_printed_reads_the_same(text in expression()) {
        if let Ok(query) = Query::parse(&text) {
            let printed = query.to_string();
            let again = Query::parse(&printed).map_err(|error| TestCaseError::fail(format!("{printed}: {error}")))?;
            prop_assert_eq!(again.to_string(), printed);
            prop_assert_eq!(holds(&again), holds(&query));
        }
    }

    #[test]
    fn de_morgan_holds(one in expression(), other in expression()) {
        let parse = |text: String| Query::parse(&text);
        if let (Ok(_), Ok(_)) = (Query::parse(&one), Query::parse(&other)) {
            let not_both = parse(format!("not(({one}) and ({other}))")).unwrap();
            let one_not = parse(format!("not({one}) or not({other})")).unwrap();
            prop_assert_eq!(holds(&not_both), holds(&one_not));
            let neither = parse(format!("!(({one}) || ({other}))")).unwrap();
            let both_not = parse(format!("!({one}) && !({other})")).unwrap();
            prop_assert_eq!(holds(&neither), holds(&both_not));
        }
    }

    #[test]
    fn most_generated_expressions_are_read(text in expression()) {
        let unreadable = text.contains("=~ *") || text.contains("!~ *") || text.contains("matches *") || text.contains("**");
        prop_assert!(unreadable || Query::parse(&text).is_ok(), "{text}");
    }

    #[test]
    fn whatever_the_text_there_is_an_answer(text in "[ -~é]{0,40}") {
        let _ = Query::parse(&text);
    }

    #[test]
    fn whatever_the_order_of_tokens_there_is_an_answer(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "(", ")", "[", "]", ",", "!", "not", "and", "or", "&&", "||", "==", "!=", "=~", "in", "exists",
                "attribute:rack", "ec2InstanceId", "registeredAt", "7", "'a b'", "(?", "\\Q",
            ]),
            0..12,
        ),
    ) {
        if let Ok(query) = Query::parse(&tokens.join(" ")) {
            holds(&query);
        }
    }
}
