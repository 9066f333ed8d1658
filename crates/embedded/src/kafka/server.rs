//! Connections: framing, limits, and who answers what.
//!
//! Holds: requests of one connection are answered one after the other, in order. A frame that is larger
//! than allowed, or that is no request, costs its connection and nothing else; a frame's bytes take
//! memory as they arrive, not as they are announced. A client that hangs up ends what it was waiting for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteGroupsRequest, DeleteTopicsRequest, DescribeConfigsRequest, DescribeGroupsRequest, FetchRequest,
    FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest,
    OffsetForLeaderEpochRequest, ProduceRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::faults::Fault;
use super::wire::{self, Header, Request};
use super::{Node, admin, coordinator, fetch, produce};

/// The longest silence inside a frame, while it is read or written.
const STALLED: Duration = Duration::from_secs(30);
/// A connection without a request for this long is closed.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// How long connections may take to finish what they do when the broker stops.
const LAST_WORDS: Duration = Duration::from_millis(500);
const FIRST_RESERVE: usize = 64 * 1024;

/// The other end of a connection.
pub struct Peer {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub client_id: StrBytes,
}

/// Takes connections until told to stop, then lets the present ones end.
pub async fn serve(node: Arc<Node>, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(node.config.max_connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        while connections.try_join_next().is_some() {}
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: others must end first.
                warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            warn!(%remote, most = node.config.max_connections, "too many connections, closing this one");
            continue;
        };
        let (node, stopping) = (Arc::clone(&node), stopping.clone());
        connections.spawn(async move {
            if let Err(error) = converse(&node, stream, remote, stopping).await {
                debug!(%remote, %error, "connection ended");
            }
            drop(place);
        });
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(LAST_WORDS, ended).await.is_err() {
        connections.abort_all();
    }
}

async fn converse(
    node: &Arc<Node>,
    stream: TcpStream,
    remote: SocketAddr,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut peer = Peer {
        local: stream.local_addr()?,
        remote,
        client_id: StrBytes::default(),
    };
    let (mut reader, mut writer) = stream.into_split();
    loop {
        let frame = tokio::select! {
            frame = read_frame(&mut reader, node.config.max_request_bytes) => frame?,
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        };
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(length) => {
                let most = node.config.max_request_bytes;
                warn!(%remote, length, most, "closing a connection that announced a request of this length");
                return Ok(());
            }
        };
        let Some(request) = wire::parse(frame) else {
            warn!(%remote, "closing a connection that sent something other than a request");
            return Ok(());
        };
        let answer = tokio::select! {
            biased;
            answer = answer(node, &mut peer, request) => answer,
            () = hung_up(&mut reader) => return Ok(()),
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        };
        match answer {
            Answer::Send(mut bytes) => write_all(&mut writer, &mut bytes).await?,
            Answer::Nothing => {}
            Answer::Close => return Ok(()),
        }
    }
}

/// The next frame; `None` at the end of the stream, or as an error the length that is not allowed.
async fn read_frame(reader: &mut OwnedReadHalf, most: usize) -> io::Result<Result<Option<Bytes>, i32>> {
    let length = match timeout(IDLE, reader.read_i32()).await? {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Ok(None)),
        read => read?,
    };
    let wanted = match usize::try_from(length) {
        Ok(wanted) if wanted <= most => wanted,
        _ => return Ok(Err(length)),
    };
    let mut frame = BytesMut::new();
    while frame.len() < wanted {
        let missing = wanted - frame.len();
        frame.reserve(missing.min(frame.len().max(FIRST_RESERVE)));
        let mut part = reader.take(missing as u64);
        if timeout(STALLED, part.read_buf(&mut frame)).await?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Ok(Some(frame.freeze())))
}

async fn write_all(writer: &mut (impl AsyncWriteExt + Unpin), bytes: &mut BytesMut) -> io::Result<()> {
    while bytes.has_remaining() {
        timeout(STALLED, writer.write_buf(bytes)).await??;
    }
    Ok(())
}

/// Ends when the client has closed its side; never while further requests of it are waiting.
async fn hung_up(reader: &mut OwnedReadHalf) {
    let mut byte = [0];
    if let Ok(1..) = reader.peek(&mut byte).await {
        std::future::pending::<()>().await;
    }
}

enum Answer {
    Send(BytesMut),
    /// The client expects none.
    Nothing,
    Close,
}

async fn answer(node: &Arc<Node>, peer: &mut Peer, request: Request) -> Answer {
    let (header, key, body) = match request {
        Request::Served { header, key, body } => (header, key, body),
        Request::Unserved(header) => return answer_unserved(&header),
    };
    let fault = node.faults.strike(key);
    let refuse = match fault {
        Some(Fault::Close) => return Answer::Close,
        Some(Fault::Delay(by)) => {
            tokio::time::sleep(by).await;
            None
        }
        Some(Fault::NotLeader) => Some(ResponseError::NotLeaderOrFollower),
        Some(Fault::NotCoordinator) => Some(ResponseError::NotCoordinator),
        Some(Fault::DropAnswer) | None => None,
    };
    if peer.client_id != header.client_id {
        peer.client_id = header.client_id.clone();
    }
    let answer = dispatch(node, peer, &header, key, body, refuse).await;
    match answer {
        _ if fault == Some(Fault::DropAnswer) => Answer::Close,
        Ok(answer) => answer,
        Err(error) => {
            let remote = peer.remote;
            warn!(%remote, ?key, version = header.version, %error, "closing a connection after a bad request");
            Answer::Close
        }
    }
}

fn answer_unserved(header: &Header) -> Answer {
    if header.key == ApiKey::ApiVersions as i16 {
        // Any client understands version 0, and finds in it which versions to ask for.
        let list = admin::api_versions().with_error_code(ResponseError::UnsupportedVersion.code());
        return wire::encode::<ApiVersionsResponse>(header.correlation, 0, &list)
            .map_or(Answer::Close, Answer::Send);
    }
    debug!(
        key = header.key,
        version = header.version,
        "a call that is not served"
    );
    wire::encode_unserved(header).map_or(Answer::Close, Answer::Send)
}

async fn dispatch(
    node: &Arc<Node>,
    peer: &Peer,
    header: &Header,
    key: ApiKey,
    body: Bytes,
    refuse: Option<ResponseError>,
) -> Result<Answer, String> {
    let version = header.version;
    match key {
        ApiKey::Produce => {
            let request: ProduceRequest = decode(body, version)?;
            let wants_answer = request.acks != 0;
            let response = produce::produce(node, request, refuse).await;
            if wants_answer {
                send(header, &response)
            } else {
                Ok(Answer::Nothing)
            }
        }
        ApiKey::Fetch => {
            let request: FetchRequest = decode(body, version)?;
            send(header, &fetch::fetch(node, request, refuse).await)
        }
        ApiKey::ListOffsets => {
            let request: ListOffsetsRequest = decode(body, version)?;
            send(header, &fetch::list_offsets(node, request, version).await)
        }
        ApiKey::OffsetForLeaderEpoch => {
            let request: OffsetForLeaderEpochRequest = decode(body, version)?;
            send(header, &fetch::offset_for_leader_epoch(node, request))
        }
        ApiKey::Metadata => {
            let request: MetadataRequest = decode(body, version)?;
            send(header, &admin::metadata(node, peer, request, version).await)
        }
        ApiKey::ApiVersions => {
            decode::<ApiVersionsRequest>(body, version)?;
            send(header, &admin::api_versions())
        }
        ApiKey::CreateTopics => {
            let request: CreateTopicsRequest = decode(body, version)?;
            send(header, &admin::create_topics(node, request).await)
        }
        ApiKey::CreatePartitions => {
            let request: CreatePartitionsRequest = decode(body, version)?;
            send(header, &admin::create_partitions(node, request).await)
        }
        ApiKey::DeleteTopics => {
            let request: DeleteTopicsRequest = decode(body, version)?;
            send(header, &admin::delete_topics(node, request).await)
        }
        ApiKey::DescribeConfigs => {
            let request: DescribeConfigsRequest = decode(body, version)?;
            send(header, &admin::describe_configs(node, request))
        }
        ApiKey::InitProducerId => {
            let request: InitProducerIdRequest = decode(body, version)?;
            send(header, &produce::init_producer_id(node, &request))
        }
        ApiKey::FindCoordinator => {
            let request: FindCoordinatorRequest = decode(body, version)?;
            send(
                header,
                &coordinator::find_coordinator(node, peer, request, version, refuse),
            )
        }
        ApiKey::JoinGroup => {
            let request: JoinGroupRequest = decode(body, version)?;
            send(
                header,
                &coordinator::join_group(node, peer, request, version, refuse).await,
            )
        }
        ApiKey::SyncGroup => {
            let request: SyncGroupRequest = decode(body, version)?;
            send(header, &coordinator::sync_group(node, request, refuse).await)
        }
        ApiKey::Heartbeat => {
            let request: HeartbeatRequest = decode(body, version)?;
            send(header, &coordinator::heartbeat(node, &request, refuse))
        }
        ApiKey::LeaveGroup => {
            let request: LeaveGroupRequest = decode(body, version)?;
            send(header, &coordinator::leave_group(node, request, version, refuse))
        }
        ApiKey::OffsetCommit => {
            let request: OffsetCommitRequest = decode(body, version)?;
            send(header, &coordinator::offset_commit(node, request, refuse))
        }
        ApiKey::OffsetFetch => {
            let request: OffsetFetchRequest = decode(body, version)?;
            send(header, &coordinator::offset_fetch(node, request, version, refuse))
        }
        ApiKey::ListGroups => {
            let request: ListGroupsRequest = decode(body, version)?;
            send(header, &coordinator::list_groups(node, &request))
        }
        ApiKey::DescribeGroups => {
            let request: DescribeGroupsRequest = decode(body, version)?;
            send(header, &coordinator::describe_groups(node, request))
        }
        ApiKey::DeleteGroups => {
            let request: DeleteGroupsRequest = decode(body, version)?;
            send(header, &coordinator::delete_groups(node, request))
        }
        _ => Ok(answer_unserved(header)),
    }
}

fn decode<R: Decodable>(mut body: Bytes, version: i16) -> Result<R, String> {
    R::decode(&mut body, version).map_err(|error| error.to_string())
}

fn send<R: Encodable + HeaderVersion>(header: &Header, response: &R) -> Result<Answer, String> {
    wire::encode(header.correlation, header.version, response).map(Answer::Send)
}
