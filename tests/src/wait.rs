//! Waiting for a state under a deadline.
//! **Owns:** the only sleeps of the harness. **Never:** a fixed pause in the place of a condition.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `look` gives something, at most `within`; `what` names the state in the error.
pub async fn eventually<T, F>(what: &str, within: Duration, mut look: F) -> Result<T>
where
    F: AsyncFnMut() -> Option<T>,
{
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if started.elapsed() > within {
            bail!("waited {within:?} for {what}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The same for a plain condition.
pub async fn until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
    eventually(what, within, async || holds().then_some(())).await
}

/// A lock whose holder may have panicked: the test that did so fails anyway.
pub(crate) fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
