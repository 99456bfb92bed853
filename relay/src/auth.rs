//! Passwords of clients, checked off the reactor.
//! **Owns:** the comparison with a hash, how many run at once, what is remembered of good ones. **Never:** the SASL dialogue
//! (smtp's), who the users are (the config's), a password for longer than one check.
//! An unknown user costs as much time as a wrong password: nobody learns names by a stopwatch.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use postrider_core::config::PasswordHash;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// How long a check may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a good password needn't be hashed again: senders connect often, and argon2 costs 20 ms and 19 MiB.
const REMEMBERED_FOR: Duration = Duration::from_secs(300);
/// How many good passwords are remembered.
const MOST_REMEMBERED: usize = 1024;
/// What is hashed for a listener without users: argon2id at its default cost, of a password that nobody has.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cG9zdHJpZGVyLW5vYm9keQ$9q3M0y5jE1E8uBHkq3y0o0nO0mYb0p0n6n0g1pX3k1s";

/// Checks passwords. Cloning shares the turns and the memory.
#[derive(Clone)]
pub struct Authenticator {
    turns: Arc<Semaphore>,
    remembered: Arc<Remembered>,
    nobody: Option<PasswordHash>,
}

/// Checks come faster than they can be done: the client should try later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be checked")]
pub struct Busy;

impl Default for Authenticator {
    fn default() -> Self {
        // One less than the cores, so that hashing never takes all of them.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::new(cores.saturating_sub(1).max(1))
    }
}

impl Authenticator {
    /// One that checks so many at once.
    pub fn new(at_once: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(at_once)),
            remembered: Arc::new(Remembered::new()),
            nobody: PasswordHash::parse(NOBODY).ok(),
        }
    }

    /// Whether `password` is the one of `user` among `users` (a hash each).
    ///
    /// # Errors
    /// There was no turn in time.
    pub async fn is_right(
        &self,
        users: &BTreeMap<String, PasswordHash>,
        user: &str,
        password: &str,
    ) -> Result<bool, Busy> {
        let known = users.get(user);
        // Another user's hash costs what this listener's hashes cost.
        let Some(hash) = known.or_else(|| users.values().next()).or(self.nobody.as_ref()).cloned() else {
            return Ok(false);
        };
        let fingerprint = self.remembered.fingerprint(user, hash.expose(), password.as_bytes());
        if known.is_some() && self.remembered.has(&fingerprint) {
            return Ok(true);
        }
        let turn = self.turns.clone().acquire_owned();
        let turn = tokio::time::timeout(PATIENCE, turn).await.map_err(|_| Busy)?.map_err(|_| Busy)?;
        let password = password.to_owned();
        let check = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            hash.verify(password.as_bytes())
        });
        let is_right = check.await.unwrap_or(false) && known.is_some();
        if is_right {
            self.remembered.add(fingerprint);
        }
        Ok(is_right)
    }
}

/// Good passwords of the last minutes, as digests that are worth nothing outside of this process.
struct Remembered {
    secret: [u8; 32],
    until: Mutex<HashMap<[u8; 32], Instant>>,
}

impl Remembered {
    fn new() -> Self {
        Self { secret: rand::random(), until: Mutex::new(HashMap::new()) }
    }

    /// The hash is part of it: a changed password is forgotten at once.
    fn fingerprint(&self, user: &str, hash: &str, password: &[u8]) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.secret);
        for part in [user.as_bytes(), hash.as_bytes(), password] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    fn has(&self, fingerprint: &[u8; 32]) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.get(fingerprint).is_some_and(|until| *until > Instant::now())
    }

    fn add(&self, fingerprint: [u8; 32]) {
        let now = Instant::now();
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= MOST_REMEMBERED {
            until.retain(|_, until| *until > now);
        }
        if until.len() < MOST_REMEMBERED {
            until.insert(fingerprint, now + REMEMBERED_FOR);
        }
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

    fn users(list: &[(&str, &str)]) -> BTreeMap<String, PasswordHash> {
        let hash = |text: &str| PasswordHash::parse(text).expect("a hash");
        list.iter().map(|(name, text)| ((*name).to_owned(), hash(text))).collect()
    }

    async fn is_right(list: &[(&str, &str)], user: &str, password: &str) -> bool {
        Authenticator::new(1).is_right(&users(list), user, password).await.expect("a turn")
    }

    #[tokio::test]
    async fn passwords_are_checked_by_either_hash() {
        let (argon, bcrypt) = (argon2_of("pencil"), bcrypt::hash("paper", 4).expect("hashes"));
        let users = [("ann", argon.as_str()), ("bob", bcrypt.as_str())];
        assert!(is_right(&users, "ann", "pencil").await && is_right(&users, "bob", "paper").await);
        assert!(!is_right(&users, "ann", "paper").await && !is_right(&users, "bob", "pencil").await);
    }

    #[tokio::test]
    async fn an_unknown_user_is_never_right_even_with_anothers_password() {
        let hash = argon2_of("pencil");
        assert!(!is_right(&[("ann", &hash)], "eve", "pencil").await);
        assert!(!is_right(&[], "eve", "pencil").await);
    }

    #[tokio::test]
    async fn a_good_password_is_remembered_until_its_hash_changes() {
        let authenticator = Authenticator::new(1);
        let (now, later) = (users(&[("ann", &argon2_of("pencil"))]), users(&[("ann", &argon2_of("pen"))]));
        assert_eq!(authenticator.is_right(&now, "ann", "pencil").await, Ok(true));
        // Remembered: there is no turn to be had, and none is needed.
        let all = authenticator.turns.clone().acquire_owned().await.expect("the only turn");
        assert_eq!(authenticator.is_right(&now, "ann", "pencil").await, Ok(true));
        drop(all);
        assert_eq!(authenticator.is_right(&later, "ann", "pencil").await, Ok(false));
    }

    #[test]
    fn the_hash_that_nobody_has_costs_a_full_check() {
        assert!(Authenticator::default().nobody.is_some());
    }
}
