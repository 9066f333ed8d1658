//! Who may write, and as which source. The keys stand in ClickHouse as hashes; what is known of them here
//! is read anew every few seconds, and stays as it is while ClickHouse is away.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use store::{Store, WriteKeyRow};
use tracing::{info, warn};
use uuid::Uuid;

use super::meter::{Exceeded, Meter};
use super::now_ms;
use super::refusal::Refusal;
use crate::keys::{KeyDigest, digest, is_equal};

const MS_PER_DAY: i64 = 86_400_000;
/// Sources are labels of metrics and a column of the events.
const MAX_SOURCE_BYTES: usize = 64;
/// Events that came without a key are of this source.
const NO_SOURCE: &str = "http";

/// Where a write key is to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKeyKind {
    /// On servers: a request that a web page sends with it is refused, since it must not be in one.
    Server,
    /// In web pages and apps, where anybody can read it.
    Browser,
}

impl WriteKeyKind {
    /// As it stands in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            WriteKeyKind::Server => "server",
            WriteKeyKind::Browser => "browser",
        }
    }
}

/// A write key that was just made: the only time at which it can be seen.
pub struct NewWriteKey {
    /// What the client is to send.
    pub key: String,
    /// What is to be stored.
    pub row: WriteKeyRow,
}

impl fmt::Debug for NewWriteKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("NewWriteKey")
            .field(&self.row.key_id)
            .finish()
    }
}

impl NewWriteKey {
    /// A key for `source`, whose events a second and a day are bounded (0 = not).
    ///
    /// # Errors
    /// Says what is wrong with the source's name.
    pub fn make(
        source: &str,
        kind: WriteKeyKind,
        rate_limit: u32,
        daily_quota: u64,
        created_at: i64,
    ) -> Result<NewWriteKey, String> {
        let usable = !source.is_empty()
            && source.len() <= MAX_SOURCE_BYTES
            && source
                .chars()
                .all(|char| char.is_alphanumeric() || "-_.:/".contains(char));
        if !usable {
            return Err(format!(
                "source {source:?}: give 1 to {MAX_SOURCE_BYTES} bytes of letters, digits and - _ . : /"
            ));
        }
        let key_id = Uuid::new_v4().simple().to_string()[..12].to_owned();
        // Two random UUIDs: 244 bits that nobody can guess.
        let secret = [Uuid::new_v4(), Uuid::new_v4()].map(|uuid| uuid.simple().to_string());
        let key = format!("mwk_{key_id}_{}", secret.concat());
        let row = WriteKeyRow {
            key_hash: format!("{:x}", Sha256::digest(key.as_bytes())),
            key_id,
            version: u64::try_from(created_at).unwrap_or(0),
            source: source.to_owned(),
            kind: kind.as_str().to_owned(),
            rate_limit,
            daily_quota,
            created_at,
            revoked_at: None,
        };
        Ok(NewWriteKey { key, row })
    }
}

/// A key that is in force.
pub(super) struct WriteKey {
    digest: KeyDigest,
    source: Arc<str>,
    is_browser: bool,
    rate: u32,
    quota: u64,
    /// Stays the same when the keys are read anew.
    meter: Arc<Mutex<Meter>>,
}

/// Who sends: a key's owner, or anybody on this machine.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) source: Arc<str>,
    key: Option<Arc<WriteKey>>,
}

impl Writer {
    fn anybody() -> Writer {
        Writer {
            source: Arc::from(NO_SOURCE),
            key: None,
        }
    }

    fn meter<T>(&self, ask: impl FnOnce(&WriteKey, &mut Meter) -> T) -> Option<T> {
        let key = self.key.as_ref()?;
        let mut meter = key.meter.lock().unwrap_or_else(PoisonError::into_inner);
        Some(ask(key, &mut meter))
    }

    /// Lets so many events through, or says when to come again, in milliseconds.
    pub(super) fn admit(&self, events: u64) -> Result<(), Exceeded> {
        self.meter(|key, meter| meter.admit(key.rate, key.quota, events, now_ms()))
            .unwrap_or(Ok(()))
    }

    /// Takes back events that did not become accepted ones.
    pub(super) fn give_back(&self, events: u64) {
        self.meter(|_, meter| meter.give_back(events));
    }
}

impl From<Exceeded> for Refusal {
    fn from(exceeded: Exceeded) -> Refusal {
        let seconds = |ms: i64| u64::try_from(ms).unwrap_or(0).div_ceil(1_000).max(1);
        match exceeded {
            Exceeded::Rate(wait) => Refusal::Rate(seconds(wait)),
            Exceeded::Quota(wait) => Refusal::Quota(seconds(wait)),
        }
    }
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, Arc<WriteKey>>,
    /// A key has been made, be it in force or not.
    any_ever: bool,
}

#[derive(Default)]
pub(super) struct WriteKeys {
    /// `None` until they were read once.
    known: RwLock<Option<Arc<Known>>>,
    /// Whoever reaches the address may write while there has never been a key.
    may_be_open: bool,
}

impl WriteKeys {
    pub(super) fn new(may_be_open: bool) -> WriteKeys {
        WriteKeys {
            known: RwLock::default(),
            may_be_open,
        }
    }

    fn known(&self) -> Option<Arc<Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a key is not needed.
    pub(super) fn is_open(&self) -> Result<bool, Refusal> {
        let known = self.known().ok_or(Refusal::KeysUnread)?;
        Ok(self.may_be_open && !known.any_ever)
    }

    /// Who presents this key; `from_page` tells that a web page does.
    pub(super) fn admit(&self, presented: &str, from_page: bool) -> Result<Writer, Refusal> {
        let known = self.known().ok_or(Refusal::KeysUnread)?;
        if self.may_be_open && !known.any_ever {
            // SDKs cannot be told to send none.
            return Ok(Writer::anybody());
        }
        let presented = digest(presented);
        let mut found = None;
        for key in known.keys.values() {
            if is_equal(&key.digest, &presented) {
                found = Some(key.clone());
            }
        }
        let Some(key) = found else {
            return Err(Refusal::KeyWanted(
                "the write key is not one that is in force: mimamori keys list tells which are",
            ));
        };
        if from_page && !key.is_browser {
            return Err(Refusal::Forbidden(
                "a write key for servers came from a web page, where anybody can read it: revoke it, and \
                 make one with mimamori keys create --kind browser"
                    .to_owned(),
            ));
        }
        Ok(Writer {
            source: key.source.clone(),
            key: Some(key),
        })
    }

    /// Who presents none.
    pub(super) fn admit_without(&self) -> Result<Writer, Refusal> {
        if self.is_open()? {
            return Ok(Writer::anybody());
        }
        Err(Refusal::KeyWanted(
            "send a write key: as the user of Basic authentication, as Bearer, or as writeKey in the body; \
             mimamori keys create makes one",
        ))
    }

    /// Takes over what the table holds now.
    pub(super) fn take_over(&self, rows: Vec<WriteKeyRow>, accepted: &HashMap<String, u64>) {
        let before = self.known();
        let now = now_ms();
        let mut known = Known {
            any_ever: !rows.is_empty(),
            ..Known::default()
        };
        for row in rows.into_iter().filter(|row| row.revoked_at.is_none()) {
            let Some(digest) = digest_of(&row.key_hash) else {
                warn!(
                    key_id = row.key_id,
                    "a write key's hash is not one of SHA-256; it admits nobody"
                );
                continue;
            };
            let old = before.as_ref().and_then(|before| before.keys.get(&row.key_id));
            let meter = old.map(|old| old.meter.clone());
            let accepted = accepted.get(&row.source).copied().unwrap_or(0);
            let key = WriteKey {
                digest,
                source: Arc::from(row.source.as_str()),
                is_browser: row.kind == WriteKeyKind::Browser.as_str(),
                rate: row.rate_limit,
                quota: row.daily_quota,
                meter: meter
                    .unwrap_or_else(|| Arc::new(Mutex::new(Meter::new(row.rate_limit, accepted, now)))),
            };
            known.keys.insert(row.key_id, Arc::new(key));
        }
        let in_force = known.keys.len();
        if before.is_none_or(|before| before.keys.len() != in_force) {
            info!(in_force, "write keys read");
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(known));
    }

    /// Reads the keys; of those that are new and have a quota also what of it is used up today.
    pub(super) async fn refresh(&self, store: &Store) -> Result<(), store::Error> {
        let rows = store.write_keys().await?;
        let before = self.known();
        let is_new = |row: &&WriteKeyRow| {
            let old = before
                .as_ref()
                .is_some_and(|before| before.keys.contains_key(&row.key_id));
            row.revoked_at.is_none() && row.daily_quota > 0 && !old
        };
        let sources: Vec<String> = rows.iter().filter(is_new).map(|row| row.source.clone()).collect();
        let today = now_ms().div_euclid(MS_PER_DAY) * MS_PER_DAY;
        let accepted = store.events_of_sources(&sources, today).await?;
        let accepted = accepted
            .into_iter()
            .map(|found| (found.source, found.events))
            .collect();
        self.take_over(rows, &accepted);
        Ok(())
    }
}

fn digest_of(hexadecimal: &str) -> Option<KeyDigest> {
    if hexadecimal.len() != 64 || !hexadecimal.is_ascii() {
        return None;
    }
    let mut digest = KeyDigest::default();
    for (byte, pair) in digest.iter_mut().zip(hexadecimal.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(kind: WriteKeyKind) -> NewWriteKey {
        NewWriteKey::make("web", kind, 0, 0, 1_000).unwrap()
    }

    fn knowing(rows: Vec<WriteKeyRow>, may_be_open: bool) -> WriteKeys {
        let keys = WriteKeys::new(may_be_open);
        keys.take_over(rows, &HashMap::new());
        keys
    }

    #[test]
    fn only_a_key_in_force_is_admitted_and_only_its_hash_is_stored() {
        let (one, mut gone) = (made(WriteKeyKind::Server), made(WriteKeyKind::Server));
        assert!(!format!("{:?}", one.row).contains(&one.key));
        gone.row.revoked_at = Some(2_000);
        let keys = knowing(vec![one.row, gone.row], true);
        assert_eq!(&*keys.admit(&one.key, false).unwrap().source, "web");
        for wrong in ["", "x", &one.key[..one.key.len() - 1], &gone.key] {
            assert!(
                matches!(keys.admit(wrong, false), Err(Refusal::KeyWanted(_))),
                "{wrong}"
            );
        }
        assert!(matches!(keys.admit_without(), Err(Refusal::KeyWanted(_))));
    }

    #[test]
    fn without_any_key_only_what_may_be_open_is() {
        assert_eq!(
            &*knowing(Vec::new(), true).admit_without().unwrap().source,
            "http"
        );
        assert!(knowing(Vec::new(), false).admit_without().is_err());
        assert!(matches!(
            WriteKeys::new(true).admit_without(),
            Err(Refusal::KeysUnread)
        ));
        let mut gone = made(WriteKeyKind::Server).row;
        gone.revoked_at = Some(1);
        assert!(
            knowing(vec![gone], true).admit_without().is_err(),
            "a revoked key does not open the door"
        );
    }

    #[test]
    fn a_servers_key_is_refused_from_a_web_page() {
        let (server, browser) = (made(WriteKeyKind::Server), made(WriteKeyKind::Browser));
        let keys = knowing(vec![server.row, browser.row], false);
        assert!(matches!(
            keys.admit(&server.key, true),
            Err(Refusal::Forbidden(_))
        ));
        assert!(keys.admit(&browser.key, true).is_ok());
    }

    #[test]
    fn what_was_used_up_stays_so_when_the_keys_are_read_anew() {
        let key = NewWriteKey::make("s", WriteKeyKind::Server, 0, 10, 1_000).unwrap();
        let keys = WriteKeys::new(false);
        keys.take_over(vec![key.row.clone()], &HashMap::from([("s".to_owned(), 6)]));
        keys.admit(&key.key, false).unwrap().admit(3).unwrap();
        keys.take_over(vec![key.row], &HashMap::new());
        let writer = keys.admit(&key.key, false).unwrap();
        assert!(writer.admit(1).is_ok());
        assert!(matches!(writer.admit(2), Err(Exceeded::Quota(_))));
    }

    #[test]
    fn a_source_that_is_no_name_is_refused() {
        for source in ["", "two words", "a\nb", &"x".repeat(65)] {
            let error = NewWriteKey::make(source, WriteKeyKind::Server, 0, 0, 0).unwrap_err();
            assert!(error.contains("source"), "{error}");
        }
    }
}
