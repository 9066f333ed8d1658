//! Stating the histories of accounts from their landed events, beside the folding of new ones.
//!
//! The task only reads and computes. What it found goes back to the worker, who writes it under the
//! partition's own versions, or drops it when the partition is another's by then.

use std::collections::HashMap;
use std::sync::Arc;

use health::{Account, Daily, DayCounter, Evaluation, Model, Replay, SegmentBaselines};
use store::{HistoricEvent, Store};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::partition::{History, HistoryRequest};
use crate::rows;

type Found = Result<Vec<(i32, History)>, store::Error>;

/// The histories that are being stated: one batch at a time.
#[derive(Default)]
pub(crate) struct Histories {
    running: Option<Running>,
}

struct Running {
    requests: Vec<(i32, HistoryRequest)>,
    task: JoinHandle<Found>,
}

/// How a batch ended.
pub(crate) enum Ended {
    /// The histories, by partition.
    Stated(Vec<(i32, History)>),
    /// They are to be asked for again.
    Failed(Vec<(i32, HistoryRequest)>),
}

impl Histories {
    /// Whether the next batch can begin.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// Begins with a batch.
    pub(crate) fn begin(
        &mut self,
        store: &Store,
        model: &Arc<Model>,
        segments: &Arc<SegmentBaselines>,
        requests: Vec<(i32, HistoryRequest)>,
    ) {
        let (store, model, segments) = (store.clone(), Arc::clone(model), Arc::clone(segments));
        let asked = requests.clone();
        let task = tokio::spawn(async move { state(&store, &model, &segments, asked).await });
        self.running = Some(Running { requests, task });
    }

    /// What became of the batch, once it has ended.
    pub(crate) async fn ended(&mut self) -> Option<Ended> {
        if !self
            .running
            .as_ref()
            .is_some_and(|running| running.task.is_finished())
        {
            return None;
        }
        let running = self.running.take()?;
        match running.task.await {
            Ok(Ok(found)) => Some(Ended::Stated(found)),
            Ok(Err(error)) => {
                warn!(%error, "cannot read histories yet, trying again");
                Some(Ended::Failed(running.requests))
            }
            Err(error) => {
                warn!(%error, "stating histories came to nothing, trying again");
                Some(Ended::Failed(running.requests))
            }
        }
    }
}

impl Drop for Histories {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.task.abort();
        }
    }
}

/// One account that is being lived again.
struct Life<'a> {
    number: i32,
    request: HistoryRequest,
    replay: Replay<'a>,
    evaluations: Vec<Evaluation>,
    untrue: Vec<(String, i64)>,
    counter: DayCounter,
    days: Vec<Daily>,
}

impl<'a> Life<'a> {
    fn new(
        number: i32,
        request: HistoryRequest,
        segments: &'a SegmentBaselines,
        model: &'a Model,
    ) -> Life<'a> {
        let told = request.told.iter().map(|(_, opened_at)| *opened_at);
        let instants = request.midnights.iter().copied().chain(told).collect();
        Life {
            number,
            replay: Replay::new(&request.account_id, instants, segments, model),
            evaluations: Vec::with_capacity(request.midnights.len()),
            untrue: Vec::new(),
            counter: request.counter.clone(),
            days: Vec::new(),
            request,
        }
    }

    fn take(&mut self, event: event::Event, offset: i64, model: &Model) {
        let Life {
            request,
            replay,
            evaluations,
            untrue,
            counter,
            days,
            ..
        } = self;
        days.extend(counter.take(&event));
        replay.take(event, offset, |found, account| {
            note(request, evaluations, untrue, found, account, model);
        });
    }

    fn finish(self, model: &Model) -> (i32, History) {
        let Life {
            number,
            request,
            replay,
            mut evaluations,
            mut untrue,
            mut counter,
            mut days,
        } = self;
        days.extend(counter.finish());
        let account = replay.finish(|found, account| {
            note(&request, &mut evaluations, &mut untrue, found, account, model);
        });
        let history = History {
            request,
            evaluations,
            untrue,
            days,
            account,
        };
        (number, history)
    }
}

fn note(
    request: &HistoryRequest,
    evaluations: &mut Vec<Evaluation>,
    untrue: &mut Vec<(String, i64)>,
    found: Evaluation,
    account: &Account,
    model: &Model,
) {
    let told = request
        .told
        .iter()
        .filter(|(_, opened_at)| *opened_at == found.at);
    for (rule, opened_at) in told {
        if account.rule_holds(rule, &found, model) == Some(false) {
            untrue.push((rule.clone(), *opened_at));
        }
    }
    if request.midnights.binary_search(&found.at).is_ok() {
        evaluations.push(found);
    }
}

/// States the histories of accounts from their events.
pub struct Lives<'a> {
    model: &'a Model,
    segments: &'a SegmentBaselines,
    waiting: HashMap<String, (i32, HistoryRequest)>,
    life: Option<Life<'a>>,
    found: Vec<(i32, History)>,
}

impl<'a> Lives<'a> {
    /// Answers these requests, each with the number of its partition.
    pub fn new(
        requests: Vec<(i32, HistoryRequest)>,
        segments: &'a SegmentBaselines,
        model: &'a Model,
    ) -> Lives<'a> {
        let found = Vec::with_capacity(requests.len());
        let by_account =
            |(number, request): (i32, HistoryRequest)| (request.account_id.clone(), (number, request));
        Lives {
            model,
            segments,
            waiting: requests.into_iter().map(by_account).collect(),
            life: None,
            found,
        }
    }

    /// Takes the next landed event: account by account, and those of one in the order of their happening.
    pub fn take(&mut self, row: HistoricEvent) {
        let is_of = |life: &Life<'_>| life.request.account_id == row.account_id;
        if !self.life.as_ref().is_some_and(is_of) {
            self.end_life();
            let Some((number, request)) = self.waiting.remove(&row.account_id) else {
                return;
            };
            self.life = Some(Life::new(number, request, self.segments, self.model));
        }
        // What landed before a crash and is not folded again yet will be stated when it is.
        if let Some(life) = &mut self.life
            && row.kafka_offset <= life.request.offset
        {
            let offset = row.kafka_offset;
            if let Some(event) = rows::historic_event(row) {
                life.take(event, offset, self.model);
            }
        }
    }

    /// The histories, after the last event.
    pub fn finish(mut self) -> Vec<(i32, History)> {
        self.end_life();
        // An account of which nothing landed has nothing to state.
        for (number, request) in self.waiting.into_values() {
            let life = Life::new(number, request, self.segments, self.model);
            self.found.push(life.finish(self.model));
        }
        self.found
    }

    fn end_life(&mut self) {
        let ended = self.life.take().map(|life| life.finish(self.model));
        self.found.extend(ended);
    }
}

async fn state(
    store: &Store,
    model: &Model,
    segments: &SegmentBaselines,
    requests: Vec<(i32, HistoryRequest)>,
) -> Found {
    let accounts: Vec<String> = requests
        .iter()
        .map(|(_, request)| request.account_id.clone())
        .collect();
    let mut lives = Lives::new(requests, segments, model);
    let mut events = store.account_events(&accounts, None);
    while let Some(row) = events.next().await? {
        lives.take(row);
    }
    Ok(lives.finish())
}
