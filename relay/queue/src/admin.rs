//! What people do with waiting mail.
//! **Owns:** admin.lua, walks over the queue with a cursor. **Never:** touches a running attempt: of claimed deliveries the wish is
//! recorded, and applied when they are settled or reaped.

use crate::{
    error::Unavailable,
    inspect::{Cursor, Filter},
    partition::Partition,
    record::DeliveryId,
};
use postrider_mail::QueueId;

/// What a person wants of deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Try them now.
    RetryNow,
    /// Put them on hold.
    Hold(Box<str>),
    /// Let the held ones go, to be tried now.
    ReleaseHeld,
    /// Give up, and tell the sender why.
    BounceNow(Box<str>),
    /// Give up, and tell nobody.
    Delete,
}

/// Which deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of a message.
    Message(QueueId),
    /// One.
    Delivery(DeliveryId),
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Granted {
    /// Done.
    pub done: u64,
    /// Claimed: recorded, and applied when the attempt ends.
    pub recorded: u64,
    /// There is no such delivery (any more), or it was so already.
    pub passed_over: u64,
}

impl Partition {
    /// Does what a person wants of these deliveries; at most 500 are taken in one call.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn wish(&self, wish: &Wish, which: &[Which]) -> Result<Granted, Unavailable> {
        let _ = (wish, which);
        panic!("being written")
    }

    /// The same for all that a filter takes, a page of the queue per call: go on with the cursor until there is none.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn wish_page(
        &self,
        wish: &Wish,
        filter: &Filter,
        cursor: Option<Cursor>,
    ) -> Result<(Granted, Option<Cursor>), Unavailable> {
        let _ = (wish, filter, cursor);
        panic!("being written")
    }
}
