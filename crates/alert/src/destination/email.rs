//! Mail by SMTP: text and HTML, in one thread for each episode.
//!
//! The server's name is looked up and the connection opened to an address that the destination may have;
//! the certificate must be one of the name that is configured. A connection that cannot be encrypted is
//! not used, unless that is permitted. Every header is made by `lettre` of parts that were parsed or are
//! one line, so that nothing that comes from outside can add one.
//!
//! The first message of an episode has the episode's id for its `Message-ID`, the others that of their
//! alert, and refer to the first: mail programs need no more to keep them together.

mod page;
mod smtp;

use std::time::{Duration, SystemTime};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, MultiPartKind, SinglePart};
use reqwest::Url;
use serde_json::json;
use sha2::{Digest, Sha256};

pub(crate) use page::escape;

use super::message::{Message, Subject};
use super::words;
use super::{Manner, Parcel, Preview};
use crate::address::Guard;
use crate::clock::Clock;
use crate::config::{Credential, Destination, DestinationProblem, credential, resolve};
use crate::outcome::{Answer, Verdict};

/// The port of submission, and of submission over TLS.
const PORT: u16 = 587;
const TLS_PORT: u16 = 465;

/// The most characters of a subject.
const SUBJECT: usize = 200;

/// Stands for the owner of the account among the recipients.
const OWNER: &str = "{owner}";

/// The server, the login, and who writes to whom.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub host: String,
    port: u16,
    /// From the first byte on, not by STARTTLS.
    is_tls: bool,
    pub allow_plain: bool,
    /// PEM of a further authority.
    authority: Option<String>,
    login: Option<(Credential, Credential)>,
    from: Mailbox,
    to: Vec<Recipient>,
}

#[derive(Debug, Clone, PartialEq)]
enum Recipient {
    Owner,
    Always(Mailbox),
}

impl Settings {
    pub fn read(destination: &Destination) -> Result<Settings, DestinationProblem> {
        let refuse = |field: &'static str, problem: &str| Err(DestinationProblem::field(field, problem));
        let example = "give an address such as smtps://mail.example or smtp://mail.example:587";
        let url: Url = destination.checked_url(destination.url.trim(), &["smtps", "smtp"], example)?;
        if !url.username().is_empty() || url.password().is_some() || !matches!(url.path(), "" | "/") {
            return refuse(
                "url",
                "is the server and its port alone: user and password have keys of their own",
            );
        }
        let is_tls = url.scheme() == "smtps";
        if is_tls && destination.allow_plain {
            return refuse("allow_plain", "contradicts smtps: remove it");
        }
        let login = match (destination.user.is_empty(), destination.password.is_empty()) {
            (true, true) => None,
            (false, false) => Some((
                credential("user", &destination.user)?,
                credential("password", &destination.password)?,
            )),
            _ => return refuse("user", "goes together with password: give both or neither"),
        };
        let mailbox = |field: &'static str, text: &str| {
            text.parse::<Mailbox>().map_err(|error| {
                DestinationProblem::field(
                    field,
                    format!("{text:?} is not an address such as alerts@cs.example: {error}"),
                )
            })
        };
        if destination.to.is_empty() {
            return refuse("to", "names nobody: give addresses, or {owner}");
        }
        let mut to = Vec::with_capacity(destination.to.len());
        for text in &destination.to {
            to.push(match text.trim() {
                OWNER => Recipient::Owner,
                text => Recipient::Always(mailbox("to", text)?),
            });
        }
        let authority = match destination.ca_file.as_str() {
            "" => None,
            path => Some(resolve("ca_file", &format!("file:{path}"))?),
        };
        Ok(Settings {
            host: url.host_str().unwrap_or_default().to_string(),
            port: url.port().unwrap_or(if is_tls { TLS_PORT } else { PORT }),
            is_tls,
            allow_plain: destination.allow_plain,
            authority,
            login,
            from: mailbox("from", &destination.from)?,
            to,
        })
    }

    /// The mail that tells of a message, written at this time, in milliseconds.
    ///
    /// # Errors
    /// When there is nobody to write to.
    pub fn render(&self, message: &Message, now: i64) -> Result<lettre::Message, String> {
        let id = |id: &str| format!("<{}@{}>", plain_id(id), self.from.email.domain());
        let written = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now).unwrap_or(0));
        let mut mail = lettre::Message::builder()
            .from(self.from.clone())
            .subject(words::cut(&words::one_line(&message.title), SUBJECT))
            .date(written)
            // Whoever is away does not answer a machine.
            .raw_header(raw("Auto-Submitted", "auto-generated"))
            .raw_header(raw("X-Mimamori-Alert", &plain_id(&message.alert_id)));
        for recipient in self.recipients(message)? {
            mail = mail.to(recipient);
        }
        let is_later = matches!(
            message.subject,
            Subject::Escalated | Subject::Acknowledged | Subject::Ended
        );
        mail = if message.episode_id.is_empty() || !(is_later || message.subject == Subject::Opened) {
            mail.message_id(Some(id(&message.alert_id)))
        } else if is_later {
            mail.message_id(Some(id(&message.alert_id)))
                .in_reply_to(id(&message.episode_id))
                .references(id(&message.episode_id))
        } else {
            mail.message_id(Some(id(&message.episode_id)))
        };
        let hash = Sha256::digest(message.alert_id.as_bytes());
        let boundary: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let parts = MultiPart::builder()
            .kind(MultiPartKind::Alternative)
            .boundary(boundary)
            .singlepart(SinglePart::plain(page::text(message)))
            .singlepart(SinglePart::html(page::html(message)));
        mail.multipart(parts)
            .map_err(|error| format!("no mail can be made of it: {error}"))
    }

    fn recipients(&self, message: &Message) -> Result<Vec<Mailbox>, String> {
        let mut recipients: Vec<Mailbox> = Vec::new();
        for recipient in &self.to {
            let found = match recipient {
                Recipient::Always(mailbox) => Some(mailbox.clone()),
                Recipient::Owner => message.owner.as_ref().and_then(|(name, owner)| {
                    let address = owner.email.parse().ok()?;
                    Some(Mailbox::new(Some(words::one_line(name)), address))
                }),
            };
            if let Some(found) = found
                && !recipients.iter().any(|known| known.email == found.email)
            {
                recipients.push(found);
            }
        }
        if recipients.is_empty() {
            return Err(match &message.owner {
                Some((name, _)) => format!("nobody to write to: alert.owners.{name:?} has no email"),
                None => "nobody to write to: it has no owner, and `to` names nobody else".to_string(),
            });
        }
        Ok(recipients)
    }
}

/// An id that can stand before the @ of a `Message-ID`.
fn plain_id(id: &str) -> String {
    let is_plain = (1..=100).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !id.starts_with('.')
        && !id.ends_with('.')
        && !id.contains("..");
    if is_plain {
        return id.to_string();
    }
    let hash = Sha256::digest(id.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A header of ours, whose value is plain.
fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_string())
}

/// Sends mail.
#[derive(Debug)]
pub(crate) struct Email {
    settings: Settings,
    manner: Manner,
    guard: Guard,
    timeout: Duration,
    clock: Clock,
}

impl Email {
    pub fn new(settings: Settings, manner: Manner, guard: Guard, timeout: Duration, clock: Clock) -> Email {
        Email {
            settings,
            manner,
            guard,
            timeout,
            clock,
        }
    }

    fn render(&self, parcel: Parcel<'_>) -> Result<lettre::Message, String> {
        self.settings.render(&self.manner.read(parcel)?, self.clock.now())
    }

    pub fn preview(&self, parcel: Parcel<'_>) -> Preview {
        let mail = self.render(parcel)?;
        let to: Vec<String> = mail.envelope().to().iter().map(ToString::to_string).collect();
        let message = self.manner.read(parcel)?;
        Ok(vec![json!({
            "server": format!("{}:{}", self.settings.host, self.settings.port),
            "from": self.settings.from.email.to_string(), "to": to,
            "subject": message.title,
            "text": page::text(&message),
        })])
    }

    pub async fn send(&self, parcel: Parcel<'_>) -> Result<Answer, Answer> {
        let mail = self.render(parcel).map_err(|error| Answer::Judged {
            status: None,
            verdict: Verdict::Failed { error },
            reference: String::new(),
        })?;
        smtp::deliver(&self.settings, &self.guard, self.timeout, &mail).await
    }
}

#[cfg(test)]
#[path = "email/tests.rs"]
mod tests;
