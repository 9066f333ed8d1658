//! Accounts made anew, some at a time: what is read of them, and what is written.

use std::collections::HashMap;
use std::sync::Arc;

use event::{Event, EventType};
use health::{Account, Model, SegmentBaselines, ToldChange};
use store::{AccountExtent, HistoricEvent, Store};
use tokio::task::JoinSet;
use tokio::time::Duration;
use tracing::warn;

use super::account::{Before, Rows, Terms};
use super::{RebuildError, Versions};
use crate::history::Lives;
use crate::rows;

/// The pause before accounts are read again when ClickHouse was away.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What all tasks share.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) model: Arc<Model>,
    pub(super) segments: SegmentBaselines,
    pub(super) versions: Arc<Versions>,
    /// Where each partition is cut.
    pub(super) next_offsets: Vec<i64>,
    /// The newest time that is folded of each.
    pub(super) watermarks: Vec<i64>,
    pub(super) now: i64,
    pub(super) since: Option<i64>,
    pub(super) history_days: i64,
    /// Evaluations that a task holds before it writes them.
    pub(super) rows_held: usize,
}

/// How much was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Made {
    pub(super) accounts: u64,
    pub(super) events: u64,
    pub(super) days: u64,
    pub(super) rows: u64,
}

/// Makes accounts anew, in so many tasks; all that there is to write of them is written when it returns.
pub(super) async fn make(
    shared: &Arc<Shared>,
    accounts: &[String],
    tasks: usize,
) -> Result<Made, RebuildError> {
    let mut running: JoinSet<Result<Made, store::Error>> = JoinSet::new();
    for share in accounts.chunks(accounts.len().div_ceil(tasks.max(1)).max(1)) {
        let (shared, share) = (Arc::clone(shared), share.to_vec());
        running.spawn(async move { shared.make_patiently(&share).await });
    }
    let mut made = Made::default();
    while let Some(ended) = running.join_next().await {
        let share = ended??;
        made.accounts += share.accounts;
        made.events += share.events;
        made.days += share.days;
        made.rows += share.rows;
    }
    Ok(made)
}

impl Shared {
    /// A ClickHouse that is away is waited for. Rows that are written twice are the same.
    async fn make_patiently(&self, accounts: &[String]) -> Result<Made, store::Error> {
        loop {
            match self.make(accounts).await {
                Err(store::Error::Unreachable { url, reason }) => {
                    warn!(url, reason, "cannot read histories yet, trying again");
                    tokio::time::sleep(TRY_AGAIN_AFTER).await;
                }
                ended => return ended,
            }
        }
    }

    async fn make(&self, accounts: &[String]) -> Result<Made, store::Error> {
        let extents = self
            .store
            .account_extents(accounts, &self.next_offsets)
            .await?
            .into_iter();
        let extents: HashMap<String, AccountExtent> = extents
            .map(|extent| (extent.account_id.clone(), extent))
            .collect();
        let mut known = self.known_before(accounts).await?;
        let said = self.said(accounts, &extents).await?;

        let terms = Terms {
            model: &self.model,
            segments: &self.segments,
            now: self.now,
            since: self.since,
            history_days: self.history_days,
        };
        let mut made = Made::default();
        let mut rows = Rows::default();
        let mut life: Option<(&AccountExtent, Lives<'_>)> = None;
        let mut events = self.store.account_events(accounts, None);
        loop {
            let event = events.next().await?;
            let is_of = |extent: &AccountExtent| {
                event
                    .as_ref()
                    .is_some_and(|event| event.account_id == extent.account_id)
            };
            if let Some((extent, lives)) = life.take_if(|(extent, _)| !is_of(extent)) {
                let before = known.remove(&extent.account_id).unwrap_or_default();
                let watermark = at(&self.watermarks, extent.partition);
                for (_, history) in lives.finish() {
                    let version = || self.versions.next();
                    terms.write(&mut rows, history, &before, extent.partition, watermark, version);
                    made.accounts += 1;
                }
                if rows.metrics.len() + rows.daily.len() >= self.rows_held {
                    self.write(&mut rows, &mut made).await?;
                }
            }
            let Some(event) = event else { break };
            // Of an account without one nothing is folded.
            let Some(extent) = extents.get(&event.account_id) else {
                continue;
            };
            let next_offset = at(&self.next_offsets, extent.partition);
            let (_, lives) = life.get_or_insert_with(|| {
                let fresh = Account::new(&extent.account_id);
                let said = said.get(&extent.account_id).unwrap_or(&fresh);
                let request = terms.request(extent.first_at, next_offset, said);
                let requests = vec![(extent.partition, request)];
                (extent, Lives::new(requests, terms.segments, terms.model))
            });
            made.events += u64::from(event.kafka_offset < next_offset);
            if event.kafka_offset < next_offset
                && let Some(action) = action_of(&event)
            {
                known
                    .entry(extent.account_id.clone())
                    .or_default()
                    .actions
                    .push(action);
            }
            lives.take(event);
        }
        self.write(&mut rows, &mut made).await?;
        Ok(made)
    }

    /// What was known of the accounts before: of those whose state is lost or damaged, what was told.
    async fn known_before(&self, accounts: &[String]) -> Result<HashMap<String, Before>, store::Error> {
        let mut known: HashMap<String, Before> = HashMap::new();
        for row in self.store.newest_states(accounts).await? {
            match Account::decode(&row.account_id, &row.state) {
                Ok(state) => known.entry(row.account_id).or_default().state = Some(state),
                Err(error) => {
                    warn!(%error, "made anew from the events; of its alerts those that were told are known")
                }
            }
        }
        let mut without = accounts.to_vec();
        without.retain(|account| !known.contains_key(account));
        for change in self.store.told_changes(&without).await? {
            let told = ToldChange {
                episode_id: change.episode_id,
                rule: change.rule,
                severity: change.severity,
                change: change.change,
                at: change.at,
                opened_at: change.opened_at,
            };
            known.entry(change.account_id).or_default().told.push(told);
        }
        for stored in self.store.stored_days(accounts).await? {
            known
                .entry(stored.account_id)
                .or_default()
                .days
                .insert(stored.day);
        }
        Ok(known)
    }

    /// The accounts as their `account` events alone make them: they tell the time zone.
    async fn said(
        &self,
        accounts: &[String],
        extents: &HashMap<String, AccountExtent>,
    ) -> Result<HashMap<String, Account>, store::Error> {
        let mut said: HashMap<String, Account> = HashMap::new();
        for row in self.store.account_statements(accounts).await? {
            let Some(extent) = extents.get(&row.account_id) else {
                continue;
            };
            let offset = row.kafka_offset;
            if offset >= at(&self.next_offsets, extent.partition) {
                continue;
            }
            if let Some(event) = rows::historic_event(row) {
                said.entry(extent.account_id.clone())
                    .or_insert_with(|| Account::new(&extent.account_id))
                    .fold(&event, offset, &self.model);
            }
        }
        Ok(said)
    }

    /// Writes the rows; the states come last, as what they vouch for must be there.
    async fn write(&self, rows: &mut Rows, made: &mut Made) -> Result<(), store::Error> {
        let rows = std::mem::take(rows);
        made.days += rows.daily.len() as u64;
        made.rows += rows.len() as u64;
        let token = self.versions.token();
        let store = &self.store;
        store
            .insert_evaluations(&token, &rows.metrics, &rows.scores)
            .await?;
        store.insert_daily(&token, &rows.daily).await?;
        store.insert_users(&token, &rows.users).await?;
        store.insert_accounts(&token, &rows.accounts).await?;
        store.insert_states(&token, &rows.states).await
    }
}

/// What people did, if the row is of that.
fn action_of(row: &HistoricEvent) -> Option<Event> {
    if row.r#type != EventType::Action.as_str() {
        return None;
    }
    rows::historic_event(row.clone())
}

/// Of what is kept by partition, that of one.
fn at(of_partitions: &[i64], partition: i32) -> i64 {
    let found = usize::try_from(partition)
        .ok()
        .and_then(|number| of_partitions.get(number));
    found.copied().unwrap_or(0)
}
