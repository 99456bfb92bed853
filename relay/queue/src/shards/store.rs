//! What a store itself says of the queue in it, and what is said there of others: the `meta` and `server` hashes.
//! **Owns:** init.lua, state.lua, seen.lua, epoch.lua. **Never:** judges (identity.rs), touches mail.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use postrider_mail::PartitionName;

use super::{
    Shards,
    identity::{Meta, Remembered},
    lock,
};
use crate::{
    error::Unavailable,
    incarnation::Epoch,
    keys::Keys,
    preflight::Ask,
    reap::FORMAT,
    script::{Flags, Script},
};

static INIT: Script = Script::new("init", Flags::AllowOom, &[include_str!("../scripts/init.lua")]);
static STATE: Script = Script::new("state", Flags::AllowOom, &[include_str!("../scripts/state.lua")]);
static SEEN: Script = Script::new("seen", Flags::AllowOom, &[include_str!("../scripts/seen.lua")]);
static EPOCH: Script = Script::new("epoch", Flags::AllowOom, &[include_str!("../scripts/epoch.lua")]);

/// Whether a partition takes new mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It does.
    #[default]
    Open,
    /// It doesn't: what is in it is delivered, then it can be closed.
    Draining,
    /// It is empty, and its server may go.
    Closed,
}

/// What a store's `meta` has.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) meta: Meta,
    pub(super) state: State,
    /// What it remembers of the other shards.
    pub(super) seen: BTreeMap<PartitionName, Remembered>,
}

/// Why a shard was not adopted, or its state not changed.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The queue has no such shard.
    #[error("found no shard {name:?}; expected one of {known}")]
    NoSuchShard {
        /// The name given.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// There is mail in it.
    #[error("found {left} messages in the shard; expected none; let it drain first")]
    NotEmpty {
        /// How many messages are in it.
        left: u64,
    },
    /// The store gave no answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Shards {
    /// A person says that what is found at this shard's address is the queue from now on, empty or not, whatever was there
    /// before. Returns the UUID that the config should name.
    ///
    /// # Errors
    /// If there is no such shard, or its store gave no answer.
    pub async fn adopt(&self, name: &PartitionName) -> Result<Box<str>, AdoptError> {
        let shard = self.shard(name).ok_or_else(|| self.no_such_shard(name))?;
        let mut ask = Ask::Through(shard.partition.connections());
        let keys = shard.partition.keys();
        let before = record(&mut ask, keys).await?.meta.replaces;
        let remembered = lock(&shard.known.remembered).as_ref().map(|seen| seen.uuid.clone());
        let config = lock(&shard.known.wanted).uuid.clone();
        let replaces = joined(config.into_iter().chain(remembered).chain(before));
        let uuid = init(&mut ask, keys, self.0.settings.relay_uid.as_deref(), &replaces).await?;
        self.look().await;
        Ok(uuid)
    }

    /// Opens, drains or closes a shard.
    ///
    /// # Errors
    /// If there is no such shard, it is to be closed with mail in it, or its store gave no answer.
    pub async fn set_state(&self, name: &PartitionName, state: State) -> Result<(), AdoptError> {
        let shard = self.shard(name).ok_or_else(|| self.no_such_shard(name))?;
        let mut ask = Ask::Through(shard.partition.connections());
        let left = set_state(&mut ask, shard.partition.keys(), state).await?;
        if state == State::Closed && left > 0 {
            return Err(AdoptError::NotEmpty { left });
        }
        self.look().await;
        Ok(())
    }

    fn no_such_shard(&self, name: &PartitionName) -> AdoptError {
        let known: Vec<String> = self.list().iter().map(|shard| shard.partition.name().to_string()).collect();
        AdoptError::NoSuchShard { name: name.to_string(), known: known.join(", ") }
    }
}

/// Reads `meta`.
pub(super) async fn record(ask: &mut Ask<'_>, keys: &Keys) -> Result<Record, Unavailable> {
    let fields: BTreeMap<String, String> = ask.read(redis::cmd("HGETALL").arg(keys.named("meta"))).await?;
    let mut record = Record::default();
    for (field, value) in fields {
        match field.as_str() {
            "uuid" => record.meta.uuid = Some(value.into()),
            "relay" => record.meta.relay_uid = Some(value.into()),
            "replaces" => record.meta.replaces = value.split(' ').map(Into::into).collect(),
            // What can't be read was written by a later version.
            "format" => record.meta.format = value.parse().unwrap_or(u32::MAX),
            "accepted" => record.meta.accepted = value.parse().unwrap_or(0),
            "state" => record.state = value.parse().unwrap_or(State::Draining),
            other => record.seen.extend(other.strip_prefix("seen:").and_then(|name| read_seen(name, &value))),
        }
    }
    Ok(record)
}

fn read_seen(name: &str, value: &str) -> Option<(PartitionName, Remembered)> {
    let (_, json) = value.split_once(' ')?;
    Some((PartitionName::parse(name).ok()?, serde_json::from_str(json).ok()?))
}

/// UUIDs, each once, the first ones if there are too many.
fn joined(uuids: impl Iterator<Item = Box<str>>) -> String {
    let mut all: Vec<Box<str>> = Vec::new();
    for uuid in uuids {
        if all.len() < REPLACES_MAX && !all.contains(&uuid) {
            all.push(uuid);
        }
    }
    all.join(" ")
}

/// Opens, drains or closes a shard; one with messages in it isn't closed. Returns how many there are.
pub(super) async fn set_state(ask: &mut Ask<'_>, keys: &Keys, state: State) -> Result<u64, Unavailable> {
    let keys = [&*keys.named("meta"), &*keys.named("totals")];
    ask.read(&eval(&STATE, &keys, &[state.as_str()])).await
}

/// Makes a store a queue; one that is a queue stays what it is. Returns its UUID.
pub(super) async fn init(
    ask: &mut Ask<'_>,
    keys: &Keys,
    relay_uid: Option<&str>,
    replaces: &str,
) -> Result<Box<str>, Unavailable> {
    let args = [&new_uuid(), relay_uid.unwrap_or_default(), &FORMAT.to_string(), replaces];
    ask.read::<String>(&eval(&INIT, &[&keys.named("meta")], &args)).await.map(Into::into)
}

/// Writes down at one shard what another one has.
pub(super) async fn remember(
    ask: &mut Ask<'_>,
    keys: &Keys,
    of: &PartitionName,
    seen: &Remembered,
) -> Result<(), Unavailable> {
    let json = serde_json::to_string(seen).map_err(|error| Unavailable::unreadable(error, "JSON"))?;
    let at = seen.at.unix_millis().to_string();
    ask.read::<u64>(&eval(&SEEN, &[&keys.named("meta")], &[of.as_str(), &at, &json])).await.map(drop)
}

/// Which life of the store this is, and since when it serves the partition.
pub(super) async fn epoch(
    ask: &mut Ask<'_>,
    keys: &Keys,
    run_id: &str,
    accepted: u64,
    known: u64,
) -> Result<Epoch, Unavailable> {
    let served: u64 = ask.read(&eval(&EPOCH, &[&keys.named("server")], &[run_id])).await?;
    Ok(Epoch { run_id: run_id.into(), accepted, known, since: Duration::from_millis(served) })
}

/// How many adoptions in a row a queue remembers.
const REPLACES_MAX: usize = 8;

/// By its text, not its digest: these run once a connection, or for people.
fn eval(script: &Script, keys: &[&str], args: &[&str]) -> redis::Cmd {
    let mut call = redis::cmd("EVAL");
    call.arg(script.text()).arg(keys.len()).arg(keys).arg(args);
    call
}

/// 128 random bits, written as RFC 9562 has a version 4.
fn new_uuid() -> String {
    let bits = rand::random::<u128>() & !(0xf << 76 | 0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

impl State {
    /// The word in the store and in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Draining => "Draining",
            Self::Closed => "Closed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found state {0:?}; expected Open, Draining or Closed")]
pub struct UnknownState(String);

impl FromStr for State {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Open, Self::Draining, Self::Closed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState(text.chars().take(40).collect()))
    }
}
