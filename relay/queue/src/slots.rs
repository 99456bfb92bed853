//! Connection slots that hold for a whole fleet: how many connections to a site there may be at once, by incarnation.
//! **Owns:** slots.lua. **Never:** opens a connection. A slot is kept for a connection's life; those of a dead incarnation are free as
//! soon as somebody finds the site full. No slot has a time of its own, so no clock can free one too soon.

use crate::{
    connection::Purpose,
    error::Unavailable,
    incarnation::Incarnation,
    limit::{LIMIT, read},
    partition::Partition,
    reap::PodState,
    script::{Flags, Script},
    shards::Shards,
};

static SLOTS: Script = Script::new("slots", Flags::AllowOom, &[include_str!("scripts/slots.lua")]);

/// Slots that this process has at a site. Give them back with [`Shards::give_slots`]; a crash frees them too.
#[derive(Debug)]
#[must_use]
pub struct Slots {
    at: Partition,
    key: String,
    holder: Incarnation,
    /// How many.
    pub count: u32,
}

impl Shards {
    /// Takes up to `want` of the `most` slots of a site. None: the fleet has as many connections there as it may.
    ///
    /// # Errors
    /// If the shard that keeps them gave no answer, or this process isn't registered there.
    pub async fn take_slots(&self, site: &str, want: u32, most: u32) -> Result<Slots, Unavailable> {
        let at = self.keeper(site)?;
        let holder = at.lease().incarnation().ok_or_else(|| Unavailable::Refused {
            reason: "this process is not registered in the shard that keeps the site's slots".into(),
        })?;
        let key = at.keys().named(&format!("slots:{site}"));
        let mut count = change(&at, &key, holder, i64::from(want), most, &[]).await?;
        if count == 0 && want > 0 {
            let pods = at.pods().await?;
            let dead = pods.into_iter().filter(|(_, state)| !matches!(state, PodState::Live { .. }));
            let dead: Vec<Incarnation> = dead.map(|(incarnation, _)| incarnation).collect();
            count = change(&at, &key, holder, i64::from(want), most, &dead).await?;
        }
        Ok(Slots { at, key, holder, count })
    }

    /// Gives slots back.
    ///
    /// # Errors
    /// If the shard gave no answer: they are free once this process leaves.
    pub async fn give_slots(&self, slots: Slots) -> Result<(), Unavailable> {
        let back = -i64::from(slots.count);
        change(&slots.at, &slots.key, slots.holder, back, 0, &[]).await.map(drop)
    }
}

async fn change(
    at: &Partition,
    key: &str,
    holder: Incarnation,
    by: i64,
    most: u32,
    dead: &[Incarnation],
) -> Result<u32, Unavailable> {
    let args: Vec<String> = [holder.to_string(), by.to_string(), most.to_string()]
        .into_iter()
        .chain(dead.iter().map(Incarnation::to_string))
        .collect();
    let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
    let answer = at.connections().run(Purpose::Delivery, &SLOTS, &[key], &args, LIMIT).await?;
    let (taken, _all): (i64, i64) = read(answer)?;
    Ok(u32::try_from(taken).unwrap_or(0))
}
