//! What a server says about itself: INFO, CONFIG GET, ACL GETUSER, TIME.
//! **Owns:** asking and reading. **Never:** judges. A service that hides an answer leaves it unknown; that is no error.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use redis::{FromRedisValue, Value};

use super::{
    ask::Ask,
    version::{Product, Version},
};
use crate::error::Unavailable;

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Product and version.
    pub version: Version,
    /// This life of this server.
    pub run_id: Box<str>,
    /// `master`, `slave`.
    pub role: String,
    /// Whether it still reads its files.
    pub is_loading: bool,
    /// Whether it is a node of a cluster.
    pub is_cluster: bool,
    /// Replicas that are connected.
    pub replicas: u32,
    /// `ok`, or not; absent without an append-only file.
    pub aof_last_write_status: Option<String>,
    /// As INFO has it, which services show that hide CONFIG.
    pub maxmemory_policy: Option<String>,
    /// How full it is.
    pub memory: Memory,
    /// What the `default` user may do.
    pub default_user: DefaultUser,
    /// How far the server's clock is from this machine's.
    pub clock: ClockOffset,
    settings: HashMap<String, String>,
}

/// How full a server's memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Bytes in use.
    pub used: u64,
    /// `maxmemory`; 0: no limit.
    pub limit: u64,
}

/// The share of `maxmemory` from which no new mail is taken, in percent: what is queued still has to be settled and deferred.
const TIGHT_PERCENT: u64 = 85;

impl Memory {
    /// Whether new mail is refused. Without a limit of its own the server can't say.
    pub const fn is_tight(self) -> bool {
        self.limit > 0 && self.used as u128 * 100 >= self.limit as u128 * TIGHT_PERCENT as u128
    }

    /// In percent of the limit, if there is one.
    pub const fn percent(self) -> Option<u64> {
        self.used.saturating_mul(100).checked_div(self.limit)
    }
}

/// What the server's `default` user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultUser {
    /// Everything.
    Full,
    /// Not everything, or nothing.
    Restricted,
    /// The server doesn't tell.
    Unknown,
}

/// How far the server's clock is from this machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockOffset {
    /// The server is ahead by this.
    Ahead(Duration),
    /// The server is behind by this.
    Behind(Duration),
}

impl ClockOffset {
    /// How far apart.
    pub const fn distance(self) -> Duration {
        match self {
            Self::Ahead(by) | Self::Behind(by) => by,
        }
    }
}

impl Facts {
    /// Asks a server.
    ///
    /// # Errors
    /// It doesn't answer INFO or TIME.
    pub async fn read(ask: &mut Ask<'_>) -> Result<Self, Unavailable> {
        let info: String = ask.read(&redis::cmd("INFO")).await?;
        let time: (u64, u64) = ask.read(&redis::cmd("TIME")).await?;
        let settings = ask.read(redis::cmd("CONFIG").arg("GET").arg(ASKED_SETTINGS)).await;
        let user = ask.ask(redis::cmd("ACL").arg("GETUSER").arg("default")).await;
        Ok(Self::parse(
            &info,
            time,
            unless_hidden(settings)?.unwrap_or_default(),
            unless_hidden(user)?.as_ref(),
        ))
    }

    /// Reads the answers.
    pub fn parse(
        info: &str,
        time: (u64, u64),
        settings: HashMap<String, String>,
        default_user: Option<&Value>,
    ) -> Self {
        let info = Info::parse(info);
        let product =
            if info.text("server_name") == Some("valkey") { Product::Valkey } else { Product::Redis };
        let version_key = if product == Product::Valkey { "valkey_version" } else { "redis_version" };
        let has_aof = info.number("aof_enabled") == 1;
        Self {
            version: Version::parse(product, info.text(version_key).unwrap_or_default()),
            run_id: info.text("run_id").unwrap_or_default().into(),
            role: info.text("role").unwrap_or_default().to_owned(),
            is_loading: info.number("loading") == 1,
            is_cluster: info.number("cluster_enabled") == 1,
            replicas: u32::try_from(info.number("connected_slaves")).unwrap_or(u32::MAX),
            aof_last_write_status: info.text("aof_last_write_status").filter(|_| has_aof).map(str::to_owned),
            maxmemory_policy: info.text("maxmemory_policy").map(str::to_owned),
            memory: info.memory(),
            default_user: default_user.map_or(DefaultUser::Unknown, read_user),
            clock: offset(time),
            settings,
        }
    }

    /// A setting's value, if the server tells.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }
}

impl Memory {
    /// Asks a server for this alone.
    ///
    /// # Errors
    /// It doesn't answer.
    pub async fn read(ask: &mut Ask<'_>) -> Result<Self, Unavailable> {
        let info: String = ask.read(redis::cmd("INFO").arg("memory")).await?;
        Ok(Info::parse(&info).memory())
    }
}

/// Where the rewrite of an append-only file stands.
pub(super) struct Rewrite {
    pub(super) is_running: bool,
    pub(super) last_ok: bool,
}

impl Rewrite {
    pub(super) fn parse(info: &str) -> Self {
        let info = Info::parse(info);
        Self {
            is_running: info.number("aof_rewrite_in_progress") > 0
                || info.number("aof_rewrite_scheduled") > 0,
            last_ok: info.text("aof_last_bgrewrite_status") == Some("ok"),
        }
    }
}

const ASKED_SETTINGS: &[&str] = &[
    "appendonly",
    "appendfsync",
    "maxmemory-policy",
    "no-appendfsync-on-rewrite",
    "aof-load-truncated",
    "min-replicas-to-write",
];

/// A command that is unknown, renamed or forbidden leaves a fact unknown. Anything else is an error.
fn unless_hidden<T>(answer: Result<T, Unavailable>) -> Result<Option<T>, Unavailable> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Unavailable::Failed { reply }) if reply.starts_with("NOPERM") || reply.starts_with("ERR") => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

struct Info<'a>(HashMap<&'a str, &'a str>);

impl<'a> Info<'a> {
    fn parse(text: &'a str) -> Self {
        Self(text.lines().filter_map(|line| line.trim_end().split_once(':')).collect())
    }
    fn text(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).copied()
    }
    fn number(&self, key: &str) -> u64 {
        self.text(key).and_then(|text| text.parse().ok()).unwrap_or(0)
    }
    fn memory(&self) -> Memory {
        Memory { used: self.number("used_memory"), limit: self.number("maxmemory") }
    }
}

/// ACL GETUSER answers a list, or a map in RESP3, of `flags`, `passwords`, `commands`, `keys`, `channels`, `selectors`.
fn read_user(answer: &Value) -> DefaultUser {
    let Ok(fields) = HashMap::<String, Value>::from_redis_value(answer.clone()) else {
        return DefaultUser::Unknown;
    };
    let words = |key: &str| -> Vec<String> {
        match fields.get(key) {
            Some(Value::Array(items) | Value::Set(items)) => {
                items.iter().filter_map(|item| String::from_redis_value(item.clone()).ok()).collect()
            }
            Some(value) => String::from_redis_value(value.clone())
                .map(|text| text.split(' ').map(str::to_owned).collect())
                .unwrap_or_default(),
            None => Vec::new(),
        }
    };
    let is_on = words("flags").iter().any(|flag| flag == "on");
    let commands = words("commands");
    let has_commands =
        commands.iter().any(|rule| rule == "+@all") && !commands.iter().any(|rule| rule.starts_with('-'));
    let has_keys = words("keys").iter().any(|rule| rule == "~*");
    if is_on && has_commands && has_keys { DefaultUser::Full } else { DefaultUser::Restricted }
}

fn offset((seconds, micros): (u64, u64)) -> ClockOffset {
    let server = Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros));
    let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if server >= here { ClockOffset::Ahead(server - here) } else { ClockOffset::Behind(here - server) }
}
