//! The events of one request on their way: none is answered for before the broker has acknowledged it,
//! and only so many are under way at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use event::{Reason, Rejection, Taken, Violations};
use stream::Error;
use tokio::runtime::Handle;
use tracing::warn;

use super::budget::Place;
use super::meter::Exceeded;
use super::metrics::SourceMetrics;
use super::outcome::Outcome;
use super::outlet::{Acknowledgement, Item};
use super::refusal::Refusal;
use super::write_keys::Writer;
use super::{Became, Collector};

/// What a record takes in the producer beside its bytes.
const RECORD_OVERHEAD: usize = 512;
/// The pause before a producer whose queue was full is asked again.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(5);

struct Sent {
    acknowledgement: Acknowledgement,
    became: Became,
    index: u64,
    since: Instant,
    _place: Place,
}

pub(super) struct Window<'c> {
    collector: &'c Collector,
    writer: Writer,
    metrics: SourceMetrics,
    /// A stream waits for room; what has come whole is refused, to be sent again.
    is_patient: bool,
    sent: VecDeque<Sent>,
    /// Events that the writer's quota was taken for and that are not settled.
    admitted: u64,
    outcome: Outcome,
    encoded: Vec<u8>,
}

impl<'c> Window<'c> {
    pub(super) fn new(collector: &'c Collector, writer: Writer, is_patient: bool) -> Window<'c> {
        Window {
            collector,
            metrics: collector.metrics.of(writer.source.clone()),
            writer,
            is_patient,
            sent: VecDeque::new(),
            admitted: 0,
            outcome: Outcome::default(),
            encoded: Vec::new(),
        }
    }

    /// Lets so many events of the writer's through, or says when to come again.
    pub(super) fn admit(&mut self, events: u64) -> Result<(), Exceeded> {
        self.writer.admit(events)?;
        self.admitted += events;
        Ok(())
    }

    /// Decodes an item and sends it where it belongs.
    pub(super) async fn take(&mut self, index: u64, item: Item<'_>, received_at: i64) -> Result<(), Refusal> {
        // A large batch must not keep single events waiting for its thread.
        tokio::task::coop::consume_budget().await;
        let collector = self.collector;
        let taken = match item.cut_from {
            None => collector
                .door
                .take(item.bytes, item.headers, received_at, &self.writer.source),
            Some(bytes) => rejected(collector.too_large(bytes)),
        };
        self.put(index, item, taken).await
    }

    /// Sends an item that cannot be an event.
    pub(super) async fn reject(
        &mut self,
        index: u64,
        item: Item<'_>,
        rejection: Rejection,
    ) -> Result<(), Refusal> {
        self.put(index, item, rejected(rejection)).await
    }

    async fn put(&mut self, index: u64, item: Item<'_>, taken: Taken) -> Result<(), Refusal> {
        let Taken { event, violations } = taken;
        let collector = self.collector;
        // An event is encoded in fewer bytes than it had as JSON, and some for what the server adds.
        let place = self.place(item.bytes.len() + RECORD_OVERHEAD).await?;
        let mut rejection = event.as_ref().err().cloned();
        let acknowledgement = loop {
            let sent = match (&event, &rejection) {
                (Ok(event), None) => collector.outlet.accept(event, &mut self.encoded),
                (_, Some(rejection)) | (Err(rejection), None) => {
                    let kept = collector.door.kept(item.bytes, item.headers);
                    let kept = kept.as_deref();
                    collector
                        .outlet
                        .reject(item, kept, rejection, &self.writer.source)
                }
            };
            match sent {
                Ok(sent) => break sent,
                // Not for long: the queue has room for whatever the budget lets through.
                Err(Error::QueueFull) if self.is_patient => tokio::time::sleep(FULL_QUEUE_PAUSE).await,
                Err(Error::QueueFull) => return Err(Refusal::Overload),
                Err(Error::TooLarge { bytes, .. }) if rejection.is_none() => {
                    rejection = Some(Rejection {
                        reason: Reason::EventTooLarge,
                        detail: format!("the event takes {bytes} bytes on the wire, more than Kafka takes"),
                    });
                }
                Err(error) => return Err(self.unacknowledged(&error)),
            }
        };
        let became = match &rejection {
            None => Became::Accepted(violations),
            Some(rejection) => Became::Rejected(rejection.reason),
        };
        if let Some(rejection) = rejection {
            self.outcome
                .list(index, rejection, collector.config.max_listed_errors);
        }
        self.sent.push_back(Sent {
            acknowledgement,
            became,
            index,
            since: Instant::now(),
            _place: place,
        });
        Ok(())
    }

    async fn place(&mut self, bytes: usize) -> Result<Place, Refusal> {
        let collector = self.collector;
        loop {
            if self.sent.len() < collector.config.max_request_in_flight
                && let Some(place) = collector.budget.try_place(bytes)
            {
                return Ok(place);
            }
            if !self.sent.is_empty() {
                self.settle_oldest().await?;
                continue;
            }
            // Others hold all there is.
            if !self.is_patient {
                return Err(Refusal::Overload);
            }
            let room = collector.budget.place(bytes);
            let waited = tokio::time::timeout(collector.config.ack_timeout(), room).await;
            return waited.map_err(|_| Refusal::Overload);
        }
    }

    /// Waits until the broker has acknowledged everything.
    pub(super) async fn settle(mut self) -> Result<Outcome, Refusal> {
        while !self.sent.is_empty() {
            self.settle_oldest().await?;
        }
        Ok(std::mem::take(&mut self.outcome))
    }

    /// Whether anything waits for the broker.
    pub(super) fn is_waiting(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Waits until the broker has acknowledged the oldest, and takes note of what else it has by then.
    /// Dropped before that, it changes nothing.
    pub(super) async fn settle_oldest(&mut self) -> Result<(), Refusal> {
        if self.settle_acknowledged()? {
            return Ok(());
        }
        let Some(oldest) = self.sent.front_mut() else {
            return Ok(());
        };
        let left = self
            .collector
            .config
            .ack_timeout()
            .saturating_sub(oldest.since.elapsed());
        let answered = tokio::time::timeout(left, &mut oldest.acknowledgement).await;
        let Ok(answered) = answered else {
            let reason = "the deadline of collector.ack_timeout_ms is over".to_owned();
            let topic = stream::topics::EVENTS.to_owned();
            return Err(self.unacknowledged(&Error::Delivery { topic, reason }));
        };
        self.settle_first(answered, Instant::now())?;
        self.settle_acknowledged().map(drop)
    }

    /// Takes note of what the broker has acknowledged by now, from the oldest on, and says whether that
    /// was anything.
    fn settle_acknowledged(&mut self) -> Result<bool, Refusal> {
        let before = self.sent.len();
        let now = Instant::now();
        while let Some(oldest) = self.sent.front_mut()
            && let Some(answered) = oldest.acknowledgement.given()
        {
            self.settle_first(answered, now)?;
        }
        Ok(self.sent.len() < before)
    }

    fn settle_first(&mut self, answered: Result<(), Error>, now: Instant) -> Result<(), Refusal> {
        let sent = self.sent.pop_front().expect("it was there to be waited for");
        match answered {
            Ok(()) => {
                self.count(&sent, sent.became, now);
                Ok(())
            }
            // Sending it again cannot help: the topic's bound is the broker's to know.
            Err(Error::TooLarge { bytes, .. }) => {
                let detail = format!(
                    "the broker refuses a record of {bytes} bytes: raise max.message.bytes of the topic; \
                     the event is not kept"
                );
                let reason = Reason::EventTooLarge;
                let most = self.collector.config.max_listed_errors;
                self.outcome.list(sent.index, Rejection { reason, detail }, most);
                self.count(&sent, Became::Rejected(reason), now);
                Ok(())
            }
            Err(error) => Err(self.unacknowledged(&error)),
        }
    }

    fn count(&mut self, sent: &Sent, became: Became, now: Instant) {
        self.collector.acknowledged();
        self.metrics
            .count(became, now.saturating_duration_since(sent.since));
        match became {
            Became::Accepted(_) => self.outcome.accepted += 1,
            Became::Rejected(_) => {
                self.outcome.rejected += 1;
                self.writer.give_back(1);
            }
        }
        self.admitted -= 1;
        self.outcome.acknowledged_until = sent.index + 1;
    }

    /// What became of the events so far, for an answer that is not a success: nothing is told of those
    /// that the broker has not acknowledged.
    pub(super) fn so_far(&mut self) -> Outcome {
        let mut outcome = std::mem::take(&mut self.outcome);
        let until = outcome.acknowledged_until;
        outcome.errors.retain(|error| error.index < until);
        outcome
    }

    fn unacknowledged(&mut self, error: &Error) -> Refusal {
        let (waiting, outlet) = (self.sent.len(), &self.collector.outlet);
        warn!(%error, waiting, "events over HTTP were not acknowledged; the client is asked to send them again");
        outlet.note(error);
        self.collector.unacknowledged();
        Refusal::NotAcknowledged(self.so_far())
    }
}

fn rejected(rejection: Rejection) -> Taken {
    Taken {
        event: Err(rejection),
        violations: Violations::default(),
    }
}

impl Drop for Window<'_> {
    /// The client is gone, or was told to come again. What is under way holds its place until the broker
    /// has it or the producer gives it up.
    fn drop(&mut self) {
        let sent = std::mem::take(&mut self.sent);
        self.writer
            .give_back(self.admitted.saturating_sub(sent.len() as u64));
        if sent.is_empty() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (metrics, writer) = (self.metrics.clone(), self.writer.clone());
        runtime.spawn(async move {
            for sent in sent {
                let is_acknowledged = sent.acknowledgement.await.is_ok();
                if is_acknowledged {
                    metrics.count(sent.became, sent.since.elapsed());
                }
                if !is_acknowledged || matches!(sent.became, Became::Rejected(_)) {
                    writer.give_back(1);
                }
            }
        });
    }
}
