//! A worker's core that holds many accounts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aggregate::{Action, Answer, Config, Core, Metrics, Outlook, Rows};
use anyhow::{Context, ensure};
use core_bench::NOW;
use faults::process::memory_kib;
use health::Model;
use prometheus::Registry;
use store::{Checkpoint, StateRow};

use crate::Figures;

const PARTITIONS: i32 = 16;
const HOUR: i64 = 3_600_000;
/// Accounts are evaluated and written in rounds like those of the worker, so far apart, milliseconds.
const ROUND: i64 = 10;
/// Versions are an epoch above this many bits.
const COUNTER_BITS: u32 = 40;
/// States that are packed together, about as many as ClickHouse's block of 64 KiB to 1 MiB holds.
const PACKED_TOGETHER: usize = 200;

/// What the core asked for, as far as it is of interest.
#[derive(Default)]
struct Written {
    scores: usize,
}

struct Bed {
    core: Core,
    lives: Vec<Vec<u8>>,
    accounts: usize,
    written: Written,
}

pub fn measure(accounts: usize, lives: u32) -> anyhow::Result<Figures> {
    let model = Arc::new(core_bench::model());
    let lives: Vec<Vec<u8>> = (0..lives)
        .map(|number| core_bench::account(number, &model).encode(&model))
        .collect();
    let mut lengths: Vec<usize> = lives.iter().map(Vec::len).collect();
    lengths.sort_unstable();
    let state_bytes = lengths[lengths.len() / 2];
    let state_bytes_packed = packed(&lives)?;

    let mut bed = Bed {
        core: core(&model)?,
        lives,
        accounts,
        written: Written::default(),
    };
    let before = resident()?;
    let take_over = bed.take_over()?;
    ensure!(
        bed.core.accounts() == accounts,
        "{} accounts are held",
        bed.core.accounts()
    );
    let taken_over = resident()?;
    // The first look at an account after a start writes its row whatever it says.
    bed.sweep(NOW + ROUND)?;
    bed.save(NOW + HOUR)?;
    let swept = resident()?;
    bed.written.scores = 0;
    let sweep = bed.sweep(NOW + HOUR + ROUND)?;
    bed.save(NOW + 2 * HOUR)?;
    let per_account = |bytes: u64| bytes.saturating_sub(before) as f64 / accounts as f64;
    Ok(Figures {
        accounts,
        state_bytes,
        state_bytes_packed,
        bytes_per_account: per_account(taken_over),
        bytes_per_account_swept: per_account(swept),
        peak_mib: memory_kib(std::process::id())?.most / 1024,
        take_over_s: take_over.as_secs_f64(),
        sweep_s: sweep.as_secs_f64(),
        sweep_rows: bed.written.scores,
    })
}

fn core(model: &Arc<Model>) -> anyhow::Result<Core> {
    let config = Config {
        partitions: PARTITIONS,
        ..Config::default()
    };
    Ok(Core::new(
        Arc::new(config),
        Arc::clone(model),
        Metrics::register(&Registry::new())?,
        "bench".to_owned(),
        BTreeMap::new(),
        NOW,
    ))
}

impl Bed {
    /// Has the core take all partitions over; returns the processor time that it took.
    fn take_over(&mut self) -> anyhow::Result<Duration> {
        let numbers: Vec<i32> = (0..PARTITIONS).collect();
        self.core.assigned(&numbers);
        let mut used = Duration::ZERO;
        loop {
            let began = cpu()?;
            let action = self.core.next(NOW)?;
            used += cpu()? - began;
            let Some((lane, action)) = action else {
                return Ok(used);
            };
            let answer = self.answer(action);
            let began = cpu()?;
            self.core.answer(lane, answer, NOW)?;
            used += cpu()? - began;
        }
    }

    /// Lets the core see to what is due until every account was evaluated; returns the processor time.
    fn sweep(&mut self, from: i64) -> anyhow::Result<Duration> {
        let began = cpu()?;
        let rounds = self.accounts / 1_000 + 50;
        for round in 0..rounds {
            let now = from + round as i64 * ROUND;
            let outlook = Outlook {
                ingest_is_behind: false,
                lag: &|_| Some(0),
            };
            self.core.see_to_what_is_due(now, &outlook);
            while let Some((lane, action)) = self.core.next(now)? {
                let answer = self.answer(action);
                self.core.answer(lane, answer, now)?;
            }
        }
        Ok(cpu()? - began)
    }

    /// Has everything written that waits.
    fn save(&mut self, now: i64) -> anyhow::Result<()> {
        self.core.checkpoint(now);
        while let Some((lane, action)) = self.core.next(now)? {
            let answer = self.answer(action);
            self.core.answer(lane, answer, now)?;
        }
        Ok(())
    }

    fn answer(&mut self, action: Action) -> Answer {
        match action {
            Action::ReadCheckpoint(number) => Answer::Checkpoint(Some(Checkpoint {
                partition: number,
                version: 1 << COUNTER_BITS,
                next_offset: core_bench::life_length(),
                watermark: NOW,
                partitions: PARTITIONS,
                saved_at: NOW,
                accounts: self.of_partition(number).count() as u64,
            })),
            Action::ReadStates(number) => Answer::States(self.of_partition(number).collect()),
            Action::ReadLanded { .. } => Answer::Landed(Vec::new()),
            Action::LookUp(_) => Answer::Seen(Vec::new()),
            Action::ReadAgain { .. } => Answer::Events(Vec::new()),
            Action::Insert(inserts) => {
                for insert in inserts {
                    if let Rows::Scores(rows) = insert.rows {
                        self.written.scores += rows.len();
                    }
                }
                Answer::Done
            }
            Action::Start { .. } | Action::SetAside(_) | Action::Send(_) | Action::Commit(_) => Answer::Done,
        }
    }

    fn of_partition(&self, number: i32) -> impl Iterator<Item = StateRow> + '_ {
        (number as usize..self.accounts)
            .step_by(PARTITIONS as usize)
            .map(move |account| StateRow {
                partition: number,
                account_id: format!("account-{account:07}"),
                version: (1 << COUNTER_BITS) | 1,
                offset: core_bench::life_length(),
                state: self.lives[account % self.lives.len()].clone(),
                saved_at: NOW,
            })
    }
}

/// Bytes for a state when they are packed as ClickHouse packs a column.
fn packed(lives: &[Vec<u8>]) -> anyhow::Result<f64> {
    let mut bytes = 0;
    for together in lives.chunks(PACKED_TOGETHER) {
        bytes += zstd::bulk::compress(&together.concat(), 3)?.len();
    }
    Ok(bytes as f64 / lives.len() as f64)
}

/// Processor time of this process.
fn cpu() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanos = text.split(' ').next().context("schedstat begins with a time")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

/// Resident memory of this process in bytes.
fn resident() -> anyhow::Result<u64> {
    Ok(memory_kib(std::process::id())?.now * 1024)
}
