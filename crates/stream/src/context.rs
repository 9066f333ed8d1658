//! What librdkafka calls back into: log lines, errors, the OAUTHBEARER token.
//!
//! Callbacks run on the thread that polls; they only write a log line or a note.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, error, info, warn};

use crate::config::KafkaConfig;
use crate::oauth;

/// While a broker is away librdkafka repeats itself at every attempt to connect; once in this long
/// is enough for people.
const QUIET: Duration = Duration::from_secs(10);

/// The callbacks that every client of ours has.
pub(crate) struct Context {
    oauth_token_file: Option<PathBuf>,
    last_warning: Mutex<Option<Instant>>,
    last_error: Mutex<String>,
}

impl Context {
    pub(crate) fn new(config: &KafkaConfig) -> Context {
        Context {
            oauth_token_file: config.oauth_token_file.clone(),
            last_warning: Mutex::new(None),
            last_error: Mutex::new(String::new()),
        }
    }

    /// The reason that came with the latest error; librdkafka's events carry only its code.
    pub(crate) fn last_error(&self) -> String {
        lock(&self.last_error).clone()
    }

    fn may_warn(&self) -> bool {
        let mut last = lock(&self.last_warning);
        let due = last.is_none_or(|at| at.elapsed() >= QUIET);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                error!(target: "librdkafka", facility, "{message}");
            }
            // Lost connections are logged as errors; the error callback tells them better.
            RDKafkaLogLevel::Error => debug!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => {
                info!(target: "librdkafka", facility, "{message}")
            }
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                debug!(target: "librdkafka", facility, "{message}")
            }
        }
    }

    fn error(&self, kafka_error: KafkaError, reason: &str) {
        // No error: a reading that goes to the end has come there.
        if kafka_error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        // "all brokers are down" says less than what came before it.
        if kafka_error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *lock(&self.last_error) = reason.to_owned();
        }
        let passing = matches!(
            kafka_error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                    | RDKafkaErrorCode::AllBrokersDown
                    | RDKafkaErrorCode::Resolve
                    | RDKafkaErrorCode::OperationTimedOut
            )
        );
        if !passing || self.may_warn() {
            warn!(target: "librdkafka", "{reason}");
        } else {
            debug!(target: "librdkafka", "{reason}");
        }
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        let path = self
            .oauth_token_file
            .as_deref()
            .ok_or("kafka.oauth_token_file is not set")?;
        let token = oauth::read(path);
        if let Err(problem) = &token {
            warn!("{problem}");
        }
        Ok(token?)
    }
}

/// For clients that only look, and join no group.
impl ConsumerContext for Context {}

/// A poisoned lock only means that another thread panicked: what we keep under locks is whole at
/// every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
