//! The load: connections that are kept, each with a thread of its own that writes requests and reads
//! answers and does nothing else.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use crate::bodies::Request;

/// An answer that takes longer ends the bench.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was sent and answered.
#[derive(Default)]
pub struct Measured {
    pub events: u64,
    /// Of the bodies, unpacked.
    pub bytes: u64,
    /// From the first request to the last answer.
    pub took: Duration,
    /// Of every request.
    pub latencies: Vec<Duration>,
}

/// Each connection sends as soon as it has been answered, for `long`; what has begun is ended.
pub fn closed(
    address: SocketAddr,
    requests: &[Request],
    connections: usize,
    long: Duration,
) -> anyhow::Result<Measured> {
    together(connections, |connection, begun, measured| {
        let mut client = Client::connect(address)?;
        for request in requests.iter().cycle().skip(connection) {
            let since = Instant::now();
            if since.duration_since(begun) >= long {
                break;
            }
            client.send(request)?;
            measured.note(request, since.elapsed());
        }
        Ok(())
    })
}

/// So many requests a second, whether or not those before were answered. A request's time counts from
/// when it was due: one that had to wait for its connection waited for the server.
pub fn paced(
    address: SocketAddr,
    requests: &[Request],
    connections: usize,
    rate: u32,
    long: Duration,
) -> anyhow::Result<Measured> {
    let pause = Duration::from_secs(1) / rate;
    let count = u32::try_from(long.as_nanos() / pause.as_nanos()).context("too many requests")?;
    together(connections, |connection, begun, measured| {
        let mut client = Client::connect(address)?;
        for number in (0..count).skip(connection).step_by(connections) {
            let due = begun + pause * number;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let request = &requests[number as usize % requests.len()];
            client.send(request)?;
            measured.note(request, due.elapsed());
        }
        Ok(())
    })
}

fn together(
    connections: usize,
    work: impl Fn(usize, Instant, &mut Measured) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    let parts: Vec<anyhow::Result<Measured>> = thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..connections)
            .map(|connection| {
                scope.spawn(move || {
                    let mut measured = Measured::default();
                    work(connection, begun, &mut measured)?;
                    Ok(measured)
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(part) => part,
            Err(_) => bail!("a connection's thread panicked"),
        });
        joined.collect()
    });
    let mut all = Measured {
        took: begun.elapsed(),
        ..Measured::default()
    };
    for part in parts {
        let part = part?;
        all.events += part.events;
        all.bytes += part.bytes;
        all.latencies.extend(part.latencies);
    }
    all.latencies.sort_unstable();
    Ok(all)
}

impl Measured {
    fn note(&mut self, request: &Request, latency: Duration) {
        self.events += request.events;
        self.bytes += request.body_bytes;
        self.latencies.push(latency);
    }

    /// The latency that so many of a thousand requests did not exceed.
    pub fn per_mille(&self, rank: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let index = (self.latencies.len() * rank / 1_000).min(last);
        self.latencies.get(index).copied().unwrap_or_default()
    }
}

/// What is read of an answer.
#[derive(Deserialize)]
struct Outcome {
    success: bool,
    accepted: u64,
}

/// One connection.
struct Client {
    stream: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr) -> anyhow::Result<Client> {
        let stream = TcpStream::connect(address).context("connecting to the collector")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client {
            stream: BufReader::new(stream),
            line: String::new(),
            body: Vec::new(),
        })
    }

    /// Sends a request; any answer but that all of it was accepted is an error.
    fn send(&mut self, request: &Request) -> anyhow::Result<()> {
        self.stream.get_mut().write_all(&request.bytes)?;
        let status = self.read_answer()?;
        let told = || String::from_utf8_lossy(&self.body).into_owned();
        ensure!(status == "200", "answered {status}: {}", told());
        let outcome: Outcome = serde_json::from_slice(&self.body).with_context(told)?;
        ensure!(
            outcome.success && outcome.accepted == request.events,
            "{} events were sent: {}",
            request.events,
            told()
        );
        Ok(())
    }

    /// The status; the body stays in its buffer.
    fn read_answer(&mut self) -> anyhow::Result<String> {
        self.next_line()?;
        let status = self.line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut length = 0;
        loop {
            self.next_line()?;
            let Some((name, value)) = self.line.split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().context("content-length")?;
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body)?;
        Ok(status)
    }

    fn next_line(&mut self) -> anyhow::Result<()> {
        self.line.clear();
        let read = self.stream.read_line(&mut self.line)?;
        ensure!(read > 0, "the collector closed the connection");
        Ok(())
    }
}

/// Asks until events are taken.
pub fn wait_until_ready(address: SocketAddr) -> anyhow::Result<()> {
    let bytes = b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 2\r\n\r\n[]".to_vec();
    let nothing = Request {
        bytes,
        events: 0,
        body_bytes: 2,
    };
    let since = Instant::now();
    loop {
        match Client::connect(address)?.send(&nothing) {
            Ok(()) => return Ok(()),
            Err(error) if since.elapsed() > PATIENCE => {
                return Err(error.context("the collector is not ready"));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
