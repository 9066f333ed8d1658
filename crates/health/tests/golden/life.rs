//! A file of a golden account, and how it is lived.

use std::collections::{BTreeMap, BTreeSet};

use event::{Decoder, Event};
use health::{Account, Evaluation, HealthConfig, Mode, Model, Replay, SegmentBaselines};
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::arithmetic;

/// Expected and computed numbers differ when they are further apart than this, relative to the larger.
const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Life {
    /// The zone that all times in the file are local to.
    zone: String,
    /// The last evening on which the account is evaluated.
    until: Date,
    /// Over the defaults.
    #[serde(default)]
    health: HealthConfig,
    /// Median stickiness by segment.
    #[serde(default)]
    segment_stickiness: BTreeMap<String, f64>,
    events: Vec<Said>,
    #[serde(default)]
    at: Vec<Instant>,
    alerts: Alerts,
}

/// An event, or the same one on many days and of many users.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    on: Option<Date>,
    from: Option<Date>,
    to: Option<Date>,
    /// The weekdays between `from` and `to`, as `mon tue`. Default all.
    days: Option<String>,
    #[serde(default)]
    except: Vec<Date>,
    at: Time,
    r#type: String,
    name: Option<String>,
    user: Option<String>,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    properties: BTreeMap<String, toml::Value>,
    /// When it was received. Default a second after it occurred.
    received: Option<DateTime>,
}

/// What is expected at an instant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Instant {
    time: DateTime,
    stage: Option<String>,
    tier: Option<String>,
    band: Option<String>,
    #[serde(default)]
    numbers: BTreeMap<String, Expected>,
    #[serde(default)]
    scores: BTreeMap<String, Expected>,
    /// Points of drivers, by `score/input`.
    #[serde(default)]
    points: BTreeMap<String, Expected>,
    /// Baselines of drivers, by `score/input`.
    #[serde(default)]
    baselines: BTreeMap<String, Expected>,
    unused_key_features: Option<Vec<String>>,
    /// Name, state and dwell of each.
    milestones: Option<Vec<(String, String, Expected)>>,
}

/// A number, arithmetic, `unknown`, or a state by its name.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum Expected {
    Number(f64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alerts {
    /// All changes of the rules that are named here.
    #[serde(default)]
    changes: Vec<Change>,
    /// Rules without any change; `*` is all that `changes` does not name.
    #[serde(default)]
    never: Vec<String>,
}

#[derive(Deserialize, Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
struct Change {
    on: Date,
    rule: String,
    change: String,
}

impl Life {
    /// Lives it and tells what was otherwise than expected.
    pub fn run(&self) -> Vec<String> {
        let zone = TimeZone::get(&self.zone).unwrap();
        let millis = |at: DateTime| at.to_zoned(zone.clone()).unwrap().timestamp().as_millisecond();
        let model = Model::new(self.health.clone()).unwrap();
        let segments = SegmentBaselines {
            stickiness: self.segment_stickiness.clone(),
        };
        let mut events = self.events(&millis);
        events.sort_by(|one, other| {
            let key = |event: &Event| (event.received_at, event.event_id.clone());
            key(one).cmp(&key(other))
        });

        let first = events.iter().map(|event| event.occurred_at).min().unwrap();
        let first = jiff::Timestamp::from_millisecond(first)
            .unwrap()
            .to_zoned(zone.clone())
            .date();
        let evenings = first
            .series(jiff::Span::new().days(1))
            .take_while(|day| *day <= self.until);
        let mut instants: BTreeSet<DateTime> = evenings.map(|day| day.at(20, 0, 0, 0)).collect();
        instants.extend(self.at.iter().map(|instant| instant.time));

        let mut account = Account::new("golden");
        let (mut wrong, mut changes, mut folded) = (Vec::new(), Vec::new(), 0);
        for at in instants {
            let now = millis(at);
            let mut earliest = i64::MAX;
            while let Some(event) = events.get(folded).filter(|event| event.received_at <= now) {
                account.fold(event, folded as i64, &model);
                if event.event_type.is_of_customer() {
                    earliest = earliest.min(event.happened_at());
                }
                folded += 1;
                if account.must_recount() {
                    account.recount(&events[..folded], &model);
                }
            }
            take_back(&mut account, &events[..folded], earliest, now, &segments, &model);
            let found = account.evaluate(now, Mode::Live, 0, &segments, &model);
            changes.extend(account.outbox().iter().map(|change| Change {
                on: at.date(),
                rule: change.rule.clone(),
                change: change.change.clone(),
            }));
            account.clear_outbox();
            for expected in self.at.iter().filter(|expected| expected.time == at) {
                expected.compare(&found, &mut wrong);
            }
        }
        assert_eq!(
            folded,
            events.len(),
            "an event was received after the last evaluation"
        );
        self.alerts.compare(&changes, &model, &mut wrong);
        wrong
    }

    fn events(&self, millis: &dyn Fn(DateTime) -> i64) -> Vec<Event> {
        let decoder = Decoder::default();
        let mut events = Vec::new();
        for (place, said) in self.events.iter().enumerate() {
            let users: Vec<Option<&String>> = match (&said.user, &said.users) {
                (None, users) if users.is_empty() => vec![None],
                (user, users) => user.iter().chain(users).map(Some).collect(),
            };
            for day in said.when() {
                for user in &users {
                    let occurred_at = millis(day.to_datetime(said.at));
                    let received_at = said.received.map_or(occurred_at + 1_000, millis);
                    let mut event = serde_json::json!({
                        "event_id": format!("{place}-{day}-{}", user.map_or("", String::as_str)),
                        "account_id": "golden", "type": said.r#type, "occurred_at": occurred_at,
                        "properties": said.properties,
                    });
                    if let Some(name) = &said.name {
                        event["name"] = name.as_str().into();
                    }
                    if let Some(user) = user {
                        event["user_id"] = user.as_str().into();
                    }
                    let decoded = decoder.decode(event.to_string().as_bytes(), &[], received_at, "golden");
                    events.push(decoded.unwrap_or_else(|rejection| panic!("{event}: {rejection:?}")));
                }
            }
        }
        events
    }
}

/// Takes back the episodes that opened after `earliest`, when something happened of which was only heard
/// now, and that would not have opened by all that is known: as the worker does it.
fn take_back(
    account: &mut Account,
    events: &[Event],
    earliest: i64,
    now: i64,
    segments: &SegmentBaselines,
    model: &Model,
) {
    let told: Vec<(String, i64)> = account
        .open_episodes()
        .filter(|episode| episode.opened_at > earliest)
        .map(|episode| (episode.rule.to_string(), episode.opened_at))
        .collect();
    if told.is_empty() {
        return;
    }
    let instants = told.iter().map(|(_, opened_at)| *opened_at).collect();
    let mut replay = Replay::new("golden", instants, segments, model);
    let mut untrue = BTreeSet::new();
    let mut judge = |evaluation: Evaluation, lived: &Account| {
        for (rule, opened_at) in told.iter().filter(|(_, opened_at)| *opened_at == evaluation.at) {
            if lived.rule_holds(rule, &evaluation, model) == Some(false) {
                untrue.insert((rule.clone(), *opened_at));
            }
        }
    };
    let mut ordered = events.to_vec();
    ordered.sort_by_key(Event::happened_at);
    for (offset, event) in ordered.into_iter().enumerate() {
        replay.take(event, offset as i64, &mut judge);
    }
    replay.finish(&mut judge);
    let evaluation = account.assess(now, segments, model);
    let is_true = |rule: &str, opened_at: i64| Some(!untrue.contains(&(rule.to_string(), opened_at)));
    account.retract(is_true, &evaluation, 0, model);
}

impl Said {
    fn when(&self) -> Vec<Date> {
        let (from, to) = match (self.on, self.from, self.to) {
            (Some(on), None, None) => (on, on),
            (None, Some(from), Some(to)) => (from, to),
            _ => panic!("an event of type {} needs either on, or from and to", self.r#type),
        };
        let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let is_asked_for = |day: &Date| {
            let name = names[day.weekday().to_monday_zero_offset() as usize];
            let days = self.days.as_deref().unwrap_or("mon tue wed thu fri sat sun");
            assert!(days.split(' ').all(|day| names.contains(&day)), "{days}");
            days.split(' ').any(|day| day == name) && !self.except.contains(day)
        };
        let days = from
            .series(jiff::Span::new().days(1))
            .take_while(|day| *day <= to);
        days.filter(is_asked_for).collect()
    }
}

impl Instant {
    fn compare(&self, found: &Evaluation, wrong: &mut Vec<String>) {
        let mut differs = |what: &str, expected: String, found: String| {
            if expected != found {
                wrong.push(format!(
                    "{} {what}: expected {expected}, found {found}",
                    self.time
                ));
            }
        };
        for (what, expected, found) in [
            ("stage", &self.stage, found.stage.as_str()),
            ("tier", &self.tier, found.tier.as_str()),
            ("band", &self.band, found.scores.band.as_str()),
        ] {
            if let Some(expected) = expected {
                differs(what, expected.clone(), found.to_string());
            }
        }
        if let Some(expected) = &self.unused_key_features {
            let found = &found.metrics.unused_key_features;
            differs("unused_key_features", expected.join(", "), found.join(", "));
        }
        if let Some(expected) = &self.milestones {
            let names: Vec<&str> = expected.iter().map(|(name, ..)| name.as_str()).collect();
            let told: Vec<&str> = found
                .metrics
                .milestones
                .iter()
                .map(|one| one.name.as_str())
                .collect();
            differs("milestones", names.join(", "), told.join(", "));
            for ((name, state, dwell), found) in expected.iter().zip(&found.metrics.milestones) {
                differs(name, state.clone(), found.state.as_str().to_string());
                self.number(&format!("dwell of {name}"), dwell, found.dwell_days, &mut differs);
            }
        }
        for (name, expected) in &self.numbers {
            match (name.as_str(), expected) {
                ("onboarding_state", Expected::Text(expected)) => {
                    let state = found
                        .metrics
                        .onboarding_state
                        .map_or("unknown", |state| state.as_str());
                    differs(name, expected.clone(), state.to_string());
                }
                _ => {
                    assert!(health::NUMBERS.contains(&name.as_str()), "{name} is no number");
                    self.number(name, expected, found.metrics.number(name), &mut differs);
                }
            }
        }
        for (name, expected) in &self.scores {
            let scores = &found.scores;
            let value = match name.as_str() {
                "health" => scores.health,
                "ttv" => scores.ttv,
                "activity" => scores.activity,
                "adoption" => scores.adoption,
                "sentiment" => scores.sentiment,
                "support" => scores.support,
                "churn_risk" => scores.churn_risk,
                "expansion" => scores.expansion,
                "confidence" => Some(scores.confidence),
                other => panic!("{other} is no score"),
            };
            self.number(name, expected, value, &mut differs);
        }
        let driver = |place: &str| {
            let (score, input) = place.split_once('/').unwrap();
            let mut drivers = found.scores.drivers.iter();
            drivers.find(|driver| driver.score == score && driver.input == input)
        };
        for (place, expected) in &self.points {
            let points = driver(place).map(|driver| driver.points);
            self.number(&format!("points of {place}"), expected, points, &mut differs);
        }
        for (place, expected) in &self.baselines {
            let baseline = driver(place).and_then(|driver| driver.baseline);
            self.number(&format!("baseline of {place}"), expected, baseline, &mut differs);
        }
    }

    fn number(
        &self,
        what: &str,
        expected: &Expected,
        found: Option<f64>,
        differs: &mut impl FnMut(&str, String, String),
    ) {
        let value = match expected {
            Expected::Text(text) if text == "unknown" => None,
            _ => Some(
                self.value(expected)
                    .unwrap_or_else(|wrong| panic!("{what}: {wrong}")),
            ),
        };
        let agree = match (value, found) {
            (Some(value), Some(found)) => (value - found).abs() <= TOLERANCE * value.abs().max(1.0),
            (value, found) => value.is_none() && found.is_none(),
        };
        if !agree {
            let shown = |value: Option<f64>| value.map_or("unknown".to_string(), |value| value.to_string());
            differs(what, shown(value), shown(found));
        }
    }

    fn value(&self, expected: &Expected) -> Result<f64, String> {
        let of_name = |name: &str| {
            let named = self.numbers.get(name).or_else(|| self.scores.get(name));
            self.value(named.ok_or_else(|| format!("{name:?} is not expected at this instant"))?)
        };
        match expected {
            Expected::Number(value) => Ok(*value),
            Expected::Text(text) => arithmetic::evaluate(text, &of_name),
        }
    }
}

impl Alerts {
    fn compare(&self, found: &[Change], model: &Model, wrong: &mut Vec<String>) {
        let rules: Vec<&str> = model.rules().map(|(name, _)| name).collect();
        let named: BTreeSet<&str> = self.changes.iter().map(|change| change.rule.as_str()).collect();
        let never = self.never.iter().map(String::as_str);
        for rule in named.iter().copied().chain(never.filter(|rule| *rule != "*")) {
            if !rules.contains(&rule) {
                wrong.push(format!("there is no rule {rule}"));
            }
        }
        let is_checked = |change: &&Change| {
            let rule = change.rule.as_str();
            named.contains(rule) || self.never.iter().any(|never| never == rule || never == "*")
        };
        let shown = |change: &Change| format!("{} {} {}", change.on, change.rule, change.change);
        let expected: BTreeSet<String> = self.changes.iter().map(shown).collect();
        let found: BTreeSet<String> = found.iter().filter(is_checked).map(shown).collect();
        wrong.extend(
            expected
                .difference(&found)
                .map(|change| format!("expected, not found: {change}")),
        );
        wrong.extend(
            found
                .difference(&expected)
                .map(|change| format!("found, not expected: {change}")),
        );
    }
}
