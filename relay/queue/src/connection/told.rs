//! What sentinels and nodes of a cluster say about where a server is. Pure.
//! **Owns:** the form of their replies, the choice among several that disagree. **Never:** asks.

use super::access::HostPort;

impl HostPort {
    /// Reads `host:port` as a node of a cluster has it in MOVED. A node that doesn't know the host's name leaves it out, or writes a
    /// question mark: it is the one that was asked.
    pub(super) fn redirected(to: &str, asked: &Self) -> Option<Self> {
        let (host, port) = to.rsplit_once(':')?;
        Self::told(if matches!(host, "" | "?") { &asked.host } else { host }, port)
    }

    /// Reads what a sentinel answers: the host, and the port in words.
    pub(super) fn told(host: &str, port: &str) -> Option<Self> {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_host = (1..=255).contains(&host.len()) && host.bytes().all(|byte| byte.is_ascii_graphic());
        let port = port.parse().ok().filter(|port| *port != 0)?;
        is_host.then(|| Self { host: host.into(), port })
    }
}

/// Those that were named, each once; the one that most named first. A sentinel or node that was cut off from the others may name the
/// server of the day before.
pub(super) fn by_votes(named: Vec<HostPort>) -> Vec<HostPort> {
    let mut counted: Vec<(HostPort, usize)> = Vec::new();
    for at in named {
        match counted.iter_mut().find(|(known, _)| *known == at) {
            Some((_, votes)) => *votes += 1,
            None => counted.push((at, 1)),
        }
    }
    counted.sort_by_key(|(_, votes)| std::cmp::Reverse(*votes));
    counted.into_iter().map(|(at, _)| at).collect()
}

/// Whether `INFO replication` is a primary's.
pub(super) fn is_primary(info: &str) -> bool {
    info.lines().any(|line| line.trim_end() == "role:master")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> HostPort {
        HostPort { host: host.into(), port }
    }

    #[test]
    fn a_node_names_another_or_only_its_port() {
        let asked = at("seed.example", 7000);
        for (text, expected) in [
            ("10.0.0.7:7001", Some(at("10.0.0.7", 7001))),
            ("node-1.example:7001", Some(at("node-1.example", 7001))),
            ("2001:db8::7:7001", Some(at("2001:db8::7", 7001))),
            ("[2001:db8::7]:7001", Some(at("2001:db8::7", 7001))),
            (":7001", Some(at("seed.example", 7001))),
            ("?:7001", Some(at("seed.example", 7001))),
            ("10.0.0.7", None),
            ("10.0.0.7:0", None),
            ("10.0.0.7:70000", None),
            ("a b:7001", None),
            ("", None),
        ] {
            assert_eq!(HostPort::redirected(text, &asked), expected, "{text}");
        }
        assert_eq!(HostPort::told(&"x".repeat(256), "1"), None);
    }

    #[test]
    fn most_votes_come_first_and_each_is_tried_once() {
        let (old, new, odd) = (at("a", 1), at("b", 1), at("c", 1));
        let named = vec![old.clone(), new.clone(), odd.clone(), new.clone()];
        assert_eq!(by_votes(named), [new, old, odd]);
    }

    #[test]
    fn a_replica_is_no_primary() {
        assert!(is_primary("# Replication\r\nrole:master\r\nconnected_slaves:1\r\n"));
        assert!(!is_primary("# Replication\r\nrole:slave\r\nmaster_host:role:master\r\n"));
        assert!(!is_primary(""));
    }
}
