//! Hosts that belong together.
//! **Owns:** what a set of them is called. **Never:** which of them can be reached.

use postrider_mail::HostName;
use sha2::{Digest as _, Sha256};

/// All hosts that a domain's MX records name, or all of a rule's. Equal sets are one far side, whichever of the hosts could be looked up
/// and in whatever order. Every version of every relay must compute the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostSet([u8; 16]);

impl HostSet {
    /// The set of these. Ports stand beside the names of hosts that a rule has.
    pub fn of<'h>(hosts: impl IntoIterator<Item = (&'h HostName, Option<u16>)>) -> Self {
        let mut lines: Vec<String> = hosts
            .into_iter()
            .map(|(name, port)| port.map_or_else(|| format!("{name}\n"), |port| format!("{name}:{port}\n")))
            .collect();
        lines.sort_unstable();
        lines.dedup();
        let hash = lines.iter().fold(Sha256::new(), |hash, line| hash.chain_update(line)).finalize();
        Self(hash.first_chunk().copied().unwrap_or_default())
    }
}

impl std::fmt::Display for HostSet {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(hosts: &[(&str, Option<u16>)]) -> HostSet {
        let names: Vec<(HostName, Option<u16>)> =
            hosts.iter().map(|(name, port)| (HostName::parse(name).expect("a name"), *port)).collect();
        HostSet::of(names.iter().map(|(name, port)| (name, *port)))
    }

    #[test]
    fn a_set_is_what_is_in_it() {
        let two = set(&[("mx1.far.example", None), ("mx2.far.example", None)]);
        assert_eq!(
            set(&[("mx2.far.example", None), ("MX1.far.example", None), ("mx2.far.example", None)]),
            two
        );
        assert_ne!(set(&[("mx1.far.example", None)]), two);
        assert_ne!(set(&[("mx1.far.example", Some(25)), ("mx2.far.example", Some(25))]), two);
        assert_eq!(two.to_string().len(), 32);
    }
}
