//! A mail server on loopback that misbehaves as told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_native_tls::TlsAcceptor;

use super::PATIENCE;

/// How the server treats one connection.
#[derive(Debug, Clone)]
pub enum Treatment {
    /// Takes the mail.
    Accept,
    /// Answers a command, or `.` for the mail itself, with this line.
    Answer(&'static str, &'static str),
    /// Says nothing.
    Hang,
    /// The connection breaks after the greeting.
    Reset,
    /// A byte of the greeting every 20 ms.
    Drip,
    /// A greeting without end.
    Flood,
}

/// A mail as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub data: String,
    pub is_encrypted: bool,
    /// The `AUTH` command, if there was one.
    pub login: String,
}

impl Mail {
    /// A header, its lines joined.
    pub fn header(&self, name: &str) -> String {
        let (head, _) = self.data.split_once("\r\n\r\n").unwrap();
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let prefix = format!("{}: ", name.to_lowercase());
        let mut found = unfolded
            .lines()
            .filter(|line| line.to_lowercase().starts_with(&prefix))
            .map(|line| line[prefix.len()..].to_string());
        let value = found.next().unwrap_or_default();
        assert_eq!(found.next(), None, "{name} stands there once");
        value
    }
}

/// A name for the server and what proves it.
pub struct Proof {
    acceptor: TlsAcceptor,
    /// The certificate, in a file, which is its own authority.
    pub authority: tempfile::NamedTempFile,
}

impl Proof {
    /// Of a server of this name.
    pub fn of(name: &str) -> Proof {
        let (key, certificate) = certificate(name).unwrap();
        let identity = native_tls::Identity::from_pkcs8(&certificate, &key).unwrap();
        let authority = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(authority.path(), &certificate).unwrap();
        Proof {
            acceptor: native_tls::TlsAcceptor::new(identity).unwrap().into(),
            authority,
        }
    }
}

/// PEM of a key and of a certificate of its own for this name.
fn certificate(name: &str) -> Result<(Vec<u8>, Vec<u8>), ErrorStack> {
    let key = PKey::from_rsa(Rsa::generate(2_048)?)?;
    let mut subject = X509Name::builder()?;
    subject.append_entry_by_text("CN", name)?;
    let subject = subject.build();
    let mut made = X509::builder()?;
    made.set_version(2)?;
    made.set_serial_number(BigNum::from_u32(1)?.to_asn1_integer()?.as_ref())?;
    made.set_subject_name(&subject)?;
    made.set_issuer_name(&subject)?;
    made.set_pubkey(&key)?;
    made.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
    made.set_not_after(Asn1Time::days_from_now(2)?.as_ref())?;
    made.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    let names = SubjectAlternativeName::new()
        .dns(name)
        .build(&made.x509v3_context(None, None))?;
    made.append_extension(names)?;
    made.sign(&key, MessageDigest::sha256())?;
    Ok((key.private_key_to_pem_pkcs8()?, made.build().to_pem()?))
}

/// See the module.
pub struct MailServer {
    pub address: SocketAddr,
    mails: watch::Receiver<Vec<Mail>>,
    connections: watch::Receiver<usize>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What a server offers.
#[derive(Clone, Default)]
struct Offer {
    acceptor: Option<TlsAcceptor>,
    is_tls: bool,
}

impl MailServer {
    /// Without encryption; `treat` is told how many connections came before.
    pub async fn start(treat: impl Fn(usize) -> Treatment + Send + Sync + 'static) -> MailServer {
        MailServer::start_at("127.0.0.1:0", treat, Offer::default()).await
    }

    /// At another address of loopback.
    pub async fn start_plain_at(
        address: &str,
        treat: impl Fn(usize) -> Treatment + Send + Sync + 'static,
    ) -> MailServer {
        MailServer::start_at(address, treat, Offer::default()).await
    }

    /// With STARTTLS, or with TLS from the first byte on.
    pub async fn encrypted(proof: &Proof, is_tls: bool) -> MailServer {
        let offer = Offer {
            acceptor: Some(proof.acceptor.clone()),
            is_tls,
        };
        MailServer::start_at("127.0.0.1:0", |_| Treatment::Accept, offer).await
    }

    async fn start_at(
        address: &str,
        treat: impl Fn(usize) -> Treatment + Send + Sync + 'static,
        offer: Offer,
    ) -> MailServer {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (taken, mails) = watch::channel(Vec::new());
        let (counted, connections) = watch::channel(0);
        let taken = Arc::new(taken);
        let server = tokio::spawn(async move {
            let mut talking = tokio::task::JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let before = *counted.borrow();
                counted.send_replace(before + 1);
                let treatment = treat(before);
                let (taken, offer) = (Arc::clone(&taken), offer.clone());
                talking.spawn(async move { talk(connection, treatment, offer, &taken).await });
            }
        });
        MailServer {
            address,
            mails,
            connections,
            server,
        }
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.mails.borrow().clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// The mails, once there are that many.
    pub async fn wait_for(&self, count: usize) -> Vec<Mail> {
        let mut mails = self.mails.clone();
        let enough = mails.wait_for(|mails| mails.len() >= count);
        match tokio::time::timeout(PATIENCE, enough).await {
            Ok(enough) => enough.unwrap().clone(),
            Err(_) => panic!("{} mails of {count}", self.mails().len()),
        }
    }
}

async fn talk(
    mut connection: TcpStream,
    treatment: Treatment,
    offer: Offer,
    taken: &watch::Sender<Vec<Mail>>,
) -> Option<()> {
    match treatment {
        Treatment::Hang => std::future::pending().await,
        Treatment::Reset => {
            connection.write_all(b"220 mail.example\r\n").await.ok()?;
            connection.set_zero_linger().unwrap();
            return None;
        }
        Treatment::Drip => loop {
            connection.write_all(b"2").await.ok()?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        },
        Treatment::Flood => loop {
            connection.write_all(&[b'2'; 8_192]).await.ok()?;
        },
        Treatment::Accept | Treatment::Answer(..) => {}
    }
    match (&offer.acceptor, offer.is_tls) {
        (Some(acceptor), true) => {
            let encrypted = acceptor.accept(connection).await.ok()?;
            converse(encrypted, &treatment, true, true, None, taken)
                .await
                .map(drop)
        }
        (Some(acceptor), false) => {
            let plain = converse(connection, &treatment, true, false, Some(()), taken).await?;
            let encrypted = acceptor.accept(plain).await.ok()?;
            converse(encrypted, &treatment, false, true, None, taken)
                .await
                .map(drop)
        }
        (None, _) => converse(connection, &treatment, true, false, None, taken)
            .await
            .map(drop),
    }
}

/// Until the end, or until the connection is to be encrypted, which gives it back.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    connection: S,
    treatment: &Treatment,
    greets: bool,
    is_encrypted: bool,
    starttls: Option<()>,
    taken: &watch::Sender<Vec<Mail>>,
) -> Option<S> {
    let mut stream = BufReader::new(connection);
    let mut mail = Mail {
        from: String::new(),
        to: Vec::new(),
        data: String::new(),
        is_encrypted,
        login: String::new(),
    };
    let told = |command: &str, usual: &'static str| match treatment {
        Treatment::Answer(at, line) if *at == command => *line,
        _ => usual,
    };
    if greets {
        say(&mut stream, told("greeting", "220 mail.example ESMTP")).await?;
    }
    loop {
        let line = hear(&mut stream).await?;
        let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        match word.as_str() {
            "EHLO" if starttls.is_some() => {
                say(&mut stream, "250-mail.example\r\n250-STARTTLS\r\n250 8BITMIME").await?;
            }
            "EHLO" => {
                say(
                    &mut stream,
                    "250-mail.example\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME",
                )
                .await?;
            }
            "STARTTLS" => {
                say(&mut stream, "220 go ahead").await?;
                return Some(stream.into_inner());
            }
            "AUTH" => {
                mail.login = line;
                say(&mut stream, told("AUTH", "235 welcome")).await?;
            }
            "MAIL" => {
                mail.from = line;
                say(&mut stream, told("MAIL", "250 ok")).await?;
            }
            "RCPT" => {
                let answer = told("RCPT", "250 ok");
                if answer.starts_with('2') {
                    mail.to.push(line);
                }
                say(&mut stream, answer).await?;
            }
            "DATA" => {
                say(&mut stream, told("DATA", "354 go ahead")).await?;
                if !told("DATA", "354").starts_with('3') {
                    continue;
                }
                loop {
                    let line = hear(&mut stream).await?;
                    if line == "." {
                        break;
                    }
                    mail.data.push_str(line.strip_prefix('.').unwrap_or(&line));
                    mail.data.push_str("\r\n");
                }
                let answer = told(".", "250 2.0.0 queued as 4F1");
                if answer.starts_with('2') {
                    taken.send_modify(|mails| mails.push(mail.clone()));
                }
                say(&mut stream, answer).await?;
            }
            "QUIT" => {
                say(&mut stream, "221 bye").await?;
                return None;
            }
            _ => say(&mut stream, "500 what?").await?,
        }
    }
}

async fn hear<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>) -> Option<String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_string())
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, line: &str) -> Option<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await.ok()?;
    stream.flush().await.ok()
}
