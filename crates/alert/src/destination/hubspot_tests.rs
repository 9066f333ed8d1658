use super::*;
use crate::testing::{canonical, message, told_in};

fn destination(change: impl FnOnce(&mut Destination)) -> Destination {
    let mut destination = Destination {
        token: "pat-1".into(),
        event: "pe123_account_alert".into(),
        ..Destination::default()
    };
    change(&mut destination);
    destination
}

fn event_settings() -> Settings {
    Settings::read(&destination(|_| {})).unwrap()
}

fn task_settings() -> Settings {
    Settings::read(&destination(|d| {
        d.object = Some(HubspotObject::Task);
        d.event = String::new();
        d.object_id = "{plan}".into();
    }))
    .unwrap()
}

fn told(change: &str) -> Message {
    message(&told_in(Language::En), &canonical("<b>Ginga</b>", change))
}

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

#[test]
fn an_event_occurs_once_under_the_id_of_its_alert() {
    let request = event_settings().render(&told("opened"), None);
    assert_eq!(
        (request.method.as_str(), request.url.as_str()),
        ("POST", "https://api.hubapi.com/events/v3/send")
    );
    assert_eq!(request.headers[AUTHORIZATION], "Bearer pat-1");
    let event = body(&request);
    assert_eq!(event["eventName"], "pe123_account_alert");
    assert_eq!(event["objectId"], "ginga 46/x");
    assert_eq!(event["occurredAt"], "2026-11-22T01:02:03.004Z");
    assert_eq!(event["uuid"], uuid("al_opened"));
    assert_eq!(
        event["properties"],
        json!({
            "account_id": "ginga 46/x", "alert_id": "al_opened", "episode_id": "ep_94ff07d4",
            "rule": "falling_usage", "severity": "warning", "change": "opened",
            "reason": "<b>Ginga</b>: feature use down 86%", "owner": "田中 翔", "tier": "high",
            "stage": "adoption", "health": 58.74, "churn_risk": 0.214, "mrr": 74400.0, "days_to_renewal": 166.2,
            "account": "<b>Ginga</b>", "title": "At risk: <b>Ginga</b>",
            "drivers": "feature use down 86% on the 28 days before; 2 tickets open; an NPS answer of 3",
            "link": "https://mimamori.example/#account=ginga%2046%2Fx",
        })
    );
    assert_eq!(
        uuid("al_ca619ab755e5c8c0ea67a00a09bc6345"),
        "ca619ab7-55e5-c8c0-ea67-a00a09bc6345"
    );
    assert_eq!(uuid("x").len(), 36);
    assert_ne!(uuid("x"), uuid("y"));

    let by_mail = Settings::read(&destination(|d| d.email = "cs@ginga.example".into())).unwrap();
    let event = body(&by_mail.render(&told("opened"), None));
    assert_eq!(
        (event["email"].as_str(), event.get("objectId")),
        (Some("cs@ginga.example"), None)
    );
}

#[test]
fn a_task_stands_for_an_episode_until_it_is_done() {
    let settings = task_settings();
    let made = settings.render(&told("opened"), None);
    assert_eq!(
        (made.method.as_str(), made.url.path()),
        ("POST", "/crm/v3/objects/tasks")
    );
    let properties = &body(&made)["properties"];
    assert_eq!(properties["hs_task_subject"], "At risk: <b>Ginga</b>");
    assert_eq!(properties["hs_timestamp"], "2026-11-22T01:02:03.004Z");
    assert_eq!(
        (
            &properties["hs_task_priority"],
            &properties["hs_task_status"],
            &properties["hubspot_owner_id"]
        ),
        (&json!("MEDIUM"), &json!("NOT_STARTED"), &json!("64492917"))
    );
    let notes = properties["hs_task_body"].as_str().unwrap();
    assert!(
        notes.contains("&lt;b&gt;Ginga&lt;/b&gt;: feature use down 86%<br>・feature use"),
        "{notes}"
    );
    // "standard" is no record's id.
    assert!(body(&made).get("associations").is_none());

    let worse = settings.render(&told("escalated"), Some("77"));
    assert_eq!(
        (worse.method.as_str(), worse.url.path()),
        ("PATCH", "/crm/v3/objects/tasks/77")
    );
    assert_eq!(body(&worse)["properties"]["hs_task_priority"], "HIGH");
    assert!(
        body(&worse)["properties"].get("hubspot_owner_id").is_none(),
        "whoever took it keeps it"
    );
    let over = settings.render(&told("resolved"), Some("77"));
    assert_eq!(body(&over)["properties"]["hs_task_status"], "COMPLETED");
    // What is no id leads nowhere.
    assert_eq!(
        settings.render(&told("resolved"), Some("../x")).method.as_str(),
        "POST"
    );
}

#[test]
fn a_task_belongs_to_a_record() {
    let settings = Settings::read(&destination(|d| {
        d.object = Some(HubspotObject::Task);
        d.event = String::new();
        d.object_id = "512".into();
        d.association_type = Some(204);
    }))
    .unwrap();
    assert_eq!(
        body(&settings.render(&told("opened"), None))["associations"],
        json!([{"to": {"id": "512"},
                "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 204}]}])
    );
}

#[test]
fn an_occurrence_that_is_there_already_has_arrived() {
    let response = |code: u16, body: &str| Response {
        code,
        retry_after: None,
        body: body.into(),
    };
    let event = event_settings();
    assert_eq!(event.judge(&response(204, "")).verdict(), Verdict::Delivered);
    assert_eq!(event.judge(&response(409, "")).verdict(), Verdict::Delivered);
    let limited = event
        .judge(&response(429, r#"{"policyName":"TEN_SECONDLY_ROLLING"}"#))
        .verdict();
    assert!(matches!(limited, Verdict::Retry { .. }));
    assert!(matches!(
        event.judge(&response(400, "")).verdict(),
        Verdict::Failed { .. }
    ));
    let task = task_settings();
    assert_eq!(task.judge(&response(201, r#"{"id":"77"}"#)).reference(), "77");
    assert!(matches!(
        task.judge(&response(409, "")).verdict(),
        Verdict::Failed { .. }
    ));
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    let problem =
        |change: fn(&mut Destination)| Settings::read(&destination(change)).unwrap_err().to_string();
    assert!(problem(|d| d.event = String::new()).contains("pe123_account_alert"));
    assert!(problem(|d| d.token = String::new()).contains("token: is required"));
    assert!(problem(|d| d.object = Some(HubspotObject::Task)).contains("belongs to object = \"event\""));
    assert!(problem(|d| d.object_id = "{acount_id}".into()).contains("did you mean {account_id}?"));
    assert!(
        problem(|d| {
            d.object_id = "1".into();
            d.email = "a@b.example".into();
        })
        .contains("not both")
    );
}
