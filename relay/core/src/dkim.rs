//! DKIM signatures over what is sent: RFC 6376, RFC 8463 (Ed25519), RFC 8301 (SHA-256, 2048 bits).
//!
//! A message's body is hashed once, as it comes ([`BodyHash`]); each key then signs the header and that hash ([`sign`]).
//! **Owns:** canonical forms, which fields are signed, the signature's field. **Never:** whose mail is signed (config), a clock.
//! Always relaxed/relaxed, and never `l=`: what a far side adds below a message isn't ours (RFC 6376 8.2).

mod author;
mod body;
mod fields;
mod key;
mod public;
mod signature;

pub use author::author_domains;
pub use body::{BodyDigest, BodyHash};
pub use key::{Algorithm, InvalidKey, KeyFailed, SigningKey};
pub use public::PublicKey;
pub use signature::{Signer, sign};

#[cfg(test)]
mod tests;
