//! Connections that are used again.
//!
//! A connection carries settings and a current database, so an idle one serves only requests
//! that ask for the same [`Profile`]; one whose statement may have changed more than that is
//! closed. A session's connection belongs to the session until it expires.
//!
//! Every connection sets `log_comment` to a name of its own, by which its running statement can
//! be killed from another connection.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    exception::{Exception, code},
    library::{Connection, Library},
    request::SessionRef,
};

/// Idle connections kept.
const MAX_IDLE: usize = 16;

/// Sessions kept at the same time.
const MAX_SESSIONS: usize = 256;

/// Settings whose values change from request to request: a connection that carries one is not
/// worth keeping.
const VOLATILE: &[&str] = &["insert_deduplication_token"];

/// What a request wants a connection to be set to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub database: Option<String>,
    /// In order; the last of equal names holds.
    pub settings: Vec<(String, String)>,
}

/// A connection, the name by which its statement can be killed, and what it is set to.
pub(super) struct Tagged {
    pub connection: Connection,
    pub tag: String,
    profile: Profile,
}

struct Session {
    /// `None` until the first request of the session has opened it.
    connection: Arc<Mutex<Option<Tagged>>>,
    timeout: Duration,
    used: Instant,
}

/// All connections but those in use.
pub(super) struct Pool {
    library: &'static Library,
    arguments: Vec<String>,
    idle: Mutex<Vec<Tagged>>,
    sessions: Mutex<HashMap<String, Session>>,
    opened: AtomicU64,
}

impl Pool {
    pub fn new(library: &'static Library, arguments: Vec<String>) -> Pool {
        Pool {
            library,
            arguments,
            idle: Mutex::default(),
            sessions: Mutex::default(),
            opened: AtomicU64::new(0),
        }
    }

    /// Opens a connection that belongs to no request.
    ///
    /// # Errors
    /// When the engine refuses one.
    pub fn open(&self) -> Result<Tagged, Exception> {
        let refused = || Exception::new(code::STD_EXCEPTION, "the engine refused a connection");
        let connection = self.library.connect(&self.arguments).ok_or_else(refused)?;
        let tag = format!("connection-{}", self.opened.fetch_add(1, Ordering::Relaxed));
        let mut tagged = Tagged {
            connection,
            tag,
            profile: Profile::default(),
        };
        let statement = format!("SET log_comment = {}", quoted(&tagged.tag));
        tagged.connection.query(statement.as_bytes(), "Null", &[])?;
        Ok(tagged)
    }

    /// A connection set to `profile`, idle or new.
    ///
    /// # Errors
    /// A setting or a database that the engine does not know.
    pub fn take(&self, profile: &Profile) -> Result<Tagged, Exception> {
        let reused = {
            let mut idle = locked(&self.idle);
            let fitting = idle.iter().rposition(|tagged| tagged.profile == *profile);
            fitting.map(|at| idle.remove(at))
        };
        match reused {
            Some(tagged) => Ok(tagged),
            None => {
                let mut tagged = self.open()?;
                tagged.adopt(profile)?;
                Ok(tagged)
            }
        }
    }

    /// Takes a connection back whose statement changed nothing about it.
    pub fn give_back(&self, tagged: Tagged) {
        if tagged
            .profile
            .settings
            .iter()
            .any(|(name, _)| VOLATILE.contains(&name.as_str()))
        {
            return;
        }
        let oldest = {
            let mut idle = locked(&self.idle);
            idle.push(tagged);
            (idle.len() > MAX_IDLE).then(|| idle.remove(0))
        };
        // Closed outside the lock: it takes a moment.
        drop(oldest);
    }

    /// The connection slot of a session, made when there is none.
    ///
    /// # Errors
    /// `SESSION_NOT_FOUND` when it had to exist, and when there are too many sessions.
    pub fn session(&self, session: &SessionRef) -> Result<SessionSlot, Exception> {
        let mut sessions = locked(&self.sessions);
        let count = sessions.len();
        let entry = match sessions.entry(session.id.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if session.must_exist => {
                let reason = format!("session `{}` not found", session.id.escape_default());
                return Err(Exception::new(code::SESSION_NOT_FOUND, reason));
            }
            Entry::Vacant(_) if count >= MAX_SESSIONS => {
                let reason = format!("{MAX_SESSIONS} sessions are open: close some or let them expire");
                return Err(Exception::new(code::TOO_MANY_STATEMENTS, reason));
            }
            Entry::Vacant(entry) => entry.insert(Session {
                connection: Arc::default(),
                timeout: session.timeout,
                used: Instant::now(),
            }),
        };
        entry.timeout = session.timeout;
        entry.used = Instant::now();
        Ok(SessionSlot {
            id: session.id.clone(),
            connection: Arc::clone(&entry.connection),
        })
    }

    /// Starts a session's time afresh when its statement has ended.
    pub fn touch(&self, id: &str) {
        if let Some(session) = locked(&self.sessions).get_mut(id) {
            session.used = Instant::now();
        }
    }

    /// Closes sessions whose time is over and that run no statement.
    pub fn expire(&self) {
        let mut expired = Vec::new();
        locked(&self.sessions).retain(|_, session| {
            let is_over =
                session.used.elapsed() >= session.timeout && Arc::strong_count(&session.connection) == 1;
            if is_over {
                expired.push(Arc::clone(&session.connection));
            }
            !is_over
        });
    }

    /// Closes everything that is idle.
    pub fn clear(&self) {
        locked(&self.idle).clear();
        locked(&self.sessions).clear();
    }
}

/// A session's connection, for one request.
pub(super) struct SessionSlot {
    pub id: String,
    connection: Arc<Mutex<Option<Tagged>>>,
}

impl SessionSlot {
    /// The connection itself, set to what the request wants.
    ///
    /// Settings of the session's earlier request that this one does not repeat go back to their
    /// defaults.
    ///
    /// # Errors
    /// `SESSION_IS_LOCKED` while another request of the session runs, or as [`Pool::take`].
    pub fn lock(&self, pool: &Pool, profile: &Profile) -> Result<SessionGuard<'_>, Exception> {
        let mut slot = match self.connection.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let reason = format!(
                    "session `{}` is locked by a concurrent client",
                    self.id.escape_default()
                );
                return Err(Exception::new(code::SESSION_IS_LOCKED, reason));
            }
        };
        let mut tagged = match slot.take() {
            Some(tagged) => tagged,
            None => pool.open()?,
        };
        let adopted = tagged.adopt(profile);
        *slot = Some(tagged);
        adopted?;
        Ok(SessionGuard(slot))
    }
}

/// A session's connection while a request uses it.
pub(super) struct SessionGuard<'a>(MutexGuard<'a, Option<Tagged>>);

impl SessionGuard<'_> {
    pub fn tagged(&mut self) -> &mut Tagged {
        self.0
            .as_mut()
            .expect("lock() fills the slot before it makes a guard")
    }
}

impl Tagged {
    /// Says that the statement chose a database itself.
    pub fn forget_database(&mut self) {
        self.profile.database = None;
    }

    /// Sets the connection from what it is set to, to `wanted`.
    fn adopt(&mut self, wanted: &Profile) -> Result<(), Exception> {
        let mut changes = Vec::new();
        for (name, _) in &self.profile.settings {
            if !wanted.settings.iter().any(|(kept, _)| kept == name) {
                changes.push(format!("{name} = DEFAULT"));
            }
        }
        for setting in &wanted.settings {
            let (name, value) = setting;
            if !is_setting_name(name) {
                let reason = format!("unknown setting '{}'", name.escape_default());
                return Err(Exception::new(code::UNKNOWN_SETTING, reason));
            }
            if !self.profile.settings.contains(setting) {
                changes.push(format!("{name} = {}", quoted(value)));
            }
        }
        if !changes.is_empty() {
            let statement = format!("SET {}", changes.join(", "));
            self.connection.query(statement.as_bytes(), "Null", &[])?;
        }
        self.profile.settings.clone_from(&wanted.settings);
        if let Some(database) = &wanted.database
            && self.profile.database.as_ref() != Some(database)
        {
            let statement = format!("USE `{}`", database.replace('\\', "\\\\").replace('`', "\\`"));
            self.connection.query(statement.as_bytes(), "Null", &[])?;
            self.profile.database = Some(database.clone());
        }
        Ok(())
    }
}

fn is_setting_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

/// A string literal.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A panic while a lock was held leaves nothing half done here: each update is one call.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
