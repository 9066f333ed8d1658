use super::*;
use crate::telling::Language;
use crate::testing::{canonical, message, told_in};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn settings() -> Settings {
    let destination = Destination {
        routing_key: KEY.into(),
        ..Destination::default()
    };
    Settings::read(&destination).unwrap()
}

fn event(language: Language, name: &str, change: &str) -> Value {
    let request = settings().render(&message(&told_in(language), &canonical(name, change)));
    assert_eq!(request.url.as_str(), USUAL_URL);
    serde_json::from_str(&request.body).unwrap()
}

#[test]
fn an_episode_is_one_alert_from_its_trigger_to_its_end() {
    let opened = event(Language::En, "Ginga", "opened");
    assert_eq!(
        opened,
        json!({
            "routing_key": KEY, "event_action": "trigger", "dedup_key": "ep_94ff07d4", "client": "mimamori",
            "client_url": "https://mimamori.example/#account=ginga%2046%2Fx",
            "links": [{"href": "https://mimamori.example/#account=ginga%2046%2Fx", "text": "Open the account"}],
            "payload": {
                "summary": "At risk: Ginga — Ginga: feature use down 86%",
                "source": "Ginga", "severity": "warning", "timestamp": "2026-11-22T01:02:03.004Z",
                "class": "falling_usage", "component": "account.at_risk.opened",
                "custom_details": {
                    "Tier": health::words::tier("high").en, "Stage": health::words::stage("adoption").en,
                    "Plan": "standard", "Segment": "mid", "Owner": "田中 翔",
                    "Health": format!("58.7 ({})", health::words::band("yellow").en),
                    "Churn risk, 30 days": "21%", "Monthly value": "¥74,400", "Days to renewal": "166",
                    "Why": ["Ginga: feature use down 86%"],
                    "Strongest drivers": ["feature use down 86% on the 28 days before", "2 tickets open",
                                          "an NPS answer of 3"],
                    "account_id": "ginga 46/x", "rule": "falling_usage", "opened_at": "2026-10-30T00:00:00Z",
                    "alert_id": "al_opened",
                },
            },
        })
    );
    let worse = event(Language::En, "Ginga", "escalated");
    assert_eq!(
        (&worse["event_action"], &worse["payload"]["severity"]),
        (&json!("trigger"), &json!("critical"))
    );
    for (change, action) in [
        ("acknowledged", "acknowledge"),
        ("resolved", "resolve"),
        ("retracted", "resolve"),
    ] {
        let event = event(Language::En, "Ginga", change);
        assert_eq!(
            (event["event_action"].as_str(), event["dedup_key"].as_str()),
            (Some(action), Some("ep_94ff07d4"))
        );
        assert!(event.get("payload").is_none());
    }
}

#[test]
fn a_summary_is_one_line_and_not_too_long() {
    let event = event(Language::Both, &"守\n".repeat(1_500), "opened");
    let summary = event["payload"]["summary"].as_str().unwrap();
    assert_eq!(summary.chars().count(), SUMMARY);
    assert!(!summary.contains('\n'));
}

#[test]
fn what_is_no_episode_is_an_alert_of_its_own() {
    let held = r#"{"type":"alerts.held","timestamp":"2026-11-30T00:00:00Z",
                   "data":{"alert_id":"hd_1","episode_id":"ep_x","reason":"72 of 200 accounts"}}"#;
    let request = settings().render(&message(&told_in(Language::En), held));
    let event: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(
        (event["dedup_key"].as_str(), event["payload"]["severity"].as_str()),
        (Some("hd_1"), Some("warning"))
    );
    assert_eq!(event["payload"]["source"], "mimamori");
}

#[test]
fn a_routing_key_is_32_characters() {
    let destination = Destination {
        routing_key: "short".into(),
        ..Destination::default()
    };
    assert!(
        Settings::read(&destination)
            .unwrap_err()
            .to_string()
            .contains("32 characters")
    );
    assert!(
        Settings::read(&Destination::default())
            .unwrap_err()
            .to_string()
            .contains("routing_key: is required")
    );
    assert!(!format!("{:?}", settings()).contains(KEY));
}
