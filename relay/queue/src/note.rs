//! Notes that a fleet shares: small values under a name, each with a time of its own, so that one relay needn't find out what another
//! knows, and a restart forgets nothing.
//! **Owns:** where a note is kept, its key. **Never:** what it says, mail.
//! Invariant: a note lies in every shard that was usable when it was taken, so that one shard's outage takes none away.

use std::time::Duration;

use futures::future::join_all;
use redis::{FromRedisValue as _, cmd};

use crate::{
    connection::{Purpose, millis},
    error::Unavailable,
    limit::LIMIT,
    shards::Shards,
};

/// The longest note in bytes.
pub const MAX_BYTES: usize = 128 * 1024;

impl Shards {
    /// The note of a name; none if there is none, or its time is over.
    ///
    /// # Errors
    /// If no usable shard has it, and one of them gave no answer, or none is usable.
    pub async fn note(&self, name: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        let mut failure = None;
        for at in self.by_closeness(name)? {
            let get = cmd("GET").arg(at.keys().note(name)).take();
            let answer = at.connections().command(Purpose::Delivery, &get, LIMIT).await;
            let found = answer.and_then(|answer| {
                Option::from_redis_value(answer).map_err(|error| Unavailable::unreadable(error, "a note"))
            });
            match found {
                Ok(Some(note)) => return Ok(Some(note)),
                Ok(None) => {}
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(None), Err)
    }

    /// Notes something under a name, for `life`. One that is too long isn't kept.
    ///
    /// # Errors
    /// If a usable shard gave no answer or has no memory, or none is usable; others may have the note then.
    pub async fn take_note(&self, name: &str, note: &[u8], life: Duration) -> Result<(), Unavailable> {
        if note.len() > MAX_BYTES || life.is_zero() {
            return Ok(());
        }
        let taken = self.by_closeness(name)?.into_iter().map(|at| async move {
            let set =
                cmd("SET").arg(at.keys().note(name)).arg(note).arg("PX").arg(millis(life).max(1)).take();
            at.connections().command(Purpose::Delivery, &set, LIMIT).await.map(drop)
        });
        join_all(taken).await.into_iter().collect()
    }
}
