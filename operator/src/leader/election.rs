//! Who may take a Lease, and when.
//! **Owns:** the one rule: a Lease that hasn't changed for its duration *of our own time* is free. **Never:** the times that others wrote into it.

use std::time::{Duration, Instant};

/// What a Lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Whose it is; empty if nobody's.
    pub(super) holder: String,
    /// Changes with each renewal.
    pub(super) version: String,
    /// For how long a renewal counts.
    pub(super) duration: Duration,
    /// How often it has changed hands.
    pub(super) transitions: i32,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is ours: renew it.
    Renew,
    /// It is nobody's: take it.
    Take,
    /// It is another's.
    Follow,
}

/// What we have seen of a Lease.
#[derive(Debug)]
pub(super) struct Election {
    identity: String,
    /// The version seen last, and when it was seen first.
    seen: Option<(String, Instant)>,
    fallback: Duration,
}

impl Election {
    pub(super) fn new(identity: &str, fallback: Duration) -> Self {
        Self { identity: identity.to_owned(), seen: None, fallback }
    }

    /// What to do about a Lease as it is now.
    pub(super) fn step(&mut self, record: Option<&Record>, now: Instant) -> Step {
        let Some(record) = record else { return Step::Take };
        if record.holder == self.identity {
            return Step::Renew;
        }
        if record.holder.is_empty() {
            return Step::Take;
        }
        match &self.seen {
            Some((version, since)) if *version == record.version => {
                let patience = record.duration.max(self.fallback);
                if now.duration_since(*since) >= patience { Step::Take } else { Step::Follow }
            }
            _ => {
                self.seen = Some((record.version.clone(), now));
                Step::Follow
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn held(by: &str, version: &str) -> Record {
        Record { holder: by.into(), version: version.into(), duration: DURATION, transitions: 0 }
    }

    #[test]
    fn a_lease_is_taken_only_after_its_duration_of_our_own_time() {
        let (mut election, start) = (Election::new("a", DURATION), Instant::now());
        let other = held("b", "1");
        assert_eq!(election.step(Some(&other), start), Step::Follow);
        assert_eq!(election.step(Some(&other), start + Duration::from_secs(14)), Step::Follow);
        assert_eq!(election.step(Some(&other), start + Duration::from_secs(15)), Step::Take);
    }

    #[test]
    fn a_renewal_starts_the_wait_anew() {
        let (mut election, start) = (Election::new("a", DURATION), Instant::now());
        election.step(Some(&held("b", "1")), start);
        assert_eq!(election.step(Some(&held("b", "2")), start + DURATION), Step::Follow);
        assert_eq!(election.step(Some(&held("b", "2")), start + DURATION * 2), Step::Take);
    }

    #[test]
    fn a_lease_of_nobody_is_taken_at_once_and_our_own_renewed() {
        let (mut election, now) = (Election::new("a", DURATION), Instant::now());
        assert_eq!(election.step(None, now), Step::Take);
        assert_eq!(election.step(Some(&held("", "1")), now), Step::Take);
        assert_eq!(election.step(Some(&held("a", "2")), now), Step::Renew);
    }
}
