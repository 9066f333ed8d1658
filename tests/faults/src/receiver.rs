//! A receiver of webhooks that keeps in mind what it was sent. It answers late, and now and then it
//! refuses, so that deliveries are under way when their sender dies.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde::Deserialize;

/// The secret of the destination; that signatures hold is proved elsewhere.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Of so many requests one is refused.
const REFUSED_ONE_IN: u32 = 25;
/// The longest time that an answer takes.
const LATEST_MS: u64 = 60;

/// What came under one `webhook-id`.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The episode that the body names.
    pub episode_id: String,
    /// The change that the body names.
    pub change: String,
    /// The account that the body names.
    pub account_id: String,
    /// The rule that the body names.
    pub rule: String,
    /// Requests that were accepted.
    pub accepted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// The place of the first accepted one among all, from 1.
    pub place: u64,
    body: Bytes,
}

#[cfg(test)]
impl Webhook {
    pub(crate) fn accepted_once(episode_id: &str, change: &str, place: u64) -> Webhook {
        Webhook {
            episode_id: episode_id.to_owned(),
            change: change.to_owned(),
            account_id: String::new(),
            rule: String::new(),
            accepted: 1,
            refused: 0,
            place,
            body: Bytes::new(),
        }
    }
}

#[derive(Default)]
struct Received {
    webhooks: HashMap<String, Webhook>,
    requests: u64,
    problems: Vec<String>,
    rng: fastrand::Rng,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Received>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Received> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A receiver at work.
pub struct Receiver {
    shared: Shared,
    port: u16,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Receiver {
    /// Listens on a free port of loopback.
    pub async fn start(seed: u64) -> anyhow::Result<Receiver> {
        let shared = Shared(Arc::new(Mutex::new(Received {
            rng: fastrand::Rng::with_seed(seed),
            ..Received::default()
        })));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let router = Router::new()
            .route("/hooks", post(receive))
            .with_state(shared.clone());
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the receiver ended");
            }
        });
        Ok(Receiver {
            shared,
            port,
            serving,
        })
    }

    /// Where it is to be reached.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hooks", self.port)
    }

    /// What was received, by `webhook-id`.
    pub fn webhooks(&self) -> HashMap<String, Webhook> {
        self.shared.lock().webhooks.clone()
    }

    /// Whether a webhook of this id was accepted.
    pub fn has(&self, id: &str) -> bool {
        let received = self.shared.lock();
        received
            .webhooks
            .get(id)
            .is_some_and(|webhook| webhook.accepted > 0)
    }

    /// What was wrong with requests themselves.
    pub fn problems(&self) -> Vec<String> {
        self.shared.lock().problems.clone()
    }
}

#[derive(Deserialize)]
struct Body {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    alert_id: String,
    episode_id: String,
    change: String,
    account_id: String,
    rule: String,
}

async fn receive(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let (pause, refuses) = {
        let mut received = shared.lock();
        let pause = Duration::from_millis(received.rng.u64(..=LATEST_MS));
        (pause, received.rng.u32(..REFUSED_ONE_IN) == 0)
    };
    tokio::time::sleep(pause).await;
    let mut received = shared.lock();
    match note(&mut received, &headers, body, refuses) {
        Ok(()) if refuses => StatusCode::SERVICE_UNAVAILABLE,
        Ok(()) => StatusCode::NO_CONTENT,
        Err(error) => {
            received.problems.push(format!("{error:#}"));
            StatusCode::BAD_REQUEST
        }
    }
}

fn note(received: &mut Received, headers: &HeaderMap, body: Bytes, refuses: bool) -> anyhow::Result<()> {
    let id = headers.get("webhook-id").context("a request has no webhook-id")?;
    let id = id.to_str()?.to_owned();
    let Body { data } = serde_json::from_slice(&body).with_context(|| format!("the body of {id}"))?;
    anyhow::ensure!(
        data.alert_id == id,
        "webhook-id {id} bears a body of {}",
        data.alert_id
    );
    received.requests += 1;
    let place = received.requests;
    let webhook = received.webhooks.entry(id.clone()).or_insert_with(|| Webhook {
        episode_id: data.episode_id,
        change: data.change,
        account_id: data.account_id,
        rule: data.rule,
        accepted: 0,
        refused: 0,
        place: 0,
        body: body.clone(),
    });
    let is_same = webhook.body == body;
    if refuses {
        webhook.refused += 1;
    } else {
        webhook.accepted += 1;
        if webhook.accepted == 1 {
            webhook.place = place;
        }
    }
    anyhow::ensure!(is_same, "two bodies of webhook-id {id} differ");
    Ok(())
}
