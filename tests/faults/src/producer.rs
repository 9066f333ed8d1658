//! Product apps at full rate, by a client of their own (not mimamori's): native JSON into the raw topic,
//! to any partition, idempotent, `acks=all`. Every event is noted before it is sent, and every
//! acknowledgement when it comes.
//!
//! Two kinds of accounts:
//! - *Watched* ones live in the present. Their tickets open and are resolved within seconds, so that
//!   alerts come in numbers, and at the end it is known which of them have a ticket open.
//! - *Deep* ones get events of long ago as well, in bursts, so that days are stated again.
//!
//! Of both, ids come again: at once, after seconds, after minutes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use crate::sent::{Act, Sent, account_id, id};
use crate::wall_ms;

const SECOND_MS: i64 = 1_000;
const DAY_MS: i64 = 86_400_000;
/// How long the last acknowledgements may take.
const FLUSH_WITHIN: Duration = Duration::from_secs(60);
/// The pause between two looks at what is due.
const TICK: Duration = Duration::from_millis(5);
/// Old events come to a deep account in bursts of this length …
const BURST_MS: i64 = 4 * SECOND_MS;
/// … in one of so many such stretches of time.
const BURST_EVERY: i64 = 6;

/// What is sent.
#[derive(Clone, Debug)]
pub struct Load {
    /// What all chance is drawn from.
    pub seed: u64,
    /// Records a second.
    pub rate: u32,
    /// How many accounts there are.
    pub accounts: u32,
    /// How many of them are watched; the rest is deep.
    pub watched: u32,
    /// The longest time after which an id comes again.
    pub repeat_within: Duration,
}

/// What was sent, and what of it was acknowledged.
#[derive(Default)]
pub struct Ledger {
    /// Every event, by its number.
    pub sent: Vec<Sent>,
    /// How many of its records were acknowledged.
    pub acknowledged: Vec<u32>,
    /// Records, repeats included, that were sent.
    pub records: u64,
    /// Records that the broker acknowledged.
    pub acknowledged_records: u64,
    /// Records that it did not within the client's time.
    pub failed_records: u64,
    /// Watched accounts that have a ticket open at the end, by number.
    pub left_open: Vec<u32>,
}

/// The ledger, shared with the client's thread.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Ledger>>);

impl Noted {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl rdkafka::ClientContext for Noted {}

impl ProducerContext for Noted {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let mut ledger = self.lock();
        match result {
            Ok(_) => {
                ledger.acknowledged[number] += 1;
                ledger.acknowledged_records += 1;
            }
            Err((error, _)) => {
                tracing::warn!(%error, id = id(number), "not acknowledged");
                ledger.failed_records += 1;
            }
        }
    }
}

/// The producer, at work on a thread of its own.
pub struct Producing {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<anyhow::Result<()>>,
    noted: Noted,
}

impl Producing {
    /// Starts to send to a topic.
    pub fn start(brokers: &str, topic: &str, load: Load) -> anyhow::Result<Producing> {
        ensure!(
            load.watched <= load.accounts && load.watched > 0,
            "of {} accounts {} cannot be watched",
            load.accounts,
            load.watched
        );
        let noted = Noted::default();
        let client: ThreadedProducer<Noted> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("client.id", "product-app")
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("message.timeout.ms", "120000")
            .create_with_context(noted.clone())?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut sender = Sender {
            client,
            topic: topic.to_owned(),
            noted: noted.clone(),
            rng: fastrand::Rng::with_seed(load.seed),
            again: BinaryHeap::new(),
            tickets: vec![Tickets::default(); load.watched as usize],
            next_ticket: 0,
            load,
        };
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("product-app".to_owned())
            .spawn(move || sender.run(&stopped))?;
        Ok(Producing { stop, thread, noted })
    }

    /// Records that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.noted.lock().acknowledged_records
    }

    /// Events that were sent so far, repeats not counted.
    pub fn sent(&self) -> usize {
        self.noted.lock().sent.len()
    }

    /// The first acknowledged event at or behind a place in the ledger of which this holds: its number and
    /// its account.
    pub fn acknowledged_from(&self, from: usize, holds: impl Fn(&Sent) -> bool) -> Option<(usize, u32)> {
        let ledger = self.noted.lock();
        let number = (from..ledger.sent.len())
            .find(|number| ledger.acknowledged[*number] > 0 && holds(&ledger.sent[*number]))?;
        Some((number, ledger.sent[number].account))
    }

    /// Whether it ended by itself, which only a failure makes it do.
    pub fn has_failed(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends the sending: what is to come again comes, every watched account gets its last ticket, and
    /// everything is acknowledged or has failed.
    pub async fn finish(self) -> anyhow::Result<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread;
        let ended = tokio::task::spawn_blocking(move || thread.join()).await?;
        ended.map_err(|_| anyhow::anyhow!("the producer's thread panicked"))??;
        Ok(std::mem::take(&mut *self.noted.lock()))
    }
}

/// The tickets of a watched account.
#[derive(Clone, Default)]
struct Tickets {
    open: Vec<u32>,
    /// When the next of them is opened or all are resolved.
    due: i64,
}

struct Sender {
    client: ThreadedProducer<Noted>,
    topic: String,
    noted: Noted,
    rng: fastrand::Rng,
    /// Events that are sent again, and when.
    again: BinaryHeap<Reverse<(i64, usize)>>,
    tickets: Vec<Tickets>,
    next_ticket: u32,
    load: Load,
}

impl Sender {
    fn run(&mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            let now = wall_ms();
            self.see_to_tickets(now)?;
            let due = (began.elapsed().as_secs_f64() * f64::from(self.load.rate)) as u64;
            // After a while without room it does not catch up: a product app would not, either.
            count = count.max(due.saturating_sub(u64::from(self.load.rate)));
            while count < due {
                count += 1 + self.send_one(now)?;
            }
            std::thread::sleep(TICK);
        }
        while let Some(Reverse((_, number))) = self.again.pop() {
            self.send(number)?;
        }
        self.leave_tickets(wall_ms())?;
        self.client
            .flush(FLUSH_WITHIN)
            .context("the broker did not acknowledge everything")
    }

    /// Sends what is due again, or something new; returns how many records more than one that were.
    fn send_one(&mut self, now: i64) -> anyhow::Result<u64> {
        if let Some(Reverse((at, number))) = self.again.peek().copied()
            && at <= now
        {
            self.again.pop();
            self.send(number)?;
            return Ok(0);
        }
        let account = self.rng.u32(..self.load.accounts);
        let occurred_at = now - self.age(account, now);
        let act = Act::Mixed(self.rng.u64(..));
        let number = self.note(Sent {
            account,
            occurred_at,
            act,
        });
        self.send(number)?;
        match self.rng.u32(..1000) {
            0..20 => {
                self.send(number)?;
                return Ok(1);
            }
            20..40 => self.send_again(number, now, Duration::from_secs(8)),
            40..60 => self.send_again(number, now, self.load.repeat_within),
            _ => {}
        }
        Ok(0)
    }

    fn send_again(&mut self, number: usize, now: i64, within: Duration) {
        let within = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
        let at = now + self.rng.i64(SECOND_MS..=within.max(SECOND_MS));
        self.again.push(Reverse((at, number)));
    }

    /// How long ago an event of this account happened.
    fn age(&mut self, account: u32, now: i64) -> i64 {
        let is_deep = account >= self.load.watched;
        let is_burst = (now / BURST_MS + i64::from(account)) % BURST_EVERY == 0;
        if !is_deep || !is_burst || self.rng.bool() {
            return self.rng.i64(0..2 * SECOND_MS);
        }
        let days = if account.is_multiple_of(10) { 120 } else { 6 };
        self.rng.i64(0..days * DAY_MS)
    }

    /// Opens and resolves tickets of the watched accounts.
    fn see_to_tickets(&mut self, now: i64) -> anyhow::Result<()> {
        for account in 0..self.load.watched {
            let tickets = &self.tickets[account as usize];
            if tickets.due > now {
                continue;
            }
            let open = tickets.open.len();
            // A second ticket makes it worse.
            if tickets.due > 0 && (open == 0 || (open == 1 && self.rng.u32(..4) == 0)) {
                self.open_ticket(account, now)?;
            } else {
                self.resolve_tickets(account, now)?;
            }
            self.tickets[account as usize].due = now + self.rng.i64(2 * SECOND_MS..9 * SECOND_MS);
        }
        Ok(())
    }

    /// Every other watched account ends with a ticket open, the rest with none.
    fn leave_tickets(&mut self, now: i64) -> anyhow::Result<()> {
        let mut left_open = Vec::new();
        for account in 0..self.load.watched {
            let is_open = !self.tickets[account as usize].open.is_empty();
            if account % 2 == 0 {
                self.resolve_tickets(account, now)?;
            } else {
                left_open.push(account);
                if !is_open {
                    self.open_ticket(account, now)?;
                }
            }
        }
        self.noted.lock().left_open = left_open;
        Ok(())
    }

    fn open_ticket(&mut self, account: u32, now: i64) -> anyhow::Result<()> {
        self.next_ticket += 1;
        self.tickets[account as usize].open.push(self.next_ticket);
        let act = Act::TicketOpened(self.next_ticket);
        let number = self.note(Sent {
            account,
            occurred_at: now,
            act,
        });
        self.send(number)
    }

    fn resolve_tickets(&mut self, account: u32, now: i64) -> anyhow::Result<()> {
        for ticket in std::mem::take(&mut self.tickets[account as usize].open) {
            let act = Act::TicketResolved(ticket);
            let number = self.note(Sent {
                account,
                occurred_at: now,
                act,
            });
            self.send(number)?;
        }
        Ok(())
    }

    fn note(&mut self, sent: Sent) -> usize {
        let mut ledger = self.noted.lock();
        ledger.sent.push(sent);
        ledger.acknowledged.push(0);
        ledger.sent.len() - 1
    }

    fn send(&mut self, number: usize) -> anyhow::Result<()> {
        let sent = {
            let mut ledger = self.noted.lock();
            ledger.records += 1;
            ledger.sent[number]
        };
        let payload = sent.content(number).json();
        let key = account_id(sent.account);
        loop {
            let mut record = BaseRecord::with_opaque_to(&self.topic, number).payload(&payload);
            // Some product apps key by account, some by nothing.
            if sent.account % 3 == 0 {
                record = record.key(&key);
            }
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    std::thread::sleep(TICK);
                }
                Err((error, _)) => return Err(error).with_context(|| format!("cannot send {}", id(number))),
            }
        }
    }
}
