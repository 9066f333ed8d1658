//! Messages of Segment's tracking API.

use event::{Decoder, DecoderConfig, Event, EventType, NameRule, Reason, Rejection};

/// 2026-11-22T01:02:04Z
const RECEIVED_AT: i64 = 1_795_309_324_000;

fn decode(payload: &str) -> Result<Event, Rejection> {
    Decoder::default().decode(payload.as_bytes(), &[], RECEIVED_AT, "http")
}

/// A message of a call, of the user u-17 in the account acme.
fn message(call: &str, rest: &str) -> String {
    format!(
        r#"{{"type":"{call}","messageId":"m-1","userId":"u-17","anonymousId":"anon",
            "context":{{"groupId":"acme","library":{{"name":"analytics.js"}}}},
            "timestamp":"2026-11-22T01:02:03.500Z","integrations":{{}},"writeKey":"k"{rest}}}"#
    )
}

#[test]
fn a_track_is_a_feature_named_in_snake_case() {
    let event = decode(&message(
        "track",
        r#","event":"Report Exported","properties":{"count":3,"rows":9}"#,
    ))
    .unwrap();
    let expected = Event {
        event_id: "m-1".into(),
        account_id: "acme".into(),
        user_id: Some("u-17".into()),
        event_type: EventType::Feature,
        name: "report_exported".into(),
        occurred_at: 1_795_309_323_500,
        received_at: RECEIVED_AT,
        source: "http".into(),
        properties: r#"{"count":3,"rows":9}"#.into(),
    };
    assert_eq!(event, expected);
}

#[test]
fn sign_ins_are_logins_and_rules_rename() {
    for name in ["Signed In", "Logged In", "login"] {
        let event = decode(&message("track", &format!(r#","event":"{name}""#))).unwrap();
        assert_eq!((event.event_type, event.name.as_str()), (EventType::Login, ""));
    }
    let config = DecoderConfig {
        login_names: vec!["Session Started".into()],
        names: vec![NameRule {
            event: "Case Opened".into(),
            event_type: EventType::Ticket,
            name: Some("opened".into()),
        }],
        ..DecoderConfig::default()
    };
    let decoder = Decoder::new(config).unwrap();
    let decode = |rest: &str| decoder.decode(message("track", rest).as_bytes(), &[], RECEIVED_AT, "http");

    assert_eq!(
        decode(r#","event":"Session Started""#).unwrap().event_type,
        EventType::Login
    );
    assert_eq!(
        decode(r#","event":"Signed In""#).unwrap().event_type,
        EventType::Feature
    );
    let ticket = decode(r#","event":"Case Opened","properties":{"ticket_id":"T-1"}"#).unwrap();
    assert_eq!(
        (ticket.event_type, ticket.name.as_str()),
        (EventType::Ticket, "opened")
    );
    let rejection = decode(r#","event":"Case Opened""#).unwrap_err();
    assert_eq!(rejection.reason, Reason::MissingField);
    assert!(
        rejection.detail.starts_with("properties.ticket_id"),
        "{rejection}"
    );
}

#[test]
fn the_other_calls_become_their_types() {
    let identify = decode(&message(
        "identify",
        r#","traits":{"role":"admin","email":"a@b.example"}"#,
    ))
    .unwrap();
    assert_eq!(identify.event_type, EventType::User);
    assert_eq!(identify.properties, r#"{"role":"admin","email":"a@b.example"}"#);

    let group = decode(&message(
        "group",
        r#","groupId":"globex","traits":{"plan":"team","seats":25}"#,
    ))
    .unwrap();
    assert_eq!(
        (group.event_type, group.account_id.as_str()),
        (EventType::Account, "globex")
    );
    assert_eq!(group.properties, r#"{"plan":"team","seats":25}"#);

    for call in ["page", "screen"] {
        let named = decode(&message(call, r#","name":"Home","properties":{"path":"/home"}"#)).unwrap();
        assert_eq!(
            (named.event_type, named.name.as_str()),
            (EventType::Feature, "page:Home")
        );
        let unnamed = decode(&message(call, r#","properties":{"path":"/home"}"#)).unwrap();
        assert_eq!(unnamed.name, "page:/home");
    }

    let alias = decode(&message("alias", r#","previousId":"old \"id\"""#)).unwrap();
    assert_eq!(alias.event_type, EventType::User);
    assert_eq!(alias.properties, r#"{"previous_id":"old \"id\""}"#);
}

#[test]
fn the_account_is_looked_for_in_three_places_in_order() {
    let account = |context: &str, rest: &str| {
        let payload = format!(
            r#"{{"type":"track","messageId":"m","event":"E","timestamp":{RECEIVED_AT},"context":{context}{rest}}}"#
        );
        decode(&payload).map(|event| event.account_id)
    };
    let all = r#","groupId":"second","properties":{"account_id":"third"}"#;
    assert_eq!(account(r#"{"groupId":"first"}"#, all).as_deref(), Ok("first"));
    assert_eq!(account(r#"{"groupId":""}"#, all).as_deref(), Ok("second"));
    assert_eq!(account("null", all).as_deref(), Ok("second"));
    assert_eq!(
        account("{}", r#","properties":{"account_id":"third"}"#).as_deref(),
        Ok("third")
    );

    let rejection = account("{}", r#","properties":{}"#).unwrap_err();
    assert_eq!(rejection.reason, Reason::MissingField);
    for place in ["context.groupId", "groupId", "properties.account_id"] {
        assert!(rejection.detail.contains(place), "{rejection}");
    }
}

#[test]
fn an_anonymous_visitor_is_no_user() {
    let payload = message("track", r#","event":"E""#).replace(r#""userId":"u-17","#, "");
    assert_eq!(decode(&payload).unwrap().user_id, None);
}

#[test]
fn the_difference_between_clocks_is_taken_out() {
    let at = |times: &str| {
        let payload =
            format!(r#"{{"type":"track","messageId":"m","event":"E","context":{{"groupId":"a"}}{times}}}"#);
        decode(&payload).map(|event| event.occurred_at)
    };
    // The client's clock runs an hour slow; the event waited 5 s before it was sent.
    let slow = r#","originalTimestamp":"2026-11-22T00:02:00Z","sentAt":"2026-11-22T00:02:05Z""#;
    assert_eq!(at(slow), Ok(RECEIVED_AT - 5_000));
    let slow = r#","timestamp":"2026-11-22T00:02:00Z","sentAt":"2026-11-22T00:02:05Z""#;
    assert_eq!(at(slow), Ok(RECEIVED_AT - 5_000));
    // A pipeline received it a minute before it came here.
    let piped = r#","originalTimestamp":"2026-11-22T00:02:00Z","sentAt":"2026-11-22T00:02:05Z","receivedAt":"2026-11-22T01:01:04Z""#;
    assert_eq!(at(piped), Ok(RECEIVED_AT - 65_000));
    // … and has corrected it, by its own lights.
    let corrected = format!(r#"{piped},"timestamp":"2026-11-22T01:00:57Z""#);
    assert_eq!(at(&corrected), Ok(RECEIVED_AT - 67_000));
    // Nothing to correct with.
    assert_eq!(
        at(r#","timestamp":"2026-11-22T01:00:00Z""#),
        Ok(RECEIVED_AT - 124_000)
    );
    assert_eq!(at(""), Ok(RECEIVED_AT));
    assert_eq!(
        at(r#","sentAt":-9223372036854775808,"timestamp":9223372036854775807"#)
            .unwrap_err()
            .reason,
        Reason::OccurredInFuture
    );
}

#[test]
fn malformed_messages_name_segments_own_fields() {
    use Reason::*;
    for (payload, reason, field) in [
        (message("track", ""), MissingField, "event is"),
        (message("track", r#","event":"""#), EmptyField, "event is"),
        (message("track", r#","event":7"#), InvalidType, "event must"),
        (
            message("track", &format!(r#","event":"{}""#, "x".repeat(201))),
            FieldTooLong,
            "event has",
        ),
        (
            message("track", r#","event":"E","properties":[]"#),
            PropertiesNotObject,
            "properties",
        ),
        (
            message("track", r#","event":"E","properties":{"count":"1"}"#),
            InvalidProperty,
            "properties.count",
        ),
        (
            message("track", r#","event":"E","event":"F""#),
            NotJson,
            "payload",
        ),
        (
            message("identify", r#","traits":3"#),
            PropertiesNotObject,
            "traits",
        ),
        (
            message("identify", r#","traits":{"removed":1}"#),
            InvalidProperty,
            "traits.removed",
        ),
        (
            message("identify", "").replace(r#""userId":"u-17","#, ""),
            MissingField,
            "userId",
        ),
        (message("group", ""), MissingField, "groupId"),
        (
            message("group", r#","groupId":"g","traits":{"seats":"9"}"#),
            InvalidProperty,
            "traits.seats",
        ),
        (message("page", ""), MissingField, "name"),
        (message("alias", ""), MissingField, "previousId"),
        (message("delete", ""), InvalidType, "type"),
        (
            message("track", r#","event":"E""#).replace(r#""messageId":"m-1","#, ""),
            MissingField,
            "messageId",
        ),
        (
            message("track", r#","event":"E""#).replace(r#""type":"track","#, ""),
            MissingField,
            "type",
        ),
        (
            message("track", r#","event":"E""#).replace("03.500Z", "03.500"),
            InvalidTimestamp,
            "timestamp",
        ),
        (
            message("track", r#","event":"E""#).replace("2026-", "2029-"),
            OccurredInFuture,
            "timestamp",
        ),
        (
            message("track", r#","event":"E","sentAt":"noon""#),
            InvalidTimestamp,
            "sentAt",
        ),
        (
            message("track", r#","event":"E""#).replace(r#"{"groupId":"acme","#, r#"{"groupId":12,"#),
            InvalidType,
            "groupId",
        ),
        (
            r#"{"type":"track","messageId":"m","event":"E","context":[]}"#.into(),
            InvalidType,
            "context",
        ),
        (
            r#"{"batch":[],"writeKey":"k"}"#.into(),
            UnknownFormat,
            "messageId",
        ),
    ] {
        let rejection = decode(&payload).expect_err(&payload);
        assert_eq!(rejection.reason, reason, "{rejection}: {payload}");
        assert!(
            rejection.detail.contains(field),
            "{field:?} not in {rejection}: {payload}"
        );
    }
}
