//! The three classes of mail that share a queue without waiting for each other.
//! **Owns:** their names and weights. **Never:** which mail has which (a policy says it).

use serde::{Deserialize, Serialize};

/// How soon mail is wanted. Waiting mail is claimed by weight, so that no class starves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Class {
    /// A person waits for it: password resets, receipts.
    Transactional,
    /// Everything that no policy says otherwise of.
    #[default]
    Normal,
    /// Newsletters.
    Bulk,
}

impl Class {
    /// All classes, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Transactional, Self::Normal, Self::Bulk];

    /// The share of claims that this class gets while all have mail waiting.
    pub const fn weight(self) -> u32 {
        match self {
            Self::Transactional => 8,
            Self::Normal => 4,
            Self::Bulk => 1,
        }
    }

    /// The name as written in resources, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transactional => "Transactional",
            Self::Normal => "Normal",
            Self::Bulk => "Bulk",
        }
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Class {
    type Err = UnknownClass;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|class| class.as_str() == s).ok_or_else(|| UnknownClass(s.to_owned()))
    }
}

/// A word that names no class.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("found class {0:?}; expected Transactional, Normal or Bulk")]
pub struct UnknownClass(String);
