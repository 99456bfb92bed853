//! What validated look-ups gave, for as long as it may be believed.
//! **Owns:** times to live, one look-up at a time per name, answers beyond their time. **Never:** what an answer means.
//! An answer outlives its time only while nobody answers at all: one that comes and doesn't validate ends it.
//! RFC 8767 (stale answers), RFC 9520 (failures).

use std::time::Duration;

use postrider_core::mx::DnsFailure;
use tokio::time::Instant;

use crate::dns::Ttls;

/// What is worth keeping of a look-up.
pub(super) struct Found<V> {
    pub(super) value: V,
    /// As the zone says; nothing where it doesn't.
    pub(super) ttl: Option<Duration>,
    pub(super) kind: Kept,
}

/// How an answer is kept.
#[derive(Clone, Copy)]
pub(super) enum Kept {
    /// As records, or the word that nothing is signed.
    Answer,
    /// As the word that there is nothing.
    Absence,
    /// As a failure.
    Failure(DnsFailure),
}

/// The answers of one kind of look-up.
pub(super) struct Cache<V> {
    ttls: Ttls,
    entries: moka::future::Cache<String, Entry<V>>,
}

#[derive(Clone)]
struct Entry<V> {
    value: V,
    fresh_until: Instant,
    stale_until: Instant,
}

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    pub(super) fn new(ttls: Ttls, entries: u64) -> Self {
        Self { ttls, entries: moka::future::Cache::new(entries) }
    }

    /// The answer for a name: kept, or asked for. Callers that ask at the same time share one look-up.
    pub(super) async fn get(&self, name: &str, ask: impl Future<Output = Found<V>>) -> V {
        let now = Instant::now();
        let kept = self.entries.get(name).await;
        if let Some(entry) = kept.as_ref().filter(|entry| now < entry.fresh_until) {
            return entry.value.clone();
        }
        let ask = async { entry_of(ask.await, kept, Instant::now(), &self.ttls) };
        let is_old = |entry: &Entry<V>| now >= entry.fresh_until;
        // The future holds whole DNS messages: boxed, so that it doesn't swell each caller's.
        let entry = self.entries.entry_by_ref(name).or_insert_with_if(Box::pin(ask), is_old).await;
        entry.into_value().value
    }
}

fn entry_of<V>(found: Found<V>, kept: Option<Entry<V>>, now: Instant, ttls: &Ttls) -> Entry<V> {
    let ttl = found.ttl.unwrap_or(ttls.min);
    let (fresh, stale) = match found.kind {
        Kept::Answer => (ttl.clamp(ttls.min, ttls.max.max(ttls.min)), ttls.stale),
        Kept::Absence => (ttl.min(ttls.max_negative), Duration::ZERO),
        Kept::Failure(failure) => match kept.filter(|kept| failure.is_outage() && now < kept.stale_until) {
            Some(kept) => return Entry { fresh_until: now + ttls.failure, ..kept },
            None => (ttls.failure, Duration::ZERO),
        },
    };
    let fresh_until = now + fresh;
    Entry { value: found.value, fresh_until, stale_until: fresh_until + stale }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn entry(kind: Kept, kept: Option<Entry<&'static str>>, at: Instant) -> Entry<&'static str> {
        let value = if matches!(kind, Kept::Failure(_)) { "failed" } else { "said" };
        entry_of(Found { value, ttl: Some(Duration::from_secs(60)), kind }, kept, at, &Ttls::default())
    }

    #[test]
    fn an_old_answer_bridges_silence_and_not_an_answer_that_does_not_validate() {
        let at = Instant::now();
        let kept = || Some(entry(Kept::Answer, None, at));
        let after = |failure, hours| entry(Kept::Failure(failure), kept(), at + hours * HOUR).value;
        assert_eq!(after(DnsFailure::Timeout, 1), "said");
        assert_eq!(after(DnsFailure::Timeout, 13), "failed");
        assert_eq!(after(DnsFailure::Bogus, 1), "failed");
        let absent = Some(entry(Kept::Absence, None, at));
        assert_eq!(entry(Kept::Failure(DnsFailure::Timeout), absent, at + HOUR).value, "failed");
    }
}
