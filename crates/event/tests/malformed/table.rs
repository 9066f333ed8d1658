//! Inputs that cannot be accepted, each with the reason that it gets.

/// An input and its reason code.
pub struct Malformed {
    /// What is wrong with it; each once.
    pub what: &'static str,
    /// The payload.
    pub payload: Vec<u8>,
    /// The headers.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// The reason code.
    pub reason: &'static str,
}

const DAY_MS: i64 = 86_400_000;

fn json(what: &'static str, reason: &'static str, text: impl Into<String>) -> Malformed {
    Malformed {
        what,
        payload: text.into().into_bytes(),
        headers: Vec::new(),
        reason,
    }
}

/// A native event with these fields in place of, or beside, the usual ones; `null` takes one away.
fn native(what: &'static str, reason: &'static str, now: i64, changes: serde_json::Value) -> Malformed {
    let mut event = serde_json::json!({
        "event_id": "e", "account_id": "acme", "user_id": "u", "type": "feature", "name": "f", "occurred_at": now,
    });
    for (field, value) in changes.as_object().expect("changes are an object") {
        event[field] = value.clone();
    }
    json(what, reason, event.to_string())
}

fn binary(
    what: &'static str,
    reason: &'static str,
    changes: &[(&'static str, &[u8])],
    data: &[u8],
) -> Malformed {
    let mut headers: Vec<(&'static str, Vec<u8>)> = vec![
        ("ce_specversion", b"1.0".to_vec()),
        ("ce_id", b"c".to_vec()),
        ("ce_type", b"login".to_vec()),
        ("ce_subject", b"acme".to_vec()),
        ("ce_time", b"2026-11-22T01:02:03Z".to_vec()),
    ];
    for (name, value) in changes {
        headers.retain(|(known, _)| known != name);
        if !value.is_empty() {
            headers.push((name, value.to_vec()));
        }
    }
    Malformed {
        what,
        payload: data.to_vec(),
        headers,
        reason,
    }
}

/// The table; `now` is when they are received, in milliseconds since the Unix epoch.
pub fn table(now: i64) -> Vec<Malformed> {
    use serde_json::json as j;
    let of = |what, reason, changes| native(what, reason, now, changes);
    let long = "x".repeat(129);
    let long_name = "x".repeat(201);
    let mut table = vec![
        json("nothing", "not_json", ""),
        json("blanks", "not_json", "  \n"),
        json("no json", "not_json", "hello"),
        json("an open brace", "not_json", "{"),
        json("a cut event", "not_json", r#"{"event_id":"e","account_id":"#),
        json("a trailing comma", "not_json", r#"{"event_id":"e",}"#),
        json("single quotes", "not_json", "{'event_id':'e'}"),
        json(
            "two events in one record",
            "not_json",
            r#"{"event_id":"e"}{"event_id":"f"}"#,
        ),
        json("a comment", "not_json", r#"{"event_id":"e" /* x */}"#),
        json("NaN", "not_json", r#"{"event_id":"e","occurred_at":NaN}"#),
        json(
            "a control character in a text",
            "not_json",
            "{\"event_id\":\"a\u{1}b\"}",
        ),
        json("half a surrogate pair", "not_json", r#"{"event_id":"\ud83d"}"#),
        json("a byte order mark", "not_json", "\u{feff}{\"event_id\":\"e\"}"),
        json(
            "a field twice",
            "not_json",
            r#"{"event_id":"e","event_id":"f","account_id":"a"}"#,
        ),
        json(
            "too deep",
            "not_json",
            format!("{}1{}", "[".repeat(200), "]".repeat(200)),
        ),
        json("an array", "unknown_format", "[]"),
        json("an array of events", "unknown_format", r#"[{"event_id":"e"}]"#),
        json("a number", "unknown_format", "7"),
        json("a text", "unknown_format", r#""event""#),
        json("null", "unknown_format", "null"),
        json("an empty object", "unknown_format", "{}"),
        json(
            "an object of another kind",
            "unknown_format",
            r#"{"hello":"world"}"#,
        ),
        of("no event_id", "missing_field", j!({"event_id": null})),
        of("an empty event_id", "empty_field", j!({"event_id": ""})),
        of("a long event_id", "field_too_long", j!({"event_id": long})),
        of("a number as event_id", "invalid_type", j!({"event_id": 7})),
        of("no account_id", "missing_field", j!({"account_id": null})),
        of("an empty account_id", "empty_field", j!({"account_id": ""})),
        of(
            "a long account_id",
            "field_too_long",
            j!({"account_id": "守".repeat(43)}),
        ),
        of("an object as account_id", "invalid_type", j!({"account_id": {}})),
        of("a long user_id", "field_too_long", j!({"user_id": long})),
        of("a list as user_id", "invalid_type", j!({"user_id": ["u"]})),
        of("no type", "missing_field", j!({"type": null})),
        of("an empty type", "empty_field", j!({"type": ""})),
        of("an unknown type", "invalid_type", j!({"type": "dance"})),
        of("a type in capitals", "invalid_type", j!({"type": "Feature"})),
        of("a boolean as type", "invalid_type", j!({"type": true})),
        of("no name of a feature", "missing_field", j!({"name": null})),
        of(
            "an empty name of a milestone",
            "empty_field",
            j!({"type": "milestone", "name": ""}),
        ),
        of("a long name", "field_too_long", j!({"name": long_name})),
        of("a number as name", "invalid_type", j!({"name": 3})),
        of(
            "an unknown change of a contract",
            "invalid_type",
            j!({"type": "contract", "name": "paused"}),
        ),
        of(
            "no change of a contract",
            "missing_field",
            j!({"type": "contract", "name": null}),
        ),
        of(
            "an unknown survey",
            "invalid_type",
            j!({"type": "survey", "name": "stars", "properties": {"score": 3}}),
        ),
        of(
            "attributes of no user",
            "missing_field",
            j!({"type": "user", "user_id": null}),
        ),
        of("no time", "missing_field", j!({"occurred_at": null})),
        of(
            "a time without an offset",
            "invalid_timestamp",
            j!({"occurred_at": "2026-11-22T01:02:03"}),
        ),
        of(
            "a date as time",
            "invalid_timestamp",
            j!({"occurred_at": "2026-11-22"}),
        ),
        of(
            "a day that is not",
            "invalid_timestamp",
            j!({"occurred_at": "2026-02-30T00:00:00Z"}),
        ),
        of(
            "words as time",
            "invalid_timestamp",
            j!({"occurred_at": "yesterday"}),
        ),
        of(
            "a fraction as time",
            "invalid_timestamp",
            j!({"occurred_at": 1.5}),
        ),
        of(
            "a boolean as time",
            "invalid_timestamp",
            j!({"occurred_at": false}),
        ),
        of(
            "a time ahead",
            "occurred_in_future",
            j!({"occurred_at": now + 2 * DAY_MS}),
        ),
        of(
            "a time far ahead",
            "occurred_in_future",
            j!({"occurred_at": i64::MAX}),
        ),
        of(
            "a time long ago",
            "too_old",
            j!({"occurred_at": now - 402 * DAY_MS}),
        ),
        of(
            "seconds in place of milliseconds",
            "too_old",
            j!({"occurred_at": now / 1000}),
        ),
        of("a time before all", "too_old", j!({"occurred_at": i64::MIN})),
        of(
            "properties as a list",
            "properties_not_object",
            j!({"properties": [1]}),
        ),
        of(
            "properties as a text",
            "properties_not_object",
            j!({"properties": "x"}),
        ),
        of(
            "a count of nothing",
            "invalid_property",
            j!({"properties": {"count": 0}}),
        ),
        of(
            "a count as a text",
            "invalid_property",
            j!({"properties": {"count": "2"}}),
        ),
        of(
            "a negative duration",
            "invalid_property",
            j!({"properties": {"duration_ms": -1}}),
        ),
        of(
            "no ticket_id",
            "missing_field",
            j!({"type": "ticket", "name": "opened"}),
        ),
        of(
            "a number as ticket_id",
            "invalid_property",
            j!({"type": "ticket", "name": "opened", "properties": {"ticket_id": 7}}),
        ),
        of(
            "no score",
            "missing_field",
            j!({"type": "survey", "name": "nps", "properties": {}}),
        ),
        of(
            "a score out of range",
            "invalid_property",
            j!({"type": "survey", "name": "nps", "properties": {"score": 11}}),
        ),
        of(
            "an unknown role",
            "invalid_property",
            j!({"type": "user", "properties": {"role": "boss"}}),
        ),
        of(
            "a negative value of a contract",
            "invalid_property",
            j!({"type": "contract", "name": "started", "properties": {"mrr": -1}}),
        ),
        of(
            "a currency that is none",
            "invalid_property",
            j!({"type": "contract", "name": "started", "properties": {"currency": "yens"}}),
        ),
        of(
            "half a seat",
            "invalid_property",
            j!({"type": "account", "properties": {"seats": 1.5}}),
        ),
        of(
            "an event of 40 KB",
            "event_too_large",
            j!({"properties": {"text": "x".repeat(40_000)}}),
        ),
        json(
            "a segment call without an account",
            "missing_field",
            r#"{"type":"track","event":"X","messageId":"m"}"#,
        ),
        json(
            "a segment call without an id",
            "missing_field",
            r#"{"type":"track","event":"X","context":{"groupId":"a"}}"#,
        ),
        json(
            "a track of nothing",
            "missing_field",
            r#"{"type":"track","messageId":"m","context":{"groupId":"a"}}"#,
        ),
        json(
            "a page without a name",
            "missing_field",
            r#"{"type":"page","messageId":"m","context":{"groupId":"a"}}"#,
        ),
        json(
            "an unknown segment call",
            "invalid_type",
            r#"{"type":"dance","messageId":"m"}"#,
        ),
        json(
            "an identify of nobody",
            "missing_field",
            r#"{"type":"identify","messageId":"m","context":{"groupId":"a"}}"#,
        ),
        json(
            "an alias of nobody before",
            "missing_field",
            r#"{"type":"alias","messageId":"m","userId":"u","context":{"groupId":"a"}}"#,
        ),
        json(
            "a segment time that is none",
            "invalid_timestamp",
            r#"{"type":"track","event":"X","messageId":"m","timestamp":"noon","context":{"groupId":"a"}}"#,
        ),
        json(
            "a segment context that is none",
            "invalid_type",
            r#"{"type":"track","event":"X","messageId":"m","context":"a"}"#,
        ),
        json(
            "traits that are none",
            "properties_not_object",
            r#"{"type":"group","messageId":"m","groupId":"a","traits":[1]}"#,
        ),
        json(
            "cloudevents 0.3",
            "unknown_format",
            r#"{"specversion":"0.3","id":"c","type":"login","subject":"a"}"#,
        ),
        json(
            "a cloudevent without an id",
            "missing_field",
            r#"{"specversion":"1.0","type":"login","subject":"a","time":"2026-11-22T01:02:03Z"}"#,
        ),
        json(
            "a cloudevent without a type",
            "missing_field",
            r#"{"specversion":"1.0","id":"c","subject":"a"}"#,
        ),
        json(
            "a cloudevent without an account",
            "missing_field",
            r#"{"specversion":"1.0","id":"c","type":"login","time":"2026-11-22T01:02:03Z"}"#,
        ),
        json(
            "a cloudevent without a time",
            "missing_field",
            r#"{"specversion":"1.0","id":"c","type":"login","subject":"a"}"#,
        ),
        json(
            "a cloudevent with data in base64",
            "properties_not_object",
            r#"{"specversion":"1.0","id":"c","type":"login","subject":"a","data_base64":"AA=="}"#,
        ),
        binary(
            "a binary cloudevent without an id",
            "missing_field",
            &[("ce_id", b"")],
            b"{}",
        ),
        binary(
            "a binary cloudevent whose type is not utf-8",
            "not_utf8",
            &[("ce_type", b"\xff")],
            b"{}",
        ),
        binary(
            "a binary cloudevent of another version",
            "unknown_format",
            &[("ce_specversion", b"2.0")],
            b"{}",
        ),
        binary(
            "a binary cloudevent of xml",
            "unknown_format",
            &[("content-type", b"text/xml")],
            b"<a/>",
        ),
        binary(
            "a binary cloudevent whose data are no json",
            "not_json",
            &[],
            b"<a/>",
        ),
        binary(
            "a binary cloudevent whose data are a list",
            "properties_not_object",
            &[],
            b"[1]",
        ),
    ];
    for (what, payload, reason) in [
        ("bytes that are no text", b"\xff\xfe\x00".as_slice(), "not_utf8"),
        ("latin-1", b"{\"event_id\":\"\xe9\"}", "not_utf8"),
        ("zlib", b"\x78\x9c\x03\x00\x00\x00\x00\x01", "not_utf8"),
        (
            "avro of a schema registry",
            b"\x00\x00\x00\x00\x01\x02a",
            "not_json",
        ),
    ] {
        table.push(Malformed {
            what,
            payload: payload.to_vec(),
            headers: Vec::new(),
            reason,
        });
    }
    table
}
