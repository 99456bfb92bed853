//! The configuration that everything runs by: loaded, swapped whole, the last good one kept.
//! **Owns:** the one `watch` of it, reading files. **Never:** compiles (core does).

mod load;

use std::{sync::Arc, time::Duration};

use postrider_core::config::Config;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use load::{NotLoaded, Origin, from_manifests, read_manifests};

/// How often the files are looked at. A look is a `stat` of each.
const LOOK_EVERY: Duration = Duration::from_millis(500);

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

/// Loads the configuration anew whenever its files change. What can't be loaded is told once, and the last good one stays.
pub async fn follow(
    origin: Origin,
    mut seen: load::Stamp,
    sender: watch::Sender<Arc<Config>>,
    stopped: CancellationToken,
) {
    let origin = Arc::new(origin);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stopped.cancelled() => return,
            _ = looks.tick() => {}
        }
        let (reader, before) = (origin.clone(), seen.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let stamp = reader.stamp();
            let loaded = (stamp != before).then(|| reader.load());
            (stamp, loaded)
        });
        // A panic in there is a bug that has been logged; the last good configuration stays.
        let Ok((stamp, loaded)) = looked.await else { return };
        seen = stamp;
        match loaded {
            None => {}
            Some(Ok(config)) if config.hash() == sender.borrow().hash() => {}
            Some(Ok(config)) => {
                tracing::info!(config_hash = %config.hash(), "the configuration has changed");
                sender.send_replace(Arc::new(config));
            }
            Some(Err(why)) => {
                tracing::warn!(reason = %why, "the configuration can't be loaded; the last good one stays");
            }
        }
    }
}
