//! What a configuration is called: the SHA-256 of its canonical text.
//! **Owns:** [`ConfigHash`] and when it is computed. **Never:** what is hashed.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A configuration's identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConfigHash([u8; 32]);

/// A text that is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("found no hash; expected 64 hexadecimal digits")]
pub struct InvalidConfigHash;

impl ConfigHash {
    /// Of a canonical text.
    pub fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }
}

impl std::fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for ConfigHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ConfigHash({self})")
    }
}

impl std::str::FromStr for ConfigHash {
    type Err = InvalidConfigHash;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidConfigHash)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for ConfigHash {
    type Error = InvalidConfigHash;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ConfigHash> for String {
    fn from(hash: ConfigHash) -> Self {
        hash.to_string()
    }
}

/// A hash computed when first asked for. A copy computes its own: it may be changed before it is asked.
#[derive(Debug, Default)]
pub(super) struct HashCell(OnceLock<ConfigHash>);

impl HashCell {
    pub(super) fn computed_once(&self, text: impl FnOnce() -> Vec<u8>) -> ConfigHash {
        *self.0.get_or_init(|| ConfigHash::of(&text()))
    }
}

impl Clone for HashCell {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Two configurations are equal by what they say.
impl PartialEq for HashCell {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for HashCell {}
