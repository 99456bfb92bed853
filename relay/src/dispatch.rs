//! What is worked on now: a bounded window over an unbounded queue.
//! **Owns:** slots, the start of attempts, the claim loops. **Never:** what an attempt does (delivery.rs), how many connections a
//! site takes (site.rs).
//!
//! Mail gets to work in two ways: intake reserves a slot before it enqueues, and starts what the queue claimed for it from memory
//! (the fast path); or a claim loop takes what is due, as far as there is room.

pub mod claims;
pub mod desks;
pub mod outbound;
pub mod ports;
pub mod room;
pub mod window;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use postrider_mail::PartitionName;
use postrider_queue::{Body, Claimed, Lane};
use tokio::sync::Notify;

pub use window::{Slot, WINDOW, Window};

/// Starts attempts. Cloning shares.
#[derive(Clone)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

struct Shared {
    window: Window,
    start: Box<Start>,
    /// One for each partition that was ever waited for; they come with the config, so they are few.
    wakes: Mutex<BTreeMap<PartitionName, Arc<Notify>>>,
    is_paused: Box<dyn Fn() -> bool + Send + Sync>,
}

/// What runs an attempt: it returns at once, the attempt goes on in a task of its own.
pub type Start = dyn Fn(Slot, Claimed, Option<Body>) + Send + Sync;

impl Dispatcher {
    /// A dispatcher over a window. `start` is told what to run; while `is_paused`, nothing is reserved.
    pub fn new(
        window: Window,
        is_paused: impl Fn() -> bool + Send + Sync + 'static,
        start: impl Fn(Slot, Claimed, Option<Body>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                window,
                start: Box::new(start),
                wakes: Mutex::default(),
                is_paused: Box::new(is_paused),
            }),
        }
    }

    /// Room for a new delivery of `lane`, to be claimed with its enqueue. Never waits. `None`: enqueue it as due now.
    pub fn reserve(&self, lane: &Lane) -> Option<Slot> {
        if (self.shared.is_paused)() { None } else { self.shared.window.reserve(lane) }
    }

    /// Starts the attempt of a claimed delivery. With its body it is delivered from memory; without, the body is read back.
    pub fn start(&self, slot: Slot, claimed: Claimed, body: Option<Body>) {
        (self.shared.start)(slot, claimed, body);
    }

    /// Something is due in a partition: its claim loop looks at once. Call it after an enqueue of mail that is due now.
    pub fn wake(&self, partition: &PartitionName) {
        self.shared.wake_of(partition).notify_one();
    }

    /// Waits until [`Self::wake`].
    pub(crate) async fn woken(&self, partition: &PartitionName) {
        self.shared.wake_of(partition).notified().await;
    }

    /// A lane may be tried again: a person says so.
    pub fn resume(&self, lane: &Lane) {
        self.shared.window.resume(lane);
    }

    /// The window, for the claim loops and for metrics.
    pub fn window(&self) -> &Window {
        &self.shared.window
    }
}

impl Shared {
    fn wake_of(&self, partition: &PartitionName) -> Arc<Notify> {
        let mut wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        match wakes.get(partition) {
            Some(wake) => wake.clone(),
            None => wakes.entry(partition.clone()).or_default().clone(),
        }
    }
}
