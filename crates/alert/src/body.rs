//! The body of a webhook: `{"type":…,"timestamp":…,"data":{…}}`.
//!
//! It is valid JSON whatever the payload was, it is under [`LIMIT`] bytes, and it is made once: every
//! attempt of a delivery sends the same bytes.

use std::collections::BTreeMap;

use health::AlertChange;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::warn;

use crate::digest;

/// The most bytes of a body; Standard Webhooks asks for less than 20 KB.
pub const LIMIT: usize = 20_000;

/// The most characters of a reason when the body is too large otherwise.
const SHORT_REASON: usize = 300;

/// The most characters of any other text of ours when even that is not enough.
const SHORT_NAME: usize = 128;

type Members = BTreeMap<String, Box<RawValue>>;

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: &'a str,
    data: &'a Members,
}

/// The members of `data` that every body has.
#[derive(Serialize)]
struct Fixed<'a> {
    account_id: &'a str,
    alert_id: &'a str,
    episode_id: &'a str,
    rule: &'a str,
    severity: &'a str,
    change: &'a str,
    reason: &'a str,
    reason_ja: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    variant: &'a str,
}

impl<'a> Fixed<'a> {
    fn of(change: &'a AlertChange, variant: &'a str) -> Fixed<'a> {
        Fixed {
            account_id: &change.account_id,
            alert_id: &change.alert_id,
            episode_id: &change.episode_id,
            rule: &change.rule,
            severity: &change.severity,
            change: &change.change,
            reason: &change.reason,
            reason_ja: &change.reason_ja,
            variant,
        }
    }

    fn shortened(self, reason: usize, name: usize) -> Fixed<'a> {
        Fixed {
            account_id: cut(self.account_id, name),
            alert_id: cut(self.alert_id, name),
            episode_id: cut(self.episode_id, name),
            rule: cut(self.rule, name),
            severity: cut(self.severity, name),
            change: cut(self.change, name),
            reason: cut(self.reason, reason),
            reason_ja: cut(self.reason_ja, reason),
            variant: cut(self.variant, name),
        }
    }

    fn into_members(self) -> Members {
        let json = serde_json::to_string(&self).expect("a struct of strings is JSON");
        serde_json::from_str(&json).expect("what was just written can be read")
    }
}

fn cut(text: &str, characters: usize) -> &str {
    match text.char_indices().nth(characters) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// The body that tells of `change`. A payload that makes it too large loses its longest members, then
/// the reasons are shortened; `data.truncated` says so. A payload that is not a JSON object is left
/// out. The members that every body has win over the payload's.
pub fn render(change: &AlertChange) -> String {
    render_variant(change, "")
}

/// [`render`], and `data.variant` says into which variant of its rule the account was put, unless that
/// is empty.
pub(crate) fn render_variant(change: &AlertChange, variant: &str) -> String {
    let payload = payload_of(change);
    let event_type = format!("account.{}.{}", kind_of(&payload), change.change);
    let event_type = cut(&event_type, SHORT_NAME);
    let timestamp = Timestamp::from_millisecond(change.at)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string();
    let write = |data: &Members| {
        let body = Body {
            r#type: event_type,
            timestamp: &timestamp,
            data,
        };
        serde_json::to_string(&body).expect("strings and raw JSON are JSON")
    };

    let mut data = payload.clone();
    data.extend(Fixed::of(change, variant).into_members());
    let mut body = write(&data);
    if body.len() < LIMIT {
        return body;
    }

    let truncated: Members = serde_json::from_str(r#"{"truncated":true}"#).expect("is valid JSON");
    let fixed = Fixed::of(change, variant).into_members();
    data.extend(truncated.clone());
    let mut excess = (body.len() + r#","truncated":true"#.len()).saturating_sub(LIMIT - 1);
    let mut optional: Vec<(usize, &String)> = payload
        .iter()
        .filter(|(name, _)| !fixed.contains_key(*name) && *name != "kind" && *name != "truncated")
        .map(|(name, value)| (name.len() + value.get().len(), name))
        .collect();
    optional.sort_by(|a, b| b.cmp(a));
    for (size, name) in optional {
        if excess == 0 {
            break;
        }
        data.remove(name);
        excess = excess.saturating_sub(size);
    }
    body = write(&data);
    if body.len() < LIMIT {
        return body;
    }

    for (reason, name) in [(SHORT_REASON, usize::MAX), (SHORT_REASON, SHORT_NAME)] {
        data = Fixed::of(change, variant).shortened(reason, name).into_members();
        data.extend(truncated.clone());
        body = write(&data);
        if body.len() < LIMIT {
            break;
        }
    }
    body
}

fn payload_of(change: &AlertChange) -> Members {
    if change.payload.is_empty() {
        return Members::new();
    }
    match serde_json::from_str(&change.payload) {
        Ok(members) => members,
        Err(error) => {
            warn!(alert_id = change.alert_id, %error, "payload is not a JSON object, leaving it out");
            Members::new()
        }
    }
}

/// The middle of the type: `at_risk` unless the payload says `opportunity`.
fn kind_of(payload: &Members) -> &'static str {
    match payload.get("kind") {
        Some(kind) if kind.get() == r#""opportunity""# => "opportunity",
        _ => "at_risk",
    }
}

/// What a body says about its place among the changes of its episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub episode_id: String,
    pub account_id: String,
    pub variant: String,
    pub order: Order,
}

/// The order of the changes of one episode: by time, and of the same time by what can only come after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order {
    at: i64,
    rank: u8,
}

impl Order {
    pub(crate) fn new(at: i64, change: &str) -> Order {
        let rank = match change {
            "opened" | "held" => 0,
            "escalated" | "acknowledged" => 1,
            _ => 2,
        };
        Order { at, rank }
    }

    /// Whether no other change of the episode can come before.
    pub(crate) fn is_first(self) -> bool {
        self.rank == 0
    }

    /// Whether the episode is over with it.
    pub(crate) fn is_end(self) -> bool {
        self.rank == 2
    }
}

/// Reads back what [`render`] wrote, a digest, which is an episode of its own and of no account, or the
/// breaker's summary; `None` for anything else.
pub(crate) fn place(body: &str) -> Option<Place> {
    #[derive(Deserialize)]
    struct Read {
        r#type: Option<String>,
        timestamp: Timestamp,
        data: Data,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Data {
        account_id: Option<String>,
        episode_id: Option<String>,
        change: Option<String>,
        variant: Value,
        digest_id: Option<String>,
        #[serde(default)]
        examples: Vec<Example>,
    }
    #[derive(Deserialize)]
    struct Example {
        account_id: String,
    }
    let read: Read = serde_json::from_str(body).ok()?;
    let (at, data) = (read.timestamp.as_millisecond(), read.data);
    if read.r#type.as_deref() == Some(digest::TYPE) {
        return Some(Place {
            episode_id: data.digest_id?,
            account_id: String::new(),
            variant: String::new(),
            order: Order::new(at, "opened"),
        });
    }
    // What is about many accounts, a summary, lives where the first of its examples does.
    let first = data.examples.into_iter().next();
    Some(Place {
        order: Order::new(at, &data.change?),
        episode_id: data.episode_id?,
        account_id: data.account_id.or(first.map(|example| example.account_id))?,
        variant: data.variant.as_str().unwrap_or_default().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn change(payload: &str) -> AlertChange {
        AlertChange {
            alert_id: "al-1".into(),
            episode_id: "ep-1".into(),
            account_id: "acme".into(),
            rule: "login_drop".into(),
            severity: "critical".into(),
            change: "opened".into(),
            at: 1_795_309_323_004,
            reason: "logins fell by half".into(),
            reason_ja: "ログインが半減しました".into(),
            payload: payload.into(),
            caused_by_received_at: 0,
        }
    }

    fn read(body: &str) -> Value {
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn the_payload_and_the_change_become_the_data() {
        let body = read(&render(&change(
            r#"{"health":41.25,"drivers":[{"input":"logins_7d","points":-12.5}]}"#,
        )));
        assert_eq!(
            body,
            json!({
                "type": "account.at_risk.opened",
                "timestamp": "2026-11-22T01:02:03.004Z",
                "data": {
                    "account_id": "acme", "alert_id": "al-1", "episode_id": "ep-1", "rule": "login_drop",
                    "severity": "critical", "change": "opened", "reason": "logins fell by half",
                    "reason_ja": "ログインが半減しました", "health": 41.25,
                    "drivers": [{"input": "logins_7d", "points": -12.5}],
                },
            })
        );
    }

    #[test]
    fn the_kind_chooses_the_type() {
        let kind = |payload| read(&render(&change(payload)))["type"].clone();
        assert_eq!(kind(r#"{"kind":"opportunity"}"#), "account.opportunity.opened");
        assert_eq!(kind(r#"{"kind":"at_risk"}"#), "account.at_risk.opened");
        assert_eq!(kind(r#"{"kind":"x.y"}"#), "account.at_risk.opened");
        assert_eq!(kind("{}"), "account.at_risk.opened");
        assert_eq!(kind(""), "account.at_risk.opened");
    }

    #[test]
    fn numbers_keep_their_digits() {
        let body = render(&change(
            r#"{"n":0.30000000000000004,"big":12345678901234567890123}"#,
        ));
        assert!(body.contains("0.30000000000000004"), "{body}");
        assert!(body.contains("12345678901234567890123"), "{body}");
    }

    #[test]
    fn a_payload_that_is_no_object_or_lies_is_harmless() {
        for payload in ["[1,2]", "{\"a\":", "nonsense", "\"text\""] {
            assert_eq!(
                read(&render(&change(payload)))["data"]["account_id"],
                "acme",
                "{payload}"
            );
        }
        let body = read(&render(&change(r#"{"account_id":"other","alert_id":7}"#)));
        assert_eq!(body["data"]["account_id"], "acme");
        assert_eq!(body["data"]["alert_id"], "al-1");
    }

    #[test]
    fn the_longest_parts_of_a_large_payload_go_first() {
        let payload = json!({
            "health": 12, "kind": "opportunity", "long": "x".repeat(18_000), "longer": "y".repeat(19_000),
            "note": "z".repeat(1_500),
        });
        let body = render(&change(&payload.to_string()));
        assert!(body.len() < LIMIT);
        let body = read(&body);
        assert_eq!(body["type"], "account.opportunity.opened");
        assert_eq!(body["data"]["truncated"], true);
        assert_eq!(body["data"]["health"], 12);
        assert_eq!(body["data"]["note"], "z".repeat(1_500));
        assert_eq!(body["data"]["reason"], "logins fell by half");
        assert!(body["data"].get("long").is_some() != body["data"].get("longer").is_some());
        assert!(body["data"].get("longer").is_none(), "the longest went");
    }

    #[test]
    fn a_reason_without_end_is_shortened() {
        let long = AlertChange {
            reason: "\u{1}".repeat(50_000),
            reason_ja: "守".repeat(50_000),
            ..change("{}")
        };
        let body = render(&long);
        assert!(body.len() < LIMIT);
        let body = read(&body);
        assert_eq!(body["data"]["reason_ja"], "守".repeat(SHORT_REASON));
        assert_eq!(body["data"]["episode_id"], "ep-1");
    }

    #[test]
    fn the_place_of_a_change_can_be_read_back() {
        let place = place(&render(&change("{}"))).unwrap();
        assert_eq!(
            (place.episode_id.as_str(), place.account_id.as_str()),
            ("ep-1", "acme")
        );
        assert_eq!(place.order, Order::new(1_795_309_323_004, "opened"));
        assert!(Order::new(5, "opened") < Order::new(5, "resolved"));
        assert!(Order::new(5, "resolved") < Order::new(6, "opened"));
        assert_eq!(super::place("{}"), None);
    }

    proptest! {
        #[test]
        fn every_body_is_json_and_small_enough(
            text in ".{0,40}", reason in "\\PC{0,200}", repeat in 1usize..400,
            members in prop::collection::btree_map(".{0,12}", ".{0,300}", 0..120),
        ) {
            let long = AlertChange {
                alert_id: text.repeat(repeat),
                account_id: text.repeat(repeat),
                change: text,
                reason: reason.repeat(repeat),
                ..change(&serde_json::to_string(&members).unwrap())
            };
            let body = render(&long);
            prop_assert!(body.len() < LIMIT, "{} bytes", body.len());
            prop_assert!(serde_json::from_str::<Value>(&body).is_ok());
        }
    }
}
