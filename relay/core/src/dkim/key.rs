//! A private key that signs.
//! **Owns:** reading it from PEM (PKCS#8, PKCS#1), what is asked of it. **Never:** shows it, not even in an error.
//! RFC 8301 3.2 (2048 bits at least), RFC 8463 3 (Ed25519 signs the hash, not the text).

use std::sync::Arc;

use ring::{
    digest, rand,
    signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};

use super::PublicKey;

/// Longer than the PEM of any key of 4096 bits.
const MOST_BYTES: usize = 16 << 10;

/// A private key. It is never shown; serialising it is for the compiled configuration only.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SigningKey {
    pem: Arc<str>,
    pair: Arc<Pair>,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `rsa-sha256`.
    RsaSha256,
    /// `ed25519-sha256`.
    Ed25519Sha256,
}

/// A text that is no key that signs. The text isn't shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// It has no PEM block of a private key.
    #[error("found no PEM block of a private key; expected -----BEGIN PRIVATE KEY-----")]
    Pem,
    /// It is a key of another kind or size.
    #[error("found another kind of key; expected RSA of 2048 to 4096 bits, or Ed25519")]
    Kind,
}

/// A key that is good and didn't sign: a bug, or memory that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key did not sign")]
pub struct KeyFailed;

impl Algorithm {
    /// As `a=` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }
}

impl SigningKey {
    /// Reads a key.
    ///
    /// # Errors
    /// It is none, or one that DKIM doesn't have.
    pub fn parse(pem: &str) -> Result<Self, InvalidKey> {
        if pem.len() > MOST_BYTES {
            return Err(InvalidKey::Pem);
        }
        let pair = match PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| InvalidKey::Pem)? {
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).map(Pair::Rsa),
            PrivateKeyDer::Pkcs8(key) => {
                let der = key.secret_pkcs8_der();
                RsaKeyPair::from_pkcs8(der)
                    .map(Pair::Rsa)
                    .or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Pair::Ed25519))
            }
            _ => return Err(InvalidKey::Kind),
        };
        let pair = Arc::new(pair.map_err(|_| InvalidKey::Kind)?);
        Ok(Self { pem: pem.trim().into(), pair })
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        match &*self.pair {
            Pair::Rsa(_) => Algorithm::RsaSha256,
            Pair::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        let algorithm = self.algorithm();
        match &*self.pair {
            Pair::Rsa(pair) => PublicKey::new(algorithm, pair.public().as_ref()),
            Pair::Ed25519(pair) => PublicKey::new(algorithm, pair.public_key().as_ref()),
        }
    }

    /// The signature of a text. **Slow** with RSA (some 1 ms): not on a reactor.
    ///
    /// # Errors
    /// The key doesn't sign.
    pub fn sign(&self, text: &[u8]) -> Result<Vec<u8>, KeyFailed> {
        match &*self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                // PKCS#1 v1.5 takes nothing from the generator: the same text gives the same signature.
                pair.sign(&RSA_PKCS1_SHA256, &rand::SystemRandom::new(), text, &mut signature)
                    .map_err(|_| KeyFailed)?;
                Ok(signature)
            }
            Pair::Ed25519(pair) => {
                let hash = digest::digest(&digest::SHA256, text);
                Ok(pair.sign(hash.as_ref()).as_ref().to_vec())
            }
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// Two are equal by their text.
impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.pem == other.pem
    }
}

impl Eq for SigningKey {}

impl TryFrom<String> for SigningKey {
    type Error = InvalidKey;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<SigningKey> for String {
    fn from(key: SigningKey) -> Self {
        (*key.pem).to_owned()
    }
}
