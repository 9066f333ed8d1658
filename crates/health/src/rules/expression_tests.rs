use cel::{Context, Program, Value};
use proptest::prelude::*;

use super::expression::{Expression, Mistake, with_deep_stack};
use super::names::Facts;
use crate::numbers::{Metrics, OnboardingState};
use crate::score::Scores;
use crate::stage::Stage;
use crate::tier::Tier;

fn compile(source: &str) -> Result<Expression, Mistake> {
    with_deep_stack(|| Expression::compile(source)).unwrap()
}

/// Renewal is near, and of the segment, the plan and the trends nothing is known.
fn metrics() -> Metrics {
    Metrics {
        logins_7d: 2,
        days_since_last_login: Some(15),
        days_to_renewal: Some(30),
        seats: Some(10),
        onboarding_state: Some(OnboardingState::Stalled),
        unused_key_features: vec!["report.export".into(), "share".into()],
        ..Metrics::default()
    }
}

fn holds(source: &str) -> Option<bool> {
    let expression = compile(source).unwrap_or_else(|mistake| panic!("{source}: {mistake:?}"));
    let metrics = metrics();
    let scores = Scores {
        health: Some(48.5),
        ..Scores::default()
    };
    let facts = Facts::new(&metrics, &scores, Stage::Adoption, Tier::High, Some("pro"), None);
    expression.condition.holds(&facts)
}

#[test]
fn conditions_over_known_numbers_are_decided() {
    for (source, expected) in [
        (r#"days_since_last_login > 14 && stage == "adoption""#, true),
        ("days_since_last_login > 15", false),
        ("days_since_last_login >= 15.0", true),
        ("logins_7d * 2 + 1 == 5", true),
        ("seats / 4 == 2.5", true),
        ("-seats < -9 && 3u < seats", true),
        ("health < 50 ? logins_7d == 2 : false", true),
        ("(tier == \"tech\" ? 100 : 40) < health", true),
        ("logins_7d in [1, 2, 3]", true),
        ("logins_7d in [1.5]", false),
        (r#"stage in ["trial", "adoption"] && !(tier in ["low"])"#, true),
        (r#"onboarding_state == "stalled""#, true),
        (
            r#"plan.startsWith("p") && plan.endsWith("o") && plan.contains("r")"#,
            true,
        ),
        (r#"plan.startsWith("o")"#, false),
        (r#"plan != "free" && "free" != plan"#, true),
        (r#""share" in unused_key_features"#, true),
        (r#"plan in unused_key_features"#, false),
        (
            "size(unused_key_features) == 2 && unused_key_features.size() == 2",
            true,
        ),
        ("size(plan) == 3", true),
        ("size(\"見守り\") == 3", true),
        (
            "known(health) && known(plan) && !known(segment) && !known(nps)",
            true,
        ),
        ("(health > 1) == (seats > 1)", true),
        ("(health > 1) != (seats > 1)", false),
        ("true && !false", true),
    ] {
        assert_eq!(holds(source), Some(expected), "{source}");
    }
}

#[test]
fn an_unknown_number_decides_nothing_and_what_decides_alone_still_does() {
    for (source, expected) in [
        ("nps > 0", None),
        ("!(nps > 0)", None),
        ("nps > 0 || true", Some(true)),
        ("true || nps > 0", Some(true)),
        ("nps > 0 && false", Some(false)),
        ("logins_7d > 5 && nps > 0", Some(false)),
        ("nps > 0 && logins_7d > 1", None),
        ("nps > 0 || logins_7d > 5", None),
        ("nps + 1 > logins_7d", None),
        ("nps in [1, 2]", None),
        ("-nps == nps", None),
        (r#"segment == "smb""#, None),
        (r#"segment.startsWith("s")"#, None),
        (r#"segment in ["smb"]"#, None),
        ("segment in unused_key_features", None),
        ("size(segment) > 0", None),
        ("nps > 0 ? true : true", None),
        ("logins_7d > 1 ? true : nps > 0", Some(true)),
        ("(nps > 0) == (nps > 0)", None),
        // 0 / 0 is no number, and so neither above nor below one.
        ("logins_1d / logins_28d > 1", None),
        ("seats / logins_28d > 1", Some(true)),
    ] {
        assert_eq!(holds(source), expected, "{source}");
    }
}

#[test]
fn the_numbers_that_an_expression_names_are_known_in_their_order() {
    let numbers = compile("seats > 3 && (health < 50 || known(nps)) && seats < 9").unwrap();
    let names: Vec<&str> = numbers.numbers.iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["seats", "health", "nps"]);
}

#[test]
fn a_mistake_is_placed_and_says_what_would_be_right() {
    for (source, line, column, problem) in [
        (
            "logins_7d < 3 && days_since_login > 14",
            1,
            18,
            "there is no days_since_login; did you mean days_since_last_login?",
        ),
        (
            "plan == \"見守り\" &&\n  qqqqq > 1",
            2,
            3,
            "there is no qqqqq; docs/numbers.md lists the names",
        ),
        (
            "plan == \"見守り\" && qqqqq > 1",
            1,
            18,
            "there is no qqqqq; docs/numbers.md lists the names",
        ),
        ("known(npss)", 1, 7, "there is no npss; did you mean nps?"),
        (
            "onboarding_state >= 2",
            1,
            1,
            ">= is for numbers, this is a text; compare onboarding_state with == to one of done, on_track, behind, stalled",
        ),
        (
            "stage == 3",
            1,
            7,
            "a text and a number are never equal; compare stage with == to one of trial, onboarding, adoption, \
             expansion, renewal, churned",
        ),
        (
            "stage == \"adopted\"",
            1,
            10,
            "stage is never \"adopted\"; it is one of trial, onboarding, adoption, expansion, renewal, churned",
        ),
        (
            "tier in [\"high\", \"medium\"]",
            1,
            18,
            "tier is never \"medium\"; it is one of high, low, tech",
        ),
        (
            "logins_7d",
            1,
            1,
            "the whole is a number, it must be a condition such as logins_7d < 3",
        ),
        (
            "logins_7d && true",
            1,
            1,
            "&& is for conditions, this is a number; compare it, as in logins_7d < 3",
        ),
        (
            "plan + \"x\" == \"y\"",
            1,
            1,
            "+ is for numbers, this is a text; plan is a text",
        ),
        (
            "logins_7d % 2 == 0",
            1,
            11,
            "% is for whole numbers; numbers are doubles",
        ),
        (
            "matches(plan, \"a\")",
            1,
            8,
            "there is no matches(); there are known, size, startsWith, endsWith and contains",
        ),
        (
            "has(health)",
            1,
            5,
            "has() is for fields; known(name) tells whether a number is known",
        ),
        (
            "has(account.health)",
            1,
            4,
            "names have no fields here, take the . away",
        ),
        (
            "account.health > 3",
            1,
            8,
            "names have no fields here, take the . away",
        ),
        (
            "unused_key_features.exists(f, f == \"x\")",
            1,
            27,
            "loops over lists are not supported; write \"name\" in unused_key_features, or size(unused_key_features)",
        ),
        (
            "nps == null",
            1,
            8,
            "nothing is null; !known(name) tells that a number is unknown",
        ),
        ("nps in []", 1, 8, "the list is empty"),
        (
            "nps in [1, \"a\"]",
            1,
            8,
            "a list holds numbers or texts, not both",
        ),
        (
            "nps in [seats]",
            1,
            9,
            "a list holds written numbers or texts, such as [\"trial\", \"onboarding\"]",
        ),
        (
            "plan in [1]",
            1,
            6,
            "a text cannot be in a list of numbers; after \"in\" stands a list of the same kind",
        ),
        (
            "(true ? 1 : \"a\") == 1",
            1,
            7,
            "both sides of : must be numbers, texts or conditions, they are a number and a text",
        ),
        (
            "known(unused_key_features)",
            1,
            7,
            "unused_key_features is always known",
        ),
        ("known(1 > 2)", 1, 9, "known() takes the name of a number or text"),
        (
            "startsWith(plan, \"a\")",
            1,
            11,
            "write it as plan.startsWith(\"pro\")",
        ),
        (
            "size(seats) > 1",
            1,
            6,
            "size() is of a text or of unused_key_features, not of a number",
        ),
        ("logins_7d = 3", 1, 11, "= is no operator, write == to compare"),
        ("nps > 1 and seats > 2", 1, 9, "write && for \"and\""),
        ("nps > 1 & seats > 2", 1, 9, "write && for \"and\""),
        ("nps > 1 | seats > 2", 1, 9, "write || for \"or\""),
        ("nps > 1 or seats > 2", 1, 9, "write || for \"or\""),
        ("not (nps > 1)", 1, 5, "write ! for \"not\""),
        (
            "plan == \"見守り\" && nps >",
            1,
            23,
            "the expression ends where a value is missing",
        ),
        (
            "plan == \"pro",
            1,
            9,
            "the text that begins here has no closing quote",
        ),
        (
            "plan == 'pro",
            1,
            9,
            "the text that begins here has no closing quote",
        ),
        ("nps >", 1, 6, "the expression ends where a value is missing"),
        ("(nps > 1", 1, 9, "missing ')' at '<EOF>'"),
        ("nps > 99999999999999999999", 1, 7, "invalid int literal"),
        ("  ", 1, 1, "is empty; write a condition such as logins_7d < 3"),
    ] {
        let expected = Mistake {
            line,
            column,
            problem: problem.to_string(),
        };
        assert_eq!(compile(source), Err(expected), "{source}");
    }
}

#[test]
fn a_hostile_expression_is_an_error_and_nothing_worse() {
    let repeated = |before: &str, count: usize, after: &str| {
        format!("{}nps > 1{}", before.repeat(count), after.repeat(count))
    };
    let chain = |part: &str, count: usize| format!("nps{} > 1", part.repeat(count));
    for source in [
        repeated("(", 900, ")"),
        repeated("!(", 600, ")"),
        repeated("[", 900, "]"),
        repeated("size(", 300, ")"),
        repeated("{1:", 400, "}"),
        repeated("A{a:", 300, "}"),
        "nps > 1 ? true : ".repeat(100) + "true",
        "(".repeat(1_900),
        "((true ? ".repeat(10) + "true",
        chain(" + nps", 300),
        chain(".nps", 480),
        chain("[nps]", 300),
        chain(" < nps", 300),
        "nps ".repeat(480),
        "&|§".repeat(400),
        "x".repeat(2_001),
        "\"".repeat(1_999),
        "\\".repeat(1_999),
        "\u{0}".repeat(100),
    ] {
        assert!(compile(&source).is_err(), "{source}");
    }
    // What is as deep as is allowed is still read, and evaluated on any stack.
    let not = "!".repeat(1_900) + "(nps > 1)";
    let brackets = "(".repeat(12) + "logins_7d == 2" + &")".repeat(12);
    let choices = "logins_7d > 9 ? false : ".repeat(16) + "true";
    let deep = format!("logins_7d{} > 1", " + 1".repeat(90));
    let wide = format!("nps > 1{}", " && nps > 1".repeat(170));
    for (source, expected) in [
        (not, None),
        (brackets, Some(true)),
        (choices, Some(true)),
        (deep, Some(true)),
        (wide, None),
    ] {
        assert_eq!(holds(&source), expected, "{source}");
    }
}

/// The values of the names that the generated expressions use.
#[derive(Debug, Clone)]
struct Known {
    logins_7d: u32,
    usage_trend: Option<f64>,
    health: Option<f64>,
    days_to_renewal: Option<i32>,
    plan: Option<String>,
    segment: Option<String>,
    unused: Vec<String>,
}

impl Known {
    fn ours(&self, expression: &Expression) -> Option<bool> {
        let metrics = Metrics {
            logins_7d: self.logins_7d,
            usage_trend: self.usage_trend,
            days_to_renewal: self.days_to_renewal,
            unused_key_features: self.unused.clone(),
            ..Metrics::default()
        };
        let scores = Scores {
            health: self.health,
            ..Scores::default()
        };
        let (plan, segment) = (self.plan.as_deref(), self.segment.as_deref());
        let facts = Facts::new(&metrics, &scores, Stage::Renewal, Tier::Low, plan, segment);
        expression.condition.holds(&facts)
    }

    /// What the interpreter of the crate `cel` says; a name without a value is an error there.
    fn oracle(&self, source: &str) -> Option<bool> {
        let mut context = Context::default();
        let mut number = |name: &str, value: Option<f64>| {
            if let Some(value) = value {
                context.add_variable_from_value(name, value);
            }
        };
        number("logins_7d", Some(f64::from(self.logins_7d)));
        number("usage_trend", self.usage_trend);
        number("health", self.health);
        number("days_to_renewal", self.days_to_renewal.map(f64::from));
        context.add_variable_from_value("stage", "renewal");
        for (name, text) in [("plan", &self.plan), ("segment", &self.segment)] {
            if let Some(text) = text {
                context.add_variable_from_value(name, text.clone());
            }
        }
        context.add_variable_from_value("unused_key_features", self.unused.clone());
        match Program::compile(source).unwrap().execute(&context) {
            Ok(Value::Bool(value)) => Some(value),
            Ok(other) => panic!("{source} is {other:?}"),
            Err(_) => None,
        }
    }
}

const WORDS: [&str; 5] = ["pro", "見守り", "renewal", "p", ""];

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(WORDS.to_vec()).prop_map(str::to_string)
}

fn known() -> impl Strategy<Value = Known> {
    (
        0_u32..4,
        prop::option::of(prop::sample::select(vec![0.0, 0.5, 1.0, 2.5])),
        prop::option::of(0.0..100.0),
        prop::option::of(-3..4),
        prop::option::of(word()),
        prop::option::of(word()),
        prop::collection::vec(word(), 0..3),
    )
        .prop_map(
            |(logins_7d, usage_trend, health, days_to_renewal, plan, segment, unused)| Known {
                logins_7d,
                usage_trend,
                health,
                days_to_renewal,
                plan,
                segment,
                unused,
            },
        )
}

fn number_name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["logins_7d", "usage_trend", "health", "days_to_renewal"])
        .prop_map(str::to_string)
}

fn number() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        3 => number_name(),
        1 => prop::sample::select(vec!["0.0", "0.5", "1.0", "2.0", "50.0"]).prop_map(str::to_string),
    ];
    leaf.prop_recursive(2, 8, 2, |inner| {
        prop_oneof![
            (
                inner.clone(),
                prop::sample::select(vec!["+", "-", "*", "/"]),
                inner.clone()
            )
                .prop_map(|(left, sign, right)| format!("({left} {sign} {right})")),
            inner.clone().prop_map(|inner| format!("-({inner})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} > 1.0 ? {b} : {c})")),
        ]
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => prop::sample::select(vec!["plan", "segment"]).prop_map(str::to_string),
        1 => word().prop_map(|word| format!("{word:?}")),
        1 => Just("(logins_7d > 1 ? plan : segment)".to_string()),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    let comparison = || prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
    let leaf = prop_oneof![
        4 => (number(), comparison(), number()).prop_map(|(one, sign, other)| format!("{one} {sign} {other}")),
        // A written integer may be compared with a double in CEL, too.
        2 => (number_name(), comparison(), -3..4).prop_map(|(one, sign, other)| format!("{one} {sign} {other}")),
        1 => number().prop_map(|number| format!("{number} in [0.0, 1.0, 2.0]")),
        1 => (text(), text()).prop_map(|(one, other)| format!("{one} == {other}")),
        1 => (text(), text()).prop_map(|(one, other)| format!("{one} != {other}")),
        1 => text().prop_map(|text| format!("{text} in [\"pro\", \"p\"]")),
        1 => text().prop_map(|text| format!("{text} in unused_key_features")),
        1 => (text(), prop::sample::select(vec!["startsWith", "endsWith", "contains"]), word())
            .prop_map(|(text, function, word)| format!("{text}.{function}({word:?})")),
        1 => (text(), 0..4).prop_map(|(text, size)| format!("size({text}) >= {size}")),
        1 => (0..3).prop_map(|size| format!("unused_key_features.size() < {size}")),
        1 => any::<bool>().prop_map(|value| value.to_string()),
        1 => Just("stage == \"renewal\"".to_string()),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} && {other})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} || {other})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(one, other, third)| format!("({one} || {other} && {third})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("(({one}) == ({other}))")),
            inner.clone().prop_map(|inner| format!("!({inner})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_compiled_expression_says_what_the_interpreter_of_cel_says(source in condition(), known in known()) {
        let (expression, oracle) = with_deep_stack(|| (Expression::compile(&source), known.oracle(&source))).unwrap();
        let expression = expression.unwrap();
        prop_assert_eq!(known.ours(&expression), oracle);
    }

    #[test]
    fn no_text_makes_the_compiler_fail(source in "[a-z_ ()!&|<>=?:.,\\[\\]{}\"'0-9+*/%見-]{0,80}") {
        let _ = compile(&source);
    }
}
