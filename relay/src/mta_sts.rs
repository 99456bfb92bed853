//! The MTA-STS policies of domains, as this relay knows them: in memory, then in the queue's store for the fleet, then from the domain.
//! **Owns:** when each of these is asked. **Never:** what a policy means (core::mta_sts, core::tls_policy), a socket (fetch.rs).
//! Invariant: a policy that the fleet has fetched holds until its time is over, whatever the DNS or the policy's host say, and a
//! restart changes nothing of it (RFC 8461 3.3, 10.2). Only a shard that is away takes what it keeps with it: those domains are asked
//! anew, and mail of the other shards goes on.
//! Invariant: that the store doesn't answer is never taken for the word that the fleet has no policy.

mod fetch;

use std::{sync::Arc, time::Duration};

use postrider_core::{
    mta_sts::{Kept, PolicyId, Record, Step, next},
    mx::{Answer, Destinations},
    tls_report::{Detail, Observed, PolicyKey, Session},
};
use postrider_mail::{Domain, Due};
use postrider_queue::{Unavailable, shards::Shards};
use prometheus::IntCounterVec;
use tokio::time::Instant;

pub use fetch::{FetchError, Fetcher};

use crate::{
    clock,
    dns::Dns,
    tls_report::{self, TlsReports},
};

/// How long what is known of a domain is used before its record is looked at again; also how long a fetch that failed isn't repeated.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(300);
/// The same while the store doesn't answer, or doesn't take what was fetched.
const ASK_STORE_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How old what is known must be to be fetched anew because no host fits it.
const FETCH_ANEW_AFTER: Duration = Duration::from_secs(60);
/// Bytes for what is known of domains.
const MEMORY_BYTES: u64 = 16 * 1024 * 1024;
/// What an entry takes beside its hosts, and each of those: more than measured.
const ENTRY_BYTES: usize = 300;
const HOST_BYTES: usize = 64;

/// The policies. Cloning shares.
#[derive(Clone)]
pub struct Policies {
    inner: Arc<Inner>,
}

struct Inner {
    dns: Dns,
    fetcher: Fetcher,
    shards: Shards,
    known: moka::future::Cache<Domain, Known>,
    lookups: IntCounterVec,
    reports: TlsReports,
}

/// Whether the fleet has a domain's policy isn't known: the store didn't answer, and the domain didn't give it either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown;

/// What is known of one domain: its policy, if it has one.
#[derive(Clone)]
struct Known {
    kept: Option<Arc<Kept>>,
    /// Whether the store has it as well. Without a policy: whether the store has said that it has none.
    is_shared: bool,
    looked: Instant,
    until: Instant,
}

impl Policies {
    /// Knows nothing yet. `lookups` counts looks at a domain, with the label `result`; `reports` those that failed.
    pub fn new(
        dns: Dns,
        fetcher: Fetcher,
        shards: Shards,
        lookups: IntCounterVec,
        reports: TlsReports,
    ) -> Self {
        let weight = |_: &Domain, known: &Known| u32::try_from(known.bytes()).unwrap_or(u32::MAX);
        let known = moka::future::Cache::builder().weigher(weight).max_capacity(MEMORY_BYTES).build();
        Self { inner: Arc::new(Inner { dns, fetcher, shards, known, lookups, reports }) }
    }

    /// A domain's policy that holds now, if it has one. `to` is where its file may be fetched from.
    ///
    /// # Errors
    /// Nobody knows whether it has one.
    pub async fn of(&self, domain: &Domain, to: &Destinations) -> Result<Option<Arc<Kept>>, Unknown> {
        let now = Instant::now();
        self.look(domain, to, false, |known| known.until <= now).await
    }

    /// The same, fetched anew unless that was just done: no host fits the one that is known (RFC 8461 5.1).
    ///
    /// # Errors
    /// As of [`Self::of`].
    pub async fn anew(&self, domain: &Domain, to: &Destinations) -> Result<Option<Arc<Kept>>, Unknown> {
        let before = Instant::now().checked_sub(FETCH_ANEW_AFTER);
        self.look(domain, to, true, |known| before.is_some_and(|before| known.looked <= before)).await
    }

    /// Those who ask for a domain at the same time share one look.
    async fn look(
        &self,
        domain: &Domain,
        to: &Destinations,
        is_forced: bool,
        is_old: impl FnMut(&Known) -> bool + Send,
    ) -> Result<Option<Arc<Kept>>, Unknown> {
        let mut is_old = is_old;
        let known = self.inner.known.get(domain).await;
        let known = match known {
            Some(known) if !is_old(&known) => known,
            before => {
                let look = self.inner.look(domain, to, before, is_forced);
                let entry = self.inner.known.entry_by_ref(domain);
                // The future holds a whole fetch: boxed, so that it doesn't swell each caller's.
                entry.or_insert_with_if(Box::pin(look), is_old).await.into_value()
            }
        };
        if known.kept.is_none() && !known.is_shared {
            return Err(Unknown);
        }
        Ok(known.kept.filter(|kept| kept.left(now()).is_some()))
    }
}

impl Inner {
    async fn look(
        &self,
        domain: &Domain,
        to: &Destinations,
        before: Option<Known>,
        is_forced: bool,
    ) -> Known {
        let was_shared = before.as_ref().is_some_and(|known| known.is_shared);
        let here = before.and_then(|known| known.kept).filter(|kept| kept.left(now()).is_some());
        let has_here = here.is_some();
        let (record, there) = tokio::join!(self.record(domain), self.there(domain, has_here));
        let is_silent = there.is_err();
        // That it had none is an old word: others may have fetched one since.
        let mut is_shared = if has_here { was_shared } else { !is_silent };
        let kept = here.or(there.unwrap_or_else(|why| {
            tracing::warn!(domain = domain.as_str(), %why, "the queue's store did not say whether the fleet has the domain's MTA-STS policy");
            None
        }));
        let step = match (next(kept.as_deref(), &record, now()), &record) {
            (Step::Keep, Record::Id(id)) if is_forced => Step::Fetch(id.clone()),
            (step, _) => step,
        };
        let (kept, result) = match step {
            Step::Keep => (kept, None),
            Step::Fetch(id) => match self.fetch(domain, to, id).await {
                Some(fetched) => {
                    is_shared = false;
                    (Some(fetched), Some("fetched"))
                }
                None => (kept, Some("failed")),
            },
        };
        let found = if kept.is_some() { "kept" } else { "none" };
        self.lookups.with_label_values(&[result.unwrap_or(found)]).inc();
        if let (Some(kept), false) = (&kept, is_shared) {
            is_shared = self.share(domain, kept).await;
        }
        Known::new(kept, is_shared, is_silent)
    }

    async fn record(&self, domain: &Domain) -> Record {
        match self.dns.texts(&format!("_mta-sts.{}", domain.as_str())).await {
            Answer::Records(texts) => Record::of(texts.iter().map(|text| &*text.0)),
            Answer::NoData | Answer::NxDomain => Record::Absent,
            Answer::Failed(_) => Record::Failed,
        }
    }

    /// What the fleet has fetched before, and still holds. Not asked for where that is known here.
    async fn there(&self, domain: &Domain, is_here: bool) -> Result<Option<Arc<Kept>>, Unavailable> {
        if is_here {
            return Ok(None);
        }
        let Some(note) = self.shards.note(&note_name(domain)).await? else { return Ok(None) };
        // What another version wrote and this one can't read is fetched again.
        let kept = serde_json::from_slice::<Kept>(&note).ok().filter(|kept| kept.left(now()).is_some());
        Ok(kept.map(Arc::new))
    }

    async fn fetch(&self, domain: &Domain, to: &Destinations, id: PolicyId) -> Option<Arc<Kept>> {
        let policy = match self.fetcher.fetch(domain, to).await {
            Ok(policy) => policy,
            Err(why) => {
                tracing::warn!(domain = domain.as_str(), %why, "the domain's MTA-STS policy could not be fetched; what was known of it holds");
                let failure = Detail::of(tls_report::fetch_result(&why));
                let policy = PolicyKey::unknown_sts(domain.clone());
                self.reports.add(Session { policy, observed: Observed::Bad(failure) });
                return None;
            }
        };
        Some(Arc::new(Kept { policy, id, fetched: now() }))
    }

    /// Keeps a policy for the fleet, and for this relay's next process; whether that is done.
    async fn share(&self, domain: &Domain, kept: &Kept) -> bool {
        let (Ok(note), Some(left)) = (serde_json::to_vec(kept), kept.left(now())) else { return true };
        let taken = self.shards.take_note(&note_name(domain), &note, left).await;
        if let Err(why) = &taken {
            tracing::warn!(domain = domain.as_str(), %why, "the queue's store did not take the domain's MTA-STS policy; it is tried again");
        }
        taken.is_ok()
    }
}

impl Known {
    fn new(kept: Option<Arc<Kept>>, is_shared: bool, is_silent: bool) -> Self {
        let looked = Instant::now();
        let fresh = if is_shared && !is_silent { LOOK_AGAIN_AFTER } else { ASK_STORE_AGAIN_AFTER };
        Self { kept, is_shared, looked, until: looked + fresh }
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.kept.as_ref().map_or(0, |kept| kept.policy.hosts.len()) * HOST_BYTES
    }
}

fn note_name(domain: &Domain) -> String {
    format!("mta-sts:{}", domain.as_str())
}

/// The wall clock: policies outlive the process.
fn now() -> Due {
    clock::wall()
}

#[cfg(test)]
mod tests;
