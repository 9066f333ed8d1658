//! What bytes from outside can reach, as functions that fuzzers call.
//!
//! Each target takes any bytes, and panics when something that must hold does not. The same functions are
//! run by `cargo fuzz`, which looks for new ways through the code, and by the test `bounded`, which takes
//! some seconds on stable Rust and also watches time and memory. The README tells how.

#![allow(clippy::expect_used, reason = "a target fails by panicking")]

pub mod account;
pub mod clickhouse;
pub mod collector;
pub mod configuration;
pub mod decode;
pub mod http;
pub mod kafka;
pub mod mutate;
mod network;
mod protobuf;
pub mod rules;
mod seeds;
pub mod wire;

// The command is no library: these two are its own files.
#[allow(dead_code, reason = "the command uses more of it")]
#[path = "../../../crates/mimamori/src/config.rs"]
mod config;
#[allow(dead_code, reason = "the command uses more of it")]
#[path = "../../../crates/mimamori/src/locate.rs"]
mod locate;

use std::path::{Path, PathBuf};

/// One way in.
pub struct Target {
    /// The name of the target, of its folder in `corpus` and of its file in `cargo-fuzz`.
    pub name: &'static str,
    /// Runs one input; returns what kind of answer it got, of which there are not too many.
    pub run: fn(&[u8]) -> String,
    /// Inputs that are made rather than kept in `corpus`.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The file in `dictionaries`.
    pub dictionary: &'static str,
    /// The most bytes of memory that an input may take on the way.
    pub most_memory: usize,
    /// Kinds of answers that corpus and seeds must reach, so that the target is known to get through.
    pub must_reach: &'static [&'static str],
}

const MIB: usize = 1 << 20;

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "native",
        run: decode::native,
        seeds: seeds::payloads,
        dictionary: "event",
        most_memory: 4 * MIB,
        must_reach: &[
            "accepted login",
            "accepted feature",
            "accepted milestone",
            "accepted account",
            "accepted user",
            "accepted contract",
            "accepted ticket",
            "accepted survey",
            "accepted engagement",
            "accepted action",
            "accepted error",
        ],
    },
    Target {
        name: "segment",
        run: decode::segment,
        seeds: Vec::new,
        dictionary: "event",
        most_memory: 4 * MIB,
        must_reach: &[
            "accepted login",
            "accepted feature",
            "accepted user",
            "accepted account",
        ],
    },
    Target {
        name: "cloudevents",
        run: decode::cloudevents,
        seeds: Vec::new,
        dictionary: "event",
        most_memory: 4 * MIB,
        must_reach: &["accepted login", "accepted feature"],
    },
    Target {
        name: "segment_batch",
        run: collector::segment_batch,
        seeds: Vec::new,
        dictionary: "collector",
        most_memory: 8 * MIB,
        must_reach: &["accepted feature", "accepted user", "accepted account"],
    },
    Target {
        name: "collector_request",
        run: collector::collector_request,
        seeds: Vec::new,
        dictionary: "collector",
        most_memory: 64 * MIB,
        must_reach: &[
            "200 accepted some ",
            "200 accepted some not_json",
            "400 accepted none not_json",
            "413 body-too-large",
            "415 unknown-encoding",
        ],
    },
    Target {
        name: "event_record",
        run: wire::event_record,
        seeds: seeds::event_records,
        dictionary: "protobuf",
        most_memory: 4 * MIB,
        must_reach: &["read feature", "read contract"],
    },
    Target {
        name: "alert_record",
        run: wire::alert_record,
        seeds: seeds::alert_records,
        dictionary: "protobuf",
        most_memory: 4 * MIB,
        must_reach: &["read with a payload"],
    },
    Target {
        name: "account_state",
        run: account::account_state,
        seeds: seeds::states,
        dictionary: "protobuf",
        most_memory: 16 * MIB,
        must_reach: &["read, must be folded again: false"],
    },
    Target {
        name: "account_life",
        run: account::account_life,
        seeds: seeds::lives,
        dictionary: "event",
        most_memory: 16 * MIB,
        must_reach: &["folded 3 and evaluated 1"],
    },
    Target {
        name: "configuration",
        run: configuration::configuration,
        seeds: seeds::configurations,
        dictionary: "toml",
        most_memory: 32 * MIB,
        must_reach: &["holds"],
    },
    Target {
        name: "rules",
        run: rules::rules,
        seeds: seeds::rules,
        dictionary: "cel",
        most_memory: 32 * MIB,
        must_reach: &["holds"],
    },
    Target {
        name: "http",
        run: http::http,
        seeds: Vec::new,
        dictionary: "http",
        most_memory: 16 * MIB,
        must_reach: &[
            "HTTP/1.1 200 OK",
            "HTTP/1.1 400 Bad Request",
            "HTTP/1.1 503 Service Unavailable",
        ],
    },
    Target {
        name: "kafka_request",
        run: kafka::kafka_request,
        seeds: seeds::kafka::requests,
        dictionary: "kafka",
        most_memory: 64 * MIB,
        must_reach: &[],
    },
    Target {
        name: "kafka_records",
        run: kafka::kafka_records,
        seeds: Vec::new,
        dictionary: "kafka",
        most_memory: 64 * MIB,
        must_reach: &["error 0", "error 87"],
    },
    Target {
        name: "clickhouse_request",
        run: clickhouse::clickhouse_request,
        seeds: seeds::clickhouse_requests,
        dictionary: "clickhouse",
        most_memory: 64 * MIB,
        must_reach: &["read SELECT", "read INSERT"],
    },
];

/// The folder of this package.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

impl Target {
    /// The target of that name.
    pub fn named(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// The inputs that are kept, by file name.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn corpus(&self) -> std::io::Result<Vec<(String, Vec<u8>)>> {
        let mut inputs = Vec::new();
        for entry in std::fs::read_dir(folder().join("corpus").join(self.name))? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            inputs.push((name, std::fs::read(&path)?));
        }
        inputs.sort();
        Ok(inputs)
    }

    /// The words of the target's dictionary, which has the form of libFuzzer's: a word in quotes a line.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn words(&self) -> std::io::Result<Vec<Vec<u8>>> {
        let file = folder()
            .join("dictionaries")
            .join(format!("{}.dict", self.dictionary));
        let text = std::fs::read_to_string(file)?;
        Ok(text.lines().filter_map(word).collect())
    }
}

/// The word of a line; `None` for an empty one or a comment.
fn word(line: &str) -> Option<Vec<u8>> {
    let quoted = line.trim().strip_prefix('"')?.strip_suffix('"')?;
    let mut word = Vec::new();
    let mut rest = quoted.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            word.push(*first);
            continue;
        }
        match after {
            [b'x', high, low, rest_of_it @ ..] => {
                let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
                word.push(digit(*high) << 4 | digit(*low));
                rest = rest_of_it;
            }
            [escaped, rest_of_it @ ..] => {
                word.push(*escaped);
                rest = rest_of_it;
            }
            [] => {}
        }
    }
    Some(word)
}
