//! What is counted of a domain's sessions in a day, and how two counts become one.
//! **Owns:** the counters, their bounds, their form in the queue's store. **Never:** the store.
//! Merging is the same in any order: where there are more details than are kept, those with the smallest keys stay, and whoever counts
//! them anywhere keeps them, too. RFC 8460 4.2, 4.3.

use std::{collections::BTreeMap, net::IpAddr};

use postrider_mail::HostName;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{PolicyKey, ResultType};

/// Details kept of one policy and day; the others are in the sums only.
pub const MAX_DETAILS: usize = 64;
/// Policies kept of one domain and day: each host with TLSA records is one. Sessions under others aren't reported.
pub const MAX_POLICIES: usize = 16;
/// Characters kept of a reason.
const MAX_REASON: usize = 100;

/// What sets failures apart in a report.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Detail {
    /// What went wrong.
    #[serde(rename = "r")]
    pub result: ResultType,
    /// The address that we came from, where it is one that others know.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub sending_ip: Option<IpAddr>,
    /// The host, if there was one.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// Its address.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub receiving_ip: Option<IpAddr>,
    /// More of what went wrong, in words that don't differ from session to session.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
}

impl Detail {
    /// A failure without a host.
    pub const fn of(result: ResultType) -> Self {
        Self { result, sending_ip: None, host: None, receiving_ip: None, reason: None }
    }

    /// With a reason: printable ASCII up to its first digit, because what follows is a time, a size or an address.
    #[must_use]
    pub fn because(self, reason: &str) -> Self {
        let words = reason.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default();
        let words: String =
            words.chars().filter(|c| *c == ' ' || c.is_ascii_graphic()).take(MAX_REASON).collect();
        let words = words.trim_end_matches([' ', ':', ',', '(', ';']);
        Self { reason: (!words.is_empty()).then(|| words.into()), ..self }
    }
}

/// How a session went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// There was TLS, as the policy has it.
    Good,
    /// There wasn't, or not as the policy has it.
    Bad(Detail),
}

/// One session with a host of a domain, or one that never came to be because of its policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// What it was held under.
    pub policy: PolicyKey,
    /// How it went.
    pub observed: Observed,
}

/// What was counted of one domain in a day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    policies: BTreeMap<PolicyKey, Sums>,
}

/// What was counted under one policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sums {
    pub(super) good: u64,
    pub(super) bad: u64,
    pub(super) details: BTreeMap<Detail, u64>,
}

/// One counter in the store, and by how much it grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Increment {
    /// Its name within the domain's day. What begins with `d` may be dropped where there are too many.
    pub field: String,
    /// By how much.
    pub by: u64,
}

impl Counts {
    /// Counts a session.
    pub fn add(&mut self, session: Session) {
        let sums = self.policies.entry(session.policy).or_default();
        match session.observed {
            Observed::Good => sums.good = sums.good.saturating_add(1),
            Observed::Bad(detail) => {
                sums.bad = sums.bad.saturating_add(1);
                sums.detail(detail, 1);
            }
        }
        self.bound();
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: Self) {
        for (policy, more) in other.policies {
            let sums = self.policies.entry(policy).or_default();
            sums.good = sums.good.saturating_add(more.good);
            sums.bad = sums.bad.saturating_add(more.bad);
            more.details.into_iter().for_each(|(detail, count)| sums.detail(detail, count));
        }
        self.bound();
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    pub(super) fn policies(&self) -> impl Iterator<Item = (&PolicyKey, &Sums)> {
        self.policies.iter()
    }

    fn bound(&mut self) {
        while self.policies.len() > MAX_POLICIES {
            self.policies.pop_last();
        }
    }

    /// The counters in the store that these are added to: `s` and the policy for the good ones, `f` and the policy for the bad, `d`, the
    /// policy's digest and the detail.
    pub fn increments(&self) -> Vec<Increment> {
        let mut increments = Vec::new();
        for (policy, sums) in &self.policies {
            let text = json(policy);
            let mut push = |field, by: u64| {
                if by > 0 {
                    increments.push(Increment { field, by });
                }
            };
            push(format!("s{text}"), sums.good);
            push(format!("f{text}"), sums.bad);
            let digest = digest(&text);
            for (detail, count) in &sums.details {
                push(format!("d{digest}{}", json(detail)), *count);
            }
        }
        increments
    }

    /// Reads the counters of the store. What this version can't read doesn't count.
    pub fn read<'a>(fields: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let (mut counts, mut known, mut details) = (Self::default(), BTreeMap::new(), Vec::new());
        for (field, count) in fields {
            match (field.get(..1), field.get(1..)) {
                (Some(kind @ ("s" | "f")), Some(text)) => {
                    let Ok(policy) = serde_json::from_str::<PolicyKey>(text) else { continue };
                    known.insert(digest(text), policy.clone());
                    let sums = counts.policies.entry(policy).or_default();
                    let sum = if kind == "s" { &mut sums.good } else { &mut sums.bad };
                    *sum = sum.saturating_add(count);
                }
                (Some("d"), Some(text)) => details.push((text, count)),
                _ => {}
            }
        }
        for (text, count) in details {
            let Some((digest, detail)) = text.split_at_checked(DIGEST_DIGITS) else { continue };
            let policy = known.get(digest).and_then(|policy| counts.policies.get_mut(policy));
            if let (Some(sums), Ok(detail)) = (policy, serde_json::from_str(detail)) {
                sums.detail(detail, count);
            }
        }
        counts.bound();
        counts
    }
}

impl Sums {
    fn detail(&mut self, detail: Detail, count: u64) {
        let sum = self.details.entry(detail).or_default();
        *sum = sum.saturating_add(count);
        while self.details.len() > MAX_DETAILS {
            self.details.pop_last();
        }
    }
}

/// Digits of a digest: among so few policies none has another's.
const DIGEST_DIGITS: usize = 16;

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text)).chars().take(DIGEST_DIGITS).collect()
}

/// Neither a policy nor a detail has a part that JSON doesn't know.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
