//! A server in this process, and a client that says what it likes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long an answer is waited for that the server may rightly keep back.
pub(crate) const PATIENCE: Duration = Duration::from_millis(50);

/// By when a server must have answered, or let go of a client that hung up.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The most bytes of an answer that are kept.
const LONGEST_ANSWER: u64 = 16 << 20;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Runs `work`; panics when anything panicked meanwhile in whatever thread, which a server would
/// otherwise take for the end of one connection.
pub(crate) fn without_panic<T>(work: impl FnOnce() -> T) -> T {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            earlier(panic);
        }));
    });
    let before = PANICS.load(Ordering::SeqCst);
    let done = work();
    assert_eq!(PANICS.load(Ordering::SeqCst), before, "the server panicked");
    done
}

/// A connection to a server.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn connect(server: SocketAddr) -> Client {
        let stream = TcpStream::connect(server).expect("the server listens");
        stream.set_nodelay(true).expect("is a connection");
        Client(stream)
    }

    /// Sends bytes; false when the server has hung up.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// The next so many bytes; `None` when they do not come within `patience` or the server hangs up.
    pub(crate) fn read_exactly(&mut self, length: usize, patience: Duration) -> Option<Vec<u8>> {
        self.0.set_read_timeout(Some(patience)).expect("is no zero");
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// All that comes until the server hangs up, which it must within `patience`.
    pub(crate) fn read_to_end(mut self, patience: Duration) -> Vec<u8> {
        self.0.set_read_timeout(Some(patience)).expect("is no zero");
        self.rest()
    }

    /// Hangs up and reads to the end, for which the server may not take long.
    pub(crate) fn hang_up(mut self) -> Vec<u8> {
        // The server may have hung up before.
        let _ = self.0.shutdown(Shutdown::Write);
        self.0.set_read_timeout(Some(DEADLINE)).expect("is no zero");
        self.rest()
    }

    fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match (&mut self.0).take(LONGEST_ANSWER).read_to_end(&mut rest) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the server does not let go of a client")
            }
            _ => rest,
        }
    }
}
