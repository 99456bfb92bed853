//! One life of one relay process in one partition, and what it may do while it is believed alive.
//! **Owns:** [`Incarnation`]; the lease, the reap observer and the epoch gate, all three pure: times are passed in, by this
//! process's boot-time clock. **Never:** a wall clock, Redis, a task.
//! Invariant: I3, I4: whoever can't prove its claim stops before the final dot.

mod epoch;
mod handle;
mod lease;
mod observer;

pub use epoch::{Epoch, EpochChange, EpochGate, GATE};
pub use handle::{Clock, InFlight, LeaseHandle};
pub use lease::{BEAT_EVERY, DotPermit, LEASE, Lease, NoPermit, Sending, UNANSWERED_MAX};
pub use observer::{LOOK_EVERY, Observer, SLOW_READ, UNCHANGED_FOR};

/// The name of one life of one relay process in one partition: 128 random bits, written as 32 hex digits. With a claim's
/// number it is the fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(u128);

/// A text that names no incarnation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}; expected an incarnation of 32 lower-case hex digits")]
pub struct InvalidIncarnation(String);

impl Incarnation {
    /// A new life.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// From its bits, for tests and for hashing.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl std::fmt::Display for Incarnation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::str::FromStr for Incarnation {
    type Err = InvalidIncarnation;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex =
            text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let bits = is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        bits.map(Self).ok_or_else(|| InvalidIncarnation(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reading_a_printed_incarnation_gives_the_same(bits: u128) {
            let incarnation = Incarnation::from_bits(bits);
            prop_assert_eq!(incarnation.to_string().parse(), Ok(incarnation));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,60}") {
            let _ = text.parse::<Incarnation>();
        }
    }
}
