//! What each type of event demands of its name and its properties.
//!
//! Only the properties that a type reads are looked at; all others pass as they are. A property that
//! is null counts as absent. One that is read may be given only once, so that every reader of the
//! stored text, in whatever language, finds the same value.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::field::MAX_ID_BYTES;
use crate::json::Scalar;
use crate::model::EventType;
use crate::properties::time_of;
use crate::rejection::{Reason, Rejection, quoted};

/// The most that a count may say: a sum over every event of an account stays far from overflow.
const MAX_COUNT: i64 = 1_000_000_000;

/// What a property's value must be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    /// A text of at most so many characters.
    Words {
        most: usize,
    },
    /// A text of 1 to [`MAX_ID_BYTES`] bytes.
    Id,
    /// A currency's three-letter code.
    Currency,
    OneOf(&'static [&'static str]),
    Bool,
    /// A whole number, written without a fraction or an exponent.
    Whole {
        least: i64,
    },
    /// A number that is not negative.
    Amount,
    Time,
    /// A survey's score; its range depends on the survey.
    Score,
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    property: &'static str,
    kind: Kind,
    required: bool,
}

const fn reads(property: &'static str, kind: Kind) -> Rule {
    Rule {
        property,
        kind,
        required: false,
    }
}

const fn requires(property: &'static str, kind: Kind) -> Rule {
    Rule {
        property,
        kind,
        required: true,
    }
}

const FEATURE: &[Rule] = &[
    reads("count", Kind::Whole { least: 1 }),
    reads("duration_ms", Kind::Amount),
];
const ACCOUNT: &[Rule] = &[
    reads("name", Kind::Text),
    reads("plan", Kind::Text),
    reads("segment", Kind::Text),
    reads("tier", Kind::Text),
    reads("seats", Kind::Whole { least: 0 }),
    reads("timezone", Kind::Text),
    reads("owner", Kind::Text),
    reads("signed_up_at", Kind::Time),
    reads("value_event", Kind::Text),
    reads("onboarding_due", Kind::Time),
];
const USER: &[Rule] = &[
    reads(
        "role",
        Kind::OneOf(&["champion", "decision_maker", "admin", "member"]),
    ),
    reads("removed", Kind::Bool),
    reads("department", Kind::Text),
];
const CONTRACT: &[Rule] = &[
    reads("mrr", Kind::Amount),
    reads("currency", Kind::Currency),
    reads("starts_at", Kind::Time),
    reads("ends_at", Kind::Time),
    reads("discount_ends_at", Kind::Time),
    reads("seats", Kind::Whole { least: 0 }),
    reads("plan", Kind::Text),
];
const TICKET: &[Rule] = &[
    requires("ticket_id", Kind::Id),
    reads("severity", Kind::Text),
    reads("channel", Kind::Text),
];
const SURVEY: &[Rule] = &[requires("score", Kind::Score)];
const ENGAGEMENT: &[Rule] = &[reads("results", Kind::Whole { least: 0 })];
const ERROR: &[Rule] = &[reads("severity", Kind::Text)];

/// The most characters of a note that goes with an action.
const MAX_NOTE: usize = 2_000;
/// The most characters of whoever acted, and of what else an action names.
const MAX_NAMED: usize = 200;

/// What an action reads besides the episode that it is about and its time.
const BY: Rule = reads("by", Kind::Words { most: MAX_NAMED });
const NOTE: Rule = reads("note", Kind::Words { most: MAX_NOTE });
const PLAYBOOK: Rule = reads("playbook", Kind::Words { most: MAX_NAMED });
const RULE: Rule = reads("rule", Kind::Words { most: MAX_NAMED });
const ALERT: Rule = reads("alert_id", Kind::Id);

const ACTION: &[Rule] = &[
    reads("episode_id", Kind::Id),
    reads("until", Kind::Time),
    BY,
    NOTE,
    PLAYBOOK,
    RULE,
    ALERT,
];
const ACTION_ON_EPISODE: &[Rule] = &[
    requires("episode_id", Kind::Id),
    reads("until", Kind::Time),
    BY,
    NOTE,
    PLAYBOOK,
    RULE,
    ALERT,
];
const ACTION_UNTIL: &[Rule] = &[
    requires("episode_id", Kind::Id),
    requires("until", Kind::Time),
    BY,
    NOTE,
    PLAYBOOK,
    RULE,
    ALERT,
];

fn rules_of(event_type: EventType, name: &str) -> &'static [Rule] {
    match event_type {
        EventType::Login | EventType::Milestone => &[],
        EventType::Feature => FEATURE,
        EventType::Account => ACCOUNT,
        EventType::User => USER,
        EventType::Contract => CONTRACT,
        EventType::Ticket => TICKET,
        EventType::Survey => SURVEY,
        EventType::Engagement => ENGAGEMENT,
        EventType::Error => ERROR,
        EventType::Action => match name {
            "acknowledged" | "resolved" => ACTION_ON_EPISODE,
            "snoozed" => ACTION_UNTIL,
            _ => ACTION,
        },
    }
}

/// What a type demands of its name.
enum NameDemand {
    Anything,
    Something,
    OneOf(&'static [&'static str]),
}

fn name_demand(event_type: EventType) -> NameDemand {
    match event_type {
        EventType::Login | EventType::Account | EventType::User => NameDemand::Anything,
        EventType::Feature
        | EventType::Milestone
        | EventType::Engagement
        | EventType::Error
        | EventType::Action => NameDemand::Something,
        EventType::Contract => NameDemand::OneOf(&[
            "trial_started",
            "started",
            "renewed",
            "upgraded",
            "downgraded",
            "option_removed",
            "cancelled",
        ]),
        EventType::Ticket => NameDemand::OneOf(&["opened", "replied", "escalated", "resolved"]),
        EventType::Survey => NameDemand::OneOf(&["nps", "csat", "ces"]),
    }
}

/// Refuses the absence of a name where the type needs one.
pub(crate) fn check_name_given(
    event_type: EventType,
    name: Option<Cow<'_, str>>,
    label: &str,
) -> Result<String, Rejection> {
    match (name, name_demand(event_type)) {
        (Some(name), _) => {
            check_name(event_type, &name, label)?;
            Ok(name.into_owned())
        }
        (None, NameDemand::Anything) => Ok(String::new()),
        (None, NameDemand::Something) => {
            let detail = format!("{label} is missing: type {} needs one", event_type.as_str());
            Err(Rejection::new(Reason::MissingField, detail))
        }
        (None, NameDemand::OneOf(names)) => {
            let detail = format!(
                "{label} is missing: type {} needs one of {}",
                event_type.as_str(),
                names.join(", ")
            );
            Err(Rejection::new(Reason::MissingField, detail))
        }
    }
}

/// Refuses a name that the type cannot have.
pub(crate) fn check_name(event_type: EventType, name: &str, label: &str) -> Result<(), Rejection> {
    crate::field::check_length(name, label, crate::field::MAX_NAME_BYTES)?;
    match name_demand(event_type) {
        NameDemand::Something if name.is_empty() => {
            let detail = format!("{label} is empty: type {} needs one", event_type.as_str());
            Err(Rejection::new(Reason::EmptyField, detail))
        }
        NameDemand::OneOf(names) if name.is_empty() => {
            let detail = format!(
                "{label} is empty: type {} needs one of {}",
                event_type.as_str(),
                names.join(", ")
            );
            Err(Rejection::new(Reason::EmptyField, detail))
        }
        NameDemand::OneOf(names) if !names.contains(&name) => {
            let detail = format!(
                "{label} is {}: type {} has one of {}",
                quoted(name),
                event_type.as_str(),
                names.join(", ")
            );
            Err(Rejection::new(Reason::InvalidType, detail))
        }
        _ => Ok(()),
    }
}

/// The least and greatest score of a survey, both included.
fn score_range(survey: &str) -> (f64, f64) {
    match survey {
        "nps" => (0.0, 10.0),
        "ces" => (1.0, 7.0),
        _ => (1.0, 5.0),
    }
}

/// Refuses properties that are not an object, or not what the type reads.
///
/// `text` is one JSON value, or empty when the event has no properties; `label` is what the client
/// calls the object.
pub(crate) fn check_properties(
    event_type: EventType,
    name: &str,
    text: &str,
    label: &str,
) -> Result<(), Rejection> {
    let rules = rules_of(event_type, name);
    if text.is_empty() {
        return refuse_missing(event_type, name, rules, 0, label);
    }
    if !text.starts_with('{') {
        return Err(Rejection::new(
            Reason::PropertiesNotObject,
            format!("{label} must be a JSON object"),
        ));
    }
    if rules.is_empty() || cannot_hold_any(text, rules) {
        return refuse_missing(event_type, name, rules, 0, label);
    }

    let mut inspection = Inspection {
        rules,
        survey: name,
        label,
        seen: 0,
        problem: None,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = deserializer.deserialize_map(InspectionVisitor(&mut inspection));
    if let Some(problem) = inspection.problem {
        return Err(problem);
    }
    if read.is_err() {
        // The text is sound JSON by now; what the reader still refuses is a number that no 64-bit
        // float can hold.
        let detail = format!("{label} holds a number out of range where a property is read");
        return Err(Rejection::new(Reason::InvalidProperty, detail));
    }
    refuse_missing(event_type, name, rules, inspection.seen, label)
}

/// Whether none of the rules' properties can be in the text, told without reading it as JSON.
fn cannot_hold_any(text: &str, rules: &[Rule]) -> bool {
    let has_escapes = text.as_bytes().contains(&b'\\');
    !has_escapes && rules.iter().all(|rule| !text.contains(rule.property))
}

fn refuse_missing(
    event_type: EventType,
    name: &str,
    rules: &[Rule],
    seen: u32,
    label: &str,
) -> Result<(), Rejection> {
    for (index, rule) in rules.iter().enumerate() {
        if rule.required && seen & (1 << index) == 0 {
            let whose = match event_type {
                EventType::Action => format!("action {name}"),
                other => format!("type {}", other.as_str()),
            };
            let detail = format!("{label}.{} is missing: {whose} needs it", rule.property);
            return Err(Rejection::new(Reason::MissingField, detail));
        }
    }
    Ok(())
}

/// One walk over an event's properties.
struct Inspection<'c> {
    rules: &'static [Rule],
    survey: &'c str,
    label: &'c str,
    /// One bit per rule whose property has a value.
    seen: u32,
    problem: Option<Rejection>,
}

impl Inspection<'_> {
    fn meet(&mut self, index: usize, value: &Scalar<'_>) {
        if self.problem.is_some() || *value == Scalar::Null {
            return;
        }
        let rule = self.rules[index];
        let bit = 1 << index;
        let wanted = if self.seen & bit != 0 {
            "be given only once".to_owned()
        } else {
            match unmet(rule.kind, self.survey, value) {
                None => {
                    self.seen |= bit;
                    return;
                }
                Some(wanted) => wanted,
            }
        };
        let detail = format!("{}.{} must {wanted}", self.label, rule.property);
        self.problem = Some(Rejection::new(Reason::InvalidProperty, detail));
    }
}

/// What a value should have been, when it is not.
fn unmet(kind: Kind, survey: &str, value: &Scalar<'_>) -> Option<String> {
    let wanted = match (kind, value) {
        (Kind::Text, Scalar::Text(_)) => return None,
        (Kind::Text, _) => "be a string".to_owned(),
        (Kind::Words { most }, Scalar::Text(text)) if text.chars().nth(most).is_none() => return None,
        (Kind::Words { most }, _) => format!("be a string of at most {most} characters"),
        (Kind::Id, Scalar::Text(text)) if (1..=MAX_ID_BYTES).contains(&text.len()) => return None,
        (Kind::Id, _) => format!("be a string of 1 to {MAX_ID_BYTES} bytes"),
        (Kind::Currency, Scalar::Text(text))
            if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) =>
        {
            return None;
        }
        (Kind::Currency, _) => "be a currency's three letters, such as JPY".to_owned(),
        (Kind::OneOf(words), Scalar::Text(text)) if words.contains(&text.as_ref()) => return None,
        (Kind::OneOf(words), _) => format!("be one of {}", words.join(", ")),
        (Kind::Bool, Scalar::Bool(_)) => return None,
        (Kind::Bool, _) => "be true or false".to_owned(),
        (Kind::Whole { least }, Scalar::Integer(whole)) if (least..=MAX_COUNT).contains(whole) => {
            return None;
        }
        (Kind::Whole { least }, _) => {
            format!("be a whole number from {least} to {MAX_COUNT}, written without a decimal point")
        }
        (Kind::Amount, Scalar::Integer(whole)) if *whole >= 0 => return None,
        (Kind::Amount, Scalar::Float(number)) if *number >= 0.0 => return None,
        (Kind::Amount, _) => "be a number that is not negative".to_owned(),
        (Kind::Time, value) if time_of(value).is_some() => return None,
        (Kind::Time, _) => {
            "be RFC 3339 with an offset, a date such as 2026-11-22, or an integer of epoch milliseconds"
                .to_owned()
        }
        (Kind::Score, value) => {
            let (least, most) = score_range(survey);
            let score = match value {
                Scalar::Integer(whole) => *whole as f64,
                Scalar::Float(number) => *number,
                _ => f64::NAN,
            };
            if score.fract() == 0.0 && (least..=most).contains(&score) {
                return None;
            }
            format!("be a whole number from {least} to {most} for {survey}")
        }
    };
    Some(wanted)
}

struct InspectionVisitor<'i, 'c>(&'i mut Inspection<'c>);

impl<'de> Visitor<'de> for InspectionVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of properties")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(read_by) = entries.next_key_seed(RuleIndex(self.0.rules))? {
            match read_by {
                Some(index) => {
                    let value = entries.next_value::<Scalar<'de>>()?;
                    self.0.meet(index, &value);
                }
                None => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a key as the index of the rule that reads its property.
struct RuleIndex(&'static [Rule]);

impl<'de> DeserializeSeed<'de> for RuleIndex {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for RuleIndex {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a property's name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|rule| rule.property == key))
    }
}
