//! One mail over one connection, and what the server's answers mean.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_native_tls::TlsConnector;

use super::Settings;
use crate::address::Guard;
use crate::outcome::{self, Answer, Verdict};

/// The most bytes that a server may say in one conversation, its certificates included.
const READ_LIMIT: usize = 256 * 1024;

/// How long the farewell may take once the mail is accepted.
const FAREWELL: Duration = Duration::from_secs(1);

/// The most characters of an answer that are recorded.
const EXCERPT: usize = 200;

/// What ended a conversation before the mail was accepted.
enum Failure {
    Network(String),
    Server(Error),
    /// What the next attempt may find otherwise.
    Unusable(String),
    /// What another attempt cannot help.
    Refused(String),
}

/// Sends a mail. The deadline is that of everything up to its acceptance.
pub(super) async fn deliver(
    settings: &Settings,
    guard: &Guard,
    patience: Duration,
    mail: &lettre::Message,
) -> Result<Answer, Answer> {
    let deadline = Instant::now() + patience;
    let conversation = converse(settings, guard, deadline, mail);
    let (mut connection, accepted) = match timeout_at(deadline, conversation).await {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(failure)) => return Err(judge(failure)),
        Err(_) => {
            let waited = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
            return Err(Answer::TimedOut(waited));
        }
    };
    // The mail is theirs; whether they say goodbye does not matter.
    let _farewell = timeout(FAREWELL, connection.quit()).await;
    let said = accepted.first_line().unwrap_or_default();
    Ok(Answer::Judged {
        status: None,
        verdict: Verdict::Delivered,
        reference: outcome::excerpt(said.as_bytes(), EXCERPT),
    })
}

async fn converse(
    settings: &Settings,
    guard: &Guard,
    deadline: Instant,
    mail: &lettre::Message,
) -> Result<(AsyncSmtpConnection, Response), Failure> {
    let (stream, peer) = connect(settings, guard, deadline).await?;
    // Of the client's own names the sender's domain is the one that means something to the server.
    let hello = ClientId::Domain(settings.from.email.domain().to_string());
    let mut connection = if settings.is_tls {
        let encrypted = encrypt(settings, stream).await?;
        let stream = Box::new(Capped::new(encrypted, peer));
        AsyncSmtpConnection::connect_with_transport(stream, &hello).await?
    } else {
        let stream = Box::new(Capped::new(stream, peer));
        let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &hello).await?;
        if connection.can_starttls() {
            connection.starttls(tls_parameters(settings)?, &hello).await?;
        } else if !settings.allow_plain {
            return Err(Failure::Unusable(
                "the mail server offers no STARTTLS: use smtps, or set allow_plain if that is meant"
                    .to_string(),
            ));
        }
        connection
    };
    if let Some((user, password)) = &settings.login {
        let credentials = Credentials::new(user.as_str().to_string(), password.as_str().to_string());
        let mechanisms = [Mechanism::Plain, Mechanism::Login];
        connection.auth(&mechanisms, &credentials).await?;
    }
    let accepted = connection.send(mail.envelope(), &mail.formatted()).await?;
    Ok((connection, accepted))
}

/// A connection to the first of the permitted addresses that answers; each has its share of the time.
async fn connect(
    settings: &Settings,
    guard: &Guard,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), Failure> {
    let found = guard.addresses(&settings.host, settings.port).await;
    let addresses = found.map_err(|error| Failure::Network(error.to_string()))?;
    let mut failure = "the name of the mail server leads to no address".to_string();
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => failure = error.to_string(),
            Err(_) => failure = "the connection could not be opened in time".to_string(),
        }
    }
    Err(Failure::Network(failure))
}

async fn encrypt(
    settings: &Settings,
    stream: TcpStream,
) -> Result<tokio_native_tls::TlsStream<TcpStream>, Failure> {
    let unusable = |error: native_tls::Error| Failure::Network(format!("TLS: {error}"));
    let mut connector = native_tls::TlsConnector::builder();
    if let Some(authority) = &settings.authority {
        let authority = native_tls::Certificate::from_pem(authority.as_bytes()).map_err(unusable)?;
        connector.add_root_certificate(authority);
    }
    let connector = TlsConnector::from(connector.build().map_err(unusable)?);
    connector
        .connect(bare(&settings.host), stream)
        .await
        .map_err(unusable)
}

fn tls_parameters(settings: &Settings) -> Result<TlsParameters, Error> {
    let mut parameters = TlsParameters::builder(bare(&settings.host).to_string());
    if let Some(authority) = &settings.authority {
        parameters = parameters.add_root_certificate(Certificate::from_pem(authority.as_bytes())?);
    }
    parameters.build()
}

/// A host as it stands in a certificate: an IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        if error.is_client() {
            // Such as an address that the server cannot take, or a login that it does not offer.
            return Failure::Refused(innermost(&error));
        }
        Failure::Server(error)
    }
}

fn judge(failure: Failure) -> Answer {
    let verdict = match failure {
        Failure::Network(reason) => return Answer::Broken(reason),
        Failure::Server(error) => {
            let said = match error.status() {
                Some(code) => format!("the mail server answered {code}: {}", innermost(&error)),
                None => return Answer::Broken(innermost(&error)),
            };
            let error_text = outcome::excerpt(said.as_bytes(), EXCERPT * 2);
            if error.is_permanent() {
                Verdict::Failed { error: error_text }
            } else {
                Verdict::Retry {
                    error: error_text,
                    not_before: None,
                    hold: false,
                }
            }
        }
        Failure::Unusable(error) => Verdict::Retry {
            error,
            not_before: None,
            hold: false,
        },
        Failure::Refused(error) => Verdict::Failed { error },
    };
    Answer::Judged {
        status: None,
        verdict,
        reference: String::new(),
    }
}

/// The innermost cause, which is what people can act on.
fn innermost(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    outcome::excerpt(text.as_bytes(), EXCERPT)
}

/// A stream that ends with an error once too much was read of it.
#[derive(Debug)]
struct Capped<S> {
    stream: S,
    peer: SocketAddr,
    left: usize,
}

impl<S> Capped<S> {
    fn new(stream: S, peer: SocketAddr) -> Capped<S> {
        Capped {
            stream,
            peer,
            left: READ_LIMIT,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug> AsyncTokioStream for Capped<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Capped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other("the mail server says too much")));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Capped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
