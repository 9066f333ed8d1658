//! When to stop: Ctrl-C or SIGTERM, once for a clean stop, twice for at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

/// What shells expect of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// A receiver that becomes true at the first signal or when the sender says so; the second signal
/// ends the process.
pub fn watch_signals() -> anyhow::Result<(watch::Sender<bool>, watch::Receiver<bool>)> {
    let (sender, receiver) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let asked = sender.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked.send_replace(true) {
                warn!("stopped at once");
                std::process::exit(INTERRUPTED);
            }
            info!("stopping; once more to stop at once");
        }
    });
    Ok((sender, receiver))
}

/// Waits until a stop is asked for.
pub async fn asked(mut shutdown: watch::Receiver<bool>) {
    // Without a sender nobody can ask any more: then this is the end, too.
    let _ = shutdown.wait_for(|stop| *stop).await;
}
