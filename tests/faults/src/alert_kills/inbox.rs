//! One server that is every receiver: it keeps in mind what came, answers as the service would, and fails
//! as drawn from a seed.
//!
//! What counts is when a request came in full, not whether its answer got through: from then on the
//! receiver has it.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::services::{Conduct, Destination, Request, destination_of};
use crate::oracle::deliveries::Heard;

/// The longest time that a sound answer takes: long enough that kills find some under way.
const LATEST_MS: u64 = 400;
/// The pause between two bytes of an answer that drips.
const DRIP: Duration = Duration::from_millis(100);

/// What is done with a request.
enum Reply {
    /// It is answered after a while: status, further headers, body.
    Answer(u16, &'static str, String),
    /// Nothing comes, for as long as the sender waits.
    Hang,
    /// The connection breaks.
    Reset,
    /// The answer comes a byte at a time, for as long as the sender waits.
    Drip,
}

#[derive(Default)]
struct Noted {
    heard: BTreeMap<&'static str, HashMap<String, Heard>>,
    /// Requests, by destination.
    requests: BTreeMap<&'static str, u64>,
    cut_under_way: u64,
    problems: Vec<String>,
    rng: fastrand::Rng,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Noted>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server at work.
pub struct Inbox {
    shared: Shared,
    address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Inbox {
    /// Listens on a free port of loopback.
    pub async fn start(seed: u64) -> anyhow::Result<Inbox> {
        let shared = Shared(Arc::new(Mutex::new(Noted {
            rng: fastrand::Rng::with_seed(seed),
            ..Noted::default()
        })));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let noting = shared.clone();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        if let Ok((stream, _)) = accepted {
                            let shared = noting.clone();
                            connections.spawn(async move { serve(stream, &shared).await });
                        }
                    }
                    Some(_ended) = connections.join_next() => {}
                }
            }
        });
        Ok(Inbox {
            shared,
            address,
            serving,
        })
    }

    /// Where it listens; each destination has a path of its own.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came to a destination, by the names of the messages.
    pub fn heard(&self, destination: &str) -> HashMap<String, Heard> {
        let noted = self.shared.lock();
        noted.heard.get(destination).cloned().unwrap_or_default()
    }

    /// Requests whose sender hung up while a sound answer was on its way: none gives up so soon.
    pub fn cut_under_way(&self) -> u64 {
        self.shared.lock().cut_under_way
    }

    /// What was wrong with requests themselves.
    pub fn problems(&self) -> Vec<String> {
        self.shared.lock().problems.clone()
    }
}

async fn serve(stream: TcpStream, shared: &Shared) {
    let mut stream = BufReader::new(stream);
    // One that ends in the middle of a request was killed while it sent: the receiver has nothing.
    while let Ok(request) = read_request(&mut stream).await {
        let (reply, pause) = {
            let mut noted = shared.lock();
            let pause = Duration::from_millis(noted.rng.u64(..=LATEST_MS));
            match noted.take(&request) {
                Ok(reply) => (reply, pause),
                Err(error) => {
                    noted.problems.push(format!("{}: {error:#}", request.path));
                    (Reply::Answer(400, "", String::new()), pause)
                }
            }
        };
        match reply {
            Reply::Answer(status, headers, body) => {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = hung_up(&mut stream) => {
                        shared.lock().cut_under_way += 1;
                        return;
                    }
                }
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Hang => return hung_up(&mut stream).await,
            Reply::Reset => {
                // Without it the sender would see an orderly end.
                let _closes_anyway = stream.get_ref().set_zero_linger();
                return;
            }
            Reply::Drip => {
                let mut written = stream.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ").await;
                while written.is_ok() {
                    tokio::time::sleep(DRIP).await;
                    written = stream.write_all(b"x").await;
                }
                return;
            }
        }
    }
}

/// Ends when the other side has closed the connection; it sends nothing before it was answered.
async fn hung_up(stream: &mut BufReader<TcpStream>) {
    while stream.fill_buf().await.is_ok_and(|bytes| !bytes.is_empty()) {
        tokio::task::yield_now().await;
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> anyhow::Result<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let path = line.split(' ').nth(1).context("a request line names a path")?;
    let path = path.to_owned();
    let (mut webhook_id, mut length) = (String::new(), 0);
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        anyhow::ensure!(!line.is_empty(), "cut in its head");
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "webhook-id" => value.trim().clone_into(&mut webhook_id),
            "content-length" => length = value.trim().parse()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Request {
        path,
        webhook_id,
        body: String::from_utf8(body)?,
    })
}

impl Noted {
    /// Notes a request and draws what is done with it.
    fn take(&mut self, request: &Request) -> anyhow::Result<Reply> {
        let destination = destination_of(&request.path).context("no destination has this path")?;
        let place = self.requests.entry(destination.name).or_default();
        *place += 1;
        let place = *place;
        let name = destination.service.message(request)?;
        let draw = self.rng.u32(..100);
        let taken_before: u64 = self.heard.get(destination.name).map_or(0, taken);
        let (takes, fault) = fault(destination, draw, taken_before);
        let mut again = false;
        if let Some(name) = name {
            let content = destination.service.content(request);
            let heard = self.heard.entry(destination.name).or_default();
            let message = heard
                .entry(name.clone())
                .or_insert_with(|| Heard::first(place, &content));
            message.requests += 1;
            message.last = place;
            again = message.taken > 0;
            message.taken += u64::from(takes);
            anyhow::ensure!(
                message.content == content,
                "two requests of {name} differ: {} and {content}",
                message.content
            );
        }
        Ok(fault.unwrap_or_else(|| {
            let (status, body) = destination.service.answer(request, place, again);
            Reply::Answer(status, "", body)
        }))
    }
}

fn taken(heard: &HashMap<String, Heard>) -> u64 {
    heard.values().map(|message| message.taken).sum()
}

/// Whether the receiver takes the request, and what it does in place of a sound answer.
fn fault(destination: &Destination, draw: u32, taken_before: u64) -> (bool, Option<Reply>) {
    let status = |code, headers| Some(Reply::Answer(code, headers, String::new()));
    match destination.conduct {
        Conduct::Steady => (true, None),
        Conduct::Leaves(after) if taken_before < after => (true, None),
        Conduct::Leaves(_) => (false, status(410, "")),
        Conduct::Faulty => match draw {
            0..8 => (false, status(500, "")),
            8..10 => (false, status(429, "retry-after: 1\r\n")),
            10..11 => (false, status(302, "location: http://127.0.0.1:1/\r\n")),
            11..14 => (false, Some(Reply::Hang)),
            14..20 => (false, Some(Reply::Reset)),
            20..23 => (false, Some(Reply::Drip)),
            // It has it, and nobody learns that.
            23..26 => (true, Some(Reply::Reset)),
            _ => (true, None),
        },
    }
}
