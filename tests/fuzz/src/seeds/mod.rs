//! Inputs that are made rather than kept: what synthetic customers send, and the states that accounts grow
//! into. They follow the layouts of today by themselves.

pub(crate) mod kafka;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::OnceLock;

use event::{Event, wire};
use health::{Account, Mode, SegmentBaselines, shipped_rules};
use prost::Message;
use serde_json::Value;
use simulate::Kind;

use crate::account::model;
use crate::decode::{RECEIVED_AT, strict};

/// Accounts that are simulated, and for how long; few, since every test run makes them.
const ACCOUNTS: usize = 8;
const MONTHS: u32 = 2;

struct Simulated {
    /// Payloads, each account's events one after the other.
    payloads: BTreeMap<String, Vec<Vec<u8>>>,
    events: Vec<Event>,
}

fn simulated() -> &'static Simulated {
    static SIMULATED: OnceLock<Simulated> = OnceLock::new();
    SIMULATED.get_or_init(|| {
        let config = simulate::Config {
            accounts: ACCOUNTS,
            months: MONTHS,
            until_ms: RECEIVED_AT,
            malformed: 0.01,
            ..simulate::Config::default()
        };
        let mut simulated = Simulated {
            payloads: BTreeMap::new(),
            events: Vec::new(),
        };
        for emission in simulate::simulate(&config).expect("the configuration holds") {
            if emission.kind == Kind::Event {
                let event = strict()
                    .decode(&emission.payload, &[], emission.arrives_at, "usage.events")
                    .expect("what customers send is accepted");
                simulated.events.push(event);
            }
            simulated
                .payloads
                .entry(emission.account_id)
                .or_default()
                .push(emission.payload);
        }
        simulated
    })
}

/// A few of each account's records, the malformed among them.
pub(crate) fn payloads() -> Vec<Vec<u8>> {
    let of_each = |payloads: &'static Vec<Vec<u8>>| payloads.iter().step_by(97).take(20).cloned();
    simulated().payloads.values().flat_map(of_each).collect()
}

/// The first lines of each account's life, and a stretch from its middle.
pub(crate) fn lives() -> Vec<Vec<u8>> {
    let mut lives = Vec::new();
    for payloads in simulated().payloads.values() {
        for from in [0, payloads.len() / 2] {
            let mut lines = payloads[from..].iter().take(20).cloned().collect::<Vec<_>>();
            lines.insert(lines.len() / 2, b"evaluate".to_vec());
            lives.push(lines.join(&b'\n'));
        }
    }
    lives
}

/// Records of `mimamori.events`.
pub(crate) fn event_records() -> Vec<Vec<u8>> {
    let written = |event: &Event| {
        let mut record = Vec::new();
        wire::encode(event, &mut record);
        record
    };
    simulated()
        .events
        .iter()
        .step_by(41)
        .take(100)
        .map(written)
        .collect()
}

/// States of accounts, young and old.
pub(crate) fn states() -> Vec<Vec<u8>> {
    let mut states = Vec::new();
    for account_id in simulated().payloads.keys() {
        let own = simulated()
            .events
            .iter()
            .filter(|event| event.account_id == *account_id);
        let all: Vec<&Event> = own.collect();
        for events in [&all[..all.len().min(5)], &all[..all.len() / 8], &all[..]] {
            states.push(grown(account_id, events).encode(model()));
        }
    }
    states
}

/// Records of `mimamori.alerts`: what is told of the simulated accounts.
pub(crate) fn alert_records() -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for account_id in simulated().payloads.keys() {
        let own = simulated()
            .events
            .iter()
            .filter(|event| event.account_id == *account_id);
        let account = grown(account_id, &own.collect::<Vec<_>>());
        records.extend(account.outbox().iter().map(Message::encode_to_vec));
    }
    records
}

/// An account with a past, for rules to look at.
pub(crate) fn accounts() -> &'static [Account] {
    static GROWN: OnceLock<Vec<Account>> = OnceLock::new();
    GROWN.get_or_init(|| {
        let mut accounts = vec![Account::new("empty")];
        for account_id in simulated().payloads.keys().take(2) {
            let own = simulated()
                .events
                .iter()
                .filter(|event| event.account_id == *account_id);
            accounts.push(grown(account_id, &own.collect::<Vec<_>>()));
        }
        accounts
    })
}

fn grown(account_id: &str, events: &[&Event]) -> Account {
    let mut account = Account::new(account_id);
    for (event, offset) in events.iter().zip(0..) {
        account.fold(event, offset, model());
        if account.must_recount() {
            account.recount(events[..=offset as usize].iter().copied(), model());
        }
    }
    let segments = SegmentBaselines::default();
    account.evaluate(RECEIVED_AT, Mode::Live, RECEIVED_AT, &segments, model());
    account
}

/// Every rule that ships, in the form of the target `rules`.
pub(crate) fn rules() -> Vec<Vec<u8>> {
    let parts = |rule: health::RuleConfig| {
        let message = rule.message.map(|message| message.en).unwrap_or_default();
        [
            rule.when,
            rule.clear.unwrap_or_default(),
            rule.escalate.unwrap_or_default(),
            message,
        ]
    };
    let written = |parts: [String; 4]| parts.join("\n\n").trim_end().as_bytes().to_vec();
    shipped_rules().into_iter().map(parts).map(written).collect()
}

/// The defaults, whole and each section by itself.
pub(crate) fn configurations() -> Vec<Vec<u8>> {
    let defaults = toml::to_string(&crate::config::Config::default()).expect("the defaults can be shown");
    let sections: BTreeMap<String, Value> = toml::from_str(&defaults).expect("what is shown can be read");
    let mut texts = vec![defaults];
    for section in sections {
        let alone = BTreeMap::from([section]);
        texts.push(toml::to_string(&alone).expect("a section can be shown"));
    }
    texts.into_iter().map(String::into_bytes).collect()
}

/// Bodies of the embedded ClickHouse in each of its encodings, in the form of the target
/// `clickhouse_request`.
pub(crate) fn clickhouse_requests() -> Vec<Vec<u8>> {
    let insert = "INSERT INTO t (a, b) FORMAT TabSeparated\n1\t2\n".repeat(3);
    let insert = insert.as_bytes();

    let compressed = lz4_flex::block::compress(insert);
    let mut block = vec![0; 16];
    block.push(0x82);
    block.extend((compressed.len() as u32 + 9).to_le_bytes());
    block.extend((insert.len() as u32).to_le_bytes());
    block.extend(compressed);

    let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
    frame.write_all(insert).expect("there is memory");
    let frame = frame.finish().expect("there is memory");

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(insert).expect("there is memory");
    let gzip = gzip.finish().expect("there is memory");

    let request = |head: &str, body: &[u8]| [head.as_bytes(), b"\n\n", body].concat();
    vec![
        request("/?database=default", insert),
        request("/?decompress=1\nchecksum:mend", &block),
        request("/\ncontent-encoding:lz4", &frame),
        request(
            "/?query=INSERT%20INTO%20t%20FORMAT%20Native\ncontent-encoding:gzip",
            &gzip,
        ),
    ]
}
