//! A way to ClickHouse that can be made to fail: roles are told this address in place of the server's.
//!
//! Each connection carries one request, so that no fault outlives it.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Duration;

/// The longest head of a request.
const LONGEST_HEAD: usize = 256 << 10;
/// An answer that trickles comes in pieces of so many bytes …
const TRICKLE_BYTES: usize = 16;
/// … with this pause behind each.
const TRICKLE_PAUSE: Duration = Duration::from_millis(50);

/// What goes wrong with every request while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with 500 and does not reach the server.
    Answer500,
    /// An insert is answered as by a server whose disk is full; it does not reach the server.
    DiskFull,
    /// It is taken and never answered, also when the fault is over; it does not reach the server.
    Hang,
    /// The server gets it, and its answer is dropped.
    DropAnswer,
    /// The server gets it, and the second half of its answer is dropped.
    CutAnswer,
    /// The server gets it, and its answer comes a few bytes at a time.
    Trickle,
    /// Nobody listens, and connections that are open break.
    Refuse,
}

/// The way, for as long as this lives.
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Option<Fault>>,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// Opens a way to the server at `upstream` (`host:port`).
    pub async fn start(upstream: &str) -> anyhow::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let upstream: SocketAddr = upstream.parse().context("the server's address")?;
        let (fault, faults) = watch::channel(None);
        let serving = tokio::spawn(async move {
            if let Err(error) = serve(listener, upstream, faults).await {
                tracing::error!(%error, "the proxy ended");
            }
        });
        Ok(Proxy {
            address,
            fault,
            serving,
        })
    }

    /// Where it listens, `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Lets this go wrong from now on, or nothing any more.
    pub fn set(&self, fault: Option<Fault>) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Faults = watch::Receiver<Option<Fault>>;

async fn serve(listener: TcpListener, upstream: SocketAddr, mut faults: Faults) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let is_refusing = *faults.borrow_and_update() == Some(Fault::Refuse);
        if is_refusing {
            listener = None;
            connections.abort_all();
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(address).await?);
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = faults.changed() => changed?,
            _ = connections.join_next(), if !connections.is_empty() => {}
            accepted = accepted => {
                let (client, _) = accepted?;
                connections.spawn(carry(client, upstream, faults.clone()));
            }
        }
    }
}

/// Carries one request and its answer. What breaks on the way breaks for the client, too.
async fn carry(client: TcpStream, upstream: SocketAddr, faults: Faults) {
    if let Err(error) = try_carry(client, upstream, faults).await {
        tracing::debug!(%error, "a request through the proxy broke off");
    }
}

async fn try_carry(mut client: TcpStream, upstream: SocketAddr, faults: Faults) -> anyhow::Result<()> {
    client.set_nodelay(true)?;
    let mut head = Vec::new();
    let end = loop {
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        anyhow::ensure!(head.len() < LONGEST_HEAD, "the request's head has no end");
        if client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    };
    let (mut from_client, mut to_client) = client.into_split();
    let text = String::from_utf8_lossy(&head[..end]).into_owned();
    let fault = *faults.borrow();
    match fault {
        Some(Fault::Answer500) => {
            let answer =
                "HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 6\r\n\r\nbroken";
            return refuse(from_client, to_client, answer).await;
        }
        Some(Fault::DiskFull) if text.contains("query=INSERT") => {
            let why =
                "Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)\n";
            let answer = format!(
                "HTTP/1.1 500 Internal Server Error\r\nx-clickhouse-exception-code: 243\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n{why}",
                why.len()
            );
            return refuse(from_client, to_client, &answer).await;
        }
        Some(Fault::Hang) => {
            tokio::io::copy(&mut from_client, &mut tokio::io::sink()).await?;
            return Ok(());
        }
        _ => {}
    }
    let server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    let (from_server, mut to_server) = server.into_split();
    let closing = text.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    to_server.write_all(closing.as_bytes()).await?;
    to_server.write_all(&head[end..]).await?;
    tokio::select! {
        // It ends when the client is gone.
        sent = tokio::io::copy(&mut from_client, &mut to_server) => sent.map(drop).map_err(Into::into),
        answered = answer(from_server, &mut to_client, &faults) => answered,
    }
}

/// Answers in the server's place, once the client has said what it wanted to say.
async fn refuse(
    mut from_client: OwnedReadHalf,
    mut to_client: OwnedWriteHalf,
    answer: &str,
) -> anyhow::Result<()> {
    to_client.write_all(answer.as_bytes()).await?;
    to_client.shutdown().await?;
    // Closing with unread bytes would take the answer back.
    tokio::io::copy(&mut from_client, &mut tokio::io::sink()).await?;
    Ok(())
}

/// Brings the server's answer, as far as the fault at its beginning lets it through.
async fn answer(
    mut from_server: OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
    faults: &Faults,
) -> anyhow::Result<()> {
    let mut piece = vec![0; 64 << 10];
    let mut read = from_server.read(&mut piece).await?;
    let fault = *faults.borrow();
    match fault {
        Some(Fault::DropAnswer | Fault::CutAnswer) => {
            let mut whole = piece[..read].to_vec();
            from_server.read_to_end(&mut whole).await?;
            if fault == Some(Fault::CutAnswer) {
                to_client.write_all(&whole[..whole.len() / 2]).await?;
            }
        }
        _ => {
            let is_trickle = fault == Some(Fault::Trickle);
            while read > 0 {
                let step = if is_trickle { TRICKLE_BYTES } else { read };
                for part in piece[..read].chunks(step) {
                    to_client.write_all(part).await?;
                    if is_trickle && *faults.borrow() == Some(Fault::Trickle) {
                        tokio::time::sleep(TRICKLE_PAUSE).await;
                    }
                }
                read = from_server.read(&mut piece).await?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers every request with a count of them.
    async fn upstream() -> (String, watch::Receiver<u32>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (count, counted) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n")
                    && client.read_buf(&mut head).await.is_ok_and(|read| read > 0)
                {}
                count.send_modify(|count| *count += 1);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{:02}",
                    *count.borrow()
                );
                let _gone = client.write_all(answer.as_bytes()).await;
            }
        });
        (address, counted)
    }

    async fn ask(address: &str) -> Option<String> {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream
            .write_all(b"GET /?query=INSERT HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .ok()?;
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        match tokio::time::timeout(Duration::from_millis(500), read).await {
            Ok(read) => read.ok().map(|_| answer),
            Err(_) => Some("nothing".to_owned()),
        }
    }

    #[tokio::test]
    async fn each_fault_does_what_it_says_and_ends() {
        let (upstream, reached) = upstream().await;
        let proxy = Proxy::start(&upstream).await.expect("it starts");
        let address = proxy.address();
        let whole = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n01";
        assert_eq!(ask(&address).await.as_deref(), Some(whole));

        let mut expected = 1;
        for (fault, reaches, answer) in [
            (Fault::Answer500, false, Some("HTTP/1.1 500")),
            (Fault::DiskFull, false, Some("HTTP/1.1 500")),
            (Fault::Hang, false, Some("nothing")),
            (Fault::DropAnswer, true, Some("")),
            (Fault::CutAnswer, true, Some("HTTP/1.1 200 OK\r\nc")),
            (
                Fault::Trickle,
                true,
                Some("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n0"),
            ),
            (Fault::Refuse, false, None),
        ] {
            proxy.set(Some(fault));
            let asked = if fault == Fault::Refuse {
                // It stops listening in its own time.
                let refused = ::tests::wait_for("refusal", Duration::from_secs(10), || async {
                    Ok(ask(&address).await.is_none().then_some(()))
                });
                refused.await.expect("it refuses");
                None
            } else {
                ask(&address).await
            };
            match (asked, answer) {
                (None, None) => {}
                (Some(asked), Some(answer)) => assert!(asked.starts_with(answer), "{fault:?}: {asked:?}"),
                other => panic!("{fault:?}: {other:?}"),
            }
            expected += u32::from(reaches);
            assert_eq!(*reached.borrow(), expected, "{fault:?}");
        }

        proxy.set(None);
        let back = ::tests::wait_for("an answer", Duration::from_secs(10), || async {
            Ok(ask(&address).await)
        });
        assert!(back.await.expect("it is back").starts_with("HTTP/1.1 200 OK"));
    }
}
