//! What this relay sees of TLS at far sides, for the reports that their domains ask for (RFC 8460).
//! **Owns:** what is counted and not yet in the queue's store. **Never:** which word a failure has (core::tls_report), a socket.
//! A session costs one short lock, and nothing where the fleet sends no reports. What a relay that dies hadn't stored is lost: it is
//! a minute's statistics, never mail.

mod post;
mod reporter;
mod seen;
mod send;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_core::{
    day::Day,
    mta_sts::{self, Kept, Mode},
    mx::Unresolved,
    tls_policy::Protection,
    tls_report::{Counts, Detail, Observed, PolicyKey, Session, of_unresolved},
};
use postrider_mail::{Domain, Due, HostName};

pub use reporter::Reporter;
pub(crate) use seen::of_certificate;
pub use seen::{fetch_result, flaw};

use crate::clock;

/// Domains and days counted at most between two times that they are stored. Sessions with others aren't counted.
const MAX_KEPT: usize = 10_000;

/// A domain's day.
type Key = (Day, Domain);

/// What was counted. Cloning shares.
#[derive(Clone, Default)]
pub struct TlsReports {
    /// How far the days of reports run ahead of the clock: not at all, but in tests.
    ahead: Duration,
    counted: Arc<Mutex<HashMap<Key, Counts>>>,
}

/// How sessions with the hosts of one domain are to be counted.
#[derive(Clone)]
pub struct Reported {
    to: TlsReports,
    domain: Domain,
    published: Option<Arc<Kept>>,
}

impl TlsReports {
    /// With days that end so long from now; for tests.
    pub fn with_midnight_in(wait: Duration) -> Self {
        let now = clock::wall();
        let left = now.until(Day::of(now).end());
        Self { ahead: left.saturating_sub(wait), ..Self::default() }
    }

    /// The time that days go by.
    fn now(&self) -> Due {
        clock::wall().after(self.ahead)
    }

    /// Counts a session.
    pub fn add(&self, session: Session) {
        self.add_at(session, self.now());
    }

    fn add_at(&self, session: Session, now: Due) {
        let key = (Day::of(now), session.policy.domain.clone());
        let mut counted = self.lock();
        if counted.len() < MAX_KEPT || counted.contains_key(&key) {
            counted.entry(key).or_default().add(session);
        }
    }

    /// Counts a domain without a host that mail may go to, where that is its policy's doing.
    pub fn unresolved(&self, domain: &Domain, why: &Unresolved, published: Option<&mta_sts::Policy>) {
        let Some((result, reason)) = of_unresolved(why) else { return };
        let policy = match (why, published) {
            (Unresolved::NotInPolicy(_), Some(policy)) => PolicyKey::sts(domain.clone(), policy),
            _ => PolicyKey::unknown_tlsa(domain.clone()),
        };
        self.add(Session { policy, observed: Observed::Bad(Detail::of(result).because(reason)) });
    }

    /// How sessions with the hosts of a domain are counted.
    pub fn of_domain(&self, domain: &Domain, published: Option<Arc<Kept>>) -> Reported {
        Reported { to: self.clone(), domain: domain.clone(), published }
    }

    /// What was counted since this was last asked.
    fn take(&self) -> Counted<'_> {
        Counted { from: self, left: std::mem::take(&mut *self.lock()) }
    }

    /// It wasn't stored: it is next time.
    fn put_back(&self, key: Key, counts: Counts) {
        let mut counted = self.lock();
        if counted.len() < MAX_KEPT || counted.contains_key(&key) {
            counted.entry(key).or_default().merge(counts);
        }
    }

    /// Nothing that holds the lock can fail half-way, so a poisoned one is sound.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Counts>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was counted, on its way to the store. What is still in it when it is dropped wasn't stored, and is next time.
struct Counted<'a> {
    from: &'a TlsReports,
    left: HashMap<Key, Counts>,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.left.drain().for_each(|(key, counts)| self.from.put_back(key, counts));
    }
}

impl Reported {
    fn published(&self) -> Option<&mta_sts::Policy> {
        self.published.as_ref().map(|kept| &kept.policy)
    }

    /// Counts a session under this protection. It is named here, as most attempts need no new connection.
    fn add(&self, protection: &Protection, observed: Observed) {
        let policy = PolicyKey::of(self.domain.clone(), protection, self.published());
        self.to.add(Session { policy, observed });
    }

    /// Where the domain's policy is tested only (RFC 8461 5): whether it allows the host.
    fn tested(&self, host: &HostName, protection: &Protection) -> Option<bool> {
        let policy = self.published().filter(|policy| policy.mode == Mode::Testing)?;
        (!matches!(protection, Protection::Dane { .. })).then(|| policy.allows(host))
    }
}

/// Who counts doesn't matter.
impl PartialEq for Reported {
    fn eq(&self, other: &Self) -> bool {
        self.domain == other.domain && self.published == other.published
    }
}

impl Eq for Reported {}

impl std::fmt::Debug for Reported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reported")
            .field("domain", &self.domain)
            .field("published", &self.published)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use postrider_core::tls_report::ResultType;

    use super::*;

    fn domain(n: usize) -> Domain {
        Domain::parse(&format!("d{n}.example")).expect("a domain")
    }

    fn good(n: usize) -> Session {
        Session { policy: PolicyKey::none(domain(n)), observed: Observed::Good }
    }

    #[test]
    fn what_is_kept_is_bounded_and_taken_once() {
        let reports = TlsReports::default();
        (0..MAX_KEPT + 5).for_each(|n| reports.add_at(good(n), Due::from_unix_millis(0)));
        reports.add_at(good(0), Due::from_unix_millis(0));
        let mut taken = reports.take();
        assert_eq!(taken.left.len(), MAX_KEPT);
        assert!(reports.take().left.is_empty());
        let key = (Day::of(Due::from_unix_millis(0)), domain(0));
        let counts = taken.left.remove(&key).expect("counted");
        assert_eq!(counts.increments().first().map(|one| one.by), Some(2));
        reports.put_back(key.clone(), counts.clone());
        reports.add_at(good(0), Due::from_unix_millis(1));
        assert_eq!(reports.take().left[&key].increments().first().map(|one| one.by), Some(3));
    }

    #[test]
    fn what_is_taken_and_not_stored_is_there_again() {
        let (reports, at) = (TlsReports::default(), Due::from_unix_millis(0));
        (0..3).for_each(|n| reports.add_at(good(n), at));
        let mut taken = reports.take();
        taken.left.remove(&(Day::of(at), domain(0))).expect("counted");
        // Counted while the DNS was asked.
        reports.add_at(good(1), at);
        drop(taken);
        let taken = reports.take();
        let by = |n| Some(taken.left.get(&(Day::of(at), domain(n)))?.increments().first()?.by);
        assert_eq!([by(0), by(1), by(2)], [None, Some(2), Some(1)]);
    }

    #[test]
    fn a_domain_whose_policy_forbids_each_host_is_told() {
        let reports = TlsReports::default();
        let file = b"version: STSv1\nmode: enforce\nmx: other.example\nmax_age: 86400\n";
        let policy = mta_sts::Policy::parse(file).expect("a policy");
        reports.unresolved(&domain(1), &Unresolved::NotInPolicy("mx.example".into()), Some(&policy));
        reports.unresolved(&domain(1), &Unresolved::NoMailHost, Some(&policy));
        let taken: Vec<Counts> = reports.take().left.values().cloned().collect();
        let mut expected = Counts::default();
        let detail = Detail::of(ResultType::ValidationFailure).because("mx-not-in-policy");
        let policy = PolicyKey::sts(domain(1), &policy);
        expected.add(Session { policy, observed: Observed::Bad(detail) });
        assert_eq!(taken, [expected]);
    }
}
