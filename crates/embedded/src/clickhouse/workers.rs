//! Threads that run statements. One that is done waits a while for the next statement: what the
//! engine sets up for a thread costs more than a small statement.
//!
//! There are never more of them than statements that run at once, which the server bounds, and
//! a statement never waits here: when no thread is idle, one is started.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::library;

/// An idle thread ends after so long.
const IDLE: Duration = Duration::from_secs(30);

type Job = Box<dyn FnOnce() + Send>;

/// The threads.
pub(super) struct Workers {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Threads that wait for a job, and have not been promised one.
    idle: usize,
    closed: bool,
}

impl Workers {
    pub fn new() -> Arc<Workers> {
        Arc::new(Workers {
            state: Mutex::default(),
            wake: Condvar::new(),
        })
    }

    /// Runs a job on an idle thread, or on a new one.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn run(self: &Arc<Workers>, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut state = self.locked();
        if state.idle > 0 {
            state.idle -= 1;
            state.jobs.push_back(Box::new(job));
            self.wake.notify_one();
            return Ok(());
        }
        drop(state);
        let workers = Arc::clone(self);
        library::spawn("clickhouse-statement", move || {
            job();
            workers.work();
        })?;
        Ok(())
    }

    /// Lets idle threads end.
    pub fn close(&self) {
        self.locked().closed = true;
        self.wake.notify_all();
    }

    fn work(&self) {
        let mut state = self.locked();
        loop {
            if state.closed {
                return;
            }
            state.idle += 1;
            let waited = self
                .wake
                .wait_timeout_while(state, IDLE, |state| state.jobs.is_empty() && !state.closed);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            // Whoever left a job has counted one idle thread less already.
            let Some(job) = state.jobs.pop_front() else {
                state.idle -= 1;
                return;
            };
            drop(state);
            job();
            state = self.locked();
        }
    }

    /// A panic while the lock was held leaves nothing half done: each update is one step.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::HashSet,
        sync::mpsc,
        thread::{self, ThreadId},
    };

    /// Waits until so many threads are idle.
    fn wait_for_idle(workers: &Workers, idle: usize) {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while workers.locked().idle != idle {
            assert!(std::time::Instant::now() < deadline);
            thread::yield_now();
        }
    }

    #[test]
    fn an_idle_thread_takes_the_next_job() {
        let workers = Workers::new();
        let mut threads = HashSet::new();
        for _ in 0..5 {
            let (sender, receiver) = mpsc::channel::<ThreadId>();
            workers
                .run(move || sender.send(thread::current().id()).unwrap())
                .unwrap();
            threads.insert(receiver.recv().unwrap());
            wait_for_idle(&workers, 1);
        }
        assert_eq!(threads.len(), 1);
        workers.close();
        wait_for_idle(&workers, 0);
    }

    #[test]
    fn a_job_never_waits_for_another() {
        let workers = Workers::new();
        let (meet_sender, meet_receiver) = mpsc::channel::<()>();
        let (done_sender, done_receiver) = mpsc::channel::<()>();
        let first_done = done_sender.clone();
        workers
            .run(move || {
                meet_receiver.recv().unwrap();
                first_done.send(()).unwrap();
            })
            .unwrap();
        // The first job ends only if this one runs beside it.
        workers
            .run(move || {
                meet_sender.send(()).unwrap();
                done_sender.send(()).unwrap();
            })
            .unwrap();
        for _ in 0..2 {
            done_receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        }
    }
}
