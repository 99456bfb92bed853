//! What people do with waiting mail.
//! **Owns:** admin.lua, walks over the queue with a cursor. **Never:** touches a running attempt: of claimed deliveries the wish is
//! recorded, and applied when they are settled or reaped.

use postrider_mail::QueueId;

use crate::{
    answer::Fields,
    connection::{CALL_LIMIT, Purpose},
    error::Unavailable,
    hold,
    inspect::{Cursor, Filter},
    partition::Partition,
    record::DeliveryId,
    script,
};

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
        let (letter, reason) = match wish {
            Wish::RetryNow => ("R", ""),
            Wish::Hold(reason) => ("H", hold::cut(reason)),
            Wish::ReleaseHeld => ("L", ""),
            Wish::BounceNow(reason) => ("B", hold::cut(reason)),
            Wish::Delete => ("X", ""),
        };
        let names = which.iter().take(MAX_WISHES).map(|which| match which {
            Which::Message(id) => id.to_string(),
            Which::Delivery(id) => id.to_string(),
        });
        let names: Vec<String> = names.collect();
        let meta = self.keys().named("meta");
        let mut args: Vec<&[u8]> =
            vec![self.keys().prefix().as_bytes(), letter.as_bytes(), reason.as_bytes()];
        args.extend(names.iter().map(String::as_bytes));
        let answer =
            self.connections().run(Purpose::Admin, &script::ADMIN, &[&meta], &args, CALL_LIMIT).await?;
        let mut answer = Fields::of(answer)?;
        Ok(Granted { done: answer.number()?, recorded: answer.number()?, passed_over: answer.number()? })
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
        let page = self.list(filter, cursor).await?;
        let which: Vec<Which> =
            page.deliveries.into_iter().map(|seen| Which::Delivery(seen.delivery.id)).collect();
        let mut granted = Granted::default();
        for slice in which.chunks(MAX_WISHES) {
            let more = self.wish(wish, slice).await?;
            granted.done += more.done;
            granted.recorded += more.recorded;
            granted.passed_over += more.passed_over;
        }
        Ok((granted, page.next))
    }
}

/// Deliveries or messages in one call, at most.
pub const MAX_WISHES: usize = 500;
