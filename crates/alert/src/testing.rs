//! What the tests of this crate share: a receiver that misbehaves as told, and a ledger in memory.

pub mod mail;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use health::AlertChange;
use serde_json::{Value, json};
use store::{
    AwaitingDigest, DeliveryRow, DeliveryState, DigestQuery, DigestedEpisode, EpisodeDelivery, HeldCount,
    HoldEnd, HoldRow, Opening, Owned, Requests, WaitingDelivery, WaitingQuery,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::address::Guard;
use crate::body;
use crate::clock::Clock;
use crate::config::{Config, Destination};
use crate::destination::message::{Message, Style};
use crate::destination::{Means, Sender};
use crate::engine::HoldLedger;
use crate::fate::HELD;
use crate::lane::{DELIVERED, DIGEST, DIGESTED, FAILED, RETRYING};
use crate::policy::Policy;
use crate::recorder::Ledger;
use crate::telling::{Language, Owner};

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

/// A configuration with destinations of these names.
pub fn config_for(destinations: &[&str]) -> Config {
    let destinations = destinations.iter().map(|name| Destination {
        name: name.to_string(),
        url: "https://cs.example/hooks".into(),
        secret: SECRET.into(),
        ..Destination::default()
    });
    Config {
        destinations: destinations.collect(),
        ..Config::default()
    }
}

/// Everything at once to all of them.
pub fn everything_to(destinations: &[&str]) -> Policy {
    config_for(destinations).policy().unwrap()
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
        Receiver::start_at("127.0.0.1:0", reply).await
    }

    /// At an address of loopback.
    pub async fn start_at(
        address: &str,
        reply: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Receiver {
        let listener = TcpListener::bind(address).await.unwrap();
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

/// The transport of a destination, as the worker makes it.
pub fn sender(destination: Destination) -> Sender {
    let config = Config {
        destinations: vec![destination],
        ..Config::default()
    };
    sender_of(&config, None)
}

/// The transport of the first destination of a configuration.
pub fn sender_of(config: &Config, guard: Option<Guard>) -> Sender {
    let endpoint = config.endpoints().unwrap().remove(0);
    let means = Means {
        telling: Arc::new(config.telling().unwrap()),
        retry_after_cap: Duration::from_secs(3_600),
        clock: Clock::wall(),
    };
    let guard = guard.unwrap_or_else(|| Guard::new(endpoint.allow_private_addresses));
    Sender::with_guard(&endpoint, &means, guard).unwrap()
}

/// The canonical body of a change of an episode, as the worker makes it of what `health` says; `name` is
/// the account's.
pub fn canonical(name: &str, change: &str) -> String {
    let (severity, en, ja) = match change {
        "opened" => ("warning", "", ""),
        "escalated" => ("critical", ", worse", "（悪化）"),
        _ => ("warning", ", resolved", "（解消）"),
    };
    let payload = json!({
        "kind": "at_risk",
        "opened_at": "2026-10-30T00:00:00Z",
        "account": {
            "name": name, "owner": "田中 翔", "plan": "standard", "segment": "mid",
            "stage": "adoption", "tier": "high", "mrr": 74400.0, "currency": "JPY",
        },
        "scores": {"health": 58.74, "band": "yellow", "churn_risk": 0.214, "confidence": 1.0},
        "metrics": {
            "usage_trend": 0.142, "days_to_renewal": 166.2,
            "unused_key_features": ["dashboard.share", "workflow.automate"],
        },
        "drivers": [
            {"input": "usage_trend", "points": 2.73, "sentence": "feature use down 86% on the 28 days before",
             "sentence_ja": "機能利用が直前28日間より86%減少"},
            {"input": "open_tickets", "points": 0.9, "sentence": "2 tickets open", "sentence_ja": "未解決の問い合わせが2件"},
            {"input": "nps", "points": 0.4, "sentence": "an NPS answer of 3", "sentence_ja": "NPSの回答が3"},
        ],
    });
    body::render(&AlertChange {
        alert_id: format!("al_{change}"),
        episode_id: "ep_94ff07d4".into(),
        account_id: "ginga 46/x".into(),
        rule: "falling_usage".into(),
        severity: severity.into(),
        change: change.into(),
        at: 1_795_309_323_004,
        reason: format!("{name}{en}: feature use down 86%"),
        reason_ja: format!("{name}{ja}：機能利用が86%減少"),
        payload: payload.to_string(),
        caused_by_received_at: 0,
    })
}

/// The message of a body, with what is configured.
pub fn message(config: &Config, body: &str) -> Message {
    let telling = config.telling().unwrap();
    let style = Style {
        language: config.language,
        telling: &telling,
    };
    let id = serde_json::from_str::<Value>(body).unwrap()["data"]["alert_id"].clone();
    Message::read(id.as_str().unwrap_or("al_1"), body, style).unwrap()
}

/// How messages are told in the tests: with links and an owner.
pub fn told_in(language: Language) -> Config {
    let owner = Owner {
        email: "sho@example.jp".into(),
        slack: "U0123".into(),
        hubspot: "64492917".into(),
    };
    Config {
        link: "https://mimamori.example/".into(),
        language,
        owners: BTreeMap::from([("田中 翔".to_string(), owner)]),
        ..Config::default()
    }
}

/// Keeps rows as ClickHouse does: of the same attempt the newest version, of a token the first rows.
#[derive(Debug, Clone)]
pub struct Memory(
    Arc<Mutex<Kept>>,
    Arc<watch::Sender<bool>>,
    Arc<watch::Sender<bool>>,
);

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
        Memory(Arc::default(), Arc::default(), Arc::default())
    }

    /// While `away` nothing is answered.
    pub fn set_away(&self, away: bool) {
        self.1.send_replace(away);
    }

    /// While `slow` nobody is told which changes were attempted; all else goes on.
    pub fn set_slow_to_look_up(&self, slow: bool) {
        self.2.send_replace(slow);
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

    /// The newest row of each alert at a destination.
    fn newest(&self, destination: &str) -> Vec<DeliveryRow> {
        let kept = self.0.lock().unwrap();
        let of_destination = kept.rows.values().filter(|row| row.destination == destination);
        let newest: BTreeMap<&str, &DeliveryRow> =
            of_destination.map(|row| (row.alert_id.as_str(), row)).collect();
        newest.into_values().cloned().collect()
    }

    /// The body that a row of the alert has.
    fn body(&self, destination: &str, alert_id: &str) -> String {
        let rows = self.rows(destination, alert_id);
        let bodies = rows.into_iter().map(|row| row.body);
        bodies.rev().find(|body| !body.is_empty()).unwrap_or_default()
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

    async fn standing_of(&self, episode_ids: &[String]) -> Result<Vec<DeliveryState>, store::Error> {
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
        self.2.subscribe().wait_for(|slow| !slow).await.unwrap();
        let statuses = self.statuses(destination);
        let known = alert_ids.iter().filter(|id| statuses.contains_key(*id));
        Ok(known.cloned().collect())
    }

    async fn reference(&self, destination: &str, episode_id: &str) -> Result<Option<String>, store::Error> {
        self.answers().await;
        let kept = self.0.lock().unwrap();
        let of_episode = kept.rows.values().filter(|row| {
            row.destination == destination
                && row.episode_id == episode_id
                && row.status == DELIVERED
                && !row.reference.is_empty()
        });
        let first = of_episode.min_by_key(|row| (row.at, row.version));
        Ok(first.map(|row| row.reference.clone()))
    }

    async fn of_episodes(&self, episode_ids: &[String]) -> Result<Vec<EpisodeDelivery>, store::Error> {
        self.answers().await;
        let kept = self.0.lock().unwrap();
        let of_episodes = kept
            .rows
            .values()
            .filter(|row| episode_ids.contains(&row.episode_id));
        let newest: BTreeMap<(&str, &str), &DeliveryRow> = of_episodes
            .map(|row| ((row.alert_id.as_str(), row.destination.as_str()), row))
            .collect();
        let rows = newest.into_values().map(|row| EpisodeDelivery {
            episode_id: row.episode_id.clone(),
            alert_id: row.alert_id.clone(),
            destination: row.destination.clone(),
            status: row.status.clone(),
            variant: row.variant.clone(),
        });
        Ok(rows.collect())
    }

    async fn awaiting_digest(&self, query: &DigestQuery) -> Result<Vec<AwaitingDigest>, store::Error> {
        self.answers().await;
        let statuses = self.statuses(&query.destination);
        let newest = self.newest(&query.destination).into_iter();
        let waits = |row: &DeliveryRow| {
            let put_off_at = self.rows(&query.destination, &row.alert_id)[0].at;
            let is_left = row.status == DIGESTED
                && row.reference != query.digest_id
                && !statuses.contains_key(&row.reference);
            put_off_at < query.before && (row.status == DIGEST || is_left)
        };
        let rows = newest.filter(waits).map(|row| AwaitingDigest {
            alert_id: row.alert_id,
            episode_id: row.episode_id,
            variant: row.variant,
            attempt: row.attempt,
        });
        Ok(rows.take(query.limit as usize).collect())
    }

    async fn digested(
        &self,
        destination: &str,
        digest_id: &str,
        limit: u32,
    ) -> Result<Vec<DigestedEpisode>, store::Error> {
        self.answers().await;
        let taken = self.newest(destination).into_iter();
        let taken = taken.filter(|row| row.status == DIGESTED && row.reference == digest_id);
        let mut by_episode: BTreeMap<String, Vec<(body::Order, String)>> = BTreeMap::new();
        for row in taken {
            let body = self.body(destination, &row.alert_id);
            let order = body::place(&body).unwrap().order;
            by_episode.entry(row.episode_id).or_default().push((order, body));
        }
        let mut episodes = Vec::new();
        for mut changes in by_episode.into_values() {
            changes.sort();
            let (last, body) = changes[changes.len() - 1].clone();
            let state = match (last.is_end(), changes[0].0.is_first()) {
                (false, _) => 0,
                (true, false) => 1,
                (true, true) => 2,
            };
            episodes.push((state, body));
        }
        episodes.sort();
        let count = |wanted: u8| episodes.iter().filter(|(state, _)| *state == wanted).count() as u64;
        let (all, open, passed) = (episodes.len() as u64, count(0), count(2));
        let told = episodes.iter().map(|(state, body)| DigestedEpisode {
            body: body.clone(),
            state: *state,
            episodes: all,
            open,
            passed,
        });
        Ok(told.take(limit as usize).collect())
    }

    async fn count_awaiting_digest(&self, destination: &str) -> Result<u64, store::Error> {
        self.answers().await;
        let newest = self.newest(destination).into_iter();
        Ok(newest.filter(|row| row.status == DIGEST).count() as u64)
    }
}

/// Accounts whose name begins with `b` live in partition 1, all others in 0.
pub fn partition_of(account: &str) -> i32 {
    i32::from(account.starts_with('b'))
}
