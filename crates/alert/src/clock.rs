//! The wall clock, as a value: deliveries are due, and requests are signed, at times that outlive the
//! process.

use std::fmt;
use std::sync::Arc;

/// Tells the time in milliseconds since the Unix epoch.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    pub fn wall() -> Clock {
        Clock(Arc::new(wall_ms))
    }

    pub fn now(&self) -> i64 {
        (self.0)()
    }

    /// A clock that goes with tokio's, paused or not.
    #[cfg(test)]
    pub fn of_tokio(origin_ms: i64) -> Clock {
        let origin = tokio::time::Instant::now();
        Clock(Arc::new(move || origin_ms + origin.elapsed().as_millis() as i64))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a worker is an edge: requests are signed with the time of sending"
)]
fn wall_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
