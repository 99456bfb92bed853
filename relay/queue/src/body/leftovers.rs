//! Chunks of bodies that came to nothing: their client went away, or sent too much.
//! **Owns:** which they are, and their removal. **Never:** chunks of a message that was, or may be, enqueued.
//! They have a TTL, so this is no promise. But a client may leave 25 MiB a second, and a TTL is ten minutes long.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use postrider_mail::QueueId;
use tokio::sync::Notify;

use crate::{
    connection::{CALL_LIMIT, Purpose},
    partition::Partition,
};

/// Bodies remembered; what is beyond is left to the TTL.
const REMEMBERED: usize = 10_000;

/// Bodies whose chunks can go.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    bodies: Mutex<VecDeque<(QueueId, u32)>>,
    pending: Notify,
}

impl Leftovers {
    /// The first `chunks` of a body that is never going to be enqueued, and one more that may be on its way.
    pub(crate) fn add(&self, id: QueueId, chunks: u32) {
        let mut bodies = self.lock();
        if bodies.len() < REMEMBERED {
            bodies.push_back((id, chunks));
            self.pending.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(QueueId, u32)>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<(QueueId, u32)> {
        self.lock().pop_front()
    }
}

impl Partition {
    /// Removes them, for as long as it is polled.
    pub(crate) async fn remove_leftovers(&self) {
        loop {
            let Some((id, chunks)) = self.leftovers().next() else {
                self.leftovers().pending.notified().await;
                continue;
            };
            let mut unlink = redis::cmd("UNLINK");
            for chunk in 0..=chunks {
                unlink.arg(self.keys().body(&id, chunk));
            }
            // By the way that the chunks took, so that it comes behind the last of them. If it fails: the TTL.
            if let Err(why) = self.connections().command(Purpose::Enqueue, &unlink, CALL_LIMIT).await {
                tracing::debug!(queue_id = %id, %why, "chunks of a body that came to nothing are left to their TTL");
            }
        }
    }
}
