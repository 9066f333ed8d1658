//! The tracking plan and privacy hold for events over HTTP as they do over Kafka.

use event::{DecoderConfig, Door, PlanConfig, PrivacyConfig};
use serde_json::json;

use crate::support::{bed_through, login, track};

/// What comes without a key must be logins, or an export that says how many rows it had.
fn door() -> Door {
    let plans: Vec<PlanConfig> = serde_json::from_value(json!([{
        "sources": ["http"],
        "unplanned_event": "reject",
        "required_missing": "count",
        "events": [
            { "type": "login" },
            { "name": "report_exported", "properties": { "type": "object", "required": ["rows"] } }
        ]
    }]))
    .unwrap();
    let privacy = PrivacyConfig {
        pseudonymise: vec!["user_id".into()],
        ..PrivacyConfig::default()
    };
    Door::new(
        DecoderConfig::default(),
        &plans,
        &privacy,
        b"a key of 16 bytes or more",
    )
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_planned_is_answered_and_no_user_is_named_in_what_is_kept() {
    let bed = bed_through(door()).await;
    let mut unplanned = login(2);
    unplanned["type"] = json!("feature");
    unplanned["name"] = json!("secret.thing");
    unplanned["user_id"] = json!("somebody@example.com");
    let (status, answer) = bed.post_json("/v1/events", &json!([login(1), unplanned])).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["accepted"], 1, "{answer}");
    assert_eq!(answer["errors"][0]["index"], 1, "{answer}");
    assert_eq!(answer["errors"][0]["reason"], "unplanned_event", "{answer}");
    // What is only counted goes on.
    let (status, answer) = bed.post_json("/v1/track", &track(3)).await;
    assert_eq!(status, 200, "{answer}");
    let violations = bed.metric("mimamori_collector_plan_violations_total", "Required-Missing");
    assert_eq!(violations, 1.0);

    let accepted = bed.accepted().await;
    assert_eq!(accepted.len(), 2);
    for event in accepted {
        let user = event.user_id.unwrap();
        assert!(user.starts_with("p1_"), "{user}");
    }
    let rejected = bed.rejected().await;
    assert_eq!(rejected.len(), 1);
    let (original, headers) = &rejected[0];
    assert!(original.contains("secret.thing"), "{original}");
    assert!(!original.contains("somebody"), "{original}");
    assert_eq!(headers["reason"], "unplanned_event");
}
