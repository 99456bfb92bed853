//! Counters that a fleet adds up for a day, by domain, and who of it does what is due with them once.
//! **Owns:** tally.lua, the counters' keys, the right to a domain's day ([`Shards::take_turn`]). **Never:** what is counted.
//! Where a shard was away for a while, its counters are on another: they are read from all, and belong together.
//! Invariant: while a turn lasts nobody else has it, and once it is done nobody gets it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use postrider_mail::{Domain, PartitionName};
use redis::{FromRedisValue as _, Value, cmd};

use crate::{
    connection::{Purpose, millis},
    error::Unavailable,
    limit::LIMIT,
    partition::Partition,
    script::{Flags, Script},
    shards::Shards,
};

static TALLY: Script = Script::new("tally", Flags::Grows, &[include_str!("scripts/tally.lua")]);

/// How long counters are kept: the day itself, the hours in which they are read, and a day of the store being away.
const LIFE: Duration = Duration::from_secs(3 * 24 * 3_600);
/// Domains counted in a day at most.
pub const MAX_DOMAINS: usize = 20_000;
/// Counters of a domain and day; the sums may take as many again.
pub const MAX_FIELDS: usize = 512;
/// Domains that one script takes, so that it is short.
const DOMAINS_AT_ONCE: usize = 32;

/// What is added to a domain's day: fields, and by how much each grows.
pub type Additions = Vec<(String, u64)>;

/// The right to a domain's day, for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Turn {
    key: String,
    at: PartitionName,
}

impl Turn {
    /// The shard that keeps it.
    pub const fn partition(&self) -> &PartitionName {
        &self.at
    }
}

/// Whether somebody may take a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is ours.
    Ours(Turn),
    /// Another has it, or had it and is done.
    Another,
}

impl Shards {
    /// Adds to the counters of a day. Returns what wasn't taken because no store answered.
    pub async fn tally(
        &self,
        day: &str,
        additions: Vec<(Domain, Additions)>,
    ) -> Result<(), (Vec<(Domain, Additions)>, Unavailable)> {
        let at = match self.closest(&keeper(day)) {
            Ok(at) => at,
            Err(why) => return Err((additions, why)),
        };
        let mut rest = additions;
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(DOMAINS_AT_ONCE));
            if let Err(why) = add(&at, day, &rest).await {
                // What may have been added isn't added again: too few are better than made up ones.
                if why.may_have_run() {
                    rest.clear();
                }
                rest.extend(later);
                return Err((rest, why));
            }
            rest = later;
        }
        Ok(())
    }

    /// The domains that have counters of a day, on all usable shards.
    ///
    /// # Errors
    /// If one of them gave no answer, or none is usable.
    pub async fn tallied(&self, day: &str) -> Result<Vec<Domain>, Unavailable> {
        let mut domains = BTreeSet::new();
        for at in self.by_closeness(&keeper(day))? {
            let members = cmd("SMEMBERS").arg(at.keys().tally(day)).take();
            let answer = at.connections().command(Purpose::Delivery, &members, LIMIT).await?;
            let names = Vec::<String>::from_redis_value(answer);
            let names = names.map_err(|error| Unavailable::unreadable(error, "domains"))?;
            domains.extend(names.iter().filter_map(|name| Domain::parse(name).ok()));
        }
        Ok(domains.into_iter().collect())
    }

    /// The counters of a domain's day, of all usable shards.
    ///
    /// # Errors
    /// If one of them gave no answer.
    pub async fn tally_of(&self, day: &str, domain: &Domain) -> Result<BTreeMap<String, u64>, Unavailable> {
        let mut sums = BTreeMap::new();
        for at in self.usable() {
            let all = cmd("HGETALL").arg(at.keys().tally_of(day, domain)).take();
            let answer = at.connections().command(Purpose::Delivery, &all, LIMIT).await?;
            let fields = BTreeMap::<String, u64>::from_redis_value(answer);
            for (field, count) in fields.map_err(|error| Unavailable::unreadable(error, "counters"))? {
                let sum: &mut u64 = sums.entry(field).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        Ok(sums)
    }

    /// Takes the turn for a domain's day, for `lasts` if it isn't done meanwhile. `holder` is this process.
    ///
    /// # Errors
    /// If a usable shard gave no answer: whether it is done isn't known then.
    pub async fn take_turn(
        &self,
        day: &str,
        domain: &Domain,
        holder: &str,
        lasts: Duration,
    ) -> Result<Taken, Unavailable> {
        let usable = self.by_closeness(&keeper(day))?;
        let Some((at, others)) = usable.split_first() else { return Ok(Taken::Another) };
        for other in others {
            let exists = cmd("EXISTS").arg(other.keys().turn(day, domain)).take();
            let answer = other.connections().command(Purpose::Delivery, &exists, LIMIT).await?;
            if answer != Value::Int(0) {
                return Ok(Taken::Another);
            }
        }
        let key = at.keys().turn(day, domain);
        let set = cmd("SET").arg(&key).arg(holder).arg("NX").arg("PX").arg(millis(lasts).max(1)).take();
        let answer = at.connections().command(Purpose::Delivery, &set, LIMIT).await?;
        let turn = Turn { key, at: at.name().clone() };
        Ok(if answer == Value::Nil { Taken::Another } else { Taken::Ours(turn) })
    }

    /// The turn is done: nobody gets it again. Its domain isn't among those of the day any more.
    ///
    /// # Errors
    /// If the shard gave no answer: another may take the turn when its time is over.
    pub async fn turn_done(&self, turn: Turn, day: &str, domain: &Domain) -> Result<(), Unavailable> {
        let at = self
            .get(&turn.at)
            .ok_or_else(|| Unavailable::Refused { reason: "the shard that keeps the turn is gone".into() })?;
        let done = cmd("SET").arg(&turn.key).arg("done").arg("PX").arg(millis(LIFE)).take();
        at.connections().command(Purpose::Delivery, &done, LIMIT).await?;
        for at in self.usable() {
            let gone = cmd("SREM").arg(at.keys().tally(day)).arg(domain.as_str()).take();
            at.connections().command(Purpose::Delivery, &gone, LIMIT).await?;
        }
        Ok(())
    }
}

async fn add(at: &Partition, day: &str, additions: &[(Domain, Additions)]) -> Result<(), Unavailable> {
    let mut keys = vec![at.keys().tally(day)];
    keys.extend(additions.iter().map(|(domain, _)| at.keys().tally_of(day, domain)));
    let mut args = vec![millis(LIFE).to_string(), MAX_DOMAINS.to_string(), MAX_FIELDS.to_string()];
    for (domain, counters) in additions {
        args.extend([domain.as_str().to_owned(), counters.len().to_string()]);
        args.extend(counters.iter().flat_map(|(field, by)| [field.clone(), by.to_string()]));
    }
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
    at.connections().run(Purpose::Delivery, &TALLY, &keys, &args, LIMIT).await.map(drop)
}

/// What a day's shard is chosen by.
fn keeper(day: &str) -> String {
    format!("tally:{day}")
}
