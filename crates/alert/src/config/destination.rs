//! One of `[[alert.destinations]]`: every key of every kind, and the way to an [`Endpoint`] that can be
//! sent to.
//!
//! What a key means is the affair of its kind (`destination/…`); here is what all have in common, and
//! that no key is set which its kind would not read.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::address::{self, Refused};
use crate::destination::Settings;
use crate::signature::SecretError;
use crate::telling::Language;

/// One of `[[alert.destinations]]`. Values that are secret may be `file:PATH`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Destination {
    /// A name of its own, 1 to 64 of `a-z A-Z 0-9 . _ -`; deliveries are recorded under it. Required.
    pub name: String,
    /// What listens there. Default `webhook`.
    pub kind: Kind,
    /// The language of its messages. Default that of `[alert]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// The address to post to, `https://` or `http://`; of email `smtps://` or `smtp://`. Required but for
    /// slack with a token, pagerduty and hubspot, which have one of their own.
    pub url: String,
    /// Whether the address may lie in a private, loopback or link-local network. Default false.
    pub allow_private_addresses: bool,
    /// Seconds that one attempt may take, the connection included. Default 20.
    pub timeout_seconds: f64,
    /// Attempts under way at one time. Default 16; of slack 1, of email 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// Attempts begun in a second; 0 is no limit. Default 200; of slack 1, of pagerduty 2, of hubspot and
    /// salesforce 10, of email 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// Deliveries that wait in memory; more wait in ClickHouse alone. Default 2000.
    pub queue: usize,
    /// Further headers, such as `Authorization`; a value may be `file:PATH`. Default none.
    pub headers: BTreeMap<String, String>,
    /// An HTTP proxy to go through. It then looks names up itself, so `allow_private_addresses` must be
    /// set. Default none; the environment's proxy is never used.
    pub proxy: String,

    /// webhook: the key to sign with: `whsec_` and base64 of 24 to 64 bytes. Required.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret: String,
    /// webhook: the key before that one, while receivers change over: both sign. Default none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub previous_secret: String,
    /// slack: the token of a bot (`xoxb-…`), in place of an incoming webhook. hubspot and salesforce: the
    /// access token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// slack, with a token: the id of the channel, such as `C0123456789`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub channel: String,
    /// pagerduty: the integration key of an Events API v2 integration, 32 characters. Required.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub routing_key: String,
    /// hubspot: what is made: a custom `event` or a `task`. Default `event`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<HubspotObject>,
    /// hubspot: the full name of the custom event, such as `pe123_account_alert`. salesforce: the platform
    /// event, such as `Account_Alert__e`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub event: String,
    /// hubspot: the id of the record that it is about, a text with placeholders. Default of an event
    /// `{account_id}`, of a task none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object_id: String,
    /// hubspot: the address of the contact that an event is about, in place of `object_id`. Default none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// hubspot: how a task belongs to `object_id`: 192 to a company, 204 to a contact, 216 to a deal.
    /// Default 192.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub association_type: Option<u32>,
    /// salesforce: the version of the API, such as `62.0`. Default `62.0`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// salesforce: the consumer key of an app with the client credentials flow, in place of a token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_id: String,
    /// salesforce: its consumer secret.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_secret: String,
    /// salesforce: where tokens are had. Default `/services/oauth2/token` of `url`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token_url: String,
    /// salesforce: which field of the event holds what: `{ Account__c = "account_id" }`, by the names of
    /// placeholders. Default the eleven fields of docs/destinations.md.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// email: the name to log in with. Default none: no login.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// email: the password to log in with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// email: the sender, such as `mimamori <alerts@cs.example>`. Required.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// email: the recipients; `{owner}` is the owner of the account by `[alert.owners]`. Required.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// email: whether mail may go out in the clear when the server offers no STARTTLS. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_plain: bool,
    /// email: a file, PEM, of a certificate authority that is trusted beside the system's. Default none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ca_file: String,
}

/// What listens at a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Anything that takes Standard Webhooks.
    #[default]
    Webhook,
    /// Slack, by an incoming webhook or as a bot.
    Slack,
    /// PagerDuty's Events API v2.
    Pagerduty,
    /// HubSpot, as custom events or tasks.
    Hubspot,
    /// Salesforce, as platform events.
    Salesforce,
    /// Mail by SMTP.
    Email,
}

impl Kind {
    /// As it is configured.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Webhook => "webhook",
            Kind::Slack => "slack",
            Kind::Pagerduty => "pagerduty",
            Kind::Hubspot => "hubspot",
            Kind::Salesforce => "salesforce",
            Kind::Email => "email",
        }
    }

    fn concurrency(self) -> usize {
        match self {
            Kind::Slack => 1,
            Kind::Email => 4,
            _ => 16,
        }
    }

    fn rate_per_second(self) -> f64 {
        match self {
            Kind::Webhook => 200.0,
            Kind::Slack => 1.0,
            Kind::Pagerduty => 2.0,
            Kind::Hubspot | Kind::Salesforce => 10.0,
            Kind::Email => 5.0,
        }
    }
}

/// What is made in HubSpot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HubspotObject {
    /// An occurrence of a custom event.
    #[default]
    Event,
    /// A task.
    Task,
}

impl Default for Destination {
    fn default() -> Destination {
        Destination {
            name: String::new(),
            kind: Kind::Webhook,
            language: None,
            url: String::new(),
            allow_private_addresses: false,
            timeout_seconds: 20.0,
            concurrency: None,
            rate_per_second: None,
            queue: 2_000,
            headers: BTreeMap::new(),
            proxy: String::new(),
            secret: String::new(),
            previous_secret: String::new(),
            token: String::new(),
            channel: String::new(),
            routing_key: String::new(),
            object: None,
            event: String::new(),
            object_id: String::new(),
            email: String::new(),
            association_type: None,
            version: String::new(),
            client_id: String::new(),
            client_secret: String::new(),
            token_url: String::new(),
            fields: BTreeMap::new(),
            user: String::new(),
            password: String::new(),
            from: String::new(),
            to: Vec::new(),
            allow_plain: false,
            ca_file: String::new(),
        }
    }
}

impl fmt::Debug for Destination {
    /// Secrets and the values of the headers are left out, and so are addresses, which may hold one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("allow_private_addresses", &self.allow_private_addresses)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// What is wrong with a destination.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DestinationProblem {
    /// The name.
    #[error("a name is 1 to 64 of a-z A-Z 0-9 . _ -")]
    Name,
    /// Two have the same name.
    #[error("there are two of that name, give each its own")]
    Twice,
    /// Not an address.
    #[error("url: {0}")]
    Url(String),
    /// An address that it may not have.
    #[error("url: {0}")]
    Address(#[from] Refused),
    /// Not a secret.
    #[error("{field} {problem}")]
    Secret {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: SecretError,
    },
    /// A file that cannot be read.
    #[error("{field}: cannot read {path}: {reason}")]
    File {
        /// The field that names the file.
        field: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A number that is out of its range.
    #[error("{field} must be {range}")]
    Range {
        /// The field.
        field: &'static str,
        /// The permitted range.
        range: &'static str,
    },
    /// A header that cannot be sent or that is ours.
    #[error("header {0:?}: {1}")]
    Header(String, &'static str),
    /// A proxy that cannot be used.
    #[error("proxy: {0}")]
    Proxy(String),
    /// A key that its kind does not read.
    #[error("{field} belongs to kind {kinds}, this one is {kind}: remove it")]
    Misplaced {
        /// The key.
        field: &'static str,
        /// The kinds that read it.
        kinds: &'static str,
        /// The kind of this destination.
        kind: &'static str,
    },
    /// Anything else, by its key.
    #[error("{field}: {problem}")]
    Field {
        /// The key.
        field: &'static str,
        /// What is wrong with it and what to do.
        problem: String,
    },
}

impl DestinationProblem {
    pub(crate) fn field(field: &'static str, problem: impl Into<String>) -> DestinationProblem {
        DestinationProblem::Field {
            field,
            problem: problem.into(),
        }
    }
}

/// A destination that can be sent to.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub name: String,
    pub kind: Kind,
    pub settings: Settings,
    pub language: Language,
    pub allow_private_addresses: bool,
    pub timeout: Duration,
    pub concurrency: usize,
    pub rate_per_second: f64,
    pub queue: usize,
    pub headers: HeaderMap,
    pub proxy: Option<String>,
}

impl Destination {
    /// With everything masked that is not for other eyes than the operator's.
    #[must_use]
    pub fn masked(&self) -> Destination {
        let mask = |secret: &mut String| {
            if !secret.is_empty() && !secret.starts_with("file:") {
                *secret = "***".to_string();
            }
        };
        let mut masked = self.clone();
        for secret in [
            &mut masked.secret,
            &mut masked.previous_secret,
            &mut masked.token,
            &mut masked.routing_key,
            &mut masked.client_secret,
            &mut masked.password,
        ] {
            mask(secret);
        }
        masked.headers.values_mut().for_each(mask);
        if masked.kind == Kind::Slack && masked.token.is_empty() {
            // The address of an incoming webhook is all that it takes to post there.
            mask(&mut masked.url);
        } else if let Ok(mut url) = Url::parse(&masked.url)
            && url.password().is_some()
            && url.set_password(Some("***")).is_ok()
        {
            masked.url = url.to_string();
        }
        masked
    }

    pub(super) fn endpoint(&self, language: Language) -> Result<Endpoint, DestinationProblem> {
        let speaks = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(speaks) {
            return Err(DestinationProblem::Name);
        }
        self.check_places()?;
        let concurrency = self.concurrency.unwrap_or(self.kind.concurrency());
        let rate_per_second = self.rate_per_second.unwrap_or(self.kind.rate_per_second());
        if !(0.01..=300.0).contains(&self.timeout_seconds) {
            return Err(out_of_range("timeout_seconds", "from 0.01 to 300"));
        }
        if !(1..=1_000).contains(&concurrency) {
            return Err(out_of_range("concurrency", "from 1 to 1000"));
        }
        if !(0.0..=1_000_000.0).contains(&rate_per_second) {
            return Err(out_of_range("rate_per_second", "from 0 (no limit) to 1000000"));
        }
        if !(1..=100_000).contains(&self.queue) {
            return Err(out_of_range("queue", "from 1 to 100000"));
        }
        Ok(Endpoint {
            name: self.name.clone(),
            kind: self.kind,
            settings: Settings::read(self)?,
            language: self.language.unwrap_or(language),
            allow_private_addresses: self.allow_private_addresses,
            timeout: Duration::from_secs_f64(self.timeout_seconds),
            concurrency,
            rate_per_second,
            queue: self.queue,
            headers: self.header_map()?,
            proxy: self.proxy_address()?,
        })
    }

    /// No key is set that the kind does not read.
    fn check_places(&self) -> Result<(), DestinationProblem> {
        use Kind::{Email, Hubspot, Pagerduty, Salesforce, Slack, Webhook};
        let http: &[Kind] = &[Webhook, Slack, Pagerduty, Hubspot, Salesforce];
        let keys: [(&'static str, bool, &[Kind], &'static str); 23] = [
            ("secret", !self.secret.is_empty(), &[Webhook], "webhook"),
            (
                "previous_secret",
                !self.previous_secret.is_empty(),
                &[Webhook],
                "webhook",
            ),
            (
                "token",
                !self.token.is_empty(),
                &[Slack, Hubspot, Salesforce],
                "slack, hubspot or salesforce",
            ),
            ("channel", !self.channel.is_empty(), &[Slack], "slack"),
            (
                "routing_key",
                !self.routing_key.is_empty(),
                &[Pagerduty],
                "pagerduty",
            ),
            ("object", self.object.is_some(), &[Hubspot], "hubspot"),
            (
                "event",
                !self.event.is_empty(),
                &[Hubspot, Salesforce],
                "hubspot or salesforce",
            ),
            ("object_id", !self.object_id.is_empty(), &[Hubspot], "hubspot"),
            ("email", !self.email.is_empty(), &[Hubspot], "hubspot"),
            (
                "association_type",
                self.association_type.is_some(),
                &[Hubspot],
                "hubspot",
            ),
            ("version", !self.version.is_empty(), &[Salesforce], "salesforce"),
            (
                "client_id",
                !self.client_id.is_empty(),
                &[Salesforce],
                "salesforce",
            ),
            (
                "client_secret",
                !self.client_secret.is_empty(),
                &[Salesforce],
                "salesforce",
            ),
            (
                "token_url",
                !self.token_url.is_empty(),
                &[Salesforce],
                "salesforce",
            ),
            ("fields", !self.fields.is_empty(), &[Salesforce], "salesforce"),
            ("user", !self.user.is_empty(), &[Email], "email"),
            ("password", !self.password.is_empty(), &[Email], "email"),
            ("from", !self.from.is_empty(), &[Email], "email"),
            ("to", !self.to.is_empty(), &[Email], "email"),
            ("allow_plain", self.allow_plain, &[Email], "email"),
            ("ca_file", !self.ca_file.is_empty(), &[Email], "email"),
            ("headers", !self.headers.is_empty(), http, "any but email"),
            ("proxy", !self.proxy.is_empty(), http, "any but email"),
        ];
        for (field, is_set, kinds, named) in keys {
            if is_set && !kinds.contains(&self.kind) {
                return Err(DestinationProblem::Misplaced {
                    field,
                    kinds: named,
                    kind: self.kind.as_str(),
                });
            }
        }
        Ok(())
    }

    /// The address to post to; `usual` where none is configured.
    pub(crate) fn http_url(&self, usual: &str) -> Result<Url, DestinationProblem> {
        let text = resolve("url", &self.url)?;
        let text = if text.trim().is_empty() {
            usual
        } else {
            text.trim()
        };
        let example = "give an address such as https://cs.example/hooks";
        self.checked_url(text, &["https", "http"], example)
    }

    /// An address of one of these schemes that the destination may have.
    pub(crate) fn checked_url(
        &self,
        text: &str,
        schemes: &[&str],
        example: &str,
    ) -> Result<Url, DestinationProblem> {
        let url = Url::parse(text).map_err(|error| DestinationProblem::Url(format!("{error}: {example}")))?;
        if !schemes.contains(&url.scheme()) {
            return Err(DestinationProblem::Url(format!(
                "{} is not {}",
                url.scheme(),
                schemes.join(" or ")
            )));
        }
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err(DestinationProblem::Url("it names no host".to_string()));
        };
        if !self.allow_private_addresses {
            address::check_literal(host)?;
        }
        Ok(url)
    }

    fn header_map(&self) -> Result<HeaderMap, DestinationProblem> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let refuse = |reason| DestinationProblem::Header(name.clone(), reason);
            let parsed: HeaderName = name.parse().map_err(|_| refuse("is not a header's name"))?;
            if parsed.as_str().starts_with("webhook-") || OWN_HEADERS.contains(&parsed.as_str()) {
                return Err(refuse("is set by mimamori, remove it"));
            }
            let text = resolve("headers", value)?;
            let mut value =
                HeaderValue::from_str(text.trim()).map_err(|_| refuse("its value cannot be sent"))?;
            value.set_sensitive(true);
            headers.insert(parsed, value);
        }
        Ok(headers)
    }

    fn proxy_address(&self) -> Result<Option<String>, DestinationProblem> {
        if self.proxy.is_empty() {
            return Ok(None);
        }
        if !self.allow_private_addresses {
            let reason =
                "it looks names up itself, so the addresses cannot be checked: set allow_private_addresses";
            return Err(DestinationProblem::Proxy(reason.to_string()));
        }
        match Url::parse(&self.proxy) {
            Ok(url) if url.scheme() == "http" && url.has_host() => Ok(Some(self.proxy.clone())),
            _ => Err(DestinationProblem::Proxy(
                "give an address such as http://proxy.example:3128".to_string(),
            )),
        }
    }
}

/// What the request itself decides.
const OWN_HEADERS: [&str; 7] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "user-agent",
];

fn out_of_range(field: &'static str, range: &'static str) -> DestinationProblem {
    DestinationProblem::Range { field, range }
}

/// The text itself, or that of the file which `file:PATH` names.
pub(crate) fn resolve(field: &'static str, text: &str) -> Result<String, DestinationProblem> {
    match text.strip_prefix("file:") {
        None => Ok(text.to_string()),
        Some(path) => std::fs::read_to_string(path).map_err(|reason| DestinationProblem::File {
            field,
            path: path.to_string(),
            reason,
        }),
    }
}

/// A secret that goes into a header: the text or that of its file, which must not be empty.
pub(crate) fn credential(field: &'static str, text: &str) -> Result<Credential, DestinationProblem> {
    let text = resolve(field, text)?.trim().to_string();
    if text.is_empty() {
        return Err(DestinationProblem::field(
            field,
            "is required, or file:PATH of it",
        ));
    }
    if text
        .chars()
        .any(|letter| letter.is_control() || !letter.is_ascii())
    {
        return Err(DestinationProblem::field(field, "holds what cannot be sent"));
    }
    Ok(Credential(text))
}

/// A secret that a destination is given, printable ASCII. Not printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential(String);

impl Credential {
    /// The secret itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `Bearer` and the secret, as a header that is not printed.
    pub fn bearer(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0))
            .expect("printable ASCII can be sent in a header");
        value.set_sensitive(true);
        value
    }

    /// A token that a server gave out, if it can be sent.
    pub fn given_out(text: &str) -> Option<Credential> {
        let is_plain = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        is_plain.then(|| Credential(text.to_string()))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
#[path = "destination_tests.rs"]
mod tests;
