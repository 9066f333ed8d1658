use serde::{Deserialize, Serialize};

/// Section `[aggregate]`: how the worker takes its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The consumer group. Default `mimamori-aggregate`.
    pub group: String,
    /// Partitions of `mimamori.events`. Accounts move when it changes, so a state that was made with
    /// another number is refused. Default 16.
    pub partitions: i32,
    /// Events land in ClickHouse at the latest after this many milliseconds. Default 1000.
    pub land_after_ms: i64,
    /// Events land in ClickHouse at the latest when this many wait. Default 100000.
    pub land_rows: usize,
    /// States are saved at least this often, in milliseconds. Default 10000.
    pub checkpoint_after_ms: i64,
    /// States saved at a time, about: when more accounts changed, a checkpoint goes out in parts, of some of the
    /// partitions each, so that not all of it is in memory at once. Default 50000.
    pub checkpoint_states: usize,
    /// An account with new events is evaluated at most this often, in milliseconds. Default 50.
    pub evaluate_after_ms: i64,
    /// What evaluations found of an account is written at most this often, in milliseconds, unless
    /// it opens or ends an alert. Default 5000.
    pub write_after_ms: i64,
    /// An account without events is evaluated this often, in seconds, so that its silence counts.
    /// Default 3600.
    pub sweep_seconds: i64,
    /// Evaluations that wait to be written at most; beyond it they are written at once. Default 20000.
    pub evaluation_rows: usize,
    /// A partition speaks of now while its newest event is at most this old, in seconds. Default 600.
    pub live_within_seconds: i64,
    /// … or when nothing has come for this long, in seconds; and an account to which older events
    /// come is not alerted about before they have ended for as long. Default 10.
    pub quiet_after_seconds: i64,
    /// While the ingest role is more than so many records behind, no absence is alerted about: what looks
    /// like silence may be on its way. Default 10000.
    pub ingest_lag_records: i64,
    /// The same for the records of a partition that this worker has not read yet. Default 1000.
    pub lag_records: i64,
    /// Ids of events that a partition remembers before it forgets those that are older than
    /// `health.remember_ids_hours`; 16 bytes each. Default 500000.
    pub remember_ids: usize,
    /// Whether every id that is not remembered is looked up in ClickHouse before its event counts, not
    /// only those of events that occurred before what is remembered. It takes senders that use an id
    /// again for another time after `health.remember_ids_hours`; each event then costs a look-up. Default
    /// false.
    pub look_up_every_id: bool,
    /// Records taken from the queue at a time at most. Default 20000.
    pub batch_records: usize,
    /// Inserts that are done side by side, each into another table, where their order does not matter.
    /// Default 4.
    pub inserts: usize,
    /// How far back an account's daily rows are stated again when late events come, in days. Default
    /// 800.
    pub history_days: i64,
    /// Accounts whose histories are read from ClickHouse at a time at most; fewer when they have more
    /// midnights than `evaluation_rows`. Default 500.
    pub history_accounts: usize,
    /// Accounts that `mimamori rebuild` makes anew before it notes how far it is. Default 200.
    pub rebuild_accounts: usize,
    /// Tasks among which it shares them. Default 4.
    pub rebuild_tasks: usize,
    /// How often the usual stickiness of each segment is taken anew, in seconds. Default 3600.
    pub segments_seconds: i64,
    /// How long a stop may take to write what is held, in milliseconds. Default 3000.
    pub stop_within_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            group: "mimamori-aggregate".to_string(),
            partitions: stream::topics::DEFAULT_PARTITIONS,
            land_after_ms: 1_000,
            land_rows: 100_000,
            checkpoint_after_ms: 10_000,
            checkpoint_states: 50_000,
            evaluate_after_ms: 50,
            write_after_ms: 5_000,
            sweep_seconds: 3_600,
            evaluation_rows: 20_000,
            live_within_seconds: 600,
            quiet_after_seconds: 10,
            ingest_lag_records: 10_000,
            lag_records: 1_000,
            remember_ids: 500_000,
            look_up_every_id: false,
            batch_records: 20_000,
            inserts: 4,
            history_days: 800,
            history_accounts: 500,
            rebuild_accounts: 200,
            rebuild_tasks: 4,
            segments_seconds: 3_600,
            stop_within_ms: 3_000,
        }
    }
}

impl Config {
    /// What is wrong, and what would be right; `None` when all is well.
    pub fn problem(&self) -> Option<String> {
        let at_least_one: [(&str, i64); 16] = [
            ("partitions", i64::from(self.partitions)),
            ("land_after_ms", self.land_after_ms),
            ("land_rows", self.land_rows as i64),
            ("checkpoint_after_ms", self.checkpoint_after_ms),
            ("checkpoint_states", self.checkpoint_states as i64),
            ("evaluate_after_ms", self.evaluate_after_ms),
            ("sweep_seconds", self.sweep_seconds),
            ("evaluation_rows", self.evaluation_rows as i64),
            ("live_within_seconds", self.live_within_seconds),
            ("history_days", self.history_days),
            ("history_accounts", self.history_accounts as i64),
            ("rebuild_accounts", self.rebuild_accounts as i64),
            ("rebuild_tasks", self.rebuild_tasks as i64),
            ("segments_seconds", self.segments_seconds),
            ("batch_records", self.batch_records as i64),
            ("inserts", self.inserts as i64),
        ];
        let (name, value) = at_least_one.into_iter().find(|(_, value)| *value < 1)?;
        Some(format!("aggregate.{name} is {value}; it must be at least 1"))
    }
}
