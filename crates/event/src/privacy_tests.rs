//! What is taken out of events and of rejected originals.

use super::*;

const KEY: &[u8] = b"a key of twenty bytes";

fn privacy(pseudonymise: &[&str], drop: &[&str]) -> Privacy {
    let fields = |fields: &[&str]| fields.iter().map(|field| (*field).to_owned()).collect();
    let config = PrivacyConfig {
        pseudonymise: fields(pseudonymise),
        drop: fields(drop),
        ..PrivacyConfig::default()
    };
    Privacy::new(&config, KEY).unwrap().unwrap()
}

fn redacted(privacy: &Privacy, payload: &str) -> String {
    String::from_utf8(privacy.redact(payload.as_bytes(), false).unwrap().into_owned()).unwrap()
}

#[test]
fn a_pseudonym_is_the_keyed_hash_and_a_second_time_the_same() {
    let privacy = privacy(&["user_id"], &[]);
    // printf u-17 | openssl dgst -sha256 -hmac 'a key of twenty bytes'
    let expected = "p1_aac73ab221d65a4d9b8713a2ea4b6bbd2758048d69f303519345d13bd8b3e776";
    assert_eq!(privacy.pseudonym("u-17"), expected);
    assert_eq!(privacy.pseudonym(expected), expected);
    assert_ne!(privacy.pseudonym("p1_short"), "p1_short");
}

#[test]
fn what_is_not_named_keeps_its_order_digits_and_doubles() {
    let privacy = privacy(&["properties.contact.email"], &["properties.ip"]);
    let text = r#"{"event_id":"1","n":1.0e+05,"n":2,"properties":{"z":1,"ip":"1.2.3.4","contact":[{"email":"a@x"},{"phone":3}],"a":123456789012345678901234567890}}"#;
    let email = privacy.pseudonym("a@x");
    let expected = format!(
        r#"{{"event_id":"1","n":1.0e+05,"n":2,"properties":{{"z":1,"contact":[{{"email":"{email}"}},{{"phone":3}}],"a":123456789012345678901234567890}}}}"#
    );
    assert_eq!(redacted(&privacy, text), expected);
    assert_eq!(redacted(&privacy, &expected), expected);
    let untouched = r#" {"a" : 1} "#;
    assert_eq!(redacted(&privacy, untouched), untouched);
}

#[test]
fn the_user_is_found_in_every_format_and_in_batches() {
    let privacy = privacy(&["user_id"], &["properties.email"]);
    for text in [
        r#"{"user_id":"SECRET","properties":{"email":"SECRET"}}"#,
        r#"{"type":"identify","userId":"SECRET","traits":{"email":"SECRET"},"context":{"traits":{"email":"SECRET"}}}"#,
        r#"{"type":"alias","previousId":"SECRET","userId":"SECRET"}"#,
        r#"{"specversion":"1.0","data":{"user_id":"SECRET","email":["SECRET"]}}"#,
        r#"{"batch":[{"userId":"SECRET","properties":{"email":"SECRET"}}]}"#,
        r#"[{"user_id":"SECRET"},[{"user_id":"SECRET"}]]"#,
        r#"{"\u0075ser_id":"SECRET"}"#,
    ] {
        let kept = redacted(&privacy, text);
        assert!(!kept.contains("SECRET"), "{kept}");
    }
    let data = privacy
        .redact(br#"{"user_id":"SECRET","email":"SECRET"}"#, true)
        .unwrap();
    assert!(!String::from_utf8_lossy(&data).contains("SECRET"));
}

#[test]
fn a_name_with_a_dot_is_found_and_values_of_every_kind_are_hidden() {
    let privacy = privacy(&["properties.a.b", "properties.v"], &[]);
    for properties in [
        r#"{"a.b":"S"}"#,
        r#"{"a":{"b":"S"}}"#,
        r#"{"v":["S",{"x":"S"},7]}"#,
    ] {
        let kept = redacted(&privacy, &format!(r#"{{"properties":{properties}}}"#));
        assert!(
            !kept.contains('S') && !kept.contains('7') || kept.contains("p1_"),
            "{kept}"
        );
        assert!(!kept.contains("\"S\""), "{kept}");
    }
    assert_eq!(
        redacted(&privacy, r#"{"properties":{"v":null}}"#),
        r#"{"properties":{"v":null}}"#
    );
}

#[test]
fn what_cannot_be_read_is_kept_or_not_as_configured() {
    let mut privacy = privacy(&["user_id"], &[]);
    for broken in [
        b"{ not json".as_slice(),
        b"\xff",
        b"{\"user_id\":\"x\"} tail",
        b"",
    ] {
        privacy.unreadable = Unreadable::Keep;
        assert_eq!(privacy.redact(broken, false).as_deref(), Some(broken));
        privacy.unreadable = Unreadable::Drop;
        assert_eq!(privacy.redact(broken, false), None);
    }
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let refused = |pseudonymise: &str, drop: &str, key: &[u8]| {
        let list = |field: &str| {
            if field.is_empty() {
                Vec::new()
            } else {
                vec![field.to_owned()]
            }
        };
        let config = PrivacyConfig {
            pseudonymise: list(pseudonymise),
            drop: list(drop),
            ..PrivacyConfig::default()
        };
        Privacy::new(&config, key).map(drop_it).unwrap_err().to_string()
    };
    fn drop_it(_: Option<Privacy>) {}
    assert!(refused("user_id", "", b"short").contains("16 bytes"));
    assert!(refused("user_id", "user_id", KEY).contains("twice"));
    assert!(refused("account_id", "", KEY).contains("account_id"));
    assert!(refused("properties.score", "", KEY).contains("free text"));
    assert!(refused("", "properties.ticket_id", KEY).contains("cannot do without"));
    assert!(refused("properties.a..b", "", KEY).contains("empty"));
    assert!(Privacy::new(&PrivacyConfig::default(), b"").unwrap().is_none());
}
