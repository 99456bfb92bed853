//! Where a store is, and how new connections to it are made; both may change while others are open.
//! **Owns:** [`Target`], [`Topology`], what a change of them means. **Never:** connects, or shows a password.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redis::{Client, IntoConnectionInfo};

use super::{access::Access, seek::Seek};
use crate::{error::Unavailable, keys::Keys};

/// How the servers behind a URL are run, and so what its hosts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Topology {
    /// One server that nothing fails over from. The URL's host is that server.
    #[default]
    Standalone,
    /// Sentinel may promote a replica. The URL's hosts are sentinels.
    Sentinel,
    /// A cluster may promote a replica, and move slots. The URL's hosts are some of its nodes.
    Cluster,
}

/// How to reach a store.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// `redis://` or `rediss://`, with user and password. Never shown.
    pub url: String,
    /// What its hosts are.
    pub topology: Topology,
    /// PEM certificates to trust instead of the system's.
    pub ca: Option<Vec<u8>>,
}

/// What new connections are made with. Cloning shares.
#[derive(Clone)]
pub(super) struct Reach(Arc<Shared>);

struct Shared {
    /// A key of the partition. Whichever node of a cluster has its slot has all the others.
    key: Box<str>,
    now: Mutex<Now>,
}

/// What they are made with now.
#[derive(Clone)]
pub(super) struct Now {
    pub(super) way: Arc<Way>,
    /// Counts the changes.
    pub(super) version: u64,
}

/// How the server is found that a connection is made to.
#[derive(PartialEq)]
pub(super) enum Way {
    /// It is known.
    Straight(Straight),
    /// Others know it.
    Seek(Box<Seek>),
}

pub(super) struct Straight(pub(super) Box<Client>);

impl Target {
    /// Whether the URL and the certificates can be read.
    ///
    /// # Errors
    /// What is wrong, without a password in it.
    pub fn check(&self) -> Result<(), Unavailable> {
        self.way("").map(drop)
    }

    fn way(&self, key: &str) -> Result<Way, Unavailable> {
        if self.topology != Topology::Standalone {
            return Seek::new(self, key).map(|seek| Way::Seek(Box::new(seek)));
        }
        let refused = |why: redis::RedisError| Unavailable::Refused {
            reason: format!(
                "the queue's URL: {}; expected redis://[user:password@]host[:port] or rediss://…",
                why.category()
            )
            .into(),
        };
        let info = self.url.as_str().into_connection_info().map_err(refused)?;
        Access::new(info, self.ca.as_deref())
            .client()
            .map(|client| Way::Straight(Straight(Box::new(client))))
            .map_err(refused)
    }
}

impl Reach {
    pub(super) fn new(target: &Target, keys: &Keys) -> Result<Self, Unavailable> {
        let key = keys.named("meta").into_boxed_str();
        let now = Now { way: Arc::new(target.way(&key)?), version: 0 };
        Ok(Self(Arc::new(Shared { key, now: Mutex::new(now) })))
    }

    pub(super) fn now(&self) -> Now {
        self.lock().clone()
    }

    /// Returns whether it is another place: other hosts, ports or database, or found another way.
    pub(super) fn change(&self, target: &Target) -> Result<bool, Unavailable> {
        let way = Arc::new(target.way(&self.0.key)?);
        let mut now = self.lock();
        let is_elsewhere = way != now.way;
        *now = Now { way, version: now.version + 1 };
        Ok(is_elsewhere)
    }

    /// Nothing that runs under the mutex can panic half-way through a change.
    fn lock(&self) -> MutexGuard<'_, Now> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether they are the same place, whoever logs in there.
impl PartialEq for Straight {
    fn eq(&self, other: &Self) -> bool {
        let place = |client: &Client| {
            let info = client.get_connection_info();
            (info.addr().clone(), info.redis_settings().db())
        };
        place(&self.0) == place(&other.0)
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standalone => "Standalone",
            Self::Sentinel => "Sentinel",
            Self::Cluster => "Cluster",
        })
    }
}

/// Shows no password.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target")
    }
}

#[cfg(test)]
mod tests {
    use postrider_mail::PartitionName;

    use super::*;
    use crate::keys::FleetName;

    fn target(topology: Topology, url: &str) -> Target {
        Target { url: url.to_owned(), topology, ca: None }
    }

    fn standalone(url: &str) -> Target {
        target(Topology::Standalone, url)
    }

    fn reach(target: &Target) -> Reach {
        let fleet = FleetName::parse("mail/outbound").expect("a name");
        let keys = Keys::new(&fleet, &PartitionName::parse("a").expect("a name"));
        Reach::new(target, &keys).expect("a URL")
    }

    #[test]
    fn another_password_is_no_other_place() {
        let reach = reach(&standalone("redis://:old@queue.example:6379/"));
        let change = |url| reach.change(&standalone(url)).expect("a URL");
        assert!(!change("redis://:new@queue.example:6379/"));
        assert!(!change("redis://ann:new@queue.example/0"));
        assert!(change("redis://:new@queue.example:6380/"));
        assert!(change("redis://:new@other.example:6380/"));
        assert!(change("rediss://:new@other.example:6380/"));
        assert!(change("rediss://:new@other.example:6380/1"));
        assert_eq!(reach.now().version, 6);
    }

    #[test]
    fn other_sentinels_or_another_master_are_another_place() {
        let sentinel = |url| target(Topology::Sentinel, url);
        let reach = reach(&sentinel("redis://:old@a.example,b.example/?master=mail"));
        let change = |url| reach.change(&sentinel(url)).expect("a URL");
        assert!(!change("redis://ann:new@a.example:26379,b.example/0?master=mail&sentinelPassword=x"));
        assert!(change("redis://ann:new@a.example,b.example/0?master=other"));
        assert!(change("redis://ann:new@a.example,c.example/0?master=other"));
        assert!(change("redis://ann:new@a.example,c.example/1?master=other"));
        assert!(change("rediss://ann:new@a.example,c.example/1?master=other"));
        assert!(reach.change(&target(Topology::Cluster, "redis://a.example,c.example")).expect("a URL"));
        assert!(reach.change(&standalone("redis://a.example")).expect("a URL"));
    }

    #[test]
    fn a_url_that_cant_be_read_changes_nothing_and_shows_no_password() {
        let reach = reach(&standalone("redis://queue.example/"));
        let why = reach.change(&standalone("http://:canary@queue.example/")).expect_err("no URL of ours");
        assert!(!why.to_string().contains("canary"), "{why}");
        assert_eq!(reach.now().version, 0);
    }
}
