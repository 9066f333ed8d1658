//! The tracking plan and privacy, as every event meets them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use event::plan::Response;
use event::{DecoderConfig, Door, PlanConfig, PrivacyConfig, Reason, Taken, Violation};
use serde_json::{Value, json};

const NOW: i64 = 1_795_309_324_000;

fn plans(text: Value) -> Vec<PlanConfig> {
    serde_json::from_value(text).unwrap()
}

fn door(plans: &[PlanConfig]) -> Door {
    Door::new(DecoderConfig::default(), plans, &PrivacyConfig::default(), b"").unwrap()
}

fn refused(text: Value) -> String {
    let made = Door::new(
        DecoderConfig::default(),
        &plans(text),
        &PrivacyConfig::default(),
        b"",
    );
    made.err().unwrap().to_string()
}

fn export(response: Response) -> Vec<PlanConfig> {
    let mut plans = plans(json!([{
        "sources": ["web"],
        "events": [{
            "name": "report.export",
            "properties": {
                "type": "object",
                "required": ["rows"],
                "additionalProperties": false,
                "properties": {
                    "rows": { "type": "integer", "minimum": 1 },
                    "kind": { "enum": ["pdf", "csv"] },
                    "by": { "type": "object", "required": ["team"], "properties": { "team": { "type": "string" } } }
                }
            }
        }, { "type": "login" }]
    }]));
    plans[0].unplanned_event = response;
    plans[0].required_missing = response;
    plans[0].datatype_mismatch = response;
    plans[0].additional_properties = response;
    plans
}

fn take(door: &Door, name: &str, properties: &Value, source: &str) -> Taken {
    let event = json!({
        "event_id": "1", "account_id": "a", "type": "feature", "name": name, "occurred_at": NOW, "properties": properties,
    });
    door.take(event.to_string().as_bytes(), &[], NOW, source)
}

/// A name, properties, and what is wrong with them: the kind, the reason, and how the detail begins.
type Case = (&'static str, Value, Option<(Violation, Reason, &'static str)>);

fn cases() -> Vec<Case> {
    let missing = |place| Some((Violation::RequiredMissing, Reason::RequiredMissing, place));
    let mismatch = |place| Some((Violation::DatatypeMismatch, Reason::DatatypeMismatch, place));
    let additional = |place| {
        Some((
            Violation::AdditionalProperties,
            Reason::AdditionalProperties,
            place,
        ))
    };
    vec![
        ("report.export", json!({"rows": 3}), None),
        (
            "report.export",
            json!({"rows": 3, "kind": "pdf", "by": {"team": "x"}}),
            None,
        ),
        (
            "report.import",
            json!({}),
            Some((
                Violation::UnplannedEvent,
                Reason::UnplannedEvent,
                "name is \"report.import\"",
            )),
        ),
        ("report.export", json!({}), missing("properties lacks \"rows\"")),
        ("report.export", json!(null), missing("properties lacks \"rows\"")),
        (
            "report.export",
            json!({"rows": 1, "by": {}}),
            missing("properties/by lacks \"team\""),
        ),
        (
            "report.export",
            json!({"rows": "3"}),
            mismatch("properties/rows is of type string"),
        ),
        (
            "report.export",
            json!({"rows": 0}),
            mismatch("properties/rows is not what"),
        ),
        (
            "report.export",
            json!({"rows": 1, "kind": "SECRET"}),
            mismatch("properties/kind"),
        ),
        (
            "report.export",
            json!({"rows": 1, "by": 7}),
            mismatch("properties/by is of type number"),
        ),
        (
            "report.export",
            json!({"rows": 1, "more": 1}),
            additional("properties holds \"more\""),
        ),
    ]
}

#[test]
fn each_violation_is_rejected_with_its_reason_and_place_and_no_value() {
    let door = door(&export(Response::Reject));
    for (name, properties, expected) in cases() {
        let taken = take(&door, name, &properties, "web");
        match (taken.event, expected) {
            (Ok(_), None) => {}
            (Err(rejection), Some((_, reason, place))) => {
                assert_eq!(rejection.reason, reason, "{properties}");
                assert!(rejection.detail.starts_with(place), "{}", rejection.detail);
                assert!(!rejection.detail.contains("SECRET"), "{}", rejection.detail);
            }
            (event, _) => panic!("{name} {properties}: {event:?}"),
        }
        assert!(taken.violations.is_empty());
    }
}

#[test]
fn each_violation_is_counted_or_passed_over_as_configured() {
    let counting = door(&export(Response::Count));
    let lenient = door(&export(Response::Ignore));
    for (name, properties, expected) in cases() {
        let taken = take(&counting, name, &properties, "web");
        assert!(taken.event.is_ok());
        let kinds: Vec<Violation> = taken.violations.iter().collect();
        assert_eq!(
            kinds,
            expected.map(|(kind, ..)| kind).into_iter().collect::<Vec<_>>()
        );
        let taken = take(&lenient, name, &properties, "web");
        assert!(taken.event.is_ok() && taken.violations.is_empty());
    }
    let both = take(
        &counting,
        "report.export",
        &json!({"rows": true, "more": 1}),
        "web",
    );
    let names: Vec<&str> = both.violations.iter().map(Violation::as_str).collect();
    assert_eq!(names, ["Datatype-Mismatch", "Additional-Properties"]);
}

#[test]
fn a_plan_holds_for_its_sources_and_one_without_for_all_others() {
    let mut plans = export(Response::Reject);
    let strict = |door: &Door, source| take(door, "x", &json!({}), source).event.is_err();
    let some = door(&plans);
    assert!(strict(&some, "web") && !strict(&some, "crm"));
    plans.push(PlanConfig {
        unplanned_event: Response::Reject,
        ..PlanConfig::default()
    });
    let all = door(&plans);
    assert!(strict(&all, "web") && strict(&all, "crm"));
}

#[test]
fn an_entry_without_a_name_stands_for_every_other_name_of_its_type() {
    let door = door(&plans(json!([{
        "unplanned_event": "reject",
        "required_missing": "reject",
        "events": [{}, { "name": "a", "properties": { "required": ["x"] } }],
    }])));
    assert!(take(&door, "whatever", &json!({}), "s").event.is_ok());
    assert!(take(&door, "a", &json!({}), "s").event.is_err());
    let login = br#"{"event_id":"1","account_id":"a","type":"login","occurred_at":1795309324000}"#;
    let refused = door.take(login, &[], NOW, "s").event.unwrap_err();
    assert_eq!(refused.reason, Reason::UnplannedEvent);
}

#[test]
fn the_plan_is_about_what_a_foreign_name_is_read_as() {
    let door = door(&export(Response::Reject));
    let track = |event: &str| {
        let message = json!({"type": "track", "event": event, "messageId": "1", "context": {"groupId": "a"}});
        door.take(message.to_string().as_bytes(), &[], NOW, "web").event
    };
    assert!(track("Signed In").is_ok());
    assert_eq!(
        track("Report Exported").unwrap_err().reason,
        Reason::UnplannedEvent
    );
}

#[test]
fn plans_that_cannot_hold_are_refused_by_name() {
    for (text, field) in [
        (
            json!([{"events": [{"name": "a", "properties": {"type": 7}}]}]),
            "plans[0].events[0].properties",
        ),
        (
            json!([{}, {"sources": ["s"], "events": [{"properties": {"$ref": "file:///etc/passwd"}}]}]),
            "plans[1].events[0].properties",
        ),
        (
            json!([{"events": [{"name": "a"}, {"name": "a"}]}]),
            "plans[0].events[1].name",
        ),
        (json!([{}, {}]), "plans[1].sources"),
        (
            json!([{"sources": ["a"]}, {"sources": ["a"]}]),
            "plans[1].sources",
        ),
    ] {
        let told = refused(text);
        assert!(told.starts_with(field), "{told}");
    }
}

#[test]
fn privacy_comes_after_the_plan_and_covers_the_event_and_what_is_kept() {
    let privacy = PrivacyConfig {
        pseudonymise: vec!["user_id".to_owned()],
        drop: vec!["properties.rows".to_owned()],
        ..PrivacyConfig::default()
    };
    let plans = export(Response::Reject);
    let door = Door::new(DecoderConfig::default(), &plans, &privacy, b"0123456789abcdef").unwrap();
    let event = json!({
        "event_id": "1", "account_id": "a", "user_id": "u-17", "type": "feature", "name": "report.export",
        "occurred_at": NOW, "properties": {"rows": 4, "kind": "pdf"},
    })
    .to_string();
    let taken = door.take(event.as_bytes(), &[], NOW, "web").event.unwrap();
    assert!(taken.user_id.unwrap().starts_with("p1_"));
    assert_eq!(taken.properties, r#"{"kind":"pdf"}"#);
    let kept = String::from_utf8(door.kept(event.as_bytes(), &[]).unwrap().into_owned()).unwrap();
    assert!(
        !kept.contains("u-17") && !kept.contains("rows") && kept.contains("p1_"),
        "{kept}"
    );

    let headers: &[(&str, &[u8])] = &[("ce_specversion", b"1.0")];
    let data = br#"{"user_id":"u-17","rows":4}"#;
    let kept = door.kept(data, headers).unwrap();
    assert!(!String::from_utf8_lossy(&kept).contains("u-17"));
}
