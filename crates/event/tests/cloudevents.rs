//! CloudEvents 1.0, structured and binary.

use event::{Decoder, Event, EventType, Reason, Rejection};

/// 2026-11-22T01:02:04Z
const RECEIVED_AT: i64 = 1_795_309_324_000;

type Headers<'a> = [(&'a str, &'a [u8])];

fn decode(payload: &str, headers: &Headers<'_>) -> Result<Event, Rejection> {
    Decoder::default().decode(payload.as_bytes(), headers, RECEIVED_AT, "usage.events")
}

const STRUCTURED: &str = r#"{"specversion":"1.0","id":"c-1","source":"/app","type":"com.acme.ReportExported",
    "subject":"acme","time":"2026-11-22T01:02:03Z","datacontenttype":"application/json","traceparent":"00-1",
    "data":{"user_id":"u-17","count":2}}"#;

#[test]
fn a_structured_event_is_told_by_its_content() {
    let expected = Event {
        event_id: "c-1".into(),
        account_id: "acme".into(),
        user_id: Some("u-17".into()),
        event_type: EventType::Feature,
        name: "com.acme.report_exported".into(),
        occurred_at: RECEIVED_AT - 1_000,
        received_at: RECEIVED_AT,
        source: "usage.events".into(),
        properties: r#"{"user_id":"u-17","count":2}"#.into(),
    };
    assert_eq!(decode(STRUCTURED, &[]), Ok(expected.clone()));
    let typed: &Headers<'_> = &[("Content-Type", b"application/cloudevents+json; charset=utf-8")];
    assert_eq!(decode(STRUCTURED, typed), Ok(expected));
}

#[test]
fn a_binary_event_has_its_attributes_in_headers() {
    let kafka: &Headers<'_> = &[
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", b"c-2"),
        ("ce_source", b"/app"),
        ("ce_type", b"login"),
        ("ce_subject", "守り".as_bytes()),
        ("ce_time", b"2026-11-22T01:02:03Z"),
        ("trace", b"\xff"),
    ];
    let event = decode(r#" {"user_id":"u-17"} "#, kafka).unwrap();
    assert_eq!(
        (event.event_id.as_str(), event.account_id.as_str()),
        ("c-2", "守り")
    );
    assert_eq!(
        (event.event_type, event.user_id.as_deref()),
        (EventType::Login, Some("u-17"))
    );
    assert_eq!(event.properties, r#"{"user_id":"u-17"}"#);
    assert_eq!(decode("", kafka).unwrap().properties, "");

    let http: &Headers<'_> = &[
        ("Content-Type", b"application/vnd.acme+json"),
        ("Ce-Specversion", b"1.0"),
        ("Ce-Id", b"c-3"),
        ("Ce-Type", b"Report Exported"),
        ("Ce-Subject", b"%E5%AE%88%E3%82%8A 100%"),
        ("Ce-Time", b"2026-11-22T01:02:03Z"),
    ];
    let event = decode("{}", http).unwrap();
    assert_eq!(
        (event.account_id.as_str(), event.name.as_str()),
        ("守り 100%", "report_exported")
    );
}

#[test]
fn the_data_name_the_account_before_the_subject() {
    let payload = STRUCTURED.replace(r#""count":2"#, r#""account_id":"globex""#);
    assert_eq!(decode(&payload, &[]).unwrap().account_id, "globex");
}

#[test]
fn malformed_cloudevents_name_their_own_attributes() {
    use Reason::*;
    let without =
        |attribute: &str| STRUCTURED.replace(&format!("\"{attribute}\":"), &format!("\"x{attribute}\":"));
    for (payload, reason, field) in [
        (
            STRUCTURED.replace("\"1.0\"", "\"0.3\""),
            UnknownFormat,
            "specversion",
        ),
        (without("id"), MissingField, "id is"),
        (without("type"), MissingField, "type is"),
        (without("subject"), MissingField, "subject (or data.account_id)"),
        (without("time"), MissingField, "time is"),
        (STRUCTURED.replace("03Z", "03"), InvalidTimestamp, "time is"),
        (
            STRUCTURED.replace("c-1", &"x".repeat(129)),
            FieldTooLong,
            "id has",
        ),
        (STRUCTURED.replace("\"c-1\"", "7"), InvalidType, "id must"),
        (
            STRUCTURED.replace(r#"{"user_id":"u-17","count":2}"#, "[1]"),
            PropertiesNotObject,
            "data must",
        ),
        (
            STRUCTURED.replace(r#""data":"#, r#""data_base64":"AA==","data":"#),
            PropertiesNotObject,
            "data_base64",
        ),
        (
            STRUCTURED.replace("\"count\":2", "\"count\":0"),
            InvalidProperty,
            "data.count",
        ),
        (STRUCTURED.replace(r#""u-17""#, "17"), InvalidType, "data.user_id"),
    ] {
        let rejection = decode(&payload, &[]).expect_err(&payload);
        assert_eq!(rejection.reason, reason, "{rejection}: {payload}");
        assert!(
            rejection.detail.contains(field),
            "{field:?} not in {rejection}: {payload}"
        );
    }

    let typed: &Headers<'_> = &[("content-type", b"application/cloudevents+json")];
    assert_eq!(decode("[]", typed).unwrap_err().reason, UnknownFormat);
    assert_eq!(decode("[", typed).unwrap_err().reason, NotJson);
    assert_eq!(decode("{}", typed).unwrap_err().reason, MissingField);

    let minimal = |extra: (&'static str, &'static [u8])| {
        vec![
            ("ce_specversion", b"1.0".as_slice()),
            ("ce_type", b"login"),
            ("ce_subject", b"acme"),
            ("ce_time", b"2026-11-22T01:02:03Z"),
            extra,
        ]
    };
    assert_eq!(
        decode("{}", &minimal(("ce_id", b"i")))
            .map(|event| event.event_id)
            .as_deref(),
        Ok("i")
    );
    assert_eq!(
        decode("{}", &minimal(("x", b"i"))).unwrap_err().reason,
        MissingField
    );
    assert_eq!(
        decode("{}", &minimal(("ce_id", b"\xff"))).unwrap_err().reason,
        NotUtf8
    );
    assert_eq!(
        decode("{", &minimal(("ce_id", b"i"))).unwrap_err().reason,
        NotJson
    );
    assert_eq!(
        decode("7", &minimal(("ce_id", b"i"))).unwrap_err().reason,
        PropertiesNotObject
    );
    assert_eq!(
        decode("{}", &minimal(("content-type", b"application/avro")))
            .unwrap_err()
            .reason,
        UnknownFormat
    );
    assert_eq!(
        decode("{}", &minimal(("ce-id", b"%ff"))).unwrap_err().reason,
        NotUtf8
    );
}

#[test]
fn a_native_event_that_carries_a_specversion_of_its_own_stays_native() {
    let payload =
        r#"{"event_id":"e","account_id":"a","type":"login","occurred_at":1795309323004,"specversion":"1.0"}"#;
    assert_eq!(decode(payload, &[]).unwrap().event_type, EventType::Login);
}
