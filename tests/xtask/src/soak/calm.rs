//! When nothing was wrong, and how long a 250 took then.
//! **Owns:** which times count as calm. **Never:** I/O.

use std::time::{Duration, Instant};

use crate::{
    bench::figures::percentile,
    chaos::judge::{AFTERMATH, Struck},
};

/// From and to, in the run.
pub(crate) type Stretch = (Duration, Duration);

/// How long 250s took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) count: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) most: Duration,
}

/// The times when no fault was under way, nor just over.
pub(crate) fn stretches(struck: &[Struck], lasts: Duration) -> Vec<Stretch> {
    let mut struck: Vec<Stretch> = struck.iter().map(|one| (one.from, one.to + AFTERMATH)).collect();
    struck.sort_unstable();
    let (mut calm, mut from) = (Vec::new(), Duration::ZERO);
    for (begins, ends) in struck {
        if begins > from {
            calm.push((from, begins.min(lasts)));
        }
        from = from.max(ends);
    }
    if lasts > from {
        calm.push((from, lasts));
    }
    calm
}

/// Whether it is calm from then to then: what was sent in calm may have waited for a fault that came right behind it.
pub(crate) fn is_calm(stretches: &[Stretch], (begins, ends): Stretch) -> bool {
    stretches.iter().any(|(from, to)| *from <= begins && ends < *to)
}

/// Of all of them; none of none.
pub(crate) fn spread(waits: impl IntoIterator<Item = Duration>) -> Option<Spread> {
    let mut sorted: Vec<Duration> = waits.into_iter().collect();
    sorted.sort_unstable();
    let (p50, p99) = (percentile(&sorted, 50)?, percentile(&sorted, 99)?);
    Some(Spread { count: sorted.len(), p50, p99, most: *sorted.last()? })
}

/// From each dot to its 250, in the run.
pub(crate) fn since(began: Instant, waits: &[(Instant, Duration)]) -> Vec<Stretch> {
    let stretch = |(dot, wait): &(Instant, Duration)| {
        let dot = dot.saturating_duration_since(began);
        (dot, dot + *wait)
    };
    waits.iter().map(stretch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn struck(from: u64, to: u64) -> Struck {
        Struck {
            from: seconds(from),
            to: seconds(to),
            is_disruptive: true,
            is_pause: false,
            relay: None,
            is_kill: false,
            is_partition: false,
            is_outage: false,
            is_of_store: true,
            may_promote: false,
            is_clock: false,
        }
    }

    #[test]
    fn calm_is_what_no_fault_and_no_aftermath_covers() {
        let struck = [struck(100, 160), struck(50, 60), struck(70, 75)];
        let calm = stretches(&struck, seconds(300));
        assert_eq!(
            calm,
            [(seconds(0), seconds(50)), (seconds(95), seconds(100)), (seconds(180), seconds(300))]
        );
        assert!(is_calm(&calm, (seconds(97), seconds(99))));
        assert!(!is_calm(&calm, (seconds(97), seconds(100))), "it ends with the fault");
        assert!(!is_calm(&calm, (seconds(40), seconds(97))), "there was a fault between");
    }

    #[test]
    fn all_is_calm_where_nothing_strikes() {
        assert_eq!(stretches(&[], seconds(9)), [(seconds(0), seconds(9))]);
        assert_eq!(stretches(&[struck(0, 9)], seconds(9)), []);
    }

    #[test]
    fn the_spread_of_a_hundred_is_told_by_their_places() {
        let spread = spread((1..=100).rev().map(Duration::from_millis)).expect("a hundred");
        assert_eq!((spread.p50.as_millis(), spread.p99.as_millis(), spread.most.as_millis()), (50, 99, 100));
        assert_eq!(super::spread([]), None);
    }
}
