//! Hosts that belong together.
//! **Owns:** what a set of them is called. **Never:** which of them can be reached.

use std::sync::Arc;

use postrider_mail::HostName;
use sha2::{Digest as _, Sha256};

/// All hosts that a domain's MX records name, or all of a rule's. Equal sets are one far side, whichever of the hosts could be looked up
/// and in whatever order. Cloning shares.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostSet(Arc<[(HostName, Option<u16>)]>);

impl HostSet {
    /// The set of these. Ports stand beside the names of hosts that a rule has.
    pub fn of(hosts: impl IntoIterator<Item = (HostName, Option<u16>)>) -> Self {
        let mut hosts: Vec<_> = hosts.into_iter().collect();
        hosts.sort_unstable();
        hosts.dedup();
        Self(hosts.into())
    }

    /// What the store calls it: 32 hexadecimal digits. Every version of every relay must compute the same. It is a hash, so it is only
    /// asked for where a limit needs it.
    pub fn name(&self) -> String {
        let mut hash = Sha256::new();
        for (host, port) in &*self.0 {
            hash.update(host.as_str());
            if let Some(port) = port {
                hash.update(format!(":{port}"));
            }
            hash.update("\n");
        }
        hash.finalize().first_chunk::<16>().map(hex::encode).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(hosts: &[(&str, Option<u16>)]) -> HostSet {
        HostSet::of(hosts.iter().map(|(name, port)| (HostName::parse(name).expect("a name"), *port)))
    }

    #[test]
    fn a_set_is_what_is_in_it() {
        let two = set(&[("mx1.far.example", None), ("mx2.far.example", None)]);
        assert_eq!(
            set(&[("mx2.far.example", None), ("MX1.far.example", None), ("mx2.far.example", None)]),
            two
        );
        for other in [
            set(&[("mx1.far.example", None)]),
            set(&[("mx1.far.example", Some(25)), ("mx2.far.example", Some(25))]),
        ] {
            assert_ne!(other, two);
            assert_ne!(other.name(), two.name());
        }
    }

    #[test]
    fn relays_of_all_versions_call_a_set_alike() {
        assert_eq!(
            set(&[("mx1.far.example", None), ("mx2.far.example", None)]).name(),
            "0d0f38c285459c86531eb9cb5585f047"
        );
        assert_eq!(set(&[("relay.example", Some(2525))]).name(), "68cd68b50c31278eeaf8904663c85e46");
    }
}
