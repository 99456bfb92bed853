//! What the admin port tells of a running relay.
//! **Owns:** how often the queue is asked for it, however many ask. **Never:** asks Redis whether the process is alive.

use std::time::Duration;

use postrider_queue::shards::Shards;
use tokio::{sync::Mutex, time::Instant};

use super::Relay;
use crate::{
    admin::{self, QueuePage},
    heartbeat::Pulse,
    metrics::{Ages, Metrics},
    shutdown::Shutdown,
    site::{SiteStates, Sites},
};

/// The sources of what is told.
pub(super) struct Facts {
    shards: Shards,
    sites: Sites,
    pulse: Pulse,
    metrics: Metrics,
    shutdown: Shutdown,
    /// What was last read. Who comes while it is read waits for it, and asks nothing.
    ages: Mutex<Option<(Instant, Ages)>>,
}

impl Facts {
    pub(super) fn new(relay: &Relay, sites: Sites) -> Self {
        Self {
            shards: relay.shards.clone(),
            sites,
            pulse: relay.heartbeat.pulse(),
            metrics: relay.metrics.clone(),
            shutdown: relay.shutdown.clone(),
            ages: Mutex::default(),
        }
    }

    async fn ages(&self) -> Ages {
        let mut known = self.ages.lock().await;
        match &*known {
            Some((read, ages)) if read.elapsed() < FRESH => ages.clone(),
            _ => {
                let ages = Ages::read(&self.shards).await;
                *known = Some((Instant::now(), ages.clone()));
                ages
            }
        }
    }
}

impl admin::Facts for Facts {
    /// Until the relay refuses, and no longer: as long as it says that it is ready it is sent connections, also while it stops.
    fn is_ready(&self) -> bool {
        !self.shutdown.stop_taking.is_cancelled() && self.shards.is_ready()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.shards.problems();
        if self.shutdown.stop_taking.is_cancelled() {
            problems.push("the relay stops; nothing is to be done".to_owned());
        }
        problems
    }

    fn is_alive(&self) -> bool {
        self.pulse.is_beating()
    }

    async fn refresh(&self) {
        let ages = self.ages().await;
        self.metrics.queue.refresh(&self.shards, &ages);
        let SiteStates { open, paced, backing_off } = self.sites.states();
        for (state, count) in [("open", open), ("paced", paced), ("backing_off", backing_off)] {
            self.metrics
                .outbound
                .sites
                .with_label_values(&[state])
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.metrics.sources.refresh(&self.sites.sources_out());
    }

    async fn queue(&self) -> QueuePage {
        let ages = self.ages().await;
        QueuePage::new(&self.shards.status(), &ages)
    }
}

/// For how long what was read of the queue is told without asking again.
const FRESH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
