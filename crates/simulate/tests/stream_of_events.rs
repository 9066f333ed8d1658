//! What holds of the records: their bytes, their form, their order and their noise.

#![allow(clippy::unwrap_used, reason = "all of this file is tests, the helpers too")]

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher};

use serde_json::Value;
use simulate::{
    Archetype, CHURN_GRACE_MS, Config, Emission, FEATURES, KEY_FEATURES, Kind, LATE_AFTER_MS, MAX_DUE,
    MILESTONES, live, simulate,
};

/// 2026-11-20T03:00:00Z, a Friday noon in Tokyo.
const UNTIL: i64 = 1_795_143_600_000;

fn small() -> Config {
    Config {
        accounts: 40,
        months: 2,
        ..Config::demo(UNTIL)
    }
}

fn hash(config: &Config) -> u64 {
    let mut hasher = DefaultHasher::new();
    for emission in simulate(config).unwrap() {
        hasher.write(&emission.payload);
        hasher.write(emission.key().unwrap_or_default());
        hasher.write_i64(emission.arrives_at);
    }
    hasher.finish()
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_seed_others() {
    let config = small();
    assert_eq!(hash(&config), hash(&config));
    assert_ne!(hash(&config), hash(&Config { seed: 2, ..config }));
}

#[test]
fn noise_changes_nothing_about_the_lives() {
    let events = |config: &Config| -> HashSet<Vec<u8>> {
        simulate(config)
            .unwrap()
            .filter(|emission| emission.kind == Kind::Event && emission.occurred_at < UNTIL - 3 * 86_400_000)
            .map(|emission| emission.payload)
            .collect()
    };
    let quiet = Config {
        duplicates: 0.0,
        late: 0.0,
        malformed: 0.0,
        miskeyed: 0.0,
        ..small()
    };
    let noisy = Config {
        duplicates: 0.3,
        late: 0.4,
        malformed: 0.2,
        miskeyed: 0.5,
        ..small()
    };
    assert!(events(&quiet) == events(&noisy));
}

#[test]
fn records_are_well_formed_in_order_and_as_noisy_as_asked() {
    let config = Config {
        accounts: 300,
        months: 6,
        ..Config::demo(UNTIL)
    };
    let mut simulation = simulate(&config).unwrap();
    let estimated = simulation.estimated_total() as f64;

    let decoder = event::Decoder::default();
    let mut seen: HashMap<(String, String), u64> = HashMap::new();
    let mut counts: HashMap<String, (u64, u64)> = HashMap::new();
    let (mut records, mut events, mut duplicates, mut malformed, mut late, mut miskeyed) =
        (0u64, 0, 0, 0, 0, 0);
    let mut types = HashSet::new();
    let mut names = HashSet::new();
    let mut flaws = HashSet::new();
    let mut before = i64::MIN;
    for emission in &mut simulation {
        records += 1;
        assert!(emission.arrives_at >= before, "records come in order of arrival");
        before = emission.arrives_at;
        assert!(emission.arrives_at <= UNTIL && emission.occurred_at < emission.arrives_at);
        miskeyed += u64::from(emission.key() != Some(emission.account_id.as_bytes()));
        let decoded = decoder.decode(&emission.payload, &[], emission.arrives_at, "test");
        let reason = decoded.as_ref().err().map(|rejection| rejection.reason.as_str());
        let count = counts.entry(emission.account_id.clone()).or_default();
        count.0 += 1;
        let mut payload = DefaultHasher::new();
        payload.write(&emission.payload);
        match emission.kind {
            Kind::Malformed(flaw) => {
                malformed += 1;
                assert_eq!(reason, Some(flaw));
                flaws.insert(flaw);
                assert!(
                    check(&emission).is_err(),
                    "{}",
                    String::from_utf8_lossy(&emission.payload)
                );
            }
            Kind::Event => {
                let event = check(&emission).unwrap_or_else(|wrong| {
                    panic!("{wrong}: {}", String::from_utf8_lossy(&emission.payload));
                });
                events += 1;
                count.1 += 1;
                let decoded = decoded.unwrap();
                assert_eq!(decoded.occurred_at, emission.occurred_at);
                assert_eq!(decoded.account_id, emission.account_id);
                late += u64::from(emission.arrives_at - emission.occurred_at > LATE_AFTER_MS);
                let id = event["event_id"].as_str().unwrap().to_owned();
                let first = seen.insert((emission.account_id, id), payload.finish());
                assert_eq!(first, None, "event ids are unique");
                types.insert(event["type"].as_str().unwrap().to_owned());
                names.insert(format!(
                    "{} {}",
                    event["type"].as_str().unwrap(),
                    event["name"].as_str().unwrap_or("")
                ));
            }
            Kind::Duplicate => {
                duplicates += 1;
                let event = check(&emission).unwrap();
                let id = event["event_id"].as_str().unwrap().to_owned();
                let first = seen.get(&(emission.account_id, id));
                assert_eq!(
                    first,
                    Some(&payload.finish()),
                    "a duplicate is its event, byte for byte, and comes after"
                );
            }
        }
    }

    assert_eq!(flaws.len(), 8, "{flaws:?}");
    let share = |part: u64| part as f64 / events as f64;
    assert!(
        (0.009..0.011).contains(&share(duplicates)),
        "{}",
        share(duplicates)
    );
    assert!((0.047..0.054).contains(&share(late)), "{}", share(late));
    assert!(
        (0.0008..0.0012).contains(&share(malformed)),
        "{}",
        share(malformed)
    );
    let miskeyed = miskeyed as f64 / records as f64;
    assert!((0.097..0.103).contains(&miskeyed), "{miskeyed}");
    assert!(
        (0.9..1.1).contains(&(estimated / records as f64)),
        "{estimated} estimated, {records} came"
    );

    let ten = [
        "login",
        "feature",
        "milestone",
        "account",
        "user",
        "contract",
        "ticket",
        "survey",
        "engagement",
        "error",
    ];
    assert_eq!(types, HashSet::from(ten.map(str::to_owned)));
    for feature in FEATURES {
        assert!(names.contains(&format!("feature {feature}")), "{feature}");
    }
    assert!(KEY_FEATURES.iter().all(|key| FEATURES.contains(key)));
    for contract in [
        "trial_started",
        "started",
        "renewed",
        "upgraded",
        "downgraded",
        "option_removed",
        "cancelled",
    ] {
        assert!(names.contains(&format!("contract {contract}")), "{contract}");
    }
    for other in [
        "ticket escalated",
        "ticket resolved",
        "survey nps",
        "survey csat",
        "engagement help_search",
    ] {
        assert!(names.contains(other), "{other}");
    }

    for account in simulation.truth() {
        let counted = counts.get(&account.account_id).copied().unwrap_or_default();
        assert_eq!(
            (account.emitted, account.distinct),
            counted,
            "{}",
            account.account_id
        );
    }
    let days = 184.0;
    let a_day = events as f64 / 300.0 / days;
    assert!((8.0..30.0).contains(&a_day), "{a_day} events a day and account");
}

#[test]
fn a_late_event_is_late_by_no_more_than_asked() {
    let config = Config {
        late_by_ms: 3_600_000,
        duplicates: 0.0,
        ..small()
    };
    let begins = UNTIL - 62 * 86_400_000;
    let mut latest = 0;
    for emission in simulate(&config).unwrap() {
        // What happened before the period is told as history.
        if emission.occurred_at > begins {
            latest = latest.max(emission.arrives_at - emission.occurred_at);
        }
    }
    assert!((3_000_000..=3_600_001).contains(&latest), "{latest}");
}

#[test]
fn shares_of_archetypes_hold_and_can_be_asked_for() {
    let config = Config {
        accounts: 1_000,
        months: 1,
        ..Config::demo(UNTIL)
    };
    let simulation = simulate(&config).unwrap();
    for archetype in Archetype::ALL {
        let met = simulation
            .truth()
            .iter()
            .filter(|account| account.archetype == archetype)
            .count() as f64
            / 10.0;
        let asked = archetype.default_weight();
        assert!(
            (met - asked).abs() <= 0.5,
            "{archetype}: {met} % met, {asked} % asked for"
        );
    }
    let only = [(Archetype::Steady, 3.0), (Archetype::SuddenChurn, 1.0)]
        .into_iter()
        .collect();
    let simulation = simulate(&Config {
        accounts: 400,
        archetypes: only,
        ..config
    })
    .unwrap();
    let steady = simulation
        .truth()
        .iter()
        .filter(|account| account.archetype == Archetype::Steady)
        .count();
    assert!((298..=302).contains(&steady), "{steady}");
    let others = simulation
        .truth()
        .iter()
        .filter(|account| account.archetype == Archetype::SuddenChurn)
        .count();
    assert_eq!(steady + others, 400);
}

#[test]
fn a_live_simulation_goes_on_where_the_history_ends() {
    let config = small();
    for from in [UNTIL - 20 * 86_400_000 + 12_345, UNTIL - 3_600_000] {
        let history: Vec<Emission> = simulate(&config)
            .unwrap()
            .filter(|emission| emission.arrives_at > from)
            .collect();
        let mut live = live(&config, from).unwrap();
        let mut due = Vec::new();
        // Asked at odd times, and often.
        let mut now = from;
        while now < UNTIL {
            now = (now + 7_777_777).min(UNTIL);
            let came = live.due(now);
            assert!(came.iter().all(|emission| emission.arrives_at <= now));
            due.extend(came);
        }
        assert!(!history.is_empty());
        assert!(
            due == history,
            "{} due, {} in the history",
            due.len(),
            history.len()
        );
        assert!(live.due(UNTIL).is_empty());
        // And beyond the end, with ids that are new.
        let beyond = live.due(UNTIL + 7 * 86_400_000);
        assert!(beyond.len() > 100);
        assert!(beyond.iter().all(|emission| emission.arrives_at > UNTIL));
        if let Some(next) = live.next_arrival(i64::MAX) {
            assert!(next > UNTIL + 7 * 86_400_000);
        }
    }
}

#[test]
fn speed_makes_more_events_at_the_same_dates_with_ids_of_their_own() {
    let config = Config {
        duplicates: 0.0,
        ..small()
    };
    let from = UNTIL + 3 * 86_400_000;
    let week = |speed: f64| {
        let mut live = live(&config, from).unwrap().with_speed(speed);
        let mut all = Vec::new();
        loop {
            let due = live.due(from + 7 * 86_400_000);
            let last = due.len() < MAX_DUE;
            all.extend(due);
            if last {
                return all;
            }
        }
    };
    let (plain, fast) = (week(1.0), week(4.0));
    let ratio = fast.len() as f64 / plain.len() as f64;
    assert!((3.0..5.0).contains(&ratio), "{ratio}");
    assert!(
        fast.iter()
            .all(|emission| emission.occurred_at < emission.arrives_at)
    );
    let ids: HashSet<&[u8]> = fast.iter().map(|emission| &emission.payload[13..39]).collect();
    let events = fast
        .iter()
        .filter(|emission| emission.kind == Kind::Event)
        .count();
    assert!(ids.len() >= events);
}

#[test]
fn nothing_is_heard_of_those_who_left_beyond_the_grace() {
    let config = Config {
        accounts: 300,
        months: 6,
        ..Config::demo(UNTIL)
    };
    let mut simulation = simulate(&config).unwrap();
    let mut last: HashMap<String, i64> = HashMap::new();
    let mut cancelled: HashMap<String, i64> = HashMap::new();
    for emission in &mut simulation {
        let latest = last.entry(emission.account_id.clone()).or_default();
        *latest = emission.occurred_at.max(*latest);
        if find(&emission.payload, b"\"name\":\"cancelled\"") {
            cancelled.insert(emission.account_id, emission.occurred_at);
        }
    }
    let truth = simulation.truth();
    assert!(
        truth
            .iter()
            .filter(|account| account.churned_at.is_some())
            .count()
            >= 20
    );
    assert!(truth.iter().filter(|account| account.lapsed_at.is_some()).count() >= 5);
    for account in truth {
        let (id, archetype) = (&account.account_id, account.archetype);
        if let Some(churned) = account.churned_at {
            assert!(last[id] <= churned + CHURN_GRACE_MS, "{id} {archetype}");
        }
        if let Some(lapsed) = account.lapsed_at {
            assert!(last[id] <= lapsed, "{id} {archetype}");
        }
        // One whose cancellation is still on its way when the simulation ends is left out.
        let on_its_way = account
            .churned_at
            .is_some_and(|churned| churned > UNTIL - config.late_by_ms);
        if !on_its_way {
            assert_eq!(cancelled.get(id).copied(), account.churned_at, "{id} {archetype}");
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Checks a record against the contract's table, told here anew.
fn check(emission: &Emission) -> Result<Value, String> {
    let text = std::str::from_utf8(&emission.payload).map_err(|_| "not UTF-8")?;
    if text.len() > 32_768 {
        return Err("over 32 KiB".into());
    }
    let event: Value = serde_json::from_str(text).map_err(|wrong| wrong.to_string())?;
    let object = event.as_object().ok_or("not an object")?;
    for field in object.keys() {
        let known = [
            "event_id",
            "account_id",
            "user_id",
            "type",
            "name",
            "occurred_at",
            "properties",
        ];
        ensure(known.contains(&field.as_str()), field)?;
    }
    let text = |field: &str, longest: usize| {
        let value = event[field].as_str().ok_or(format!("{field} is missing"))?;
        ensure((1..=longest).contains(&value.len()), field).map(|()| value)
    };
    text("event_id", 128)?;
    ensure(text("account_id", 128)? == emission.account_id, "account_id")?;
    if object.contains_key("user_id") {
        text("user_id", 128)?;
    }
    let at = match &event["occurred_at"] {
        Value::Number(millis) => millis.as_i64().ok_or("occurred_at")?,
        Value::String(at) => at
            .parse::<jiff::Timestamp>()
            .map_err(|wrong| wrong.to_string())?
            .as_millisecond(),
        _ => return Err("occurred_at".into()),
    };
    ensure(at == emission.occurred_at, "occurred_at")?;
    ensure(at <= UNTIL && UNTIL - at < 400 * 86_400_000, "occurred_at")?;
    let kind = text("type", 200)?;
    let properties = &event["properties"];
    ensure(properties.is_null() || properties.is_object(), "properties")?;
    let name = event["name"].as_str();
    let named = |names: &[&str]| ensure(name.is_some_and(|name| names.contains(&name)), "name");
    let whole = |field: &str| properties[field].as_u64().ok_or(format!("properties.{field}"));
    let one_of = |field: &str, values: &[&str]| {
        ensure(
            properties[field]
                .as_str()
                .is_some_and(|value| values.contains(&value)),
            field,
        )
    };
    let instant = |field: &str| {
        let at = properties[field].as_str().ok_or(format!("properties.{field}"))?;
        at.parse::<jiff::Timestamp>()
            .map(|at| at.as_millisecond())
            .map_err(|wrong| wrong.to_string())
    };
    match kind {
        "login" => ensure(event["user_id"].is_string(), "user_id")?,
        "feature" => {
            named(&FEATURES)?;
            if !properties["count"].is_null() {
                ensure(whole("count")? > 1, "count")?;
            }
            if !properties["duration_ms"].is_null() {
                whole("duration_ms")?;
            }
        }
        "milestone" => named(&MILESTONES)?,
        "account" => {
            if !properties["name"].is_null() {
                one_of("segment", &["smb", "mid", "enterprise"])?;
                one_of("tier", &["high", "low", "tech"])?;
                one_of(
                    "timezone",
                    &["Asia/Tokyo", "America/New_York", "Europe/Berlin", "Etc/UTC"],
                )?;
                one_of("value_event", &["first_value"])?;
                ensure(properties["owner"].is_string(), "owner")?;
                ensure(instant("signed_up_at")? == at, "signed_up_at")?;
                ensure(instant("onboarding_due")? > at, "onboarding_due")?;
            }
            one_of("plan", &["starter", "standard", "business", "enterprise"])?;
            ensure(whole("seats")? > 0, "seats")?;
        }
        "user" => {
            ensure(event["user_id"].is_string(), "user_id")?;
            one_of("role", &["champion", "decision_maker", "admin", "member"])?;
            ensure(
                properties["removed"].is_null() || properties["removed"].is_boolean(),
                "removed",
            )?;
        }
        "contract" => {
            named(&[
                "trial_started",
                "started",
                "renewed",
                "upgraded",
                "downgraded",
                "option_removed",
                "cancelled",
            ])?;
            if name != Some("trial_started") {
                ensure(whole("mrr")? > 0, "mrr")?;
                one_of("currency", &["JPY", "USD", "EUR"])?;
            }
            ensure(whole("seats")? > 0, "seats")?;
            let (starts, ends) = (instant("starts_at")?, instant("ends_at")?);
            ensure(starts <= at && starts <= ends, "starts_at")?;
            ensure(name == Some("cancelled") || at < ends, "ends_at")?;
        }
        "ticket" => {
            named(&["opened", "replied", "escalated", "resolved"])?;
            ensure(properties["ticket_id"].is_string(), "ticket_id")?;
            if name == Some("opened") {
                one_of("channel", &["email", "chat", "phone"])?;
                one_of("severity", &["low", "normal", "high", "urgent"])?;
            }
        }
        "survey" => {
            named(&["nps", "csat", "ces"])?;
            let range = match name {
                Some("nps") => 0..=10,
                Some("csat") => 1..=5,
                _ => 1..=7,
            };
            ensure(range.contains(&whole("score")?), "score")?;
        }
        "engagement" => {
            ensure(name.is_some(), "name")?;
            if name == Some("help_search") {
                whole("results")?;
            }
        }
        "error" => {
            ensure(name.is_some(), "name")?;
            one_of("severity", &["warning", "error", "critical"])?;
        }
        other => return Err(format!("type {other}")),
    }
    Ok(event)
}

fn ensure(holds: bool, field: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(format!("{field} is wrong"))
    }
}
