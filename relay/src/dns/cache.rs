//! What the DNS said, for as long as it may be believed.
//! **Owns:** times to live, one look-up at a time per name, answers beyond their time. **Never:** what an answer means.
//! Only records outlive their time, and only while nobody answers: an old "no such name" is no authority's word (I6).
//! RFC 2308 (negative answers), RFC 8767 (stale ones), RFC 9520 (failures).

use std::time::Duration;

use postrider_core::mx::Answer;
use tokio::time::Instant;

use super::{
    Ttls,
    resolve::{Kind, Resolver, Said},
};

/// The answers of one record type.
pub(super) struct Cache<T: Kind> {
    ttls: Ttls,
    entries: moka::future::Cache<String, Entry<T>>,
}

/// One name's answer.
#[derive(Debug, Clone)]
struct Entry<T> {
    answer: Answer<T>,
    /// Until then it is given out without a question.
    fresh_until: Instant,
    /// Until then it is given out if the question fails.
    stale_until: Instant,
}

impl<T: Kind> Cache<T> {
    pub(super) fn new(ttls: Ttls, entries: u64) -> Self {
        Self { ttls, entries: moka::future::Cache::new(entries) }
    }

    /// The answer for a name: kept, or asked for. Callers that ask at the same time share one look-up.
    pub(super) async fn lookup(&self, resolver: &Resolver, name: &str) -> Answer<T> {
        let now = Instant::now();
        let kept = self.entries.get(name).await;
        if let Some(entry) = kept.as_ref().filter(|entry| now < entry.fresh_until) {
            return entry.answer.clone();
        }
        let ask = async {
            let said = resolver.ask(name).await;
            entry_of(said, kept, Instant::now(), &self.ttls)
        };
        let is_old = |entry: &Entry<T>| now >= entry.fresh_until;
        // The future holds whole DNS messages: boxed, so that it doesn't swell each caller's.
        let entry = self.entries.entry_by_ref(name).or_insert_with_if(Box::pin(ask), is_old).await;
        entry.into_value().answer
    }
}

fn entry_of<T>(said: Said<T>, kept: Option<Entry<T>>, now: Instant, ttls: &Ttls) -> Entry<T> {
    let time = |ttl: Option<Duration>| match &said.answer {
        Answer::Records(_) => (ttl.unwrap_or(ttls.min).clamp(ttls.min, ttls.max.max(ttls.min)), ttls.stale),
        Answer::NoData | Answer::NxDomain => (ttl.unwrap_or(ttls.min).min(ttls.max_negative), Duration::ZERO),
        Answer::Failed(_) => (ttls.failure, Duration::ZERO),
    };
    let (fresh, stale) = time(said.ttl);
    if let (Answer::Failed(_), Some(kept)) = (&said.answer, kept)
        && now < kept.stale_until
    {
        // The old answer for a while more, then the DNS is asked again.
        return Entry { fresh_until: now + ttls.failure, ..kept };
    }
    let fresh_until = now + fresh;
    Entry { answer: said.answer, fresh_until, stale_until: fresh_until + stale }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use postrider_core::mx::DnsFailure;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn entry(
        answer: Answer<Ipv4Addr>,
        ttl: Option<u64>,
        kept: Option<Entry<Ipv4Addr>>,
        at: Instant,
    ) -> Entry<Ipv4Addr> {
        let said = Said { answer, ttl: ttl.map(Duration::from_secs) };
        entry_of(said, kept, at, &Ttls::default())
    }

    fn records() -> Answer<Ipv4Addr> {
        Answer::Records(vec![Ipv4Addr::LOCALHOST])
    }

    #[test]
    fn times_to_live_stay_within_bounds() {
        let at = Instant::now();
        let fresh = |answer, ttl| entry(answer, ttl, None, at).fresh_until - at;
        assert_eq!(fresh(records(), Some(1)), Duration::from_secs(30));
        assert_eq!(fresh(records(), Some(600)), Duration::from_secs(600));
        assert_eq!(fresh(records(), Some(86_400)), HOUR);
        assert_eq!(fresh(Answer::NxDomain, Some(86_400)), Duration::from_secs(300));
        assert_eq!(fresh(Answer::NxDomain, Some(7)), Duration::from_secs(7));
        assert_eq!(fresh(Answer::Failed(DnsFailure::ServFail), None), Duration::from_secs(30));
    }

    #[test]
    fn old_records_bridge_a_failure_and_an_old_absence_does_not() {
        let at = Instant::now();
        let failed = || Answer::Failed(DnsFailure::Timeout);
        let kept = entry(records(), Some(60), None, at);
        let bridged = entry(failed(), None, Some(kept.clone()), at + HOUR);
        assert_eq!(bridged.answer, records());
        assert_eq!(bridged.stale_until, kept.stale_until, "a failure doesn't make it younger");
        let too_old = entry(failed(), None, Some(kept), at + 13 * HOUR);
        assert_eq!(too_old.answer, failed());
        let absent = entry(Answer::NxDomain, Some(60), None, at);
        assert_eq!(entry(failed(), None, Some(absent), at + HOUR).answer, failed());
    }
}
