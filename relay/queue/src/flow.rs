//! The flows of a destination: which sender's share of it mail waits in.
//! **Owns:** [`Flow`], how a sender's domain becomes one. **Never:** who goes first (claim.lua, which goes round the lanes).
//! There are few of them, so the number of lanes isn't the senders' to choose. All versions must agree on a sender's flow.

use postrider_mail::ReversePath;

/// How many there are. plan.lua has the number too.
pub const FLOWS: u8 = 64;

/// The flow of the null sender, which no domain has: bounces wait behind nobody's backlog.
const NULL: u8 = 5;

/// One of the shares of a destination: that of some sender domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow(u8);

impl Flow {
    /// The flow of a return path: by its domain. What has none, as bounces have, has a flow of its own.
    pub fn of(sender: &ReversePath) -> Self {
        sender.mailbox().map_or(Self(NULL), |mailbox| Self::of_domain(mailbox.domain().as_str()))
    }

    fn of_domain(domain: &str) -> Self {
        // FNV-1a, folded: the same on every machine and in every version.
        let hash = domain.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
        });
        let folded = hash ^ (hash >> 16);
        let [low, high, ..] = (folded ^ (folded >> 8)).to_le_bytes();
        match low % FLOWS {
            // One of the others.
            NULL => Self((NULL + 1 + high % (FLOWS - 1)) % FLOWS),
            number => Self(number),
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..FLOWS).map(Self)
    }

    /// Reads one as it is printed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_short = text == "0" || !text.starts_with(['0', '+']);
        text.parse().ok().filter(|number| is_short && *number < FLOWS).map(Self)
    }
}

impl std::fmt::Display for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn of(mailbox: &str) -> Flow {
        Flow::of(&ReversePath::Mailbox(mailbox.parse().expect("a mailbox")))
    }

    #[test]
    fn a_flow_is_of_the_domain_and_never_changes() {
        assert_eq!(of("news@shop.example"), of("password@shop.example"));
        // Written down, as mail waits under these numbers.
        let found = ["a@shop.example", "a@bank.example", "A@APP.example"].map(of);
        assert_eq!(found, [Flow(48), Flow(12), Flow(20)]);
        assert_eq!(Flow::of(&ReversePath::Null), Flow(5));
    }

    #[test]
    fn domains_spread_over_all_flows_but_that_of_bounces() {
        let mut counts: HashMap<Flow, u32> = HashMap::new();
        (0..6_300).for_each(|n| *counts.entry(of(&format!("a@mail{n}.example"))).or_default() += 1);
        assert_eq!(counts.len(), usize::from(FLOWS) - 1);
        assert!(!counts.contains_key(&Flow::of(&ReversePath::Null)));
        assert!(counts.values().all(|count| (50..200).contains(count)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn a_flow_prints_as_it_is_read(number in 0..FLOWS) {
            prop_assert_eq!(Flow::parse(&Flow(number).to_string()), Some(Flow(number)));
        }
    }

    #[test]
    fn other_texts_are_no_flow() {
        for text in ["", "64", "256", "-1", "+1", "01", "00", "a", "1 "] {
            assert_eq!(Flow::parse(text), None, "{text:?}");
        }
    }
}
