//! A receiver of webhooks that answers after a fixed time and notes when each came.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Deserialize;

/// A webhook that came in full.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// The `webhook-id`.
    pub alert_id: String,
    /// The account it is about.
    pub account_id: String,
    /// opened, escalated, resolved or retracted.
    pub change: String,
    /// The rule.
    pub rule: String,
}

#[derive(Deserialize)]
struct Body {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    alert_id: String,
    account_id: String,
    change: String,
    rule: String,
}

#[derive(Default)]
struct Shared {
    arrivals: Mutex<Vec<Arrival>>,
    came: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At work until the process ends.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Receiver {
    /// Listens on a free port of loopback, a thread for each connection.
    pub fn start(answers_after: Duration) -> anyhow::Result<Receiver> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let noted = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&noted);
                // A connection that breaks has nothing more to say.
                thread::spawn(move || serve(stream, answers_after, &shared));
            }
        });
        Ok(Receiver { address, shared })
    }

    /// The section of a destination that leads here, with `more` keys.
    pub fn destination(&self, more: &str) -> String {
        format!(
            "[[alert.destinations]]\nname = \"receiver\"\nurl = \"http://{}/\"\nsecret = \"{}\"\n\
             allow_private_addresses = true\n{more}\n",
            self.address,
            faults::receiver::SECRET,
        )
    }

    /// What came so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.lock().clone()
    }

    /// Waits until so many came.
    pub fn wait_for(&self, count: usize, within: Duration) -> anyhow::Result<()> {
        let arrivals = self.shared.lock();
        let waited = self
            .shared
            .came
            .wait_timeout_while(arrivals, within, |arrivals| arrivals.len() < count);
        let (arrivals, _) = waited.unwrap_or_else(PoisonError::into_inner);
        ensure!(
            arrivals.len() >= count,
            "{} of {count} webhooks came within {within:?}",
            arrivals.len()
        );
        Ok(())
    }
}

fn serve(stream: TcpStream, answers_after: Duration, shared: &Shared) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let body = read_body(&mut stream)?;
        let at = Instant::now();
        let Body { data } = serde_json::from_slice(&body)?;
        shared.lock().push(Arrival {
            at,
            alert_id: data.alert_id,
            account_id: data.account_id,
            change: data.change,
            rule: data.rule,
        });
        shared.came.notify_all();
        thread::sleep(answers_after);
        stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    }
}

fn read_body(stream: &mut BufReader<TcpStream>) -> anyhow::Result<Vec<u8>> {
    let mut line = String::new();
    let mut length = 0;
    loop {
        line.clear();
        ensure!(stream.read_line(&mut line)? > 0, "the connection was closed");
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().context("content-length")?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}
