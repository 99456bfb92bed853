//! Finds the server that a partition is on, where sentinels or the nodes of a cluster know it, and connects to it.
//! **Owns:** whom to ask, in which order to try what they name. **Never:** when to look again (link.rs: a connection that ends, or a
//! server that says that it isn't the one any more).
//! A partition lives in one slot, so there is one server to talk to, in a cluster too. The nodes are asked for that by a read of a
//! key of the partition: whoever serves it has the slot, and the others name whoever does.

use std::time::Duration;

use futures::future::join_all;
use redis::{Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value, aio::MultiplexedConnection};

use super::{
    access::{Access, HostPort},
    hosts::Hosts,
    link::{open, shown},
    target::Target,
    told::{by_votes, is_primary},
};
use crate::error::Unavailable;

/// How long a sentinel or node may take to answer, with the time to connect to it.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// How long all of it may take.
const SEEK_LIMIT: Duration = Duration::from_secs(8);
/// How many servers are tried: one, unless those who were asked disagree.
const MOST_TRIES: usize = 8;

/// Who knows the server, and how to log in there.
pub(super) struct Seek {
    guides: Vec<HostPort>,
    by: By,
    servers: Access,
}

enum By {
    /// They watch a master of this name, and let in whoever has this.
    Sentinels { master: Box<str>, access: Box<Access> },
    /// They have the slot of this key, or know who has.
    Nodes { key: Box<str> },
}

/// What a node of a cluster says of a slot.
enum Slot {
    Here,
    At(HostPort),
}

impl Seek {
    pub(super) fn new(target: &Target, key: &str) -> Result<Self, Unavailable> {
        let ca = target.ca.as_deref();
        let Hosts { hosts, servers, master } = Hosts::parse(&target.url, target.topology)?;
        let by = match master {
            Some(master) => {
                By::Sentinels { master: master.name, access: Box::new(Access::new(master.sentinels, ca)) }
            }
            None => By::Nodes { key: key.into() },
        };
        let seek = Self { guides: hosts, by, servers: Access::new(servers, ca) };
        // Certificates that can't be read are told of now, not when somebody connects.
        for guide in &seek.guides {
            client(&seek.servers, guide)?;
        }
        Ok(seek)
    }

    /// A connection to the server, which nobody else has checked yet.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, Unavailable> {
        let found = tokio::time::timeout(SEEK_LIMIT, self.find()).await;
        found.unwrap_or_else(|_| Err(not_found("the search for the server took longer than 8 s")))
    }

    async fn find(&self) -> Result<MultiplexedConnection, Unavailable> {
        let told = join_all(self.guides.iter().map(|guide| self.ask(guide))).await;
        let (mut named, mut why) = (Vec::new(), None);
        for answer in told {
            match answer {
                Ok(at) => named.push(at),
                Err(reason) => why = why.or(Some(reason)),
            }
        }
        let mut to_try = by_votes(named);
        let mut tried = 0;
        while let Some(at) = to_try.get(tried).filter(|_| tried < MOST_TRIES).cloned() {
            tried += 1;
            match self.try_at(&at).await {
                Ok((connection, Slot::Here)) => return Ok(connection),
                Ok((_, Slot::At(other))) if to_try.contains(&other) => {}
                Ok((_, Slot::At(other))) => to_try.push(other),
                // What the server itself says tells more than why a guide was silent.
                Err(reason) => why = Some(reason),
            }
        }
        Err(why.unwrap_or_else(|| not_found("the nodes name each other, and none of them serves the slot")))
    }

    /// Where this one says that the server is.
    async fn ask(&self, guide: &HostPort) -> Result<HostPort, Unavailable> {
        let answer = tokio::time::timeout(ASK_LIMIT, async {
            match &self.by {
                By::Sentinels { master, access } => {
                    let mut sentinel = reach(access, guide).await?;
                    named_by(&mut sentinel, guide, master).await
                }
                By::Nodes { .. } => Ok(match self.try_at(guide).await?.1 {
                    Slot::Here => guide.clone(),
                    Slot::At(other) => other,
                }),
            }
        });
        answer.await.unwrap_or_else(|_| Err(not_found(format_args!("{guide} did not answer within 2 s"))))
    }

    /// Connects, and asks whether this is the server.
    async fn try_at(&self, at: &HostPort) -> Result<(MultiplexedConnection, Slot), Unavailable> {
        let mut connection = reach(&self.servers, at).await?;
        let slot = match &self.by {
            By::Sentinels { .. } => {
                let info = put(&mut connection, redis::cmd("INFO").arg("replication")).await;
                let info = info.and_then(|info| Ok(redis::from_redis_value::<String>(info)?));
                match info.map_err(|why| said(at, &why))? {
                    info if is_primary(&info) => Slot::Here,
                    _ => return Err(not_found(format_args!("{at} is no primary (yet, or any more)"))),
                }
            }
            By::Nodes { key } => {
                let answer = put(&mut connection, redis::cmd("EXISTS").arg(&**key)).await;
                slot_of(answer, at)?
            }
        };
        Ok((connection, slot))
    }
}

async fn named_by(
    sentinel: &mut MultiplexedConnection,
    at: &HostPort,
    master: &str,
) -> Result<HostPort, Unavailable> {
    let mut ask = redis::cmd("SENTINEL");
    ask.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let answer = put(sentinel, &ask).await.map_err(|why| said(at, &why))?;
    let named: Option<(String, String)> =
        redis::from_redis_value(answer).map_err(|why| Unavailable::unreadable(why, "a host and a port"))?;
    let (host, port) =
        named.ok_or_else(|| not_found(format_args!("the sentinel {at} knows no master {master:?}")))?;
    HostPort::told(&host, &port).ok_or_else(|| not_found(format_args!("the sentinel {at} names no host")))
}

fn slot_of(answer: Result<Value, RedisError>, at: &HostPort) -> Result<Slot, Unavailable> {
    let why = match answer {
        Ok(_) => return Ok(Slot::Here),
        Err(why) => why,
    };
    if why.kind() == ErrorKind::Server(ServerErrorKind::Moved) {
        let other = why.redirect_node().and_then(|(to, _)| HostPort::redirected(to, at));
        return other.map(Slot::At).ok_or_else(|| said(at, &why));
    }
    // ASK among others: the slot is on its way from here, and belongs to neither until it has moved.
    Err(said(at, &why))
}

/// Connects, and says where to if that fails: the URL doesn't name a server that was found.
async fn reach(access: &Access, at: &HostPort) -> Result<MultiplexedConnection, Unavailable> {
    open(&client(access, at)?).await.map_err(|why| match why {
        Unavailable::NotConnected { reason } => not_found(format_args!("{at}: {reason}")),
        other => other,
    })
}

async fn put(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, RedisError> {
    let answer = tokio::time::timeout(ASK_LIMIT, connection.send_packed_command(command)).await;
    answer.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))?.extract_error()
}

fn client(access: &Access, at: &HostPort) -> Result<Client, Unavailable> {
    access.client_at(at).map_err(|why| Unavailable::Refused {
        reason: format!("the queue's authority: {}; expected PEM certificates", why.category()).into(),
    })
}

fn said(at: &HostPort, why: &RedisError) -> Unavailable {
    not_found(format_args!("{at}: {}", shown(why)))
}

fn not_found(reason: impl std::fmt::Display) -> Unavailable {
    Unavailable::NotConnected { reason: reason.to_string().into() }
}

/// Whether they lead to the same place, whoever logs in there.
impl PartialEq for Seek {
    fn eq(&self, other: &Self) -> bool {
        let master = |by: &By| match by {
            By::Sentinels { master, .. } => Some(master.clone()),
            By::Nodes { .. } => None,
        };
        self.guides == other.guides
            && self.servers.place() == other.servers.place()
            && master(&self.by) == master(&other.by)
    }
}
