//! Who may ask. Keys are kept and compared as digests of equal length, each comparison reading all of
//! both, so that the time an answer takes tells nothing about a key.

use sha2::{Digest, Sha256};

use crate::config::ApiKey;
use crate::server::Error;

pub(crate) type KeyDigest = [u8; 32];

#[derive(Clone)]
pub(crate) struct ApiKeys {
    digests: Vec<KeyDigest>,
}

impl ApiKeys {
    /// The keys that the configuration gives, those in files read.
    pub(crate) fn read(configured: &[ApiKey]) -> Result<ApiKeys, Error> {
        let mut digests = Vec::new();
        for key in configured {
            let Some(path) = key.expose().strip_prefix("file:") else {
                digests.push(checked(key.expose(), "api_keys")?);
                continue;
            };
            let text = std::fs::read_to_string(path).map_err(|source| Error::KeyFile {
                path: path.to_string(),
                source,
            })?;
            let keys: Vec<&str> = text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .collect();
            if keys.is_empty() {
                return Err(Error::UnusableKey(format!("{path} holds no key")));
            }
            for key in keys {
                digests.push(checked(key, path)?);
            }
        }
        Ok(ApiKeys { digests })
    }

    /// Whether nobody needs a key.
    pub(crate) fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Whether `presented` is one of the keys.
    pub(crate) fn admit(&self, presented: &str) -> bool {
        let presented = digest(presented);
        let mut admitted = false;
        for known in &self.digests {
            admitted |= is_equal(known, &presented);
        }
        admitted
    }
}

fn checked(key: &str, place: &str) -> Result<KeyDigest, Error> {
    let usable = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    if usable {
        Ok(digest(key))
    } else {
        Err(Error::UnusableKey(format!(
            "a key in {place} is empty or holds a blank or a letter that is not ASCII"
        )))
    }
}

pub(crate) fn digest(key: &str) -> KeyDigest {
    Sha256::digest(key.as_bytes()).into()
}

pub(crate) fn is_equal(one: &KeyDigest, other: &KeyDigest) -> bool {
    let mut difference = 0;
    for (a, b) in one.iter().zip(other) {
        difference |= a ^ b;
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_is_admitted() {
        let keys = ApiKeys::read(&[ApiKey::new("first"), ApiKey::new("second")]).unwrap();
        assert!(keys.admit("first") && keys.admit("second"));
        for wrong in ["", "firs", "firstt", "First", "third"] {
            assert!(!keys.admit(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_file_holds_one_key_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, "one\n\n  two \n").unwrap();
        let keys = ApiKeys::read(&[ApiKey::new(format!("file:{}", path.display()))]).unwrap();
        assert!(keys.admit("one") && keys.admit("two"));
        assert!(!keys.admit(""));
    }

    #[test]
    fn a_key_that_cannot_be_sent_is_refused_and_a_file_that_is_missing_is_named() {
        for key in ["", "two words", "鍵"] {
            assert!(matches!(
                ApiKeys::read(&[ApiKey::new(key)]),
                Err(Error::UnusableKey(_))
            ));
        }
        let error = ApiKeys::read(&[ApiKey::new("file:/nowhere/keys")]).err().unwrap();
        assert!(error.to_string().contains("/nowhere/keys"), "{error}");
    }
}
