//! The HTTP face: connections, who may ask, and one thread per statement.
//!
//! Bounded are the connections, the statements that run at once and how long one may wait for
//! its turn, run, or be kept waiting by its client.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    Method, Request as HttpRequest, Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    header::{HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tracing::{debug, warn};

use super::{
    Config,
    exception::{Exception, code},
    pool::Pool,
    request::{self, Request},
    running::{Running, Ticket},
    statement::{self, Surroundings},
    transfer::{BodyPart, BodyReader, Head, PARTS_WAITING, Part, Reply, Wait},
    workers::Workers,
};

/// The only user there is.
const USER: &str = "default";

/// What is read of a body that nobody wants any more, so that the client gets to see the answer.
const DRAINED_BYTES: usize = 256 << 20;

/// Header lines of a request must come in within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How often sessions are looked through for those that have expired.
const SESSION_SWEEP: Duration = Duration::from_secs(5);

/// Everything that requests share.
pub(super) struct Core {
    pub config: Config,
    pub pool: Pool,
    pub running: Arc<Running>,
    pub workers: Arc<Workers>,
    pub version: String,
    pub timezone: String,
    pub turns: Arc<Semaphore>,
}

/// Accepts connections until told to stop, then lets those open end their requests.
pub(super) async fn serve(core: Arc<Core>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(core.config.max_connections));
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(SESSION_SWEEP);
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = told_to_stop(&mut stop) => break,
            _ = sweep.tick() => core.pool.expire(),
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (permit, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(Arc::clone(&core), stream, permit.ok(), stop.clone()));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: leave the others time to end.
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_connection(
    core: Arc<Core>,
    stream: TcpStream,
    _room: Option<OwnedSemaphorePermit>,
    mut stop: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot switch off delays");
    }
    let service = service_fn(move |request| {
        let core = Arc::clone(&core);
        async move { Ok::<_, std::convert::Infallible>(answer(core, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = told_to_stop(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%error, "connection ended early");
    }
}

async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    // An error says that whoever could tell is gone.
    let _told = stop.wait_for(|stop| *stop).await.is_ok();
}

async fn answer(core: Arc<Core>, request: HttpRequest<Incoming>) -> Response<ReplyBody> {
    let path = request.uri().path();
    let is_bare = request.method() == Method::GET && request.uri().query().unwrap_or_default().is_empty();
    match path {
        "/ping" | "/replicas_status" => plain(StatusCode::OK, "Ok.\n".into()),
        "/" if is_bare => plain(StatusCode::OK, "Ok.\n".into()),
        "/" | "/query" => {
            let version = core.version.clone();
            match statement(core, request).await {
                Ok(response) => response,
                Err(exception) => refusal(&exception, &version),
            }
        }
        _ => {
            let text = format!(
                "there is no handle {}: send statements to /\n",
                path.escape_default()
            );
            plain(StatusCode::NOT_FOUND, text)
        }
    }
}

async fn statement(core: Arc<Core>, http: HttpRequest<Incoming>) -> Result<Response<ReplyBody>, Exception> {
    let started = Instant::now();
    let request = Request::read(http.method(), http.uri(), http.headers())?;
    admit(&core.config, &request, http.headers())?;
    let queue_timeout = Duration::from_secs(core.config.queue_timeout_seconds);
    let turn = timeout(queue_timeout, Arc::clone(&core.turns).acquire_owned())
        .await
        .map_err(|_| {
            let most = core.config.max_concurrent_statements;
            Exception::new(
                code::TOO_MANY_STATEMENTS,
                format!("{most} statements run already, the maximum"),
            )
        })?
        .map_err(|_| Exception::new(code::ABORTED, "the engine is shutting down"))?;

    let entry = core.running.enter();
    let ticket = Arc::clone(&entry.ticket);
    let leaving = Leaving(Some(Arc::clone(&ticket)));
    let idle = Duration::from_secs(core.config.idle_timeout_seconds);
    let wait = Wait {
        handle: tokio::runtime::Handle::current(),
        idle,
        cancelled: ticket.cancelled(),
        body_limit: request.max_execution_time(),
    };
    let (body_sender, body_parts) = mpsc::channel(PARTS_WAITING);
    let (reply_sender, mut reply_parts) = mpsc::channel(PARTS_WAITING);
    let query_id = request
        .query_id
        .clone()
        .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let body = BodyReader::new(body_parts, wait.clone());
    let reply = Reply::new(
        reply_sender,
        wait,
        request.encoder(),
        core.version.clone(),
        query_id,
    );

    tokio::spawn(pump(http.into_body(), body_sender, idle));
    tokio::spawn(limit_time(
        Arc::clone(&ticket),
        Duration::from_secs(core.config.statement_timeout_seconds),
    ));
    let shared = Arc::clone(&core);
    let work = move || {
        let around = Surroundings {
            pool: &shared.pool,
            ticket: &entry.ticket,
            max_statement_bytes: shared.config.max_statement_bytes,
            max_body_bytes: shared.config.max_body_bytes,
            started,
        };
        statement::run(&around, request, body, reply);
        drop(entry);
        drop(turn);
    };
    core.workers
        .run(work)
        .map_err(|error| Exception::new(code::STD_EXCEPTION, format!("cannot start a thread: {error}")))?;

    match reply_parts.recv().await {
        Some(Part::Head(head)) => {
            let body = ReplyBody::streamed(reply_parts, leaving);
            Ok(response(head, &core.timezone, body))
        }
        _ => Err(Exception::new(
            code::STD_EXCEPTION,
            "the statement ended without an answer",
        )),
    }
}

/// Who may ask: the one user, with the password if there is one. Without a password, what a
/// page of another site makes a browser send is turned away.
fn admit(config: &Config, request: &Request, headers: &hyper::HeaderMap) -> Result<(), Exception> {
    let Some(password) = &config.password else {
        if request::comes_from_another_site(headers) {
            let reason = "the request comes from another site: set a password to allow that";
            return Err(Exception::new(code::ACCESS_DENIED, reason));
        }
        return Ok(());
    };
    let is_user = request.user.is_empty() || request.user == USER;
    // Digests have one length, and comparing them takes as long whatever differs.
    let (given, wanted) = (Sha256::digest(&request.password), Sha256::digest(password));
    let difference = given
        .iter()
        .zip(wanted)
        .fold(0, |all, (given, wanted)| all | (given ^ wanted));
    if is_user && difference == 0 {
        return Ok(());
    }
    let user = if request.user.is_empty() {
        USER
    } else {
        &request.user
    };
    let reason = format!(
        "{}: Authentication failed: password is incorrect, or there is no user with such name",
        user.escape_default()
    );
    Err(Exception::new(code::AUTHENTICATION_FAILED, reason))
}

/// Hands a request's body to its statement, and its end or its breaking off likewise.
async fn pump(mut body: Incoming, parts: mpsc::Sender<BodyPart>, idle: Duration) {
    let broke_off = |reason: String| BodyPart::Failed(Exception::new(code::NETWORK_ERROR, reason));
    let mut unwanted = 0;
    loop {
        let part = match timeout(idle, body.frame()).await {
            Err(_) => broke_off(format!("the client sent nothing for {} s", idle.as_secs())),
            Ok(None) => BodyPart::End,
            Ok(Some(Err(error))) => broke_off(format!("the request broke off: {error}")),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => BodyPart::Data(data),
                Err(_trailers) => continue,
            },
        };
        let is_last = !matches!(part, BodyPart::Data(_));
        if let Err(mpsc::error::SendError(BodyPart::Data(data))) = parts.send(part).await {
            unwanted += data.len();
        }
        if is_last || unwanted > DRAINED_BYTES {
            return;
        }
    }
}

/// Cancels a statement that runs for too long.
async fn limit_time(ticket: Arc<Ticket>, limit: Duration) {
    let mut ended = ticket.cancelled();
    let ticket = {
        let weak = Arc::downgrade(&ticket);
        drop(ticket);
        weak
    };
    tokio::select! {
        () = tokio::time::sleep(limit) => {}
        // Cancelled, or gone.
        _ = ended.wait_for(|cancelled| *cancelled) => return,
    }
    if let Some(ticket) = ticket.upgrade() {
        let reason = format!(
            "timeout exceeded: the statement ran for {} s, the maximum",
            limit.as_secs()
        );
        ticket.cancel(Exception::new(code::TIMEOUT_EXCEEDED, reason));
    }
}

/// Tells the statement when its client stops waiting for it.
struct Leaving(Option<Arc<Ticket>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take() {
            ticket.client_left();
        }
    }
}

fn response(head: Head, timezone: &str, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    let common = [
        ("x-clickhouse-server-display-name", "mimamori".to_owned()),
        ("x-clickhouse-timezone", timezone.to_owned()),
    ];
    let headers = response.headers_mut();
    headers.insert(
        "content-type",
        HeaderValue::from_static("text/plain; charset=UTF-8"),
    );
    for (name, value) in common.into_iter().chain(head.headers) {
        // A value that is no header text (a format's odd name) is left out.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

fn refusal(exception: &Exception, version: &str) -> Response<ReplyBody> {
    let mut response = plain(exception.status(), exception.to_client(version));
    response
        .headers_mut()
        .insert("x-clickhouse-exception-code", HeaderValue::from(exception.code()));
    response
}

fn plain(status: StatusCode, text: String) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        "content-type",
        HeaderValue::from_static("text/plain; charset=UTF-8"),
    );
    response
}

/// A response's body: one text, or the parts of a statement's reply.
pub(super) struct ReplyBody {
    state: ReplyState,
    leaving: Option<Leaving>,
}

enum ReplyState {
    Whole(Bytes),
    Streamed(mpsc::Receiver<Part>),
    /// The reply broke off. What was sent before is let go out first.
    Broken,
    Ended,
}

impl ReplyBody {
    fn whole(text: Bytes) -> ReplyBody {
        ReplyBody {
            state: ReplyState::Whole(text),
            leaving: None,
        }
    }

    fn streamed(parts: mpsc::Receiver<Part>, leaving: Leaving) -> ReplyBody {
        ReplyBody {
            state: ReplyState::Streamed(parts),
            leaving: Some(leaving),
        }
    }

    fn end(&mut self) {
        self.state = ReplyState::Ended;
        if let Some(mut leaving) = self.leaving.take() {
            leaving.0 = None;
        }
    }
}

/// The statement failed behind rows already sent; the connection is closed to say so.
#[derive(Debug, thiserror::Error)]
#[error("the statement failed after its first rows")]
pub(super) struct BrokeOff;

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match &mut self.state {
            ReplyState::Whole(text) => {
                let text = std::mem::take(text);
                self.state = ReplyState::Ended;
                Poll::Ready(Some(Ok(Frame::data(text))))
            }
            ReplyState::Streamed(parts) => match parts.poll_recv(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Part::Data(data))) => Poll::Ready(Some(Ok(Frame::data(data)))),
                Poll::Ready(Some(Part::End)) => {
                    self.end();
                    Poll::Ready(None)
                }
                Poll::Ready(Some(Part::Head(_)) | None) => {
                    self.end();
                    self.state = ReplyState::Broken;
                    // The connection writes out what it holds when the body has nothing ready.
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            },
            ReplyState::Broken => {
                self.state = ReplyState::Ended;
                Poll::Ready(Some(Err(BrokeOff)))
            }
            ReplyState::Ended => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, ReplyState::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            ReplyState::Whole(text) => SizeHint::with_exact(text.len() as u64),
            ReplyState::Ended => SizeHint::with_exact(0),
            ReplyState::Streamed(_) | ReplyState::Broken => SizeHint::default(),
        }
    }
}
