//! The configuration that everything runs by: loaded, swapped whole, the last good one kept.
//! **Owns:** the one `watch` of it, reading files. **Never:** compiles (core does).

mod load;

use std::sync::{Arc, Mutex, PoisonError};

use postrider_core::config::{Config, Fleet};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

pub use load::{NotLoaded, Origin, Stamp, from_manifests, read_manifests};

use crate::metrics::Metrics;

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

/// Why what the files hold now isn't what runs, if so. Cloning shares.
#[derive(Clone, Default)]
pub struct LastLoad(Arc<Mutex<Option<String>>>);

impl LastLoad {
    /// Why not, for people. No secret is in it.
    pub fn error(&self) -> Option<String> {
        self.lock().clone()
    }

    fn note(&self, error: Option<String>) {
        *self.lock() = error;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Loads the configuration anew whenever its files change. What can't be loaded is told once, and the last good one stays.
pub struct Follow {
    /// Where it comes from.
    pub origin: Origin,
    /// What the files looked like before the configuration that runs was read.
    pub seen: Stamp,
    /// What runs.
    pub sender: watch::Sender<Arc<Config>>,
    /// What is told of the last load.
    pub last: LastLoad,
    /// What is counted.
    pub metrics: Metrics,
}

impl Follow {
    /// Until `stopped`.
    pub async fn run(mut self, stopped: CancellationToken) {
        let mut looks = tokio::time::interval(self.origin.look_every());
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut files = Files { origin: self.origin.clone(), stamp: self.seen.clone() };
        loop {
            tokio::select! {
                biased;
                () = stopped.cancelled() => return,
                _ = looks.tick() => {}
            }
            // A panic in there is a bug that has been logged; the last good configuration stays.
            let Ok((back, loaded)) = tokio::task::spawn_blocking(move || files.look()).await else { return };
            files = back;
            if let Some(loaded) = loaded {
                self.take(loaded);
            }
        }
    }

    fn take(&mut self, loaded: Result<Config, NotLoaded>) {
        match loaded.and_then(|config| self.same_fleet(config)) {
            Ok(config) => {
                self.last.note(None);
                self.metrics.config.loaded();
                if config.hash() != self.sender.borrow().hash() {
                    tracing::info!(config_hash = %config.hash(), "the configuration has changed");
                    self.metrics.follow(&config);
                    self.sender.send_replace(Arc::new(config));
                }
            }
            Err(why) => {
                let why = why.to_string();
                tracing::warn!(reason = why, "the configuration can't be loaded; the last good one stays");
                self.metrics.config.load_errors.inc();
                self.last.note(Some(why.chars().take(MAX_ERROR_CHARS).collect()));
            }
        }
    }

    /// The queue's keys are the MailRelay's: another one's configuration is for another process.
    fn same_fleet(&self, config: Config) -> Result<Config, NotLoaded> {
        let ours = &self.sender.borrow().fleet;
        if config.fleet == *ours {
            return Ok(config);
        }
        Err(NotLoaded::AnotherFleet { found: named(&config.fleet), expected: named(ours) })
    }
}

fn named(fleet: &Fleet) -> String {
    match &fleet.uid {
        Some(uid) => format!("{fleet} (uid {uid})"),
        None => fleet.to_string(),
    }
}

/// The files, and what they looked like when they were looked at last.
struct Files {
    origin: Origin,
    stamp: Stamp,
}

impl Files {
    fn look(mut self) -> (Self, Option<Result<Config, NotLoaded>>) {
        let stamp = self.origin.stamp();
        if stamp == self.stamp {
            return (self, None);
        }
        // Noted before the files are read: what changes meanwhile is seen at the next look.
        self.stamp = stamp;
        let loaded = self.origin.load();
        (self, Some(loaded))
    }
}

/// What is told of an error at most.
const MAX_ERROR_CHARS: usize = 4_096;

#[cfg(test)]
mod tests;
