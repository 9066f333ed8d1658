//! How the breaker's decisions become durable, and how people's wishes reach a worker that runs.
//!
//! What it keeps true:
//!
//! - That a name has tripped is written before anything is held for it, and what is held is written
//!   before the next records are looked at. So the rows say after any crash what was held, and why.
//! - A summary is in the row of its hold, and whoever starts sees to it that each destination has a row
//!   about it. It waits with the account of its first example, so one worker sends it.
//! - While records are submitted no wish is carried out, and while one is, no record is submitted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use health::AlertChange;
use store::{DeliveryRow, DeliveryState, HeldCount, HoldEnd, HoldRow, Opening, Owned, Requests, Store};
use tokio::time::sleep;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::decide::Judged;
use super::{Ledger, Shared, Stopped, lock};
use crate::body;
use crate::breaker::{Breaker, BreakerConfig, Common, Opened};
use crate::fate::{Fate, HELD, SUPPRESSED, fate};
use crate::lane::RETRYING;
use crate::summary;

/// How often the accounts are counted, and what is held.
const COUNT_EVERY_MS: i64 = 60_000;

/// The most held deliveries that are moved at once.
const PAGE: u32 = 500;

/// Where holds, and what people asked for, are written down.
pub(crate) trait HoldLedger: Send + Sync + 'static {
    /// Every hold there has been.
    fn holds(&self) -> impl Future<Output = Result<Vec<HoldRow>, store::Error>> + Send;
    /// Writes a hold, and lets the other workers know.
    fn save_hold(&self, hold: &HoldRow) -> impl Future<Output = Result<(), store::Error>> + Send;
    /// Where the deliveries of these episodes stand.
    fn standing_of(
        &self,
        episode_ids: &[String],
    ) -> impl Future<Output = Result<Vec<DeliveryState>, store::Error>> + Send;
    /// How many alerts are held, by reason and rule.
    fn held_counts(&self, owned: &Owned)
    -> impl Future<Output = Result<Vec<HeldCount>, store::Error>> + Send;
    /// What is held for `reason`, whole episodes side by side.
    fn held(
        &self,
        reason: &str,
        owned: &Owned,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<DeliveryState>, store::Error>> + Send;
    /// Which of these episodes of these accounts are over.
    fn ended(
        &self,
        account_ids: &[String],
        episode_ids: &[String],
    ) -> impl Future<Output = Result<Vec<String>, store::Error>> + Send;
    /// How many accounts there are.
    fn accounts(&self, owned: &Owned) -> impl Future<Output = Result<u64, store::Error>> + Send;
    /// The openings after a time.
    fn openings(
        &self,
        after: i64,
        owned: &Owned,
    ) -> impl Future<Output = Result<Vec<Opening>, store::Error>> + Send;
    /// What people have asked for.
    fn requests(&self) -> impl Future<Output = Result<Vec<Requests>, store::Error>> + Send;
}

impl HoldLedger for Store {
    async fn holds(&self) -> Result<Vec<HoldRow>, store::Error> {
        self.holds_whatever_it_takes().await
    }

    async fn save_hold(&self, hold: &HoldRow) -> Result<(), store::Error> {
        Store::save_hold(self, hold).await
    }

    async fn standing_of(&self, episode_ids: &[String]) -> Result<Vec<DeliveryState>, store::Error> {
        self.deliveries_of_episodes(episode_ids).await
    }

    async fn held_counts(&self, owned: &Owned) -> Result<Vec<HeldCount>, store::Error> {
        Store::held_counts(self, Some(owned)).await
    }

    async fn held(
        &self,
        reason: &str,
        owned: &Owned,
        limit: u32,
    ) -> Result<Vec<DeliveryState>, store::Error> {
        self.held_deliveries(reason, owned, limit).await
    }

    async fn ended(
        &self,
        account_ids: &[String],
        episode_ids: &[String],
    ) -> Result<Vec<String>, store::Error> {
        self.ended_episodes(account_ids, episode_ids).await
    }

    async fn accounts(&self, owned: &Owned) -> Result<u64, store::Error> {
        self.accounts_of(owned).await
    }

    async fn openings(&self, after: i64, owned: &Owned) -> Result<Vec<Opening>, store::Error> {
        self.openings_after(after, owned).await
    }

    async fn requests(&self) -> Result<Vec<Requests>, store::Error> {
        Store::requests(self).await
    }
}

/// What the worker knows of the breaker and of what is asked of it.
pub(super) struct Quiet {
    breaker: Breaker,
    owned: Owned,
    counted_at: i64,
}

/// What has to be read before the next records are looked at.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Due {
    /// Other partitions are ours than before.
    pub assigned: bool,
    /// Holds have changed.
    pub holds: bool,
}

/// The deliveries of the episodes of a batch, those that the batch itself adds included.
pub(super) struct Standing(HashMap<(String, String), Vec<DeliveryState>>);

/// What becomes of a change at a destination.
pub(super) enum Decided {
    /// It is for the lane. `behind` when the lane has to look at the ledger first.
    Told { behind: bool },
    /// Nobody is told now; these rows say so.
    Noted(Vec<DeliveryRow>),
}

impl Quiet {
    pub fn new(config: BreakerConfig) -> Quiet {
        Quiet {
            breaker: Breaker::new(config),
            owned: Owned::default(),
            counted_at: i64::MIN,
        }
    }

    /// What becomes of a change at `destination`.
    pub fn decide(
        &self,
        judged: &Judged<'_>,
        destination: &str,
        standing: &mut Standing,
        now: i64,
    ) -> Decided {
        let change = judged.change;
        let key = (destination.to_string(), change.episode_id.clone());
        let earlier = standing.0.entry(key).or_default();
        let fate = match Opened::of(change) {
            Some(opening) => match self.breaker.hold_of(&opening) {
                Some(hold) => Fate::Held {
                    reason: hold.reason(),
                },
                None => Fate::Told { behind: false },
            },
            None => fate(&change.change, earlier),
        };
        let mut state = DeliveryState {
            alert_id: change.alert_id.clone(),
            episode_id: change.episode_id.clone(),
            destination: destination.to_string(),
            attempt: 0,
            status: HELD.to_string(),
            error: String::new(),
            body: judged.body.to_string(),
            variant: judged.decided.variant.to_string(),
            reference: String::new(),
        };
        match fate {
            Fate::Told { behind } => Decided::Told { behind },
            Fate::Held { reason } => {
                state.error = reason;
                let row = first_row(&state, now);
                earlier.push(state);
                Decided::Noted(vec![row])
            }
            Fate::Suppressed { error, with_held } => {
                state.status = SUPPRESSED.to_string();
                state.error = error.to_string();
                state.body = String::new();
                // First the end: should the rows be written in part, nobody is told of it alone.
                let mut rows = vec![first_row(&state, now)];
                if with_held {
                    for held in earlier.iter_mut().filter(|held| held.status == HELD) {
                        rows.push(held.next_row(SUPPRESSED, error, None, now));
                        held.status = SUPPRESSED.to_string();
                    }
                }
                earlier.push(state);
                Decided::Noted(rows)
            }
        }
    }
}

/// The first row about a delivery.
fn first_row(state: &DeliveryState, now: i64) -> DeliveryRow {
    DeliveryRow {
        attempt: 0,
        body: state.body.clone(),
        ..state.next_row(&state.status, &state.error, None, now)
    }
}

impl<L: Ledger> Shared<L> {
    /// Counts the openings among `fresh`, which nobody has been told of, and trips what is over its limit.
    pub(super) async fn observe(&self, quiet: &mut Quiet, fresh: &[&Judged<'_>]) -> Result<(), store::Error> {
        if !quiet.breaker.is_on() {
            return Ok(());
        }
        let opened: Vec<(&Judged<'_>, Opened)> = fresh
            .iter()
            .filter_map(|judged| Opened::of(judged.change).map(|opening| (*judged, opening)))
            .collect();
        let openings: Vec<Opened> = opened.iter().map(|(_, opening)| opening.clone()).collect();
        for common in [Common::Rule, Common::Cause] {
            let now = self.clock.now();
            let mut names = quiet.breaker.observe(&openings, common, now);
            if names.is_empty() {
                continue;
            }
            // There may be more accounts by now than when they were counted.
            self.count_accounts(quiet).await?;
            names.retain(|name| quiet.breaker.is_over(name));
            for name in names {
                let held: Vec<&Judged<'_>> = opened
                    .iter()
                    .filter(|(_, opening)| {
                        opening.name(common).as_ref() == Some(&name)
                            && quiet.breaker.hold_of(opening).is_none()
                    })
                    .map(|(judged, _)| *judged)
                    .collect();
                self.trip(quiet, &name, &held, now).await?;
            }
        }
        Ok(())
    }

    async fn trip(
        &self,
        quiet: &mut Quiet,
        name: &str,
        held: &[&Judged<'_>],
        now: i64,
    ) -> Result<(), store::Error> {
        let changes: Vec<&AlertChange> = held.iter().map(|judged| judged.change).collect();
        let receivers: BTreeSet<&str> = held.iter().flat_map(|judged| judged.receivers()).collect();
        let tripping = summary::Tripping {
            name,
            held: &changes,
            accounts: quiet.breaker.count(name),
            accounts_total: quiet.breaker.accounts(),
            destinations: receivers.into_iter().map(str::to_string).collect(),
            now,
        };
        let hold = summary::hold(tripping, quiet.breaker.config());
        warn!(
            name,
            accounts = hold.accounts,
            accounts_total = hold.accounts_total,
            "so many accounts opened alerts at once that they are held; see mimamori alert held list"
        );
        self.ledger.save_hold(&hold).await?;
        self.tell_summary(&hold).await?;
        quiet.breaker.trip(hold);
        Ok(())
    }

    /// Sees to it that each destination of the hold has a row about its summary.
    async fn tell_summary(&self, hold: &HoldRow) -> Result<(), store::Error> {
        let now = self.clock.now();
        for slot in &self.lanes {
            let destination = lock(&slot.lane).destination().to_string();
            if !hold.destinations.contains(&destination) {
                continue;
            }
            let id = std::slice::from_ref(&hold.hold_id);
            if !self.ledger.attempted(&destination, id).await?.is_empty() {
                continue;
            }
            let row = summary::row(hold, &destination, now);
            self.ledger.insert(&Uuid::new_v4().to_string(), &[row]).await?;
            lock(&slot.lane).look_again(now);
            slot.wake.notify_one();
        }
        Ok(())
    }

    /// Where the earlier changes stand of the episodes of those among `fresh` that open none.
    pub(super) async fn standing(&self, fresh: &[&Judged<'_>]) -> Result<Standing, store::Error> {
        let episodes: BTreeSet<String> = fresh
            .iter()
            .map(|judged| judged.change)
            .filter(|change| change.change != "opened" && !change.episode_id.is_empty())
            .map(|change| change.episode_id.clone())
            .collect();
        let mut standing = HashMap::new();
        if !episodes.is_empty() {
            let episodes = Vec::from_iter(episodes);
            for state in self.ledger.standing_of(&episodes).await? {
                let key = (state.destination.clone(), state.episode_id.clone());
                standing.entry(key).or_insert_with(Vec::new).push(state);
            }
        }
        Ok(Standing(standing))
    }

    /// Writes what nobody is told of now.
    pub(super) async fn write_down(&self, rows: &[DeliveryRow]) -> Result<(), store::Error> {
        if rows.is_empty() {
            return Ok(());
        }
        self.ledger.insert(&Uuid::new_v4().to_string(), rows).await?;
        for row in rows {
            let labels = [row.destination.as_str(), row.status.as_str()];
            self.metrics.deliveries.with_label_values(&labels).inc();
        }
        Ok(())
    }

    /// Reads what is due to be read, and moves what is held for no hold that is in force.
    pub(super) async fn catch_up(&self, quiet: &mut Quiet) -> Result<(), store::Error> {
        let due = std::mem::take(&mut *lock(&self.due));
        if due.assigned {
            quiet.owned = Owned {
                partitions: lock(&self.owned).iter().copied().collect(),
                partition_count: *lock(&self.partition_count),
            };
        }
        if (!due.assigned && !due.holds) || quiet.owned.partitions.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.catch_up_with(quiet, due.assigned).await {
            // It is as due as before.
            let mut left = lock(&self.due);
            left.assigned |= due.assigned;
            left.holds |= due.holds;
            return Err(error);
        }
        Ok(())
    }

    async fn catch_up_with(&self, quiet: &mut Quiet, assigned: bool) -> Result<(), store::Error> {
        let holds = self.ledger.holds().await?;
        let tripped = || holds.iter().filter(|hold| hold.is_tripped());
        if assigned {
            quiet.breaker.start_anew();
        }
        quiet.breaker.set_tripped(tripped().cloned());
        if assigned {
            self.seed(quiet, &holds).await?;
            for hold in tripped() {
                self.tell_summary(hold).await?;
            }
        }
        let mut moved = false;
        for count in self.count(quiet).await? {
            let Some(hold) = holds.iter().find(|hold| hold.reason() == count.reason) else {
                warn!(
                    reason = count.reason,
                    "nothing is known of the hold of deliveries, leaving them"
                );
                continue;
            };
            if !hold.is_tripped() {
                self.move_held(quiet, hold).await?;
                moved = true;
            }
        }
        if moved {
            self.count(quiet).await?;
        }
        Ok(())
    }

    /// Counts the openings of the window that were told before this worker, and since the end of the last
    /// hold of their name.
    async fn seed(&self, quiet: &mut Quiet, holds: &[HoldRow]) -> Result<(), store::Error> {
        if !quiet.breaker.is_on() {
            return Ok(());
        }
        self.count_accounts(quiet).await?;
        let after = self.clock.now() - quiet.breaker.window_ms();
        let mut ended: BTreeMap<&str, i64> = BTreeMap::new();
        for hold in holds.iter().filter(|hold| !hold.is_tripped()) {
            let at = ended.entry(&hold.name).or_insert(i64::MIN);
            *at = (*at).max(hold.at);
        }
        // The newest come first.
        for opening in self.ledger.openings(after, &quiet.owned).await?.into_iter().rev() {
            let opened = Opened {
                account_id: opening.account_id.as_str().into(),
                rule: opening.rule,
                cause: Some(opening.cause).filter(|cause| !cause.is_empty()),
            };
            for name in [Common::Rule, Common::Cause]
                .map(|common| opened.name(common))
                .into_iter()
                .flatten()
            {
                if ended.get(name.as_str()).is_none_or(|ended| opening.at > *ended) {
                    quiet.breaker.seed(&name, &opened.account_id, opening.at);
                }
            }
        }
        Ok(())
    }

    async fn count_accounts(&self, quiet: &mut Quiet) -> Result<(), store::Error> {
        let accounts = self.ledger.accounts(&quiet.owned).await?;
        quiet.breaker.set_accounts(accounts);
        Ok(())
    }

    /// Counts what is held, for the gauge and whoever asks.
    async fn count(&self, quiet: &mut Quiet) -> Result<Vec<HeldCount>, store::Error> {
        let counts = self.ledger.held_counts(&quiet.owned).await?;
        let mut by_rule: BTreeMap<&str, u64> = BTreeMap::new();
        for count in &counts {
            *by_rule.entry(&count.rule).or_default() += count.alerts;
        }
        self.metrics.held.reset();
        for (rule, alerts) in by_rule {
            let alerts = i64::try_from(alerts).unwrap_or(i64::MAX);
            self.metrics.held.with_label_values(&[rule]).set(alerts);
        }
        quiet.counted_at = self.clock.now();
        Ok(counts)
    }

    /// Moves what a hold that has ended still holds: what was released is due now unless its episode is
    /// over, all else is suppressed.
    async fn move_held(&self, quiet: &Quiet, hold: &HoldRow) -> Result<(), store::Error> {
        let reason = hold.reason();
        let is_released = hold.status == HoldEnd::Released.as_str();
        loop {
            let mut page = self.ledger.held(&reason, &quiet.owned, PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            leave_last_episode(&mut page);
            let accounts: BTreeSet<String> = page
                .iter()
                .filter_map(|state| body::place(&state.body))
                .map(|place| place.account_id)
                .collect();
            let episodes: BTreeSet<String> = page.iter().map(|state| state.episode_id.clone()).collect();
            let over = self
                .ledger
                .ended(&Vec::from_iter(accounts), &Vec::from_iter(episodes))
                .await?;
            let now = self.clock.now();
            let rows: Vec<DeliveryRow> = page
                .iter()
                .map(|state| match (is_released, over.contains(&state.episode_id)) {
                    (true, false) => state.next_row(RETRYING, "not tried yet: released", Some(now), now),
                    (true, true) => {
                        state.next_row(SUPPRESSED, "the episode ended before it was released", None, now)
                    }
                    (false, _) => state.next_row(SUPPRESSED, "dropped by somebody's word", None, now),
                })
                .collect();
            self.ledger.insert(&Uuid::new_v4().to_string(), &rows).await?;
            for row in rows.iter().filter(|row| row.status == SUPPRESSED) {
                let labels = [row.destination.as_str(), SUPPRESSED];
                self.metrics.deliveries.with_label_values(&labels).inc();
            }
            info!(
                name = hold.name,
                status = hold.status,
                deliveries = rows.len(),
                "moved what was held"
            );
            for slot in &self.lanes {
                lock(&slot.lane).look_again(now);
                slot.wake.notify_one();
            }
        }
    }
}

/// A full page may end within an episode: that one is left for the next page, unless it is the only one.
fn leave_last_episode(page: &mut Vec<DeliveryState>) {
    if page.len() < PAGE as usize {
        return;
    }
    let Some(last) = page.last().map(|state| state.episode_id.clone()) else {
        return;
    };
    if page.iter().any(|state| state.episode_id != last) {
        page.retain(|state| state.episode_id != last);
    }
}

/// What was asked for at the last look, and of whom: when the newest was, and how many there were.
type Seen = HashMap<(String, String), (i64, u64)>;

/// Looks for what people ask for, until the engine ends.
pub(super) async fn look_out<L: Ledger>(shared: Arc<Shared<L>>, every: Duration) -> Result<(), Stopped> {
    let mut known: Option<Seen> = None;
    loop {
        match shared.ledger.requests().await {
            Ok(requests) => heed(&shared, &mut known, requests),
            Err(error) => debug!(%error, "cannot look for requests, trying again"),
        }
        let mut quiet = shared.quiet.lock().await;
        if shared.clock.now() >= quiet.counted_at.saturating_add(COUNT_EVERY_MS) {
            if quiet.breaker.is_on() && !quiet.owned.partitions.is_empty() {
                shared.count_accounts(&mut quiet).await?;
            }
            lock(&shared.due).holds = true;
        }
        shared.catch_up(&mut quiet).await?;
        drop(quiet);
        tokio::select! {
            () = sleep(every) => {}
            () = shared.assigned.notified() => {}
        }
    }
}

/// Sees to what is new among the requests. Of those that were there at the first look nobody knows whether
/// they were seen to: reading once more does no harm.
fn heed<L: Ledger>(shared: &Shared<L>, known: &mut Option<Seen>, requests: Vec<Requests>) {
    let is_first = known.is_none();
    let known = known.get_or_insert_default();
    let now = shared.clock.now();
    for request in requests {
        let found = (request.newest_at, request.count);
        let key = (request.what, request.destination);
        let is_new = known
            .get(&key)
            .is_none_or(|seen| found.0 > seen.0 || (found.0 == seen.0 && found.1 > seen.1));
        if !is_new {
            continue;
        }
        if key.0 == "holds" {
            lock(&shared.due).holds = true;
        }
        for slot in &shared.lanes {
            let mut lane = lock(&slot.lane);
            if key.0 != "replay" || lane.destination() != key.1 {
                continue;
            }
            if is_first {
                lane.look_again(now);
            } else {
                info!(destination = key.1, "deliveries are to be replayed");
                lane.requested(now);
            }
            drop(lane);
            slot.wake.notify_one();
        }
        known.insert(key, found);
    }
}
