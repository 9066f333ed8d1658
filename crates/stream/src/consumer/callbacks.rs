//! The consumer's callbacks: they put down a note and return.
//!
//! librdkafka does not need a rebalance to be answered from within its callback: until we call
//! assign or unassign the group waits in `wait-assign-call` or `wait-unassign-call`, heartbeats go
//! on, and all partitions are paused. So the thread answers, when the owner has drained.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::TopicPartitionList;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;

use crate::config::KafkaConfig;
use crate::context::{Context, lock};

/// What a callback saw, or the thread that commits.
pub(super) enum Note {
    Assigned(TopicPartitionList),
    Revoked {
        list: TopicPartitionList,
        lost: bool,
    },
    Committed {
        failure: Option<String>,
        offsets: Vec<(i32, i64)>,
    },
}

pub(super) struct Callbacks {
    context: Context,
    notes: Mutex<VecDeque<Note>>,
    closing: AtomicBool,
    has_joined: AtomicBool,
}

impl Callbacks {
    pub(super) fn new(config: &KafkaConfig) -> Callbacks {
        Callbacks {
            context: Context::new(config),
            notes: Mutex::new(VecDeque::new()),
            closing: AtomicBool::new(false),
            has_joined: AtomicBool::new(false),
        }
    }

    /// From now on rebalances are answered at once: the owner is gone.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// Whether it is on its way into the group: the last word was not an assignment. A round of joining
    /// that takes nothing away is not told of and not known here.
    pub(super) fn is_joining(&self) -> bool {
        !self.has_joined.load(Ordering::SeqCst)
    }

    pub(super) fn next(&self) -> Option<Note> {
        lock(&self.notes).pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.notes).is_empty()
    }

    /// librdkafka's last words about an error.
    pub(super) fn last_error(&self) -> String {
        self.context.last_error()
    }

    pub(super) fn note(&self, note: Note) {
        lock(&self.notes).push_back(note);
    }
}

impl ClientContext for Callbacks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        self.context.generate_oauth_token(config)
    }
}

impl ConsumerContext for Callbacks {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigns = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        self.has_joined.store(assigns, Ordering::SeqCst);
        if self.closing.load(Ordering::SeqCst) {
            // What was never started is not in librdkafka's assignment and cannot be taken out of it.
            let held = consumer.assignment().unwrap_or_default();
            let answered = if assigns {
                assign(consumer, &TopicPartitionList::new())
            } else {
                unassign(consumer, &held)
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "could not answer a rebalance while leaving");
            }
        } else if assigns {
            self.note(Note::Assigned(list.clone()));
        } else {
            self.note(Note::Revoked {
                list: list.clone(),
                lost: consumer.assignment_lost(),
            });
        }
    }
}

/// Adds to the assignment, and so answers a pending assign.
pub(super) fn assign(consumer: &BaseConsumer<Callbacks>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(list),
    }
}

/// Takes out of the assignment, and so answers a pending revoke.
pub(super) fn unassign(consumer: &BaseConsumer<Callbacks>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    }
}
