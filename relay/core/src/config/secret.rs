//! Values that are never shown: keys, passwords, URLs that hold one.
//! **Owns:** [`Secret`], and password hashes with their check. **Never:** `Display`, nor a `Debug` that shows anything.

use argon2::password_hash::PasswordVerifier;
use serde::{Deserialize, Serialize};

/// A value that no log, status or message shows. Serialising it is for the compiled configuration only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for where it has to be used.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> std::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The hash of a password: argon2 in PHC form, or bcrypt.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(Box<str>);

/// A text that is no hash that we can check. It isn't shown: it may be the password itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPasswordHash {
    /// It has no known form.
    #[error(
        "found a value that is no password hash; expected one that begins with $argon2id$ or $2b$ (`htpasswd -nB NAME` makes one)"
    )]
    Form,
    /// It asks for more work than a check may cost.
    #[error(
        "found an argon2 hash of more than {MOST_ARGON2_KIB} KiB or {MOST_ARGON2_PASSES} passes, or bcrypt of a cost over {MOST_BCRYPT_COST}; expected a cheaper one: each check costs that much"
    )]
    TooCostly,
}

/// The most memory that an argon2 check may take.
const MOST_ARGON2_KIB: u32 = 256 * 1024;
/// The most passes.
const MOST_ARGON2_PASSES: u32 = 16;
/// The highest bcrypt cost: about 1 s.
const MOST_BCRYPT_COST: u32 = 14;
/// Longer than any hash.
const MOST_BYTES: usize = 512;

impl PasswordHash {
    /// Reads a hash.
    ///
    /// # Errors
    /// It is none, or one that would take too long to check.
    pub fn parse(text: &str) -> Result<Self, InvalidPasswordHash> {
        let text = text.trim();
        if text.len() > MOST_BYTES {
            return Err(InvalidPasswordHash::Form);
        }
        if text.starts_with("$2") {
            check_bcrypt(text)?;
        } else {
            check_argon2(text)?;
        }
        Ok(Self(text.into()))
    }

    /// The hash.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether this is the hash of `password`. **Slow on purpose** (20 ms and more): never on a reactor.
    pub fn verify(&self, password: &[u8]) -> bool {
        if self.0.starts_with("$2") {
            return bcrypt::verify(password, &self.0).unwrap_or(false);
        }
        argon2::password_hash::PasswordHash::new(&self.0)
            .is_ok_and(|hash| argon2::Argon2::default().verify_password(password, &hash).is_ok())
    }
}

/// `$2b$12$` and 53 characters of salt and hash.
fn check_bcrypt(text: &str) -> Result<(), InvalidPasswordHash> {
    let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| text.strip_prefix(prefix));
    let (cost, hash) = rest.and_then(|rest| rest.split_once('$')).ok_or(InvalidPasswordHash::Form)?;
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'/';
    let cost: u32 = if cost.len() == 2 { cost.parse().map_err(|_| InvalidPasswordHash::Form)? } else { 0 };
    if !(4..=31).contains(&cost) || hash.len() != 53 || !hash.bytes().all(is_base64) {
        return Err(InvalidPasswordHash::Form);
    }
    if cost > MOST_BCRYPT_COST { Err(InvalidPasswordHash::TooCostly) } else { Ok(()) }
}

fn check_argon2(text: &str) -> Result<(), InvalidPasswordHash> {
    let hash = argon2::password_hash::PasswordHash::new(text).map_err(|_| InvalidPasswordHash::Form)?;
    argon2::Algorithm::try_from(hash.algorithm).map_err(|_| InvalidPasswordHash::Form)?;
    let params = argon2::Params::try_from(&hash).map_err(|_| InvalidPasswordHash::Form)?;
    if hash.hash.is_none() || hash.salt.is_none() {
        return Err(InvalidPasswordHash::Form);
    }
    let is_costly = params.m_cost() > MOST_ARGON2_KIB || params.t_cost() > MOST_ARGON2_PASSES;
    if is_costly { Err(InvalidPasswordHash::TooCostly) } else { Ok(()) }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = InvalidPasswordHash;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0.into()
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHasher, SaltString};

    use super::*;

    fn argon2_of(password: &str) -> String {
        let salt = SaltString::encode_b64(b"0123456789abcdef").expect("a salt");
        argon2::Argon2::default().hash_password(password.as_bytes(), &salt).expect("hashes").to_string()
    }

    #[test]
    fn a_password_fits_its_own_hash_only() {
        for hash in [argon2_of("pencil"), bcrypt::hash("pencil", 4).expect("hashes")] {
            let hash = PasswordHash::parse(&hash).expect("a hash");
            assert!(hash.verify(b"pencil") && !hash.verify(b"pen") && !hash.verify(b""));
        }
    }

    #[test]
    fn hashes_of_htpasswd_are_read() {
        // `htpasswd -nbB -C 5 ann pencil` writes $2y$.
        let hash = bcrypt::hash("pencil", 5).expect("hashes").replacen("$2b$", "$2y$", 1);
        assert!(PasswordHash::parse(&hash).expect("a hash").verify(b"pencil"));
    }

    #[test]
    fn what_is_no_hash_is_refused_and_not_shown() {
        for text in ["", "pencil", "$1$abc$def", "$2b$12$short", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ"]
        {
            let err = PasswordHash::parse(text).expect_err(text);
            assert!(text.is_empty() || !err.to_string().contains(text));
        }
    }

    #[test]
    fn a_hash_that_would_stop_the_relay_is_refused() {
        let hash = argon2_of("pencil").replace("m=19456", "m=4000000");
        assert_eq!(PasswordHash::parse(&hash).expect_err("costly"), InvalidPasswordHash::TooCostly);
        let hash = bcrypt::hash("pencil", 4).expect("hashes").replacen("$04$", "$31$", 1);
        assert_eq!(PasswordHash::parse(&hash).expect_err("costly"), InvalidPasswordHash::TooCostly);
    }

    #[test]
    fn nothing_of_a_secret_is_in_its_debug() {
        let hash = PasswordHash::parse(&argon2_of("canary")).expect("a hash");
        assert_eq!(format!("{:?} {hash:?}", Secret::new("canary")), "Secret(…) PasswordHash(…)");
    }
}
