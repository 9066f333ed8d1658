//! The digest: one message a day and destination about the alerts that could wait for it.
//!
//! What a digest tells of is what its destination's rows name it for (`store::Store::digested_episodes`), so
//! the same rows make the same digest. Its id follows from the destination and the day, so that made twice
//! it can be dropped.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use store::DigestedEpisode;

use crate::body::LIMIT;
use crate::policy::Slot;

/// What the ids of digests begin with.
pub(crate) const PREFIX: &str = "dg_";

/// The type of its body.
pub(crate) const TYPE: &str = "alerts.digest";

/// The most characters of a text in an alert that is listed; of a reason; and of a reason when the body
/// is too large otherwise.
const NAME: usize = 128;
const REASON: usize = 300;
const SHORT_REASON: usize = 80;

/// The id of a destination's digest of a day.
pub(crate) fn id(destination: &str, day: Date) -> String {
    let hash = Sha256::digest(format!("{destination}/{day}").as_bytes());
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{hex}")
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    digest_id: &'a str,
    destination: &'a str,
    day: String,
    count: u64,
    open: u64,
    resolved: u64,
    passed: u64,
    listed: usize,
    alerts: &'a [Listed],
    alert_ids: Vec<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// An alert as a digest lists it.
#[derive(Debug, Clone, Default, Serialize)]
struct Listed {
    alert_id: String,
    episode_id: String,
    account_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<String>,
    kind: String,
    rule: String,
    severity: String,
    change: String,
    at: String,
    reason: String,
    reason_ja: String,
}

/// The state of a [`DigestedEpisode`] that is only counted.
const PASSED: u8 = 2;

/// The body of a digest: the same for the same `episodes`, and under [`LIMIT`] bytes however many there
/// are. What does not fit is counted only.
pub(crate) fn render(digest_id: &str, destination: &str, slot: Slot, episodes: &[DigestedEpisode]) -> String {
    let listed = episodes.iter().filter(|episode| episode.state != PASSED);
    let mut alerts: Vec<Listed> = listed.map(|episode| Listed::of(&episode.body)).collect();
    let (count, open, passed) = episodes
        .first()
        .map_or((0, 0, 0), |any| (any.episodes, any.open, any.passed));
    let write = |alerts: &[Listed], truncated: bool| {
        let body = Body {
            r#type: TYPE,
            timestamp: Timestamp::from_millisecond(slot.at)
                .unwrap_or(Timestamp::UNIX_EPOCH)
                .to_string(),
            data: Data {
                digest_id,
                destination,
                day: slot.day.to_string(),
                count,
                open,
                resolved: count.saturating_sub(open + passed),
                passed,
                listed: alerts.len(),
                alerts,
                alert_ids: alerts.iter().map(|alert| alert.alert_id.as_str()).collect(),
                truncated,
            },
        };
        serde_json::to_string(&body).expect("a struct of texts and numbers is JSON")
    };
    let mut body = write(&alerts, false);
    if body.len() >= LIMIT {
        for alert in &mut alerts {
            alert.reason = cut(&alert.reason, SHORT_REASON);
            alert.reason_ja = cut(&alert.reason_ja, SHORT_REASON);
        }
        body = write(&alerts, true);
    }
    while body.len() >= LIMIT && !alerts.is_empty() {
        // Each time by what is surely too much, so that few rounds are needed.
        let share = alerts.len() * (body.len() - LIMIT) / body.len() / 2;
        alerts.truncate(alerts.len() - share.max(1));
        body = write(&alerts, true);
    }
    body
}

impl Listed {
    /// What is read of a canonical body; what it does not say is empty.
    fn of(body: &str) -> Listed {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let data = &body["data"];
        let text = |value: &Value, most: usize| value.as_str().map(|text| cut(text, most));
        let named = |name: &str| text(&data[name], NAME).unwrap_or_default();
        Listed {
            alert_id: named("alert_id"),
            episode_id: named("episode_id"),
            account_id: named("account_id"),
            account: text(&data["account"]["name"], NAME),
            owner: text(&data["account"]["owner"], NAME),
            tier: text(&data["account"]["tier"], NAME),
            kind: text(&data["kind"], NAME).unwrap_or_else(|| "at_risk".to_string()),
            rule: named("rule"),
            severity: named("severity"),
            change: named("change"),
            at: text(&body["timestamp"], NAME).unwrap_or_default(),
            reason: text(&data["reason"], REASON).unwrap_or_default(),
            reason_ja: text(&data["reason_ja"], REASON).unwrap_or_default(),
        }
    }
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;
    use crate::testing::alert;

    fn slot() -> Slot {
        Slot {
            day: jiff::civil::date(2026, 11, 24),
            at: 1_795_478_400_000,
        }
    }

    fn episode(account: &str, change: &str, state: u8) -> DigestedEpisode {
        let mut told = alert(account, change, 1_795_309_323_000);
        told.payload =
            r#"{"kind":"opportunity","account":{"name":"株式会社銀河設計","owner":"田中 翔","tier":"low"}}"#
                .into();
        DigestedEpisode {
            body: body::render(&told),
            state,
            episodes: 7,
            open: 4,
            passed: 2,
        }
    }

    #[test]
    fn a_digest_lists_what_is_open_and_what_has_ended_and_counts_the_rest() {
        let episodes = [
            episode("acme", "opened", 0),
            episode("beta", "resolved", 1),
            episode("gamma", "resolved", PASSED),
        ];
        let body: Value = serde_json::from_str(&render("dg_1", "cs-team", slot(), &episodes)).unwrap();
        assert_eq!(body["type"], "alerts.digest");
        assert_eq!(body["timestamp"], "2026-11-24T00:00:00Z");
        let data = &body["data"];
        assert_eq!(
            (&data["digest_id"], &data["destination"], &data["day"]),
            (&"dg_1".into(), &"cs-team".into(), &"2026-11-24".into())
        );
        let counts =
            ["count", "open", "resolved", "passed", "listed"].map(|name| data[name].as_u64().unwrap());
        assert_eq!(counts, [7, 4, 1, 2, 2]);
        assert_eq!(
            data["alert_ids"],
            serde_json::json!(["al-acme-opened", "al-beta-resolved"])
        );
        assert_eq!(
            data["alerts"][0],
            serde_json::json!({
                "alert_id": "al-acme-opened", "episode_id": "ep-acme", "account_id": "acme",
                "account": "株式会社銀河設計", "owner": "田中 翔", "tier": "low", "kind": "opportunity",
                "rule": "login_drop", "severity": "critical", "change": "opened",
                "at": "2026-11-22T01:02:03Z", "reason": "logins fell by half",
                "reason_ja": "ログインが半減しました",
            })
        );
        assert!(data.get("truncated").is_none());
        assert_eq!(body::place(&body.to_string()).unwrap().episode_id, "dg_1");
    }

    #[test]
    fn a_digest_is_small_enough_whatever_it_tells_of() {
        for (count, length) in [(50, 10), (200, 10), (200, 1_000), (1, 50_000)] {
            let many: Vec<DigestedEpisode> = (0..count)
                .map(|n| {
                    let mut told = alert(&format!("{n}{}", "守".repeat(length)), "opened", 0);
                    told.reason = "\u{1}".repeat(length);
                    DigestedEpisode {
                        body: body::render(&told),
                        ..episode("acme", "opened", 0)
                    }
                })
                .collect();
            let body = render("dg_1", "cs-team", slot(), &many);
            assert!(body.len() < LIMIT, "{} bytes", body.len());
            let body: Value = serde_json::from_str(&body).unwrap();
            assert!(body["data"]["listed"].as_u64().unwrap() > 0);
            assert_eq!(body["data"]["count"], 7);
        }
    }

    #[test]
    fn an_id_is_of_one_destination_and_day() {
        let day = slot().day;
        assert_eq!(id("cs-team", day), id("cs-team", day));
        assert_ne!(id("cs-team", day), id("pager", day));
        assert_ne!(id("cs-team", day), id("cs-team", day.tomorrow().unwrap()));
        assert_eq!(id("cs-team", day).len(), PREFIX.len() + 32);
    }
}
