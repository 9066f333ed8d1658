//! The summary that goes out in place of a flood: `alerts.held`.
//!
//! Its id follows from the name that tripped and the first alert that was held, so that whoever makes it
//! again makes the same one. It is under [`LIMIT`] bytes whatever the alerts say.

use health::AlertChange;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::{DeliveryRow, HoldRow, TRIPPED};

use crate::body::LIMIT;
use crate::breaker::BreakerConfig;
use crate::lane::RETRYING;

/// The most alerts that a summary gives as examples.
const EXAMPLES: usize = 10;

/// The most characters of a text of an example.
const EXAMPLE_CHARACTERS: usize = 200;

/// What a hold is told with.
pub(crate) struct Tripping<'a> {
    /// `rule:` or `cause:` and the name.
    pub name: &'a str,
    /// What is held of the batch that tripped it, at least one.
    pub held: &'a [&'a AlertChange],
    pub accounts: usize,
    pub accounts_total: u64,
    pub destinations: Vec<String>,
    pub now: i64,
}

/// The hold of what trips, with its summary.
pub(crate) fn hold(tripping: Tripping<'_>, config: &BreakerConfig) -> HoldRow {
    let first = tripping
        .held
        .first()
        .map_or("", |change| change.alert_id.as_str());
    let mut digest = Sha256::new();
    digest.update(tripping.name.as_bytes());
    digest.update([0]);
    digest.update(first.as_bytes());
    let hash: String = digest
        .finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let hold_id = format!("hd_{hash}");
    let summary = body(&hold_id, &tripping, config);
    HoldRow {
        hold_id,
        name: tripping.name.to_string(),
        status: TRIPPED.to_string(),
        since: tripping.now,
        at: tripping.now,
        accounts: u32::try_from(tripping.accounts).unwrap_or(u32::MAX),
        accounts_total: tripping.accounts_total,
        destinations: tripping.destinations,
        summary,
        version: u64::try_from(tripping.now).unwrap_or(0),
    }
}

/// The row by which the summary of `hold` waits for `destination`.
pub(crate) fn row(hold: &HoldRow, destination: &str, now: i64) -> DeliveryRow {
    DeliveryRow {
        alert_id: hold.hold_id.clone(),
        destination: destination.to_string(),
        attempt: 0,
        status: RETRYING.to_string(),
        http_status: None,
        at: now,
        duration_ms: 0,
        error: "not tried yet: the breaker has tripped".to_string(),
        next_attempt_at: Some(now),
        body: hold.summary.clone(),
        episode_id: hold.hold_id.clone(),
        variant: String::new(),
        reference: String::new(),
        version: u64::try_from(now).unwrap_or(0),
    }
}

fn body(hold_id: &str, tripping: &Tripping<'_>, config: &BreakerConfig) -> String {
    let Tripping {
        name,
        accounts,
        accounts_total: total,
        ..
    } = tripping;
    let (common, what) = name.split_once(':').unwrap_or(("rule", name));
    let severity = most_severe(tripping.held);
    let minutes = config.window_minutes;
    let common_ja = if common == "rule" { "ルール" } else { "要因" };
    let reason = format!(
        "{accounts} of {total} accounts opened alerts of the {common} {what} within {minutes} minutes: \
         they are held until somebody releases or drops them"
    );
    let reason_ja = format!(
        "{common_ja}「{what}」のアラートが{minutes}分以内に{total}件中{accounts}件のアカウントで発生したため、\
         解除または破棄されるまで通知を保留しています"
    );
    let timestamp = Timestamp::from_millisecond(tripping.now)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string();
    for examples in (1..=EXAMPLES).rev() {
        let examples: Vec<Value> = tripping
            .held
            .iter()
            .take(examples)
            .map(|held| example(held))
            .collect();
        let told = json!({
            "type": "alerts.held",
            "timestamp": timestamp,
            "data": {
                "alert_id": hold_id, "episode_id": hold_id, "change": "held", "severity": severity,
                "reason": reason, "reason_ja": reason_ja, "name": name, common: what,
                "accounts": accounts, "accounts_total": total, "share": config.share,
                "window_minutes": minutes, "since": timestamp, "examples": examples,
                "release": format!("mimamori alert held release {name}"),
                "drop": format!("mimamori alert held drop {name}"),
            },
        });
        let told = told.to_string();
        if told.len() < LIMIT {
            return told;
        }
    }
    // One example of the longest texts is under 10 KB, however they are escaped.
    String::new()
}

fn example(change: &AlertChange) -> Value {
    // The whole id, since it says where the summary waits; an id has 128 bytes at most.
    json!({
        "account_id": change.account_id, "alert_id": cut(&change.alert_id), "rule": cut(&change.rule),
        "severity": cut(&change.severity), "reason": cut(&change.reason), "reason_ja": cut(&change.reason_ja),
    })
}

fn cut(text: &str) -> String {
    text.chars().take(EXAMPLE_CHARACTERS).collect()
}

fn most_severe(held: &[&AlertChange]) -> &'static str {
    let rank = |severity: &str| match severity {
        "critical" => 2,
        "warning" => 1,
        _ => 0,
    };
    let most = held.iter().map(|change| rank(&change.severity)).max();
    ["info", "warning", "critical"][most.unwrap_or(1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;
    use crate::testing::alert;

    fn made(name: &str, held: &[AlertChange]) -> HoldRow {
        let held: Vec<&AlertChange> = held.iter().collect();
        let tripping = Tripping {
            name,
            held: &held,
            accounts: 41,
            accounts_total: 200,
            destinations: vec!["cs-team".into()],
            now: 1_795_309_323_004,
        };
        hold(tripping, &BreakerConfig::default())
    }

    #[test]
    fn a_summary_says_what_how_many_of_how_many_and_what_to_do() {
        let held: Vec<AlertChange> = (0..30).map(|n| alert(&format!("a{n}"), "opened", n)).collect();
        let hold = made("rule:login_drop", &held);
        let told: Value = serde_json::from_str(&hold.summary).unwrap();
        assert_eq!(
            (&told["type"], &told["timestamp"]),
            (&json!("alerts.held"), &json!("2026-11-22T01:02:03.004Z"))
        );
        let data = &told["data"];
        assert_eq!(data["alert_id"], hold.hold_id);
        assert_eq!(
            (&data["rule"], &data["accounts"], &data["accounts_total"]),
            (&json!("login_drop"), &json!(41), &json!(200))
        );
        assert_eq!(data["severity"], "critical");
        assert_eq!(
            data["reason"],
            "41 of 200 accounts opened alerts of the rule login_drop within 60 minutes: they are held until \
             somebody releases or drops them"
        );
        assert!(
            data["reason_ja"].as_str().unwrap().contains("200件中41件"),
            "{data}"
        );
        assert_eq!(data["release"], "mimamori alert held release rule:login_drop");
        let examples = data["examples"].as_array().unwrap();
        assert_eq!(
            (examples.len(), &examples[0]["account_id"]),
            (EXAMPLES, &json!("a0"))
        );
        let of_cause: Value = serde_json::from_str(&made("cause:logins_7d", &held).summary).unwrap();
        assert_eq!(of_cause["data"]["cause"], "logins_7d");
    }

    #[test]
    fn the_id_follows_from_the_name_and_the_first_that_is_held() {
        let (one, two) = ([alert("a", "opened", 1)], [alert("b", "opened", 1)]);
        assert_eq!(made("rule:x", &one).hold_id, made("rule:x", &one).hold_id);
        assert_ne!(made("rule:x", &one).hold_id, made("rule:x", &two).hold_id);
        assert_ne!(made("rule:x", &one).hold_id, made("cause:x", &one).hold_id);
    }

    #[test]
    fn it_is_small_enough_whatever_the_alerts_say_and_its_place_can_be_read() {
        for text in ["\u{1}", "守", "\"", "a"] {
            let long = AlertChange {
                reason: text.repeat(50_000),
                reason_ja: text.repeat(50_000),
                rule: text.repeat(5_000),
                ..alert("acme", "opened", 1)
            };
            let hold = made("rule:x", &vec![long; 30]);
            assert!(
                (1..LIMIT).contains(&hold.summary.len()),
                "{} bytes",
                hold.summary.len()
            );
            let place = body::place(&hold.summary).unwrap();
            assert_eq!(
                (place.episode_id, place.account_id),
                (hold.hold_id, "acme".to_string())
            );
            assert!(place.order.is_first());
        }
    }
}
