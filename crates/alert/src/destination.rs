//! The destinations, one file a kind, all with the same rooms: `Settings` are what is configured,
//! `render` makes requests of a canonical body and nothing else, `send` makes them and says what the
//! answers mean.
//!
//! A delivery is kept and tried again as its canonical body; each kind renders it at the moment of
//! sending. An attempt of any kind ends within `timeout_seconds`, with an [`Answer`].

pub(crate) mod email;
pub(crate) mod http;
mod hubspot;
pub(crate) mod message;
mod pagerduty;
mod salesforce;
mod slack;
mod webhook;
pub(crate) mod words;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::address::Guard;
use crate::clock::Clock;
use crate::config::{Destination, DestinationProblem, Endpoint, Kind};
use crate::outcome::Answer;
use crate::telling::{Language, Telling};
use http::Http;
use message::{Message, Style};

/// What is sent in one attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parcel<'a> {
    pub alert_id: &'a str,
    /// The canonical body.
    pub body: &'a str,
    /// What the receiver called the first message of the episode, when there was one before.
    pub reference: Option<&'a str>,
}

/// Something that makes one attempt to deliver a body.
pub(crate) trait Transport: Send + Sync + 'static {
    /// Sends a parcel and says what came back. Always ends, within a deadline.
    fn send(&self, parcel: Parcel<'_>) -> impl Future<Output = Answer> + Send;

    /// Whether it does something else with a later change when it knows what the receiver called the
    /// first message of the episode.
    fn wants_reference(&self) -> bool {
        false
    }
}

/// What would be sent, for people to see, or why nothing can be.
pub(crate) type Preview = Result<Vec<Value>, String>;

/// What is configured of a destination, by its kind.
#[derive(Debug, Clone)]
pub(crate) enum Settings {
    Webhook(webhook::Settings),
    Slack(slack::Settings),
    Pagerduty(pagerduty::Settings),
    Hubspot(hubspot::Settings),
    Salesforce(salesforce::Settings),
    Email(email::Settings),
}

impl Settings {
    pub fn read(destination: &Destination) -> Result<Settings, DestinationProblem> {
        Ok(match destination.kind {
            Kind::Webhook => Settings::Webhook(webhook::Settings::read(destination)?),
            Kind::Slack => Settings::Slack(slack::Settings::read(destination)?),
            Kind::Pagerduty => Settings::Pagerduty(pagerduty::Settings::read(destination)?),
            Kind::Hubspot => Settings::Hubspot(hubspot::Settings::read(destination)?),
            Kind::Salesforce => Settings::Salesforce(salesforce::Settings::read(destination)?),
            Kind::Email => Settings::Email(email::Settings::read(destination)?),
        })
    }

    /// The host that is spoken to.
    pub fn host(&self) -> &str {
        let url = match self {
            Settings::Webhook(settings) => &settings.url,
            Settings::Slack(settings) => &settings.url,
            Settings::Pagerduty(settings) => &settings.url,
            Settings::Hubspot(settings) => &settings.url,
            Settings::Salesforce(settings) => &settings.url,
            Settings::Email(settings) => return &settings.host,
        };
        url.host_str().unwrap_or_default()
    }

    /// Whether whoever is on the way can read the alerts.
    pub fn is_in_the_clear(&self) -> bool {
        match self {
            Settings::Webhook(settings) => settings.url.scheme() == "http",
            Settings::Slack(settings) => settings.url.scheme() == "http",
            Settings::Pagerduty(settings) => settings.url.scheme() == "http",
            Settings::Hubspot(settings) => settings.url.scheme() == "http",
            Settings::Salesforce(settings) => settings.url.scheme() == "http",
            Settings::Email(settings) => settings.allow_plain,
        }
    }
}

/// What all senders need besides their endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    pub telling: Arc<Telling>,
    pub retry_after_cap: Duration,
    pub clock: Clock,
}

/// How a destination wants messages put.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    language: Language,
    telling: Arc<Telling>,
}

impl Manner {
    pub(crate) fn read(&self, parcel: Parcel<'_>) -> Result<Message, String> {
        let style = Style {
            language: self.language,
            telling: &self.telling,
        };
        Message::read(parcel.alert_id, parcel.body, style)
    }
}

/// The transport of any kind.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one for each destination, which stays where it is made"
)]
pub(crate) enum Sender {
    Webhook(webhook::Webhook),
    Slack(slack::Slack),
    Pagerduty(pagerduty::Pagerduty),
    Hubspot(hubspot::Hubspot),
    Salesforce(salesforce::Salesforce),
    Email(email::Email),
}

impl Sender {
    pub fn new(endpoint: &Endpoint, means: &Means) -> Result<Sender, reqwest::Error> {
        Sender::with_guard(endpoint, means, Guard::new(endpoint.allow_private_addresses))
    }

    pub(crate) fn with_guard(
        endpoint: &Endpoint,
        means: &Means,
        guard: Guard,
    ) -> Result<Sender, reqwest::Error> {
        let manner = Manner {
            language: endpoint.language,
            telling: Arc::clone(&means.telling),
        };
        let http = |guard| Http::new(endpoint, guard, means.retry_after_cap, means.clock.clone());
        Ok(match endpoint.settings.clone() {
            Settings::Webhook(settings) => Sender::Webhook(webhook::Webhook::new(settings, http(guard)?)),
            Settings::Slack(settings) => Sender::Slack(slack::Slack::new(settings, manner, http(guard)?)),
            Settings::Pagerduty(settings) => {
                Sender::Pagerduty(pagerduty::Pagerduty::new(settings, manner, http(guard)?))
            }
            Settings::Hubspot(settings) => {
                Sender::Hubspot(hubspot::Hubspot::new(settings, manner, http(guard)?))
            }
            Settings::Salesforce(settings) => {
                Sender::Salesforce(salesforce::Salesforce::new(settings, manner, http(guard)?))
            }
            Settings::Email(settings) => Sender::Email(email::Email::new(
                settings,
                manner,
                guard,
                endpoint.timeout,
                means.clock.clone(),
            )),
        })
    }

    /// What would be sent.
    pub fn preview(&self, parcel: Parcel<'_>) -> Preview {
        match self {
            Sender::Webhook(sender) => sender.preview(parcel),
            Sender::Slack(sender) => sender.preview(parcel),
            Sender::Pagerduty(sender) => sender.preview(parcel),
            Sender::Hubspot(sender) => sender.preview(parcel),
            Sender::Salesforce(sender) => sender.preview(parcel),
            Sender::Email(sender) => sender.preview(parcel),
        }
    }
}

impl Transport for Sender {
    async fn send(&self, parcel: Parcel<'_>) -> Answer {
        let answered = match self {
            Sender::Webhook(sender) => sender.send(parcel).await,
            Sender::Slack(sender) => sender.send(parcel).await,
            Sender::Pagerduty(sender) => sender.send(parcel).await,
            Sender::Hubspot(sender) => sender.send(parcel).await,
            Sender::Salesforce(sender) => sender.send(parcel).await,
            Sender::Email(sender) => sender.send(parcel).await,
        };
        answered.unwrap_or_else(|unanswered| unanswered)
    }

    fn wants_reference(&self) -> bool {
        match self {
            Sender::Slack(sender) => sender.wants_reference(),
            Sender::Hubspot(sender) => sender.wants_reference(),
            _ => false,
        }
    }
}

#[cfg(test)]
#[path = "destination/faults_tests.rs"]
mod faults_tests;
