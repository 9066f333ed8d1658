//! A way to the engine on which answers to inserts go wrong.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use store::{ClickHouseConfig, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::engine::url;
use crate::harness::{config, metrics};

/// What becomes of a request to insert.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Answered so, and not passed on.
    Answer(&'static str),
    /// Never answered, and not passed on.
    Hang,
    /// Passed on, and the answer dropped.
    DropAnswer,
    /// Passed on, and so many of the answer's last bytes dropped.
    CutAnswer(usize),
}

/// A store over the database of `name` on whose first inserts these faults fall, one each; and what the
/// inserts asked for.
pub async fn faulty(name: &str, faults: &[Fault]) -> (Store, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = ClickHouseConfig {
        url: format!("http://{}", listener.local_addr().unwrap()),
        insert_timeout_seconds: 1,
        ..config(name)
    };
    let asked = Arc::<Mutex<Vec<String>>>::default();
    tokio::spawn(accept(
        listener,
        VecDeque::from(faults.to_vec()),
        Arc::clone(&asked),
    ));
    (Store::new(config, metrics()), asked)
}

/// Begins to serve, without any fault.
pub fn serve(listener: TcpListener) {
    tokio::spawn(accept(listener, VecDeque::new(), Arc::default()));
}

async fn accept(listener: TcpListener, faults: VecDeque<Fault>, asked: Arc<Mutex<Vec<String>>>) {
    let faults = Arc::new(Mutex::new(faults));
    loop {
        let (client, _) = listener.accept().await.unwrap();
        tokio::spawn(pass(client, Arc::clone(&faults), Arc::clone(&asked)));
    }
}

/// Takes one request to the engine, and its answer back.
async fn pass(
    mut client: TcpStream,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    asked: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let text = String::from_utf8(head).ok()?;
    let is_insert = text.contains("query=INSERT");
    if is_insert {
        asked.lock().unwrap().push(text.clone());
    }
    let fault = is_insert.then(|| faults.lock().unwrap().pop_front()).flatten();
    let (mut from_client, mut to_client) = client.into_split();
    if let Some(Fault::Answer(answer)) = fault {
        to_client.write_all(answer.as_bytes()).await.ok()?;
        return drain(&mut from_client).await;
    }
    if let Some(Fault::Hang) = fault {
        return drain(&mut from_client).await;
    }
    let engine = TcpStream::connect(url().strip_prefix("http://")?).await.ok()?;
    let (mut from_engine, mut to_engine) = engine.into_split();
    let closing = text.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    to_engine.write_all(closing.as_bytes()).await.ok()?;
    let sending = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_engine).await });
    let mut answer = Vec::new();
    from_engine.read_to_end(&mut answer).await.ok()?;
    match fault {
        Some(Fault::DropAnswer) => answer.clear(),
        Some(Fault::CutAnswer(bytes)) => answer.truncate(answer.len().saturating_sub(bytes)),
        _ => {}
    }
    to_client.write_all(&answer).await.ok()?;
    sending.abort();
    Some(())
}

async fn drain(from: &mut (impl AsyncReadExt + Unpin)) -> Option<()> {
    tokio::io::copy(from, &mut tokio::io::sink()).await.ok().map(drop)
}
