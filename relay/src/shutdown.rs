//! One signal out, one wait for all.
//! **Owns:** the order in which a relay stops. **Never:** what a part does to stop.

use std::time::Duration;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The tree of tokens, in the order in which they are cancelled.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// No new connections, no new claims, 421 between transactions.
    pub stop_taking: CancellationToken,
    /// What still runs ends at its next safe point: attempts release their claims, sessions are cut.
    pub stop_running: CancellationToken,
    /// Heartbeat, settling and ports end: nothing is left that needs them.
    pub stop_serving: CancellationToken,
}

impl Shutdown {
    /// Stops a relay: whoever has work gets `grace` to finish it, then a last 5 s to hand back what isn't finished.
    pub async fn run(&self, work: &TaskTracker, grace: Duration) {
        self.stop_taking.cancel();
        work.close();
        if tokio::time::timeout(grace, work.wait()).await.is_err() {
            tracing::warn!(
                grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
                tasks = work.len(),
                "the grace is over; unfinished work is handed back"
            );
            self.stop_running.cancel();
            // Claims that could not be handed back pass to the living relays when this one is reaped.
            let _ = tokio::time::timeout(Duration::from_secs(5), work.wait()).await;
        }
        self.stop_serving.cancel();
    }
}

/// Waits until the process is told to stop: SIGTERM or SIGINT.
///
/// # Errors
/// The signal handlers can't be installed.
pub async fn requested() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
