//! The configuration that everything runs by: loaded, swapped whole, the last good one kept.
//! **Owns:** the one `watch` of it. **Never:** compiles (core does).

use std::sync::Arc;

use postrider_core::config::Config;
use tokio::sync::watch;

/// A reader of the current configuration. Cheap to clone; each reader sees every swap.
#[derive(Clone)]
pub struct ConfigSource {
    receiver: watch::Receiver<Arc<Config>>,
}

impl ConfigSource {
    /// A source and what changes it.
    pub fn new(config: Arc<Config>) -> (watch::Sender<Arc<Config>>, Self) {
        let (sender, receiver) = watch::channel(config);
        (sender, Self { receiver })
    }

    /// The configuration as it is now.
    pub fn current(&self) -> Arc<Config> {
        self.receiver.borrow().clone()
    }

    /// Waits for the next swap. Returns false when there will be none: the process ends.
    pub async fn changed(&mut self) -> bool {
        self.receiver.changed().await.is_ok()
    }
}
