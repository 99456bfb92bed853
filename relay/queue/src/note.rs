//! Notes that a fleet shares: small values under a name, each with a time of its own, so that one relay needn't find out what another
//! knows, and a restart forgets nothing.
//! **Owns:** where a note is kept, its key. **Never:** what it says, mail.

use std::time::Duration;

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
    /// If the shard that keeps it gave no answer, or none is usable.
    pub async fn note(&self, name: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        let at = self.closest(name)?;
        let get = cmd("GET").arg(at.keys().note(name)).take();
        let answer = at.connections().command(Purpose::Delivery, &get, LIMIT).await?;
        Option::from_redis_value(answer).map_err(|error| Unavailable::unreadable(error, "a note"))
    }

    /// Notes something under a name, for `life`. One that is too long isn't kept.
    ///
    /// # Errors
    /// If the shard that keeps it gave no answer, has no memory, or none is usable.
    pub async fn take_note(&self, name: &str, note: &[u8], life: Duration) -> Result<(), Unavailable> {
        if note.len() > MAX_BYTES || life.is_zero() {
            return Ok(());
        }
        let at = self.closest(name)?;
        let set = cmd("SET").arg(at.keys().note(name)).arg(note).arg("PX").arg(millis(life).max(1)).take();
        at.connections().command(Purpose::Delivery, &set, LIMIT).await.map(drop)
    }
}
