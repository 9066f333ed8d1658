//! The door: what every event goes through on its way in, whatever brought it.

use std::borrow::Cow;

use crate::config::{ConfigError, DecoderConfig};
use crate::decode::{Decoder, Format, is_binary_cloudevent};
use crate::model::Event;
use crate::plan::{PlanConfig, Plans, Violations};
use crate::privacy::{Privacy, PrivacyConfig};
use crate::rejection::Rejection;

/// Decoding, the tracking plan and privacy, in this order: the one entry for Kafka records and HTTP
/// bodies alike.
///
/// ```
/// use event::{DecoderConfig, Door, PrivacyConfig};
///
/// let privacy = PrivacyConfig { pseudonymise: vec!["user_id".into()], ..PrivacyConfig::default() };
/// let door = Door::new(DecoderConfig::default(), &[], &privacy, b"a key of 16 bytes or more")?;
/// let payload = br#"{"event_id":"1","account_id":"acme","user_id":"u-17","type":"login","occurred_at":1795309323004}"#;
///
/// let taken = door.take(payload, &[], 1_795_309_324_000, "web");
/// assert!(taken.violations.is_empty());
/// assert!(taken.event?.user_id.unwrap().starts_with("p1_"));
///
/// // What may be kept of it, if it had been rejected.
/// let kept = door.kept(payload, &[]).unwrap();
/// assert!(!String::from_utf8_lossy(&kept).contains("u-17"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Door {
    decoder: Decoder,
    plans: Option<Plans>,
    privacy: Option<Privacy>,
}

/// What became of an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// The event as it goes on, or why it does not.
    pub event: Result<Event, Rejection>,
    /// How it differs from the tracking plan, where that is only counted; empty for a rejected one.
    pub violations: Violations,
}

impl Door {
    /// A door with these rules. `key` is the key of the pseudonyms, read from its file if the
    /// configuration names one.
    ///
    /// # Errors
    /// Names the field that cannot be used.
    pub fn new(
        decoder: DecoderConfig,
        plans: &[PlanConfig],
        privacy: &PrivacyConfig,
        key: &[u8],
    ) -> Result<Door, ConfigError> {
        Ok(Door {
            decoder: Decoder::new(decoder)?,
            plans: Plans::new(plans)?,
            privacy: Privacy::new(privacy, key)?,
        })
    }

    /// Takes one event in. The parameters are those of [`Decoder::decode`]; the tracking plan is that of
    /// `source`.
    pub fn take(
        &self,
        payload: &[u8],
        headers: &[(&str, &[u8])],
        received_at_ms: i64,
        source: &str,
    ) -> Taken {
        let mut violations = Violations::default();
        let decoded = self.decoder.decode(payload, headers, received_at_ms, source);
        let planned = decoded.and_then(|event| {
            if let Some(plans) = &self.plans {
                violations = plans.check(&event)?;
            }
            Ok(event)
        });
        let event = planned.map(|mut event| {
            if let Some(privacy) = &self.privacy {
                privacy.apply(&mut event);
            }
            event
        });
        Taken { event, violations }
    }

    /// What may be kept of the bytes of a rejected input; nothing when none of them may.
    ///
    /// The fields of [`PrivacyConfig`] are taken out where the formats have them. What is not JSON is
    /// kept or not by [`PrivacyConfig::unreadable`].
    pub fn kept<'p>(&self, payload: &'p [u8], headers: &[(&str, &[u8])]) -> Option<Cow<'p, [u8]>> {
        match &self.privacy {
            Some(privacy) => privacy.redact(payload, is_binary_cloudevent(headers)),
            None => Some(Cow::Borrowed(payload)),
        }
    }

    /// Whether fields are dropped or replaced, so that a rejected input must not be kept with its key
    /// and with headers that nobody reads.
    pub fn is_private(&self) -> bool {
        self.privacy.is_some()
    }

    /// Which format a payload is taken for; see [`Decoder::format`].
    pub fn format(&self, payload: &[u8], headers: &[(&str, &[u8])]) -> Option<Format> {
        self.decoder.format(payload, headers)
    }
}
