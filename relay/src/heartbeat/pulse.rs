//! Whether the delivery runtime works.
//! **Owns:** [`Pulse`]. **Never:** ticks by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::clock;

/// The delivery runtime's sign of life. Cloning shares.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    pub(super) fn new() -> Self {
        let pulse = Self(Arc::default());
        pulse.tick();
        pulse
    }

    /// The runtime works: a task of it just ran.
    pub fn tick(&self) {
        self.0.store(now_millis(), Ordering::Relaxed);
    }

    /// Ticks four times a second, for as long as the process lives. Run it on the delivery runtime.
    pub async fn run(self) {
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        loop {
            ticks.tick().await;
            self.tick();
        }
    }

    /// Whether it ticked lately: only then beats go out.
    pub fn is_beating(&self) -> bool {
        now_millis().saturating_sub(self.0.load(Ordering::Relaxed)) < FRESH_MILLIS
    }
}

fn now_millis() -> u64 {
    u64::try_from(clock::now().since_start().as_millis()).unwrap_or(u64::MAX)
}

/// Without a tick for longer, no beat is sent.
const FRESH_MILLIS: u64 = 2_000;
