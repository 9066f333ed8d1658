//! Requests by hand: calls that are not served, frames that are no requests, epochs.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use embedded::kafka::{Config, start};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{DEADLINE, broker, config, count_of, create_topic, producer, send};

/// A request's frame.
fn frame<R: Request>(request: &R, version: i16) -> BytesMut {
    let mut body = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version);
    header
        .with_correlation_id(7)
        .encode(&mut body, R::header_version(version))
        .unwrap();
    request.encode(&mut body, version).unwrap();
    let mut out = BytesMut::new();
    out.put_i32(body.len() as i32);
    out.put(body);
    out
}

/// The next answer's frame; `None` when the connection was closed.
async fn next(stream: &mut TcpStream) -> Option<Bytes> {
    let length = timeout(DEADLINE, stream.read_i32()).await.unwrap().ok()?;
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await.unwrap();
    Some(Bytes::from(body))
}

async fn ask<R: Request>(stream: &mut TcpStream, request: &R, version: i16) -> R::Response {
    stream.write_all(&frame(request, version)).await.unwrap();
    let mut answer = next(stream).await.expect("the connection was closed");
    let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version)).unwrap();
    assert_eq!(header.correlation_id, 7);
    let response = R::Response::decode(&mut answer, version).unwrap();
    assert!(!answer.has_remaining(), "the answer is longer than its message");
    response
}

async fn assert_serves(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let metadata: MetadataResponse = ask(&mut stream, &MetadataRequest::default().with_topics(None), 9).await;
    assert_eq!(metadata.brokers[0].port, i32::from(address.port()));
}

#[tokio::test]
async fn a_version_from_the_future_is_answered_with_the_list_of_versions() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    let mut stream = TcpStream::connect(broker.address()).await.unwrap();
    let mut future = frame(&ApiVersionsRequest::default(), 3);
    future[6..8].copy_from_slice(&77i16.to_be_bytes());
    stream.write_all(&future).await.unwrap();
    let mut answer = next(&mut stream).await.unwrap();
    assert_eq!(answer.get_i32(), 7);
    let list = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(list.error_code, ResponseError::UnsupportedVersion.code());
    assert!(
        list.api_keys
            .iter()
            .any(|listed| listed.api_key == ApiKey::Fetch as i16)
    );
    // The connection is still good.
    let list = ask(&mut stream, &ApiVersionsRequest::default(), 3).await;
    assert_eq!(list.error_code, 0);
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn calls_that_are_not_served_are_answered_and_the_connection_stays() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path()).await;
    let mut stream = TcpStream::connect(broker.address()).await.unwrap();
    // EndTxn, AddOffsetsToTxn, a later Fetch, and a call that nobody knows.
    for (key, version, flexible) in [(26, 1, false), (25, 0, false), (1, 17, true), (999, 0, false)] {
        let mut request = BytesMut::new();
        request.put_i32(10);
        request.put_i16(key);
        request.put_i16(version);
        request.put_i32(7);
        request.put_i16(-1);
        stream.write_all(&request).await.unwrap();
        let mut answer = next(&mut stream).await.expect("the connection was closed");
        assert_eq!(answer.get_i32(), 7);
        if flexible {
            assert_eq!(answer.get_u8(), 0);
        }
        assert_eq!(answer.get_i32(), 0);
        assert_eq!(
            answer.get_i16(),
            ResponseError::UnsupportedVersion.code(),
            "call {key}"
        );
    }
    ask(&mut stream, &ApiVersionsRequest::default(), 0).await;
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn frames_that_are_no_requests_cost_their_connection_only() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(Config {
        max_request_bytes: 100_000,
        ..config(folder.path())
    })
    .await
    .unwrap();
    let mut metadata_of_two_billion = BytesMut::new();
    metadata_of_two_billion.put_slice(&[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff]);
    metadata_of_two_billion.put_i32(i32::MAX);
    let hostile: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n",
        &i32::MAX.to_be_bytes(),
        &(-1i32).to_be_bytes(),
        &100_001i32.to_be_bytes(),
        &[0, 0, 0, 3, 1, 2, 3],
        &metadata_of_two_billion,
    ];
    for bytes in hostile {
        let mut stream = TcpStream::connect(broker.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        assert_eq!(next(&mut stream).await, None, "{bytes:?} was answered");
        assert_serves(broker.address()).await;
    }
    // One that announces much and sends nothing more holds no one up.
    let mut slow = TcpStream::connect(broker.address()).await.unwrap();
    slow.write_all(&90_000i32.to_be_bytes()).await.unwrap();
    assert_serves(broker.address()).await;
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn no_more_connections_than_allowed_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(Config {
        max_connections: 2,
        ..config(folder.path())
    })
    .await
    .unwrap();
    let mut first = TcpStream::connect(broker.address()).await.unwrap();
    let mut second = TcpStream::connect(broker.address()).await.unwrap();
    ask(&mut first, &ApiVersionsRequest::default(), 0).await;
    ask(&mut second, &ApiVersionsRequest::default(), 0).await;
    let mut third = TcpStream::connect(broker.address()).await.unwrap();
    assert_eq!(next(&mut third).await, None);
    drop(first);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let mut again = TcpStream::connect(broker.address()).await.unwrap();
        let sent = again.write_all(&frame(&ApiVersionsRequest::default(), 0)).await;
        if sent.is_ok() && next(&mut again).await.is_some() {
            break;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "the place was never given back"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_learns_where_the_records_of_an_earlier_start_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut ends = Vec::new();
    for round in 0..3 {
        let broker = broker(folder.path()).await;
        if round == 0 {
            create_topic(broker.address(), "t", 1, &[]).await;
        }
        send(&producer(broker.address(), &[]), "t", 0..10).await;
        ends.push(count_of(broker.address(), "t", 1));
        broker.shutdown().await.unwrap();
    }
    let broker = broker(folder.path()).await;
    let mut stream = TcpStream::connect(broker.address()).await.unwrap();
    for (asked, current, expected) in [
        (1, 4, (0, 1, ends[0])),
        (2, 4, (0, 2, ends[1])),
        (3, -1, (0, 3, ends[2])),
        (4, 4, (0, 4, ends[2])),
        (9, 4, (0, -1, -1)),
        (1, 3, (ResponseError::FencedLeaderEpoch.code(), -1, -1)),
        (1, 5, (ResponseError::UnknownLeaderEpoch.code(), -1, -1)),
    ] {
        let partition = OffsetForLeaderPartition::default()
            .with_current_leader_epoch(current)
            .with_leader_epoch(asked);
        let topic = OffsetForLeaderTopic::default()
            .with_topic(TopicName(StrBytes::from_static_str("t")))
            .with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
        let response: OffsetForLeaderEpochResponse = ask(&mut stream, &request, 4).await;
        let end = &response.topics[0].partitions[0];
        assert_eq!(
            (end.error_code, end.leader_epoch, end.end_offset),
            expected,
            "epoch {asked}"
        );
    }
    broker.shutdown().await.unwrap();
}
