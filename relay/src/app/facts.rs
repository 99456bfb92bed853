//! What the admin port tells of a running relay.
//! **Owns:** the gauges that are read from the queue. **Never:** asks Redis whether the process is alive.

use postrider_queue::shards::Shards;

use crate::{admin, heartbeat::Pulse, metrics::Metrics};

/// The sources of what is told.
pub(super) struct Facts {
    shards: Shards,
    pulse: Pulse,
    metrics: Metrics,
}

impl Facts {
    pub(super) fn new(shards: Shards, pulse: Pulse, metrics: Metrics) -> Self {
        Self { shards, pulse, metrics }
    }
}

impl admin::Facts for Facts {
    fn is_ready(&self) -> bool {
        self.shards.is_ready()
    }

    fn problems(&self) -> Vec<String> {
        self.shards.problems()
    }

    fn is_alive(&self) -> bool {
        self.pulse.is_beating()
    }

    async fn refresh(&self) {
        self.metrics.queue.refresh(&self.shards).await;
    }
}
