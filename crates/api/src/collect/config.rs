use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Section `[collector]`: how events are taken in over HTTP. What makes an event acceptable stands in
/// `[ingest]` and holds here too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectorConfig {
    /// Whether the api role takes events at `/v1/`. Default true.
    pub enabled: bool,
    /// Whether events are taken without a write key while the API listens on loopback, needs no API key,
    /// and no write key has ever been made. Default true.
    pub open_on_loopback: bool,
    /// Bytes that the body of a request may have, unpacked; lines and imports have bounds of their own.
    /// Default 512000 (500 KB, as Segment's).
    pub max_batch_bytes: usize,
    /// The same for `/v1/import`. Default 4194304.
    pub max_import_bytes: usize,
    /// Events of a request that may wait for the broker's acknowledgement before more of it are sent. A
    /// stream of lines is read no further meanwhile. Default 2000.
    pub max_request_in_flight: usize,
    /// Records of all requests that wait for the broker's acknowledgement at most. Default 50000.
    pub max_in_flight_records: usize,
    /// Bytes of all requests that are held in memory at most: bodies, unpacked, and what waits for the
    /// broker's acknowledgement. Beyond it requests are answered 503. Default 67108864 (64 MiB).
    pub max_in_flight_bytes: usize,
    /// How long the broker may take to acknowledge what a request sent before the request is answered
    /// 503, in milliseconds. Default 10000.
    pub ack_timeout_ms: u64,
    /// How long the producer waits to fill a batch, in milliseconds: what single events wait at least.
    /// Default 1.
    pub linger_ms: u64,
    /// How long a client may pause while it sends a body, in milliseconds. Default 10000.
    pub read_timeout_ms: u64,
    /// How long a client may take to send a body that is not a stream of lines, in milliseconds. Default
    /// 60000.
    pub body_timeout_ms: u64,
    /// Rejected events that an answer lists at most; further ones are only counted. Default 100.
    pub max_listed_errors: usize,
    /// How often the write keys are read anew, in milliseconds: a new key works and a revoked one ends
    /// within it. Default 5000.
    pub key_refresh_ms: u64,
    /// Which web pages may send events, as browsers name them: `https://app.example`, or `*` for all.
    /// While no key is needed, `*` means pages of this machine alone. Default `*`.
    pub allowed_origins: Vec<String>,
}

impl Default for CollectorConfig {
    fn default() -> CollectorConfig {
        CollectorConfig {
            enabled: true,
            open_on_loopback: true,
            max_batch_bytes: 512_000,
            max_import_bytes: 4 << 20,
            max_request_in_flight: 2_000,
            max_in_flight_records: 50_000,
            max_in_flight_bytes: 64 << 20,
            ack_timeout_ms: 10_000,
            linger_ms: 1,
            read_timeout_ms: 10_000,
            body_timeout_ms: 60_000,
            max_listed_errors: 100,
            key_refresh_ms: 5_000,
            allowed_origins: vec!["*".to_string()],
        }
    }
}

impl CollectorConfig {
    /// Says what cannot be worked with: the field and what would be right.
    pub fn problem(&self) -> Option<String> {
        let bounds = [
            ("max_batch_bytes", self.max_batch_bytes as u64),
            ("max_import_bytes", self.max_import_bytes as u64),
            ("max_request_in_flight", self.max_request_in_flight as u64),
            ("max_in_flight_records", self.max_in_flight_records as u64),
            ("ack_timeout_ms", self.ack_timeout_ms),
            ("read_timeout_ms", self.read_timeout_ms),
            ("body_timeout_ms", self.body_timeout_ms),
            ("key_refresh_ms", self.key_refresh_ms),
        ];
        if let Some((name, _)) = bounds.into_iter().find(|(_, value)| *value == 0) {
            return Some(format!(
                "collector.{name}: 0 would let nothing through: give at least 1"
            ));
        }
        let largest = self.max_batch_bytes.max(self.max_import_bytes);
        if self.max_in_flight_bytes < largest.saturating_mul(2) {
            return Some(format!(
                "collector.max_in_flight_bytes: {} bytes do not hold the largest body twice, as it came and \
                 as it is sent: give at least {}",
                self.max_in_flight_bytes,
                largest.saturating_mul(2)
            ));
        }
        if self.max_in_flight_bytes > u32::MAX as usize || self.max_in_flight_records > u32::MAX as usize {
            return Some(format!(
                "collector.max_in_flight_bytes and max_in_flight_records: give at most {}",
                u32::MAX
            ));
        }
        let odd = self.allowed_origins.iter().find(|origin| {
            let usable = *origin == "*" || (origin.contains("://") && !origin.ends_with('/'));
            !usable || !origin.bytes().all(|byte| byte.is_ascii_graphic())
        });
        odd.map(|origin| {
            format!(
                "collector.allowed_origins: {origin:?} is not an origin: give *, or scheme and host such as \
                 https://app.example"
            )
        })
    }

    pub(super) fn ack_timeout(&self) -> Duration {
        Duration::from_millis(self.ack_timeout_ms)
    }

    pub(super) fn read_timeout(&self) -> Duration {
        Duration::from_millis(self.read_timeout_ms)
    }

    pub(super) fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    pub(super) fn key_refresh(&self) -> Duration {
        Duration::from_millis(self.key_refresh_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_and_what_cannot_is_named() {
        assert_eq!(CollectorConfig::default().problem(), None);
        type Spoil = fn(&mut CollectorConfig);
        let spoilt: [(&str, Spoil); 4] = [
            ("max_batch_bytes", |config| config.max_batch_bytes = 0),
            ("key_refresh_ms", |config| config.key_refresh_ms = 0),
            ("max_in_flight_bytes", |config| {
                config.max_in_flight_bytes = 1_000_000
            }),
            ("allowed_origins", |config| {
                config.allowed_origins = vec!["app.example".into()];
            }),
        ];
        for (name, spoil) in spoilt {
            let mut config = CollectorConfig::default();
            spoil(&mut config);
            let problem = config.problem().unwrap();
            assert!(problem.contains(name), "{problem}");
        }
    }
}
