//! A URL that names several hosts: sentinels, or nodes of a cluster. Pure.
//! **Owns:** its form. **Never:** connects, or shows a password.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use super::{access::HostPort, target::Topology};
use crate::error::Unavailable;

/// More sentinels or nodes than this nobody needs to name: any of them knows the others.
const MOST_HOSTS: usize = 16;
const SENTINEL_PORT: u16 = 26_379;
const SERVER_PORT: u16 = 6_379;

/// What such a URL says.
pub(super) struct Hosts {
    /// One at least.
    pub(super) hosts: Vec<HostPort>,
    /// How to log in at the servers; its address is the first host.
    pub(super) servers: ConnectionInfo,
    /// Of sentinels: which master, and how to log in at the sentinels themselves.
    pub(super) master: Option<Master>,
}

/// What a URL says of sentinels alone.
pub(super) struct Master {
    pub(super) name: Box<str>,
    pub(super) sentinels: ConnectionInfo,
}

impl Hosts {
    /// Reads `redis://[user:password@]host[:port][,host[:port]…][/database][?master=…]`.
    pub(super) fn parse(url: &str, topology: Topology) -> Result<Self, Unavailable> {
        let refused = |found: &str| refused(found, topology);
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refused("no scheme"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if rest.contains('#') || query.contains('#') {
            return Err(refused("a #"));
        }
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let at = if authority.contains('@') { "@" } else { "" };
        let default_port = if topology == Topology::Sentinel { SENTINEL_PORT } else { SERVER_PORT };
        let mut servers = None;
        let mut all = Vec::new();
        for host in hosts.split(',') {
            let one = format!("{scheme}://{user}{at}{host}/{database}");
            let (info, port) =
                read_one(&one).ok_or_else(|| refused("a host, user or database that can't be read"))?;
            let host = host_of(info.addr()).ok_or_else(|| refused("a socket's path"))?;
            all.push(HostPort { host, port: port.unwrap_or(default_port) });
            servers.get_or_insert(info);
        }
        if all.len() > MOST_HOSTS {
            return Err(refused("more than 16 hosts"));
        }
        let servers = servers.ok_or_else(|| refused("no host"))?;
        if topology == Topology::Cluster && servers.redis_settings().db() != 0 {
            return Err(refused("a database other than 0"));
        }
        let master = read_query(query, &servers).map_err(refused)?;
        if master.is_some() != (topology == Topology::Sentinel) {
            return Err(refused(if master.is_some() { "a master's name" } else { "no master's name" }));
        }
        Ok(Self { hosts: all, servers, master })
    }
}

fn read_one(url: &str) -> Option<(ConnectionInfo, Option<u16>)> {
    let port = redis::parse_redis_url(url)?.port();
    Some((url.into_connection_info().ok()?, port))
}

fn host_of(addr: &ConnectionAddr) -> Option<Box<str>> {
    match addr {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host.as_str().into()),
        _ => None,
    }
}

/// The words behind the `?`: those of sentinels, and none else.
fn read_query(query: &str, servers: &ConnectionInfo) -> Result<Option<Master>, &'static str> {
    // Any URL's reader takes the `%` out of such words.
    let url = redis::parse_redis_url(&format!("redis://host/?{query}")).ok_or("words that can't be read")?;
    let mut name: Option<Box<str>> = None;
    let mut login = RedisConnectionInfo::default();
    for (word, value) in url.query_pairs() {
        match &*word {
            "master" if !value.is_empty() => name = Some((*value).into()),
            "sentinelUser" => login = login.set_username(value),
            "sentinelPassword" => login = login.set_password(value),
            _ => return Err("another word behind the ?"),
        }
    }
    let sentinels = servers.clone().set_redis_settings(login);
    Ok(name.map(|name| Master { name, sentinels }))
}

fn refused(found: &str, topology: Topology) -> Unavailable {
    let expected = match topology {
        Topology::Sentinel => {
            "redis://[user:password@]sentinel[:port][,sentinel[:port]…]/[database]?master=NAME[&sentinelUser=…][&sentinelPassword=…]"
        }
        Topology::Cluster | Topology::Standalone => "redis://[user:password@]node[:port][,node[:port]…]",
    };
    Unavailable::Refused {
        reason: format!("the queue's URL: found {found}; expected {expected}, or rediss://…").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str, topology: Topology) -> Result<String, String> {
        let read = Hosts::parse(url, topology).map_err(|why| why.to_string())?;
        let hosts: Vec<String> = read.hosts.iter().map(ToString::to_string).collect();
        let login = |info: &ConnectionInfo| {
            let settings = info.redis_settings();
            let words = [settings.username().unwrap_or("-"), settings.password().unwrap_or("-")];
            format!("{} {}", words.join(" "), settings.db())
        };
        let master = read.master.map(|master| format!("; {} by {}", master.name, login(&master.sentinels)));
        Ok(format!("{} as {}{}", hosts.join(" "), login(&read.servers), master.unwrap_or_default()))
    }

    #[test]
    fn sentinels_and_the_name_of_their_master_are_read() {
        for (url, expected) in [
            ("redis://a.example?master=mail", "a.example:26379 as - - 0; mail by - - 0"),
            (
                "rediss://ann:p%2Cw@a.example:5000,[2001:db8::1]:5001,10.0.0.1/3?master=m%20x",
                "a.example:5000 [2001:db8::1]:5001 10.0.0.1:26379 as ann p,w 3; m x by - - 0",
            ),
            (
                "redis://:pw@a,b/?master=mail&sentinelUser=s&sentinelPassword=p%40%2F",
                "a:26379 b:26379 as - pw 0; mail by s p@/ 0",
            ),
        ] {
            assert_eq!(shown(url, Topology::Sentinel).as_deref(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn nodes_of_a_cluster_are_read() {
        let read = |url| shown(url, Topology::Cluster);
        assert_eq!(read("redis://a.example").as_deref(), Ok("a.example:6379 as - - 0"));
        assert_eq!(read("redis://u:p@a:7000,b:7001/0").as_deref(), Ok("a:7000 b:7001 as u p 0"));
    }

    #[test]
    fn what_cant_be_read_says_what_was_found_and_shows_no_password() {
        let many = vec!["a"; 17].join(",");
        for (topology, url, found) in [
            (Topology::Sentinel, "redis://:canary@a,b/", "found no master's name"),
            (Topology::Sentinel, "redis://:canary@a/?master=", "found another word behind the ?"),
            (Topology::Sentinel, "redis://:canary@a/?master=m&x=canary", "found another word behind the ?"),
            (Topology::Sentinel, "redis://:canary@a/?master=m#insecure", "found a #"),
            (Topology::Cluster, "redis://:canary@a/?master=m", "found a master's name"),
            (Topology::Cluster, "redis://:canary@a/2", "found a database other than 0"),
            (Topology::Cluster, "redis://:canary@a,,b", "found a host, user or database that can't be read"),
            (
                Topology::Cluster,
                "redis://:canary@a:99999",
                "found a host, user or database that can't be read",
            ),
            (Topology::Cluster, "http://:canary@a", "found a host, user or database that can't be read"),
            (Topology::Cluster, "unix:///tmp/canary", "found a socket's path"),
            (Topology::Cluster, "canary", "found no scheme"),
            (Topology::Cluster, &format!("redis://:canary@{many}"), "found more than 16 hosts"),
        ] {
            let why = shown(url, topology).expect_err(url);
            assert!(why.contains(found) && why.contains("expected redis://"), "{url}: {why}");
            assert!(!why.contains("canary"), "{why}");
        }
    }
}
