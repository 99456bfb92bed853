//! Rates that hold for a whole fleet: GCRA, tokens taken in batches.
//! **Owns:** grant.lua, the choice of the shard that keeps a limit. **Never:** which mail has which limit.
//! Grants are atomic, so the limit and its burst are never exceeded. While a limit moves to another shard nothing is granted for a
//! second: what was granted there is spent by then. Asked only where a limit is set. What is granted is used soon or thrown away.

use std::{cmp::Reverse, time::Duration};

use postrider_mail::PartitionName;
use redis::FromRedisValue;

use crate::{
    connection::Purpose,
    error::Unavailable,
    partition::Partition,
    script::{Flags, Script},
    shards::Shards,
};

static GRANT: Script = Script::new("grant", Flags::AllowOom, &[include_str!("scripts/grant.lua")]);
pub(crate) const LIMIT: Duration = Duration::from_secs(2);
/// Tokens not used for as long are to be thrown away.
pub const TOKEN_LIFE: Duration = Duration::from_secs(1);
/// A batch is what comes due in this time.
const BATCH: Duration = Duration::from_millis(250);

/// A rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So many …
    pub tokens: u32,
    /// … in this time; …
    pub per: Duration,
    /// … and so many at once.
    pub burst: u32,
}

/// What lets mail wait that a far side would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limiter {
    /// Messages in a time.
    MessageRate,
    /// Connections opened in a time.
    ConnectionRate,
    /// Connections open at once.
    Connections,
    /// The pace that a far side asked for.
    Pace,
    /// Messages in a day by a source that far sides get to know.
    WarmUp,
}

/// What was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// Tokens, to be used within [`TOKEN_LIFE`].
    pub tokens: u32,
    /// How many more there were.
    pub left: u32,
    /// If there were none: when to ask again.
    pub again_after: Duration,
}

impl Limiter {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::MessageRate, Self::ConnectionRate, Self::Connections, Self::Pace, Self::WarmUp];

    /// The name in the store, in metrics and for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MessageRate => "message-rate",
            Self::ConnectionRate => "connection-rate",
            Self::Connections => "connections",
            Self::Pace => "pace",
            Self::WarmUp => "warm-up",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

impl Rate {
    /// How long one token takes. At least a microsecond: a rate above a million a second is none.
    pub fn per_token(&self) -> Duration {
        (self.per / self.tokens.max(1)).max(Duration::from_micros(1))
    }

    /// A batch: a quarter of a second's share, one at least.
    pub fn batch(&self) -> u32 {
        self.due_in(BATCH).clamp(1, self.burst.max(1))
    }

    /// How many come due in a time.
    pub fn due_in(&self, time: Duration) -> u32 {
        let due = time.as_micros() / self.per_token().as_micros().max(1);
        u32::try_from(due).unwrap_or(u32::MAX)
    }
}

impl Shards {
    /// Takes up to `want` tokens of the limit named `key`, but leaves the last `reserve` of its burst to who is more urgent.
    ///
    /// # Errors
    /// If the shard that keeps it gave no answer, or none is usable: then nothing is granted.
    pub async fn grant(
        &self,
        key: &str,
        rate: &Rate,
        want: u32,
        reserve: u32,
    ) -> Result<Granted, Unavailable> {
        let at = self.keeper(key)?;
        let name = at.keys().named(&format!("limit:{key}"));
        let burst = rate.burst.max(1);
        let args = [
            rate.per_token().as_micros().to_string(),
            burst.to_string(),
            want.to_string(),
            reserve.min(burst - 1).to_string(),
        ];
        let args = args.each_ref().map(|arg| arg.as_bytes());
        let answer = at.connections().run(Purpose::Delivery, &GRANT, &[&name], &args, LIMIT).await?;
        let (tokens, more): (u32, u64) = read(answer)?;
        let (left, wait) = if tokens > 0 { (more, 0) } else { (0, more) };
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        Ok(Granted { tokens, left, again_after: Duration::from_micros(wait) })
    }

    /// The shard that keeps the limit or slots named `key`; none while it may have just moved.
    pub(crate) fn keeper(&self, key: &str) -> Result<Partition, Unavailable> {
        if self.changed_for() < TOKEN_LIFE {
            return Err(refused("the set of usable shards just changed; limits wait for a second"));
        }
        self.closest(key)
    }

    /// The usable shard with the highest hash of its name and `key`, so that most keys stay where they are when a shard comes or goes.
    pub(crate) fn closest(&self, key: &str) -> Result<Partition, Unavailable> {
        let usable = self.usable();
        let best = usable.into_iter().max_by_key(|partition| weight(key, partition.name()));
        best.ok_or_else(none_usable)
    }

    /// The usable shards, the closest to `key` first; at least one.
    pub(crate) fn by_closeness(&self, key: &str) -> Result<Vec<Partition>, Unavailable> {
        let mut usable = self.usable();
        usable.sort_by_cached_key(|partition| Reverse(weight(key, partition.name())));
        if usable.is_empty() { Err(none_usable()) } else { Ok(usable) }
    }
}

pub(crate) fn read<A: FromRedisValue, B: FromRedisValue>(
    answer: redis::Value,
) -> Result<(A, B), Unavailable> {
    FromRedisValue::from_redis_value(answer).map_err(|error| Unavailable::unreadable(error, "two numbers"))
}

pub(crate) fn none_usable() -> Unavailable {
    refused("no shard is usable")
}

pub(crate) fn refused(reason: &str) -> Unavailable {
    Unavailable::Refused { reason: reason.into() }
}

/// FNV-1a with a final mix: every version of every relay must compute the same.
pub(crate) fn weight(key: &str, partition: &PartitionName) -> u64 {
    let bytes = key.bytes().chain([0]).chain(partition.as_str().bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<PartitionName> {
        ["a", "b", "c"].map(|name| PartitionName::parse(name).expect("a name")).to_vec()
    }

    fn keeper<'a>(key: &str, among: &'a [PartitionName]) -> &'a PartitionName {
        among.iter().max_by_key(|name| weight(key, name)).expect("there are some")
    }

    #[test]
    fn limits_spread_over_the_shards_and_stay_when_another_goes() {
        let (all, two) = (names(), &names()[..2]);
        let keys: Vec<String> = (0..3_000).map(|n| format!("site-{n}.example")).collect();
        for name in &all {
            let share = keys.iter().filter(|key| keeper(key, &all) == name).count();
            assert!((800..1_200).contains(&share), "{name}: {share}");
        }
        for key in keys.iter().filter(|key| keeper(key, &all).as_str() != "c") {
            assert_eq!(keeper(key, &all), keeper(key, two));
        }
    }

    #[test]
    fn a_batch_is_a_quarter_of_a_second_s_share() {
        let rate = |tokens, burst| Rate { tokens, per: Duration::from_secs(1), burst };
        assert_eq!(rate(1_000, 1_000).batch(), 250);
        assert_eq!(rate(2, 10).batch(), 1);
        assert_eq!(rate(1_000, 5).batch(), 5);
    }
}
