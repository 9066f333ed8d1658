//! Native JSON: what is accepted, and for everything else the reason and the field.

use event::{Decoder, DecoderConfig, Event, EventType, Reason, Rejection};

/// 2026-11-22T01:02:04Z
const RECEIVED_AT: i64 = 1_795_309_324_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn decode(payload: &[u8]) -> Result<Event, Rejection> {
    Decoder::default().decode(payload, &[], RECEIVED_AT, "usage.events")
}

/// A sound `feature` event with one field replaced (or, with an empty value, left out).
fn with(field: &str, value: &str) -> String {
    let fields = [
        ("event_id", r#""e-1""#),
        ("account_id", r#""acme""#),
        ("user_id", r#""u-17""#),
        ("type", r#""feature""#),
        ("name", r#""report.export""#),
        ("occurred_at", r#""2026-11-22T01:02:03Z""#),
        ("properties", r#"{"count":2}"#),
    ];
    assert!(
        fields.iter().any(|(name, _)| *name == field),
        "{field} is no field"
    );
    let written: Vec<String> = fields
        .into_iter()
        .map(|(name, sound)| (name, if name == field { value } else { sound }))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", written.join(","))
}

/// An event of a type, with its name and properties as JSON.
fn of_type(event_type: &str, name: &str, properties: &str) -> String {
    format!(
        r#"{{"event_id":"e-1","account_id":"acme","user_id":"u-17","type":"{event_type}","name":{name},"occurred_at":{},"properties":{properties}}}"#,
        RECEIVED_AT - 1_000
    )
}

#[test]
fn a_whole_event_is_taken_over_field_by_field() {
    let payload = r#"{"event_id":"01J8","account_id":"acme","user_id":"u-17","type":"feature","name":"report.export",
        "occurred_at":"2026-11-22T10:02:03.004+09:00","properties":{"rows":120, "count" : 3}}"#;
    let expected = Event {
        event_id: "01J8".into(),
        account_id: "acme".into(),
        user_id: Some("u-17".into()),
        event_type: EventType::Feature,
        name: "report.export".into(),
        occurred_at: 1_795_309_323_004,
        received_at: RECEIVED_AT,
        source: "usage.events".into(),
        properties: r#"{"rows":120, "count" : 3}"#.into(),
    };
    assert_eq!(decode(payload.as_bytes()), Ok(expected));
}

#[test]
fn what_is_optional_may_be_absent_null_or_unknown() {
    let least = r#"{"event_id":"e","account_id":"a","type":"login","occurred_at":1795309323004}"#;
    let event = decode(least.as_bytes()).unwrap();
    assert_eq!(
        (event.user_id, event.name.as_str(), event.properties.as_str()),
        (None, "", "")
    );
    assert_eq!(event.occurred_at, 1_795_309_323_004);

    let nulls = r#"{"event_id":"e","account_id":"a","type":"login","occurred_at":1795309323004,
        "user_id":null,"name":null,"properties":null}"#;
    let event = decode(nulls.as_bytes()).unwrap();
    assert_eq!(
        (event.user_id, event.name.as_str(), event.properties.as_str()),
        (None, "", "")
    );

    let unknown = r#"{"event_id":"e","account_id":"a","type":"login","occurred_at":1795309323004,"user_id":"",
        "schema":3,"context":{"a":[1,{"b":null}]},"schema":4}"#;
    assert_eq!(decode(unknown.as_bytes()).unwrap().user_id, None);
}

#[test]
fn escapes_are_read_in_fields_and_kept_in_properties() {
    let payload = r#"{"event_id":"e","\u0061ccount_id":"\u5b88","type":"login","occurred_at":1795309323004,
        "properties":{"plan":"\ud83d\ude00"}}"#;
    let event = decode(payload.as_bytes()).unwrap();
    assert_eq!(event.account_id, "守");
    assert_eq!(event.properties, r#"{"plan":"\ud83d\ude00"}"#);
}

#[test]
fn sound_events_of_every_type_are_accepted() {
    for (event_type, name, properties) in [
        ("login", "null", "{}"),
        ("login", r#""sso""#, r#"{"count":"not read"}"#),
        (
            "feature",
            r#""report.export""#,
            r#"{"count":1,"duration_ms":12.75}"#,
        ),
        (
            "feature",
            r#""f""#,
            r#"{"count":null,"Count":"x","nested":{"count":"x"}}"#,
        ),
        ("feature", r#""f""#, r#"{"what":"count"}"#),
        ("feature", r#""f""#, r#"{"count":1000000000}"#),
        (
            "milestone",
            r#""first_report""#,
            r#"{"anything":[1,2,{"deep":true}]}"#,
        ),
        (
            "account",
            "null",
            r#"{"name":"Acme","plan":"team","segment":"smb","tier":"high","seats":25,"timezone":"Asia/Tokyo",
                "owner":"sato","signed_up_at":"2026-01-05","value_event":"first_report","onboarding_due":1795309323004}"#,
        ),
        ("user", "null", r#"{"role":"champion","removed":false}"#),
        ("user", "null", r#"{"role":"decision_maker"}"#),
        ("user", "null", r#"{"department":"営業"}"#),
        ("contract", r#""trial_started""#, "{}"),
        (
            "contract",
            r#""renewed""#,
            r#"{"mrr":120000,"currency":"JPY","starts_at":"2026-04-01","ends_at":"2027-03-31T00:00:00+09:00",
                "discount_ends_at":null,"seats":0,"plan":"team"}"#,
        ),
        (
            "contract",
            r#""cancelled""#,
            r#"{"mrr":0,"ends_at":"9999-12-31"}"#,
        ),
        (
            "ticket",
            r#""opened""#,
            r#"{"ticket_id":"T-1","severity":"high","channel":"phone"}"#,
        ),
        ("ticket", r#""resolved""#, r#"{"ticket_\u0069d":"T-1"}"#),
        ("survey", r#""nps""#, r#"{"score":0}"#),
        ("survey", r#""nps""#, r#"{"score":10.0}"#),
        ("survey", r#""csat""#, r#"{"score":1}"#),
        ("survey", r#""csat""#, r#"{"score":5}"#),
        ("survey", r#""ces""#, r#"{"score":7,"comment":"good"}"#),
        (
            "engagement",
            r#""help_search""#,
            r#"{"results":0,"query":"請求書"}"#,
        ),
        ("error", r#""import_failed""#, r#"{"severity":"fatal"}"#),
    ] {
        let payload = of_type(event_type, name, properties);
        let event = decode(payload.as_bytes()).unwrap_or_else(|rejection| panic!("{rejection}: {payload}"));
        assert_eq!(event.event_type.as_str(), event_type);
        assert_eq!(event.properties, properties);
    }
}

#[test]
fn every_malformed_event_is_refused_for_its_reason_and_names_its_field() {
    use Reason::*;
    let long_id = format!("\"{}\"", "x".repeat(129));
    let long_name = format!("\"{}\"", "x".repeat(201));
    let twice = |field: &str| format!("{{\"{field}\":\"again\",{}", &with("properties", "")[1..]);
    let table: Vec<(String, Reason, &str)> = vec![
        // Not JSON at all.
        (String::new(), NotJson, "payload"),
        ("  \n".into(), NotJson, "payload"),
        ("hello".into(), NotJson, "payload"),
        ("{".into(), NotJson, "payload"),
        (r#"{"event_id":"e"#.into(), NotJson, "payload"),
        (r#"{"event_id":"e",}"#.into(), NotJson, "payload"),
        (r#"{'event_id':'e'}"#.into(), NotJson, "payload"),
        (r#"{event_id:"e"}"#.into(), NotJson, "payload"),
        (
            format!("{} {}", with("name", "\"f\""), with("name", "\"f\"")),
            NotJson,
            "trailing",
        ),
        (format!("\u{feff}{}", with("name", "\"f\"")), NotJson, "payload"),
        (with("properties", "{\"a\":}"), NotJson, "payload"),
        (with("properties", "{\"a\":\"\t\"}"), NotJson, "payload"),
        (with("properties", "{\"a\":\"\\x\"}"), NotJson, "payload"),
        (with("properties", "{\"a\":\"\\ud800\"}"), NotJson, "surrogate"),
        (with("properties", "{\"a\":01}"), NotJson, "payload"),
        (with("properties", "{\"a\":NaN}"), NotJson, "payload"),
        (with("name", "\"\\udc00\""), NotJson, "surrogate"),
        (twice("event_id"), NotJson, "event_id"),
        (twice("account_id"), NotJson, "account_id"),
        (twice("occurred_at"), NotJson, "occurred_at"),
        (twice("type"), NotJson, "type"),
        (
            "{\"properties\":{},\"properties\":{},".to_owned() + &with("properties", "")[1..],
            NotJson,
            "properties",
        ),
        // JSON, but nothing known.
        ("null".into(), UnknownFormat, "object"),
        ("17".into(), UnknownFormat, "object"),
        ("-1.5".into(), UnknownFormat, "object"),
        ("true".into(), UnknownFormat, "object"),
        ("\"event\"".into(), UnknownFormat, "object"),
        ("[]".into(), UnknownFormat, "object"),
        (format!("[{}]", with("name", "\"f\"")), UnknownFormat, "object"),
        ("{}".into(), UnknownFormat, "event_id"),
        (r#"{"hello":"world"}"#.into(), UnknownFormat, "event_id"),
        (r#"{"type":"bogus"}"#.into(), UnknownFormat, "event_id"),
        // event_id, account_id, user_id.
        (with("event_id", ""), MissingField, "event_id"),
        (with("event_id", "null"), MissingField, "event_id"),
        (with("event_id", "\"\""), EmptyField, "event_id"),
        (with("event_id", "17"), InvalidType, "event_id"),
        (with("event_id", "{\"a\":{}}"), InvalidType, "event_id"),
        (with("event_id", &long_id), FieldTooLong, "event_id"),
        (with("account_id", ""), MissingField, "account_id"),
        (with("account_id", "\"\""), EmptyField, "account_id"),
        (with("account_id", "[\"acme\"]"), InvalidType, "account_id"),
        (with("account_id", &long_id), FieldTooLong, "account_id"),
        (with("user_id", "17"), InvalidType, "user_id"),
        (with("user_id", &long_id), FieldTooLong, "user_id"),
        // type and name.
        (with("type", ""), MissingField, "type"),
        (with("type", "\"\""), EmptyField, "type"),
        (with("type", "\"Feature\""), InvalidType, "type"),
        (with("type", "\"track\""), InvalidType, "type"),
        (with("type", "1"), InvalidType, "type"),
        (with("name", ""), MissingField, "name"),
        (with("name", "\"\""), EmptyField, "name"),
        (with("name", "7"), InvalidType, "name"),
        (with("name", &long_name), FieldTooLong, "name"),
        (of_type("milestone", "null", "{}"), MissingField, "name"),
        (of_type("engagement", "\"\"", "{}"), EmptyField, "name"),
        (of_type("error", "null", "{}"), MissingField, "name"),
        (of_type("login", &long_name, "{}"), FieldTooLong, "name"),
        (of_type("contract", "null", "{}"), MissingField, "name"),
        (of_type("contract", "\"paused\"", "{}"), InvalidType, "name"),
        (
            of_type("ticket", "\"closed\"", r#"{"ticket_id":"T-1"}"#),
            InvalidType,
            "name",
        ),
        (
            of_type("ticket", "\"\"", r#"{"ticket_id":"T-1"}"#),
            EmptyField,
            "name",
        ),
        (
            of_type("survey", "\"NPS\"", r#"{"score":9}"#),
            InvalidType,
            "name",
        ),
        (
            of_type("user", "null", "{}").replace(r#""user_id":"u-17","#, ""),
            MissingField,
            "user_id",
        ),
        // occurred_at.
        (with("occurred_at", ""), MissingField, "occurred_at"),
        (with("occurred_at", "null"), MissingField, "occurred_at"),
        (with("occurred_at", "\"\""), InvalidTimestamp, "occurred_at"),
        (
            with("occurred_at", "1795309323004.0"),
            InvalidTimestamp,
            "occurred_at",
        ),
        (
            with("occurred_at", "1.795309323004e12"),
            InvalidTimestamp,
            "occurred_at",
        ),
        (
            with("occurred_at", "\"1795309323004\""),
            InvalidTimestamp,
            "occurred_at",
        ),
        (with("occurred_at", "true"), InvalidTimestamp, "occurred_at"),
        (with("occurred_at", "{}"), InvalidTimestamp, "occurred_at"),
        (
            with("occurred_at", "[1795309323004]"),
            InvalidTimestamp,
            "occurred_at",
        ),
        (
            with("occurred_at", "\"yesterday\""),
            InvalidTimestamp,
            "occurred_at",
        ),
        (
            with("occurred_at", "\"2026-11-22\""),
            InvalidTimestamp,
            "occurred_at",
        ),
        (
            with("occurred_at", "\"2026-11-22T01:02:03\""),
            InvalidTimestamp,
            "occurred_at",
        ),
        (
            with("occurred_at", "\"2026-02-30T01:02:03Z\""),
            InvalidTimestamp,
            "occurred_at",
        ),
        (
            with("occurred_at", "9223372036854775808"),
            InvalidTimestamp,
            "occurred_at",
        ),
        (
            with("occurred_at", "99999999999999999999999"),
            InvalidTimestamp,
            "occurred_at",
        ),
        (
            with("occurred_at", "9223372036854775807"),
            OccurredInFuture,
            "occurred_at",
        ),
        (
            with("occurred_at", "\"9999-12-31T23:59:59.999Z\""),
            OccurredInFuture,
            "occurred_at",
        ),
        (
            with("occurred_at", "\"9999-12-31T23:59:59.999-23:59\""),
            OccurredInFuture,
            "occurred_at",
        ),
        (with("occurred_at", "-9223372036854775808"), TooOld, "occurred_at"),
        (
            with("occurred_at", "\"0000-01-01T00:00:00Z\""),
            TooOld,
            "occurred_at",
        ),
        (with("occurred_at", "0"), TooOld, "occurred_at"),
        (with("occurred_at", "1795309323"), TooOld, "seconds"),
        // properties.
        (with("properties", "[]"), PropertiesNotObject, "properties"),
        (with("properties", "\"{}\""), PropertiesNotObject, "properties"),
        (with("properties", "0"), PropertiesNotObject, "properties"),
        (with("properties", "false"), PropertiesNotObject, "properties"),
        (
            of_type("login", "null", "[{}]"),
            PropertiesNotObject,
            "properties",
        ),
        (
            with("properties", r#"{"count":0}"#),
            InvalidProperty,
            "properties.count",
        ),
        (
            with("properties", r#"{"count":-1}"#),
            InvalidProperty,
            "properties.count",
        ),
        (
            with("properties", r#"{"count":1.5}"#),
            InvalidProperty,
            "properties.count",
        ),
        (
            with("properties", r#"{"count":2.0}"#),
            InvalidProperty,
            "properties.count",
        ),
        (
            with("properties", r#"{"count":"2"}"#),
            InvalidProperty,
            "properties.count",
        ),
        (
            with("properties", r#"{"count":{}}"#),
            InvalidProperty,
            "properties.count",
        ),
        (
            with("properties", r#"{"count":1000000001}"#),
            InvalidProperty,
            "properties.count",
        ),
        (
            with("properties", r#"{"count":18446744073709551615}"#),
            InvalidProperty,
            "properties.count",
        ),
        (
            with("properties", r#"{"count":1e999}"#),
            InvalidProperty,
            "properties",
        ),
        (
            with("properties", r#"{"count":1,"count":1}"#),
            InvalidProperty,
            "properties.count",
        ),
        (
            with("properties", r#"{"\u0063ount":"2"}"#),
            InvalidProperty,
            "properties.count",
        ),
        (
            with("properties", r#"{"duration_ms":-0.5}"#),
            InvalidProperty,
            "properties.duration_ms",
        ),
        (
            with("properties", r#"{"duration_ms":"1s"}"#),
            InvalidProperty,
            "properties.duration_ms",
        ),
        (
            of_type("account", "null", r#"{"name":7}"#),
            InvalidProperty,
            "properties.name",
        ),
        (
            of_type("account", "null", r#"{"plan":true}"#),
            InvalidProperty,
            "properties.plan",
        ),
        (
            of_type("account", "null", r#"{"segment":[]}"#),
            InvalidProperty,
            "properties.segment",
        ),
        (
            of_type("account", "null", r#"{"tier":1}"#),
            InvalidProperty,
            "properties.tier",
        ),
        (
            of_type("account", "null", r#"{"seats":"25"}"#),
            InvalidProperty,
            "properties.seats",
        ),
        (
            of_type("account", "null", r#"{"seats":-1}"#),
            InvalidProperty,
            "properties.seats",
        ),
        (
            of_type("account", "null", r#"{"timezone":9}"#),
            InvalidProperty,
            "properties.timezone",
        ),
        (
            of_type("account", "null", r#"{"owner":{}}"#),
            InvalidProperty,
            "properties.owner",
        ),
        (
            of_type("account", "null", r#"{"signed_up_at":"soon"}"#),
            InvalidProperty,
            "properties.signed_up_at",
        ),
        (
            of_type("account", "null", r#"{"value_event":1}"#),
            InvalidProperty,
            "properties.value_event",
        ),
        (
            of_type("account", "null", r#"{"onboarding_due":1.5}"#),
            InvalidProperty,
            "properties.onboarding_due",
        ),
        (
            of_type("user", "null", r#"{"role":"boss"}"#),
            InvalidProperty,
            "properties.role",
        ),
        (
            of_type("user", "null", r#"{"department":7}"#),
            InvalidProperty,
            "properties.department",
        ),
        (
            of_type("user", "null", r#"{"removed":"true"}"#),
            InvalidProperty,
            "properties.removed",
        ),
        (
            of_type("contract", "\"started\"", r#"{"mrr":-1}"#),
            InvalidProperty,
            "properties.mrr",
        ),
        (
            of_type("contract", "\"started\"", r#"{"mrr":"120,000"}"#),
            InvalidProperty,
            "properties.mrr",
        ),
        (
            of_type("contract", "\"started\"", r#"{"currency":"yen!"}"#),
            InvalidProperty,
            "properties.currency",
        ),
        (
            of_type("contract", "\"started\"", r#"{"starts_at":"2026-13-01"}"#),
            InvalidProperty,
            "properties.starts_at",
        ),
        (
            of_type("contract", "\"started\"", r#"{"ends_at":true}"#),
            InvalidProperty,
            "properties.ends_at",
        ),
        (
            of_type(
                "contract",
                "\"started\"",
                r#"{"discount_ends_at":"2026-04-01T00:00:00"}"#,
            ),
            InvalidProperty,
            "properties.discount_ends_at",
        ),
        (
            of_type("ticket", "\"opened\"", "{}"),
            MissingField,
            "properties.ticket_id",
        ),
        (
            of_type("ticket", "\"opened\"", "null"),
            MissingField,
            "properties.ticket_id",
        ),
        (
            of_type("ticket", "\"opened\"", r#"{"ticket_id":null}"#),
            MissingField,
            "properties.ticket_id",
        ),
        (
            of_type("ticket", "\"opened\"", r#"{"ticket_id":12}"#),
            InvalidProperty,
            "properties.ticket_id",
        ),
        (
            of_type("ticket", "\"opened\"", r#"{"ticket_id":""}"#),
            InvalidProperty,
            "properties.ticket_id",
        ),
        (
            of_type("ticket", "\"opened\"", &format!(r#"{{"ticket_id":{long_id}}}"#)),
            InvalidProperty,
            "properties.ticket_id",
        ),
        (
            of_type("ticket", "\"opened\"", r#"{"ticket_id":"T","severity":1}"#),
            InvalidProperty,
            "properties.severity",
        ),
        (
            of_type("ticket", "\"opened\"", r#"{"ticket_id":"T","channel":[]}"#),
            InvalidProperty,
            "properties.channel",
        ),
        (
            of_type("survey", "\"nps\"", "{}"),
            MissingField,
            "properties.score",
        ),
        (
            of_type("survey", "\"nps\"", r#"{"comment":"good"}"#),
            MissingField,
            "properties.score",
        ),
        (
            of_type("survey", "\"nps\"", r#"{"score":11}"#),
            InvalidProperty,
            "properties.score",
        ),
        (
            of_type("survey", "\"nps\"", r#"{"score":-1}"#),
            InvalidProperty,
            "properties.score",
        ),
        (
            of_type("survey", "\"nps\"", r#"{"score":8.5}"#),
            InvalidProperty,
            "properties.score",
        ),
        (
            of_type("survey", "\"nps\"", r#"{"score":"9"}"#),
            InvalidProperty,
            "properties.score",
        ),
        (
            of_type("survey", "\"csat\"", r#"{"score":0}"#),
            InvalidProperty,
            "properties.score",
        ),
        (
            of_type("survey", "\"csat\"", r#"{"score":6}"#),
            InvalidProperty,
            "properties.score",
        ),
        (
            of_type("survey", "\"ces\"", r#"{"score":0}"#),
            InvalidProperty,
            "properties.score",
        ),
        (
            of_type("survey", "\"ces\"", r#"{"score":8}"#),
            InvalidProperty,
            "properties.score",
        ),
        (
            of_type("engagement", "\"search\"", r#"{"results":-1}"#),
            InvalidProperty,
            "properties.results",
        ),
        (
            of_type("engagement", "\"search\"", r#"{"results":"none"}"#),
            InvalidProperty,
            "properties.results",
        ),
        (
            of_type("error", "\"crash\"", r#"{"severity":3}"#),
            InvalidProperty,
            "properties.severity",
        ),
    ];
    for (payload, reason, field) in table {
        let shown: String = payload.chars().take(200).collect();
        match decode(payload.as_bytes()) {
            Ok(event) => panic!("accepted as {event:?}: {shown}"),
            Err(rejection) => {
                assert_eq!(rejection.reason, reason, "{rejection}: {shown}");
                assert!(
                    rejection.detail.contains(field),
                    "{field:?} not in {rejection}: {shown}"
                );
            }
        }
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_wherever_they_stand() {
    let sound = with("name", "\"NAME\"");
    for place in ["NAME", "u-17", "count"] {
        let at = sound.find(place).unwrap();
        let mut payload = sound.clone().into_bytes();
        payload[at] = 0xff;
        assert_eq!(decode(&payload).unwrap_err().reason, Reason::NotUtf8, "{place}");
    }
    // A surrogate encoded as if it were a character, and Latin-1.
    assert_eq!(
        decode(b"{\"event_id\":\"\xed\xa0\x80\"}").unwrap_err().reason,
        Reason::NotUtf8
    );
    assert_eq!(
        decode(b"{\"event_id\":\"caf\xe9\"}").unwrap_err().reason,
        Reason::NotUtf8
    );
}

#[test]
fn lengths_are_bounded_in_bytes_of_utf_8() {
    // 守 has three bytes: 42 of them are 126.
    let id_of = |bytes: usize| format!("{}{}", "守".repeat(42), "x".repeat(bytes - 126));
    for field in ["event_id", "account_id", "user_id"] {
        assert!(
            decode(with(field, &format!("\"{}\"", id_of(128))).as_bytes()).is_ok(),
            "{field}"
        );
        let rejection = decode(with(field, &format!("\"{}\"", id_of(129))).as_bytes()).unwrap_err();
        assert_eq!(rejection.reason, Reason::FieldTooLong);
        assert!(rejection.detail.starts_with(field), "{rejection}");
        // An escape counts as the character it stands for, not as it is written.
        assert!(decode(with(field, &format!("\"{}\"", "\\u5b88".repeat(42))).as_bytes()).is_ok());
        assert!(decode(with(field, &format!("\"{}\"", "\\u5b88".repeat(43))).as_bytes()).is_err());
    }
    assert!(decode(with("name", &format!("\"{}\"", "n".repeat(200))).as_bytes()).is_ok());
    let rejection = decode(with("name", &format!("\"{}\"", "n".repeat(201))).as_bytes()).unwrap_err();
    assert_eq!(rejection.reason, Reason::FieldTooLong);
    assert!(rejection.detail.starts_with("name"));
}

#[test]
fn the_whole_event_is_bounded_in_bytes_as_sent() {
    let sized = |bytes: usize| {
        let frame = with("properties", r#"{"text":""}"#).len();
        with(
            "properties",
            &format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes - frame)),
        )
    };
    assert_eq!(sized(32_768).len(), 32_768);
    assert!(decode(sized(32_768).as_bytes()).is_ok());
    let rejection = decode(sized(32_769).as_bytes()).unwrap_err();
    assert_eq!(rejection.reason, Reason::EventTooLarge);
    assert!(
        rejection.detail.contains("32769") && rejection.detail.contains("32768"),
        "{rejection}"
    );

    // Size comes before everything else: a large payload is not even looked at.
    assert_eq!(
        decode(&vec![0xff; 40_000]).unwrap_err().reason,
        Reason::EventTooLarge
    );

    let small = Decoder::new(DecoderConfig {
        max_event_bytes: 100,
        ..DecoderConfig::default()
    })
    .unwrap();
    let rejection = small
        .decode(sized(400).as_bytes(), &[], RECEIVED_AT, "s")
        .unwrap_err();
    assert_eq!(rejection.reason, Reason::EventTooLarge);
}

#[test]
fn the_time_window_includes_its_edges() {
    let at = |ms: i64| decode(with("occurred_at", &ms.to_string()).as_bytes());
    assert!(at(RECEIVED_AT + 24 * HOUR).is_ok());
    assert_eq!(
        at(RECEIVED_AT + 24 * HOUR + 1).unwrap_err().reason,
        Reason::OccurredInFuture
    );
    assert!(at(RECEIVED_AT - 400 * DAY).is_ok());
    assert_eq!(
        at(RECEIVED_AT - 400 * DAY - 1).unwrap_err().reason,
        Reason::TooOld
    );
}

#[test]
fn the_time_window_is_configurable_and_age_may_be_unbounded() {
    let config = DecoderConfig {
        max_age_days: 0,
        max_future_hours: 0,
        ..DecoderConfig::default()
    };
    let decoder = Decoder::new(config).unwrap();
    let at = |ms: i64| {
        decoder
            .decode(
                with("occurred_at", &ms.to_string()).as_bytes(),
                &[],
                RECEIVED_AT,
                "s",
            )
            .map(|event| event.occurred_at)
    };
    assert_eq!(at(0), Ok(0));
    assert_eq!(at(-2_208_988_800_000), Ok(-2_208_988_800_000));
    assert_eq!(at(-2_208_988_800_001).unwrap_err().reason, Reason::TooOld);
    assert_eq!(at(i64::MIN).unwrap_err().reason, Reason::TooOld);
    assert_eq!(at(RECEIVED_AT), Ok(RECEIVED_AT));
    assert_eq!(at(RECEIVED_AT + 1).unwrap_err().reason, Reason::OccurredInFuture);
}

#[test]
fn extreme_times_of_receipt_and_bounds_do_not_overflow() {
    let widest = DecoderConfig {
        max_age_days: u32::MAX,
        max_future_hours: u32::MAX,
        ..DecoderConfig::default()
    };
    for decoder in [Decoder::default(), Decoder::new(widest).unwrap()] {
        for received_at in [i64::MIN, -1, 0, RECEIVED_AT, i64::MAX] {
            for occurred_at in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX] {
                let payload = with("occurred_at", &occurred_at.to_string());
                let _ = decoder.decode(payload.as_bytes(), &[], received_at, "s");
            }
        }
    }
}

#[test]
fn a_leap_second_stays_in_its_minute() {
    let decoder = Decoder::new(DecoderConfig {
        max_age_days: 0,
        ..DecoderConfig::default()
    })
    .unwrap();
    let payload = with("occurred_at", r#""2016-12-31T23:59:60Z""#);
    let event = decoder.decode(payload.as_bytes(), &[], RECEIVED_AT, "s").unwrap();
    assert_eq!(event.occurred_at, 1_483_228_799_000);
}

#[test]
fn nesting_is_bounded_and_never_overflows_the_stack() {
    let nested = |levels: usize, open: &str, close: &str| {
        format!("{{\"a\":{}1{}}}", open.repeat(levels), close.repeat(levels))
    };
    // The event and its properties are two levels of the 127.
    assert!(decode(with("properties", &nested(125, "[", "]")).as_bytes()).is_ok());
    let event = decode(with("properties", &nested(125, "{\"a\":", "}")).as_bytes()).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&event.properties).is_ok());
    for levels in [126, 5_000] {
        let rejection = decode(with("properties", &nested(levels, "[", "]")).as_bytes()).unwrap_err();
        assert_eq!(rejection.reason, Reason::NotJson);
        assert!(rejection.detail.contains("127"), "{rejection}");
    }
    for bomb in [
        "[".repeat(32_000),
        "{\"a\":".repeat(6_000),
        format!("{{\"x\":{}", "[".repeat(32_000)),
    ] {
        assert_eq!(decode(bomb.as_bytes()).unwrap_err().reason, Reason::NotJson);
    }
}

#[test]
fn a_detail_repeats_little_of_what_was_sent() {
    let long = "秘".repeat(5_000);
    for payload in [
        with("type", &format!("\"{long}\"")),
        with("occurred_at", &format!("\"{long}\"")),
        of_type("survey", &format!("\"{}\"", "秘".repeat(60)), "{}"),
        of_type("user", "null", &format!(r#"{{"role":"{long}"}}"#)),
        with("event_id", &format!("\"{long}\"")),
        with("event_id", "\"x\"").replace("\"x\"", &format!("\"{long}\",\"event_id\":1")),
        format!("{{\"{long}\":\"{long}\""),
        format!("{{\"event_id\":\"a\",\"{long}\" 1}}"),
        long.clone(),
    ] {
        let rejection = decode(payload.as_bytes()).unwrap_err();
        assert!(rejection.detail.matches('秘').count() <= 64 / 3, "{rejection}");
        assert!(rejection.detail.len() <= 300, "{rejection}");
    }
}

#[test]
fn the_detail_says_what_would_be_right() {
    let detail = |payload: String| decode(payload.as_bytes()).unwrap_err().detail;
    assert_eq!(
        detail(with("event_id", "")),
        "event_id is missing: give a string of 1 to 128 bytes"
    );
    assert_eq!(
        detail(of_type("survey", "\"nps\"", r#"{"score":11}"#)),
        "properties.score must be a whole number from 0 to 10 for nps"
    );
    assert_eq!(
        detail(of_type("ticket", "\"closed\"", "{}")),
        "name is \"closed\": type ticket has one of opened, replied, escalated, resolved"
    );
    assert_eq!(
        detail(with("occurred_at", &(RECEIVED_AT / 1_000).to_string())),
        "occurred_at is 20758 days before its receipt: 400 are allowed; it looks like seconds, give milliseconds"
    );
}
