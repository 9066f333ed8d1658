//! Every acknowledged event is there once, with its payload, and nothing else is.

use serde::Serialize;

use super::Problems;
use crate::cluster::Sql;
use crate::producer::Ledger;
use crate::sent::{Content, account_id, number};
use crate::topic::Topics;

/// What `mimamori.events` holds.
#[derive(Debug, Default)]
pub struct Accepted {
    /// Records.
    pub records: u64,
    /// Records of each event, by its number.
    pub of_event: Vec<u32>,
    /// Where a record was that is not as the event was sent, and how it is.
    wrong: Vec<String>,
}

impl Accepted {
    /// How many of the acknowledged events are there at least once.
    pub fn distinct(&self) -> u64 {
        self.of_event.iter().filter(|records| **records > 0).count() as u64
    }
}

/// Reads all of `mimamori.events` and compares each record with what was sent.
pub async fn read_accepted(
    topics: &Topics,
    topic: &str,
    ledger: &Ledger,
    problems: &mut Problems,
) -> anyhow::Result<Accepted> {
    let sent = ledger.sent.clone();
    let accepted = Accepted {
        of_event: vec![0; sent.len()],
        ..Accepted::default()
    };
    let accepted = topics.read(topic, accepted, move |accepted, partition, offset, payload| {
        accepted.records += 1;
        let content = Content::from(event::wire::decode(payload)?);
        let number = number(&content.event_id).filter(|number| *number < sent.len());
        match number {
            Some(number) if sent[number].content(number) == content => accepted.of_event[number] += 1,
            _ => accepted.wrong.push(format!("{partition}/{offset}: {content:?}")),
        }
        Ok(())
    });
    let accepted = accepted.await?;
    for wrong in &accepted.wrong {
        problems.add(
            "records of mimamori.events that were never sent so",
            wrong.clone(),
        );
    }
    Ok(accepted)
}

/// What the table `events` holds.
#[derive(Debug, Default, Serialize)]
pub struct Landed {
    /// Distinct events.
    pub events: u64,
    /// Rows as they lie there, without `FINAL`.
    pub rows: u64,
}

/// Compares the table with what was sent, account by account. `accepted` tells where a lost event got
/// lost.
pub async fn check(
    sql: &Sql,
    ledger: &Ledger,
    accepted: &Accepted,
    accounts: u32,
    problems: &mut Problems,
) -> anyhow::Result<Landed> {
    let mut found: Vec<u32> = vec![0; ledger.sent.len()];
    let mut read = 0;
    for account in 0..accounts {
        let rows: Vec<Content> = sql.rows(&of_account(account)).await?;
        for row in rows {
            read += 1;
            let number = number(&row.event_id).filter(|number| *number < ledger.sent.len());
            let Some(number) = number else {
                problems.add("events that were never sent", format!("{row:?}"));
                continue;
            };
            found[number] += 1;
            let sent = ledger.sent[number].content(number);
            problems.check(row == sent, "payloads that differ", || {
                format!("stored {row:?}, sent {sent:?}")
            });
        }
    }
    for (number, rows) in found.iter().enumerate() {
        let id = || {
            let sent = ledger.sent[number].content(number);
            format!("{} of {}, {}", sent.event_id, sent.account_id, sent.kind)
        };
        if *rows == 0 && ledger.acknowledged[number] > 0 {
            let kind = if accepted.of_event[number] > 0 {
                "acknowledged events that are lost behind mimamori.events"
            } else {
                "acknowledged events that are lost before mimamori.events"
            };
            problems.add(kind, id());
        }
        problems.check(*rows < 2, "events that are there more than once", || {
            format!("{} × {rows}", id())
        });
    }
    let all = sql.count("SELECT count() FROM events FINAL").await?;
    problems.check(all == read, "events of accounts that were never sent", || {
        format!("{} rows beside the {read} of our accounts", all.abs_diff(read))
    });
    Ok(Landed {
        events: found.iter().filter(|rows| **rows > 0).count() as u64,
        rows: sql.count("SELECT count() FROM events").await?,
    })
}

fn of_account(account: u32) -> String {
    let account = account_id(account);
    format!(
        "SELECT event_id, account_id, user_id, toString(type), toString(name), \
         toUnixTimestamp64Milli(occurred_at), properties \
         FROM events FINAL WHERE account_id = '{account}'"
    )
}
