//! What the benches of the core work on: payloads in each format, and an account with a typical life.

use event::{Decoder, DecoderConfig, Event, EventType};
use health::{Account, HealthConfig, Mode, Model, SegmentBaselines};

/// When the benches take place: 2026-03-02T12:00:00Z.
pub const NOW: i64 = 1_772_452_800_000;
/// Users of a typical account.
pub const USERS: u64 = 10;
/// Days that it has lived.
pub const DAYS: i64 = 90;
/// Features that it uses.
pub const FEATURES: u64 = 20;
/// Events that it has on each day.
pub const EVENTS_A_DAY: i64 = 20;

const MS_PER_DAY: i64 = 86_400_000;

/// Native JSON of 220 bytes, as products send it.
pub const NATIVE: &str = r#"{"event_id":"9e3779b97f4a7c15-000001","account_id":"account-000017","user_id":"user-000017-3","type":"feature","name":"report.export","occurred_at":"2026-03-02T11:59:58.123Z","properties":{"duration_ms":812,"device":"desktop"}}"#;

/// A message as Segment's library for the browser sends it.
pub const SEGMENT: &str = r#"{"type":"track","event":"Report Exported","messageId":"ajs-next-1772452798123-2e8f4a37-41cb-4b43-a0a4-f6d0eb8ac1f2","userId":"user-000017-3","anonymousId":"5c1f2a90-7a3a-4d57-9f0b-0c8a2f3d4e5f","timestamp":"2026-03-02T11:59:58.123Z","sentAt":"2026-03-02T11:59:58.456Z","context":{"groupId":"account-000017","library":{"name":"analytics.js","version":"npm:next-1.70.0"},"locale":"ja-JP","page":{"path":"/reports/17","referrer":"","search":"","title":"Reports","url":"https://app.example.com/reports/17"},"timezone":"Asia/Tokyo","userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"},"integrations":{},"properties":{"format":"pdf","duration_ms":812}}"#;

/// A structured CloudEvent.
pub const CLOUD_EVENT: &str = r#"{"specversion":"1.0","id":"9e3779b97f4a7c15-000001","source":"/reports","type":"report.export","subject":"user-000017-3","time":"2026-03-02T11:59:58.123Z","datacontenttype":"application/json","data":{"account_id":"account-000017","user_id":"user-000017-3","duration_ms":812}}"#;

/// The decoder with its default configuration.
pub fn decoder() -> Decoder {
    Decoder::new(DecoderConfig::default()).expect("the default configuration is right")
}

/// The model with its default configuration, its rules among it.
pub fn model() -> Model {
    Model::new(HealthConfig::default()).expect("the default configuration is right")
}

/// Event `number` of the life of an account; the last one is [`life_length`] less one.
pub fn event(account: u32, number: i64) -> Event {
    let mut rng = fastrand::Rng::with_seed(u64::from(account) << 32 | number as u64);
    let place = number * MS_PER_DAY / EVENTS_A_DAY + rng.i64(0..MS_PER_DAY / EVENTS_A_DAY);
    let is_login = rng.u8(..5) == 0;
    let occurred_at = NOW - DAYS * MS_PER_DAY + place;
    Event {
        event_id: format!("{:016x}-{number:06}", rng.u64(..)),
        account_id: format!("account-{account:06}"),
        user_id: Some(format!("user-{account:06}-{}", rng.u64(..USERS))),
        event_type: if is_login {
            EventType::Login
        } else {
            EventType::Feature
        },
        name: match is_login {
            true => "login".to_owned(),
            false => format!("feature.{:02}", rng.u64(..FEATURES)),
        },
        occurred_at,
        received_at: occurred_at + 300,
        source: "usage.events".to_owned(),
        properties: r#"{"duration_ms":812,"device":"desktop"}"#.to_owned(),
    }
}

/// How many events a typical account has had.
pub fn life_length() -> i64 {
    DAYS * EVENTS_A_DAY
}

/// An account that has lived, evaluated once an hour or so towards the end.
pub fn account(number: u32, model: &Model) -> Account {
    let mut account = Account::new(&format!("account-{number:06}"));
    for place in 0..life_length() {
        account.fold(&event(number, place), place, model);
    }
    account.forget_ids(model);
    account.evaluate(NOW, Mode::Live, 0, &SegmentBaselines::default(), model);
    account.clear_outbox();
    account
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_payload_is_an_event() {
        let decoder = decoder();
        for payload in [NATIVE, SEGMENT, CLOUD_EVENT] {
            let event = decoder.decode(payload.as_bytes(), &[], NOW, "test").unwrap();
            assert_eq!(event.account_id, "account-000017", "{payload}");
        }
        assert!((215..=230).contains(&NATIVE.len()), "{}", NATIVE.len());
    }

    #[test]
    fn a_typical_account_is_scored() {
        let model = model();
        let evaluation = account(1, &model).assess(NOW, &SegmentBaselines::default(), &model);
        assert!(evaluation.scores.health.is_some());
        assert_eq!(evaluation.metrics.active_users_28d, 10);
    }
}
