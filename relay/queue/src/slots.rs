//! Connection slots that hold for a whole fleet: how many connections to a site there may be at once, by incarnation.
//! **Owns:** slots.lua. **Never:** opens a connection. A slot is kept for a connection's life; those of an incarnation that doesn't
//! live, or that the store no longer knows, are free as soon as somebody finds the site full. No slot has a time of its own, so no
//! clock can free one too soon.
//! A process always says how many it has in use: whatever was lost on the way, the next call sets it right.

use std::time::Duration;

use postrider_mail::PartitionName;

use crate::{
    connection::Purpose,
    error::Unavailable,
    incarnation::Incarnation,
    limit::{LIMIT, read, refused},
    partition::Partition,
    script::{Flags, Script},
    shards::Shards,
};

static SLOTS: Script = Script::new("slots", Flags::AllowOom, &[include_str!("scripts/slots.lua")]);
/// How long nobody takes a slot after the shards have changed: until all have said at the new keeper what they have in use.
pub const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// Where a site's slots are counted, and as whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    /// The shard.
    pub keeper: PartitionName,
    /// This process's life there.
    pub holder: Incarnation,
}

/// What a process wants of a site's slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Slots that it has in use.
    pub used: u32,
    /// How many more it wants.
    pub more: u32,
    /// How many the fleet may have there in all.
    pub most: u32,
}

/// What a process got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// How many more. None: the fleet has as many connections there as it may.
    pub more: u32,
    /// How many the fleet has in all. More than it may have, where processes were believed dead that weren't.
    pub all: u32,
    /// Where they are counted.
    pub book: Book,
}

impl Shards {
    /// Where a site's slots are counted now.
    ///
    /// # Errors
    /// If no shard is usable, they have just changed, or this process isn't registered in the one that keeps the site's slots.
    pub fn slot_book(&self, site: &str) -> Result<Book, Unavailable> {
        let (at, holder) = self.bookkeeper(site)?;
        Ok(Book { keeper: at.name().clone(), holder })
    }

    /// Says how many slots of a site this process has in use, and takes up to `more`. Where there aren't enough, slots of the dead
    /// are free.
    ///
    /// # Errors
    /// See [`Self::slot_book`]; or the shard gave no answer. Nothing is taken then, and the next call sets the count right.
    pub async fn take_slots(&self, site: &str, wish: Wish) -> Result<Taken, Unavailable> {
        let wish = if self.changed_for() < SETTLED_AFTER { Wish { more: 0, ..wish } } else { wish };
        let (at, holder) = self.bookkeeper(site)?;
        let (more, all) = tell(&at, site, holder, wish).await?;
        Ok(Taken { more, all, book: Book { keeper: at.name().clone(), holder } })
    }

    /// Takes this process out of a book that no longer counts.
    ///
    /// # Errors
    /// If the shard gave no answer, or isn't one of the queue's.
    pub async fn leave_book(&self, site: &str, book: &Book) -> Result<(), Unavailable> {
        let at =
            self.get(&book.keeper).ok_or_else(|| refused("the shard is no longer one of the queue's"))?;
        tell(&at, site, book.holder, Wish { used: 0, more: 0, most: 0 }).await.map(drop)
    }

    fn bookkeeper(&self, site: &str) -> Result<(Partition, Incarnation), Unavailable> {
        let at = self.keeper(site)?;
        let holder = at.lease().incarnation().ok_or_else(|| {
            refused("this process is not registered in the shard that keeps the site's slots")
        })?;
        Ok((at, holder))
    }
}

async fn tell(
    at: &Partition,
    site: &str,
    holder: Incarnation,
    wish: Wish,
) -> Result<(u32, u32), Unavailable> {
    let (slots, pods) = (at.keys().named(&format!("slots:{site}")), at.keys().named("pods"));
    let holder = holder.to_string();
    let numbers = [wish.used, wish.more, wish.most].map(|number| number.to_string());
    let args: Vec<&[u8]> = std::iter::once(&holder).chain(&numbers).map(String::as_bytes).collect();
    let answer = at.connections().run(Purpose::Delivery, &SLOTS, &[&slots, &pods], &args, LIMIT).await?;
    read(answer)
}
