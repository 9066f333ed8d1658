//! The statements under way, and how one is stopped.
//!
//! A statement has a [`Ticket`]. Cancelling the ticket wakes the statement's thread where it
//! waits for its client, and kills it where the engine works for it. A kill names the
//! connection that the statement runs on, and is carried out only while the ticket says that
//! the statement is still on it: it never hits the next statement of the same connection.

use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing::warn;

use super::{
    exception::{Exception, code},
    library,
    pool::{Tagged, quoted},
};

/// The engine can miss a kill that comes in while a statement is being set up, so a kill is
/// repeated until the statement has left.
const KILL_AGAIN_AFTER: Duration = Duration::from_millis(100);
const KILLS: usize = 100;

/// All statements under way.
pub(super) struct Running {
    tickets: Mutex<HashMap<u64, Arc<Ticket>>>,
    left: Condvar,
    next: AtomicU64,
    /// The connection that kills; `None` once shut down.
    control: Arc<Mutex<Option<Tagged>>>,
}

/// One statement.
pub(super) struct Ticket {
    cancelled: watch::Sender<bool>,
    reason: Mutex<Option<Exception>>,
    /// The tag of the connection that the engine works on now.
    tag: Mutex<Option<String>>,
    left: Condvar,
    reads_only: AtomicBool,
    control: Arc<Mutex<Option<Tagged>>>,
}

/// Keeps a ticket among those under way; held by the statement's thread.
pub(super) struct Entry {
    pub ticket: Arc<Ticket>,
    id: u64,
    running: Arc<Running>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        locked(&self.running.tickets).remove(&self.id);
        self.running.left.notify_all();
    }
}

impl Running {
    pub fn new(control: Tagged) -> Arc<Running> {
        Arc::new(Running {
            tickets: Mutex::default(),
            left: Condvar::new(),
            next: AtomicU64::new(0),
            control: Arc::new(Mutex::new(Some(control))),
        })
    }

    pub fn enter(self: &Arc<Running>) -> Entry {
        let ticket = Arc::new(Ticket {
            cancelled: watch::Sender::new(false),
            reason: Mutex::default(),
            tag: Mutex::default(),
            left: Condvar::new(),
            reads_only: AtomicBool::new(false),
            control: Arc::clone(&self.control),
        });
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        locked(&self.tickets).insert(id, Arc::clone(&ticket));
        Entry {
            ticket,
            id,
            running: Arc::clone(self),
        }
    }

    /// Cancels every statement under way.
    pub fn cancel_all(&self, reason: &Exception) {
        let tickets: Vec<Arc<Ticket>> = locked(&self.tickets).values().cloned().collect();
        for ticket in tickets {
            ticket.cancel(reason.clone());
        }
    }

    /// Waits until none is under way; `false` when some still are after `patience`.
    pub fn wait_until_none(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut tickets = locked(&self.tickets);
        while !tickets.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            tickets = self
                .left
                .wait_timeout(tickets, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// Closes the connection that kills.
    pub fn close(&self) {
        locked(&self.control).take();
    }
}

impl Ticket {
    /// Stops the statement; it fails with `reason`, or with the reason that came first.
    pub fn cancel(self: &Arc<Ticket>, reason: Exception) {
        locked(&self.reason).get_or_insert(reason);
        if self.cancelled.send_replace(true) {
            return;
        }
        let ticket = Arc::clone(self);
        if let Err(error) = library::spawn("clickhouse-kill", move || ticket.kill()) {
            warn!(%error, "cannot start a thread that kills a statement");
        }
    }

    /// The client is gone: a statement that only reads is stopped, any other is let finish.
    pub fn client_left(self: &Arc<Ticket>) {
        if self.reads_only.load(Ordering::Relaxed) {
            self.cancel(Exception::new(code::QUERY_WAS_CANCELLED, "the client went away"));
        }
    }

    pub fn set_reads_only(&self) {
        self.reads_only.store(true, Ordering::Relaxed);
    }

    /// Says that the engine begins to work on the connection with this tag.
    ///
    /// # Errors
    /// The reason, when the statement has been cancelled already.
    pub fn begin(self: &Arc<Ticket>, tag: &str) -> Result<Working, Exception> {
        *locked(&self.tag) = Some(tag.to_owned());
        let working = Working(Arc::clone(self));
        match &*locked(&self.reason) {
            Some(reason) => Err(reason.clone()),
            None => Ok(working),
        }
    }

    /// Why a statement failed: a kill looks to the engine like any other.
    pub fn reason_for(&self, exception: Exception) -> Exception {
        locked(&self.reason).clone().unwrap_or(exception)
    }

    /// Turns true when the statement is cancelled.
    pub fn cancelled(&self) -> watch::Receiver<bool> {
        self.cancelled.subscribe()
    }

    fn kill(&self) {
        let mut tag = locked(&self.tag);
        for _ in 0..KILLS {
            let Some(name) = &*tag else { return };
            let statement = format!(
                "KILL QUERY WHERE Settings['log_comment'] = {} ASYNC",
                quoted(name)
            );
            if let Some(control) = &mut *locked(&self.control)
                && let Err(error) = control.connection.query(statement.as_bytes(), "Null", &[])
            {
                warn!(%error, "cannot kill a statement");
            }
            tag = self
                .left
                .wait_timeout(tag, KILL_AGAIN_AFTER)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Held while the engine works for a statement.
pub(super) struct Working(Arc<Ticket>);

impl Drop for Working {
    fn drop(&mut self) {
        locked(&self.0.tag).take();
        self.0.left.notify_all();
    }
}

/// A panic while a lock was held leaves nothing half done here: each update is one call.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
