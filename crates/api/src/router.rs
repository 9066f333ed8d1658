use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use prometheus::{Registry, TextEncoder};
use serde::Serialize;
use store::Store;
use tokio::sync::Semaphore;
use verify::Verifier;

use crate::actions::{self, Actions, Deed};
use crate::collect::Collector;
use crate::config::Config;
use crate::keys::ApiKeys;
use crate::observe::{HttpMetrics, observe};
use crate::problem::Problem;
use crate::readiness::Readiness;
use crate::{
    account, accounts, alerts, answer, dead_letters, guard, holds, journey, openapi, outcome, page, receipt,
    schemas,
};

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) keys: ApiKeys,
    pub(crate) store: Store,
    pub(crate) verifier: Arc<Verifier>,
    /// Of the model that the verifier computes with.
    pub(crate) model_hash: Arc<str>,
    pub(crate) registry: Registry,
    pub(crate) readiness: Readiness,
    pub(crate) slots: Arc<Semaphore>,
    /// Where actions go out; `None` without Kafka.
    pub(crate) actions: Actions,
    /// Places for requests that compute numbers from the events.
    pub(crate) recomputing: Arc<Semaphore>,
}

pub(crate) fn router(shared: Shared, metrics: HttpMetrics, collector: Option<&Arc<Collector>>) -> Router {
    let api = Router::new()
        .route("/api/v1/accounts", get(accounts::list))
        .route("/api/v1/accounts/{id}", get(account::one))
        .route("/api/v1/accounts/{id}/scores", get(account::scores))
        .route("/api/v1/accounts/{id}/receipt", get(receipt::receipt))
        .route("/api/v1/accounts/{id}/timeline", get(account::timeline))
        .route("/api/v1/alerts", get(alerts::list))
        .route("/api/v1/alerts/outcome", get(outcome::outcome))
        .route("/api/v1/alerts/dead", get(dead_letters::list))
        .route("/api/v1/alerts/held", get(holds::list))
        .route("/api/v1/journey", get(journey::journey))
        .route("/api/v1/ttv", get(journey::ttv))
        .merge(action_routes(&shared))
        .merge(wish_routes(&shared))
        .route_layer(from_fn_with_state(shared.clone(), guard::pace))
        .route_layer(from_fn_with_state(shared.clone(), guard::key));
    let metrics_route = Router::new()
        .route("/metrics", get(exposition))
        .route_layer(from_fn_with_state(shared.clone(), guard::metrics_key));
    let open = Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/api/v1/openapi.json", get(openapi::document))
        .merge(schemas::routes())
        .merge(page::routes());
    Router::new()
        .merge(api)
        .merge(metrics_route)
        .merge(open)
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(shared.config.max_body_bytes))
        .layer(from_fn_with_state(shared.clone(), guard::body))
        .merge(collector.map_or_else(Router::new, Collector::routes))
        .layer(from_fn_with_state(shared.clone(), guard::host))
        .layer(from_fn_with_state(metrics, observe))
        .with_state(shared)
}

/// What a person asks of the alert role.
fn wish_routes(shared: &Shared) -> Router<Shared> {
    Router::new()
        .route("/api/v1/alerts/dead/replay", post(dead_letters::replay))
        .route("/api/v1/alerts/held/{name}/release", post(holds::release))
        .route("/api/v1/alerts/held/{name}/drop", post(holds::drop_held))
        .route_layer(from_fn_with_state(shared.clone(), actions::own_page))
}

fn action_routes(shared: &Shared) -> Router<Shared> {
    let mut routes = Router::new();
    for deed in Deed::ALL {
        let path = format!("/api/v1/alerts/{{id}}/{}", deed.path());
        let act = move |state: State<Shared>,
                        path: Result<Path<String>, PathRejection>,
                        headers: HeaderMap,
                        body: Result<Bytes, BytesRejection>| {
            actions::act(state, path, headers, body, deed)
        };
        routes = routes.route(&path, post(act));
    }
    routes.route_layer(from_fn_with_state(shared.clone(), actions::own_page))
}

/// The process answers: no more is claimed.
async fn alive() -> Response {
    ([(header::CACHE_CONTROL, "no-store")], "ok\n").into_response()
}

#[derive(Serialize)]
struct ReadinessAnswer {
    ready: bool,
    checks: Vec<CheckAnswer>,
}

#[derive(Serialize)]
struct CheckAnswer {
    name: String,
    ok: bool,
    reason: Option<String>,
}

async fn clickhouse_check(store: &Store) -> CheckAnswer {
    let answered = store.sign_of_life().await;
    CheckAnswer {
        name: "clickhouse".to_string(),
        ok: answered.is_ok(),
        // The error names the address, which whoever may ask for readiness need not know.
        reason: answered.err().map(|error| match error {
            store::Error::Unreachable { .. } => "does not answer".to_string(),
            _ => "refuses to answer".to_string(),
        }),
    }
}

async fn ready(State(shared): State<Shared>) -> Response {
    let mut checks: Vec<CheckAnswer> = shared
        .readiness
        .ask()
        .into_iter()
        .map(|(name, said)| CheckAnswer {
            name,
            ok: said.is_ok(),
            reason: said.err(),
        })
        .collect();
    if shared.readiness.needs_clickhouse() {
        checks.push(clickhouse_check(&shared.store).await);
    }
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let answer = ReadinessAnswer { ready, checks };
    (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(answer)).into_response()
}

async fn exposition(State(shared): State<Shared>, asked: HeaderMap) -> Response {
    match TextEncoder::new().encode_to_string(&shared.registry.gather()) {
        Ok(text) => answer::tagged(
            &asked,
            text,
            "text/plain; version=0.0.4; charset=utf-8",
            "no-store",
        ),
        Err(error) => {
            tracing::error!(%error, "metrics could not be written");
            Problem::internal().into_response()
        }
    }
}

async fn nothing_here(request: Request) -> Problem {
    Problem::no_such_route(request.uri().path())
}

async fn wrong_method(request: Request) -> Problem {
    Problem::wrong_method(request.method().as_str(), request.uri().path())
}
