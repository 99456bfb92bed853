//! A policy that was fetched, for as long as it holds.
//! **Owns:** when it is fetched again, and what a failure means. RFC 8461 3.3, 5.1. **Never:** where it is kept.
//! Invariant: no failed look-up, no failed fetch and no record that is gone ends a policy before its time: that is how an attacker
//! who controls the DNS or the network would be rid of it.

use std::time::Duration;

use postrider_mail::Due;
use serde::{Deserialize, Serialize};

use super::{Policy, PolicyId, Record};

/// How old a policy gets before it is fetched again: RFC 8461 10.2 wants it much more often than `max_age`.
const REFRESH_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A policy, and when it was fetched by the wall clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The policy.
    #[serde(rename = "p")]
    pub policy: Policy,
    /// Its name in the DNS at that time.
    #[serde(rename = "i")]
    pub id: PolicyId,
    /// When.
    #[serde(rename = "f")]
    pub fetched: Due,
}

impl Kept {
    /// How long it holds from `now` on; none, if its time is over.
    pub fn left(&self, now: Due) -> Option<Duration> {
        let left = now.until(self.fetched.after(self.policy.max_age()));
        (!left.is_zero()).then_some(left)
    }
}

/// What to do about a domain's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// What is kept holds; if nothing is, there is no policy.
    Keep,
    /// Fetch it; if that fails, what is kept holds.
    Fetch(PolicyId),
}

/// What to do, with what is kept and what the record says now. A record that can't be had doesn't keep a policy from being fetched
/// again: who blocks that answer would else only have to wait for its end (RFC 8461 10.2).
pub fn next(kept: Option<&Kept>, record: &Record, now: Due) -> Step {
    let id = match (record, kept) {
        (Record::Id(id), _) => id,
        (Record::Failed, Some(kept)) => &kept.id,
        (Record::Failed, None) | (Record::Absent, _) => return Step::Keep,
    };
    let is_current = kept.is_some_and(|kept| {
        kept.id == *id && kept.left(now).is_some() && kept.fetched.until(now) < REFRESH_AFTER
    });
    if is_current { Step::Keep } else { Step::Fetch(id.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn id(text: &str) -> PolicyId {
        match Record::of([format!("v=STSv1; id={text}").as_str()]) {
            Record::Id(id) => id,
            other => unreachable!("{other:?}"),
        }
    }

    fn kept(at: Due) -> Kept {
        let policy = Policy::parse(b"version: STSv1\nmode: enforce\nmx: mx.example\nmax_age: 864000\n");
        Kept { policy: policy.expect("a policy"), id: id("1"), fetched: at }
    }

    #[test]
    fn a_policy_is_fetched_when_there_is_one_and_none_is_kept() {
        let now = Due::from_unix_millis(1_000_000_000);
        assert_eq!(next(None, &Record::Id(id("1")), now), Step::Fetch(id("1")));
        assert_eq!(next(None, &Record::Absent, now), Step::Keep);
        assert_eq!(next(None, &Record::Failed, now), Step::Keep);
    }

    #[test]
    fn a_kept_one_is_fetched_again_daily_or_under_a_new_name() {
        let at = Due::from_unix_millis(1_000_000_000);
        let kept = kept(at);
        let step = |record, now| next(Some(&kept), &record, now);
        assert_eq!(step(Record::Id(id("1")), at.after(DAY / 2)), Step::Keep);
        assert_eq!(step(Record::Id(id("1")), at.after(DAY)), Step::Fetch(id("1")));
        assert_eq!(step(Record::Id(id("2")), at.after(DAY / 2)), Step::Fetch(id("2")));
    }

    #[test]
    fn a_record_that_is_gone_or_unknown_ends_nothing() {
        let at = Due::from_unix_millis(1_000_000_000);
        let kept = kept(at);
        let step = |record, now| next(Some(&kept), &record, now);
        assert_eq!(step(Record::Absent, at.after(9 * DAY)), Step::Keep);
        assert_eq!(step(Record::Failed, at.after(DAY / 2)), Step::Keep);
        assert_eq!(
            step(Record::Failed, at.after(DAY)),
            Step::Fetch(id("1")),
            "and keeps none from being renewed"
        );
        assert_eq!(kept.left(at.after(9 * DAY)), Some(DAY));
        assert_eq!(kept.left(at.after(10 * DAY)), None);
    }
}
