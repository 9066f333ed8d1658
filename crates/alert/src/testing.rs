//! What the tests of this crate share: a receiver that misbehaves as told, and a ledger in memory.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use health::AlertChange;
use store::{
    DeliveryRow, DeliveryState, HeldCount, HoldEnd, HoldRow, Opening, Owned, Requests, WaitingDelivery,
    WaitingQuery,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::body;
use crate::engine::HoldLedger;
use crate::fate::HELD;
use crate::lane::{FAILED, RETRYING};
use crate::recorder::Ledger;

/// Nothing that is waited for takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The `change` of the episode of an account.
pub fn alert(account: &str, change: &str, at: i64) -> AlertChange {
    AlertChange {
        alert_id: format!("al-{account}-{change}"),
        episode_id: format!("ep-{account}"),
        account_id: account.into(),
        rule: "login_drop".into(),
        severity: "critical".into(),
        change: change.into(),
        at,
        reason: "logins fell by half".into(),
        reason_ja: "ログインが半減しました".into(),
        payload: r#"{"health":31.5}"#.into(),
        caused_by_received_at: at - 40,
    }
}

/// How a receiver answers.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A status, further headers (each ending in a line break) and a body.
    Status(u16, &'static str, &'static str),
    /// Nothing, for as long as the sender waits.
    Hang,
    /// The connection breaks.
    Reset,
    /// The status line, a byte every 20 ms.
    DripHeaders,
    /// 200 and headers at once, then a body that does not end.
    DripBody,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An HTTP server on loopback.
pub struct Receiver {
    pub address: SocketAddr,
    requests: watch::Receiver<Vec<Request>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    /// `reply` sees each request and how many came before it.
    pub async fn start(reply: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = watch::channel(Vec::new());
        let seen = Arc::new(seen);
        let reply = Arc::new(reply);
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let (seen, reply) = (Arc::clone(&seen), Arc::clone(&reply));
                connections.spawn(async move { serve(connection, &seen, &*reply).await });
            }
        });
        Receiver {
            address,
            requests,
            server,
        }
    }

    /// The same answer to everything.
    pub async fn always(reply: Reply) -> Receiver {
        Receiver::start(move |_, _| reply.clone()).await
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.borrow().clone()
    }

    /// The requests, once there are that many.
    pub async fn wait_for(&self, count: usize) -> Vec<Request> {
        let mut requests = self.requests.clone();
        let enough = requests.wait_for(|requests| requests.len() >= count);
        match tokio::time::timeout(PATIENCE, enough).await {
            Ok(enough) => enough.unwrap().clone(),
            Err(_) => panic!("{} requests of {count}", self.requests().len()),
        }
    }
}

async fn serve(
    mut connection: TcpStream,
    seen: &watch::Sender<Vec<Request>>,
    reply: &(impl Fn(&Request, usize) -> Reply + ?Sized),
) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut connection, &mut buffer).await {
        let mut before = 0;
        seen.send_modify(|requests| {
            before = requests.len();
            requests.push(request.clone());
        });
        let written = match reply(&request, before) {
            Reply::Status(code, headers, body) => {
                let length = body.len();
                let head = format!("HTTP/1.1 {code} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
                connection.write_all(head.as_bytes()).await
            }
            Reply::Hang => std::future::pending().await,
            Reply::Reset => {
                connection.set_zero_linger().unwrap();
                return;
            }
            Reply::DripHeaders => drip(&mut connection, b"HTTP/1.1 200 OK\r\nx-slow: ").await,
            Reply::DripBody => {
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
                match connection.write_all(head).await {
                    Ok(()) => drip(&mut connection, b"").await,
                    failed => failed,
                }
            }
        };
        if written.is_err() {
            return;
        }
    }
}

async fn drip(connection: &mut TcpStream, first: &[u8]) -> std::io::Result<()> {
    connection.write_all(first).await?;
    loop {
        connection.write_all(b"x").await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn read_request(connection: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
        if connection.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap().to_string();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_string()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    while buffer.len() < end + 4 + length {
        if connection.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(buffer[end + 4..end + 4 + length].to_vec()).unwrap();
    buffer.drain(..end + 4 + length);
    Some(Request { line, headers, body })
}

/// Keeps rows as ClickHouse does: of the same attempt the newest version, of a token the first rows.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Mutex<Kept>>, Arc<watch::Sender<bool>>);

#[derive(Debug, Default)]
struct Kept {
    rows: BTreeMap<(String, String, u32), DeliveryRow>,
    tokens: HashMap<String, usize>,
    holds: BTreeMap<String, HoldRow>,
    /// How often each destination's deliveries, or holds under an empty name, were asked for.
    requests: BTreeMap<String, u64>,
    openings: Vec<Opening>,
    ended: Vec<String>,
    accounts: u64,
}

impl Kept {
    fn newest(&self) -> impl Iterator<Item = &DeliveryRow> {
        let newest: BTreeMap<(&String, &String), &DeliveryRow> = self
            .rows
            .iter()
            .map(|((destination, alert_id, _), row)| ((destination, alert_id), row))
            .collect();
        newest.into_values()
    }
}

fn state_of(row: &DeliveryRow) -> DeliveryState {
    DeliveryState {
        alert_id: row.alert_id.clone(),
        episode_id: row.episode_id.clone(),
        destination: row.destination.clone(),
        attempt: row.attempt,
        status: row.status.clone(),
        error: row.error.clone(),
        body: row.body.clone(),
        variant: row.variant.clone(),
        reference: row.reference.clone(),
    }
}

/// A member of the data of a body.
fn data(row: &DeliveryRow, name: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(&row.body).unwrap();
    body["data"][name].as_str().unwrap_or("").to_string()
}

/// Accounts whose name begins with `b` live in partition 1 of 2, all others in 0.
fn is_of(owned: &Owned, row: &DeliveryRow) -> bool {
    owned.partitions.contains(&partition_of(&data(row, "account_id")))
}

impl Memory {
    pub fn new() -> Memory {
        Memory(Arc::default(), Arc::new(watch::Sender::new(false)))
    }

    /// While `away` nothing is answered.
    pub fn set_away(&self, away: bool) {
        self.1.send_replace(away);
    }

    async fn answers(&self) {
        self.1.subscribe().wait_for(|away| !away).await.unwrap();
    }

    /// The rows of an alert at a destination, by attempt.
    pub fn rows(&self, destination: &str, alert_id: &str) -> Vec<DeliveryRow> {
        let kept = self.0.lock().unwrap();
        let of_alert = kept
            .rows
            .values()
            .filter(|row| row.destination == destination && row.alert_id == alert_id);
        of_alert.cloned().collect()
    }

    /// The status of each alert at a destination.
    pub fn statuses(&self, destination: &str) -> BTreeMap<String, String> {
        let kept = self.0.lock().unwrap();
        let of_destination = kept.rows.values().filter(|row| row.destination == destination);
        of_destination
            .map(|row| (row.alert_id.clone(), row.status.clone()))
            .collect()
    }
}

/// What people do.
impl Memory {
    pub fn set_accounts(&self, accounts: u64) {
        self.0.lock().unwrap().accounts = accounts;
    }

    /// What the table of alerts says of openings.
    pub fn set_openings(&self, openings: Vec<Opening>) {
        self.0.lock().unwrap().openings = openings;
    }

    /// The table of alerts says that this episode is over.
    pub fn end_episode(&self, episode_id: &str) {
        self.0.lock().unwrap().ended.push(episode_id.to_string());
    }

    pub fn tripped(&self) -> Vec<String> {
        let kept = self.0.lock().unwrap();
        let tripped = kept.holds.values().filter(|hold| hold.is_tripped());
        tripped.map(|hold| hold.name.clone()).collect()
    }

    pub fn end_hold(&self, name: &str, end: HoldEnd, now: i64) {
        let mut kept = self.0.lock().unwrap();
        for hold in kept.holds.values_mut().filter(|hold| hold.name == name) {
            hold.status = end.as_str().to_string();
            hold.at = now;
        }
        *kept.requests.entry(String::new()).or_default() += 1;
    }

    /// Replays what failed of an alert at a destination.
    pub fn replay(&self, destination: &str, alert_id: &str, now: i64) {
        let last = self.rows(destination, alert_id).pop().unwrap();
        assert_eq!(last.status, FAILED);
        let row = state_of(&last).next_row(RETRYING, "to be replayed", Some(now), now);
        let mut kept = self.0.lock().unwrap();
        let key = (row.destination.clone(), row.alert_id.clone(), row.attempt);
        kept.rows.insert(key, row);
        *kept.requests.entry(destination.to_string()).or_default() += 1;
    }
}

impl HoldLedger for Memory {
    async fn holds(&self) -> Result<Vec<HoldRow>, store::Error> {
        self.answers().await;
        Ok(self.0.lock().unwrap().holds.values().cloned().collect())
    }

    async fn save_hold(&self, hold: &HoldRow) -> Result<(), store::Error> {
        self.answers().await;
        let mut kept = self.0.lock().unwrap();
        kept.holds.insert(hold.hold_id.clone(), hold.clone());
        *kept.requests.entry(String::new()).or_default() += 1;
        Ok(())
    }

    async fn of_episodes(&self, episode_ids: &[String]) -> Result<Vec<DeliveryState>, store::Error> {
        self.answers().await;
        let kept = self.0.lock().unwrap();
        let found = kept.newest().filter(|row| episode_ids.contains(&row.episode_id));
        Ok(found.map(state_of).collect())
    }

    async fn held_counts(&self, owned: &Owned) -> Result<Vec<HeldCount>, store::Error> {
        self.answers().await;
        let kept = self.0.lock().unwrap();
        let mut alerts: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
        for row in kept
            .newest()
            .filter(|row| row.status == HELD && is_of(owned, row))
        {
            let ids = alerts.entry((row.error.clone(), data(row, "rule"))).or_default();
            ids.push(&row.alert_id);
        }
        let counted = |((reason, rule), mut ids): ((String, String), Vec<&str>)| {
            ids.sort();
            ids.dedup();
            HeldCount {
                reason,
                rule,
                alerts: ids.len() as u64,
                accounts: ids.len() as u64,
            }
        };
        Ok(alerts.into_iter().map(counted).collect())
    }

    async fn held(
        &self,
        reason: &str,
        owned: &Owned,
        limit: u32,
    ) -> Result<Vec<DeliveryState>, store::Error> {
        self.answers().await;
        let kept = self.0.lock().unwrap();
        let mut found: Vec<DeliveryState> = kept
            .newest()
            .filter(|row| row.status == HELD && row.error == reason && is_of(owned, row))
            .map(state_of)
            .collect();
        found.sort_by(|a, b| (&a.episode_id, &a.alert_id).cmp(&(&b.episode_id, &b.alert_id)));
        found.truncate(limit as usize);
        Ok(found)
    }

    async fn ended(&self, _: &[String], episode_ids: &[String]) -> Result<Vec<String>, store::Error> {
        self.answers().await;
        let kept = self.0.lock().unwrap();
        let over = kept.ended.iter().filter(|id| episode_ids.contains(id));
        Ok(over.cloned().collect())
    }

    async fn accounts(&self, _: &Owned) -> Result<u64, store::Error> {
        self.answers().await;
        Ok(self.0.lock().unwrap().accounts)
    }

    async fn openings(&self, after: i64, _: &Owned) -> Result<Vec<Opening>, store::Error> {
        self.answers().await;
        let kept = self.0.lock().unwrap();
        let found = kept.openings.iter().filter(|opening| opening.at > after);
        Ok(found.cloned().collect())
    }

    async fn requests(&self) -> Result<Vec<Requests>, store::Error> {
        let kept = self.0.lock().unwrap();
        let told = kept.requests.iter().map(|(destination, count)| Requests {
            what: if destination.is_empty() { "holds" } else { "replay" }.to_string(),
            destination: destination.clone(),
            newest_at: 0,
            count: *count,
        });
        Ok(told.collect())
    }
}

impl Ledger for Memory {
    async fn insert(&self, token: &str, rows: &[DeliveryRow]) -> Result<(), store::Error> {
        self.answers().await;
        let mut kept = self.0.lock().unwrap();
        if kept.tokens.insert(token.to_string(), rows.len()).is_some() {
            return Ok(());
        }
        for row in rows {
            let key = (row.destination.clone(), row.alert_id.clone(), row.attempt);
            let older = kept
                .rows
                .get(&key)
                .is_none_or(|known| known.version <= row.version);
            if older {
                kept.rows.insert(key, row.clone());
            }
        }
        Ok(())
    }

    async fn waiting(&self, query: &WaitingQuery) -> Result<Vec<WaitingDelivery>, store::Error> {
        self.answers().await;
        let kept = self.0.lock().unwrap();
        let mut newest: BTreeMap<&str, &DeliveryRow> = BTreeMap::new();
        for row in kept
            .rows
            .values()
            .filter(|row| row.destination == query.destination)
        {
            newest.insert(&row.alert_id, row);
        }
        let mut rows: Vec<_> = newest
            .into_values()
            .filter(|row| row.status == RETRYING)
            .map(|row| (body::place(&row.body).unwrap(), row))
            .collect();
        rows.sort_by_key(|(place, _)| place.order);
        let mut heads: HashMap<String, i64> = HashMap::new();
        let mut waiting = Vec::new();
        for (place, row) in rows {
            let next_attempt_at = row.next_attempt_at.unwrap();
            let of_alert =
                |other: &&DeliveryRow| other.destination == row.destination && other.alert_id == row.alert_id;
            let ends = kept
                .rows
                .values()
                .filter(of_alert)
                .filter(|other| other.status != RETRYING);
            let episode_due_at = *heads.entry(place.episode_id.clone()).or_insert(next_attempt_at);
            let delivery = WaitingDelivery {
                alert_id: row.alert_id.clone(),
                attempt: row.attempt,
                uncounted: ends.map(|end| end.attempt + 1).max().unwrap_or(0),
                next_attempt_at,
                body: row.body.clone(),
                partition: partition_of(&place.account_id),
                episode_due_at,
            };
            if query.partitions.contains(&delivery.partition) {
                waiting.push((episode_due_at, place.episode_id, place.order, delivery));
            }
        }
        waiting.sort_by(|a, b| (a.0, &a.1, a.2).cmp(&(b.0, &b.1, b.2)));
        let limit = query.limit as usize;
        Ok(waiting
            .into_iter()
            .map(|(_, _, _, delivery)| delivery)
            .take(limit)
            .collect())
    }

    async fn attempted(&self, destination: &str, alert_ids: &[String]) -> Result<Vec<String>, store::Error> {
        self.answers().await;
        let statuses = self.statuses(destination);
        let known = alert_ids.iter().filter(|id| statuses.contains_key(*id));
        Ok(known.cloned().collect())
    }
}

/// Accounts whose name begins with `b` live in partition 1, all others in 0.
pub fn partition_of(account: &str) -> i32 {
    i32::from(account.starts_with('b'))
}
