//! A message's name in the queue: `PARTITION-UNIQUE`, such as `a-01k2v9q8h3m4n5p6r7s8t9v0wx`.
//! **Owns:** its form. **Never:** the choice of a partition (the queue's). It is a log key, part of the 250 and of the
//! Received line, so it has no character that any of these would need to quote.

use serde::{Deserialize, Serialize};

/// Crockford's base 32, lower case: no `i`, `l`, `o`, `u`, so that it can be read out on a telephone.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 26 digits of 5 bits hold 128 bits.
const UNIQUE_DIGITS: usize = 26;
/// The longest name of a partition.
const MAX_PARTITION_BYTES: usize = 32;

/// The name of one partition of a queue: 1 to 32 lower-case letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PartitionName(Box<str>);

/// A message's name: the partition that holds it, 48 bits of time and 80 of chance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueId {
    partition: PartitionName,
    unique: u128,
}

/// A text that names no message, or no partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "found {0:?}; expected a partition (1 to 32 of a-z, 0-9), and for a queue ID a hyphen and 26 digits of base 32 behind it"
)]
pub struct InvalidQueueId(String);

impl InvalidQueueId {
    fn of(text: &str) -> Self {
        Self(text.chars().take(80).collect())
    }
}

impl PartitionName {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, InvalidQueueId> {
        let is_name = (1..=MAX_PARTITION_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if is_name { Ok(Self(text.into())) } else { Err(InvalidQueueId::of(text)) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl QueueId {
    /// A new name. `unix_millis` makes IDs sort by age, `chance` makes them differ: pass 80 random bits.
    pub fn new(partition: PartitionName, unix_millis: u64, chance: u128) -> Self {
        let unique = (u128::from(unix_millis) << 80) | (chance & ((1 << 80) - 1));
        Self { partition, unique }
    }

    /// The partition that holds the message.
    pub fn partition(&self) -> &PartitionName {
        &self.partition
    }
}

impl std::fmt::Display for PartitionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for QueueId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut digits = [0_u8; UNIQUE_DIGITS];
        let mut rest = self.unique;
        for digit in digits.iter_mut().rev() {
            *digit = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        write!(f, "{}-{}", self.partition, std::str::from_utf8(&digits).map_err(|_| std::fmt::Error)?)
    }
}

impl std::str::FromStr for QueueId {
    type Err = InvalidQueueId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidQueueId::of(text);
        let (partition, digits) = text.split_once('-').ok_or_else(invalid)?;
        if digits.len() != UNIQUE_DIGITS {
            return Err(invalid());
        }
        let mut unique: u128 = 0;
        for (at, byte) in digits.bytes().enumerate() {
            let value = ALPHABET.iter().position(|digit| *digit == byte).ok_or_else(invalid)?;
            // The first of 26 digits has 3 bits of the 128.
            if at == 0 && value > 7 {
                return Err(invalid());
            }
            unique = (unique << 5) | value as u128;
        }
        Ok(Self { partition: PartitionName::parse(partition)?, unique })
    }
}

impl TryFrom<String> for QueueId {
    type Error = InvalidQueueId;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<QueueId> for String {
    fn from(id: QueueId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for PartitionName {
    type Error = InvalidQueueId;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<PartitionName> for String {
    fn from(name: PartitionName) -> Self {
        name.0.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reading_a_printed_id_gives_the_same(millis in 0_u64..1 << 48, chance: u128, name in "[a-z0-9]{1,32}") {
            let id = QueueId::new(PartitionName::parse(&name).expect("a name"), millis, chance);
            prop_assert_eq!(id.to_string().parse::<QueueId>(), Ok(id));
        }

        #[test]
        fn younger_ids_sort_behind_older_ones(older in 0_u64..1 << 40, wait in 1_u64..1 << 40, a: u128, b: u128) {
            let name = PartitionName::parse("a").expect("a name");
            let (first, second) = (QueueId::new(name.clone(), older, a), QueueId::new(name, older + wait, b));
            prop_assert!(first.to_string() < second.to_string());
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,60}") {
            let _ = text.parse::<QueueId>();
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "a",
            "a-",
            "A-01k2v9q8h3m4n5p6r7s8t9v0wx",
            "a-81k2v9q8h3m4n5p6r7s8t9v0wx",
            "a-01k2v9q8h3m4n5p6r7s8t9v0wu",
        ] {
            assert!(text.parse::<QueueId>().is_err(), "{text:?}");
        }
    }
}
