//! What has to hold after a soak.
//! **Owns:** how growth is told from noise, and its bounds. **Never:** I/O, a sample.
//!
//! The first quarter warms up: buffers, connections and heaps come to their size. The median of the last quarter is held against that
//! of the second: what leaks a little with each message has leaked twice as much by then, and a burst moves no median.

use std::time::Duration;

/// What is shorter only warms up.
pub(crate) const JUDGED_FROM: Duration = Duration::from_secs(20 * 60);

/// Something that has to hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claim {
    pub(crate) what: &'static str,
    pub(crate) found: String,
    pub(crate) expected: String,
    pub(crate) word: Word,
}

/// Whether it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Holds,
    Fails,
    /// The run was too short to tell.
    Untold,
}

/// By how much something may grow: by a share, and by so much besides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) share: f64,
    pub(crate) slack: f64,
}

/// The medians of the second quarter of a run and of its last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Growth {
    pub(crate) second: f64,
    pub(crate) last: f64,
}

impl Growth {
    /// Of points in time. None if a quarter has no point.
    pub(crate) fn of(points: &[(Duration, f64)], lasts: Duration) -> Option<Self> {
        let quarter = |number: u32| {
            let within = lasts * number / 4..=lasts * (number + 1) / 4;
            median(points.iter().filter(|(at, _)| within.contains(at)).map(|(_, value)| *value).collect())
        };
        Some(Self { second: quarter(1)?, last: quarter(3)? })
    }

    /// Whether it stays in a bound.
    pub(crate) fn is_within(self, bound: Bound) -> bool {
        self.last <= most(self.second, bound)
    }
}

fn most(second: f64, bound: Bound) -> f64 {
    second * (1.0 + bound.share) + bound.slack
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Claims that something stays as it is.
pub(crate) fn flat(
    what: &'static str,
    points: &[(Duration, f64)],
    lasts: Duration,
    bound: Bound,
    shown: fn(f64) -> String,
) -> Claim {
    let growth = Growth::of(points, lasts);
    let word = match growth {
        _ if lasts < JUDGED_FROM => Word::Untold,
        Some(growth) if growth.is_within(bound) => Word::Holds,
        _ => Word::Fails,
    };
    let found = growth.map_or_else(
        || "too few samples".to_owned(),
        |growth| format!("{}, in the second quarter {}", shown(growth.last), shown(growth.second)),
    );
    let limit = growth.map_or_else(String::new, |growth| format!(": {}", shown(most(growth.second, bound))));
    let expected = format!("at most {:.0} % and {} more{limit}", bound.share * 100.0, shown(bound.slack));
    Claim { what, found, expected, word }
}

/// Claims a plain fact.
pub(crate) fn fact(what: &'static str, holds: bool, found: String, expected: String) -> Claim {
    Claim { what, found, expected, word: if holds { Word::Holds } else { Word::Fails } }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const BOUND: Bound = Bound { share: 0.1, slack: 4.0 };

    /// A sample every ten seconds of an hour.
    fn points(value: impl Fn(u64) -> f64) -> Vec<(Duration, f64)> {
        (0..360).map(|number| (Duration::from_secs(number * 10), value(number))).collect()
    }

    fn word(value: impl Fn(u64) -> f64) -> Word {
        flat("memory", &points(value), HOUR, BOUND, |value| format!("{value:.0} MiB")).word
    }

    #[test]
    fn what_leaks_a_little_all_the_time_fails() {
        // 45 in the middle of the second quarter, 65 in that of the last.
        assert_eq!(word(|number| 30.0 + number as f64 * 40.0 / 360.0), Word::Fails);
    }

    #[test]
    fn what_warms_up_and_stays_holds() {
        assert_eq!(word(|number| if number < 60 { number as f64 } else { 60.0 }), Word::Holds);
    }

    #[test]
    fn bursts_are_no_growth() {
        assert_eq!(word(|number| if number % 5 == 0 { 900.0 } else { 50.0 }), Word::Holds);
        assert_eq!(word(|number| if number > 340 { 900.0 } else { 50.0 }), Word::Holds);
    }

    #[test]
    fn a_step_in_the_last_quarter_fails() {
        assert_eq!(word(|number| if number > 280 { 60.0 } else { 50.0 }), Word::Fails);
    }

    #[test]
    fn what_shrinks_holds() {
        assert_eq!(word(|number| 90.0 - number as f64 / 10.0), Word::Holds);
    }

    #[test]
    fn a_short_run_tells_nothing_of_growth() {
        let claim = flat("memory", &points(|_| 1.0), HOUR / 4, BOUND, |value| value.to_string());
        assert_eq!(claim.word, Word::Untold);
    }

    #[test]
    fn an_hour_without_samples_fails_and_says_so() {
        let claim = flat("memory", &[], HOUR, BOUND, |value| format!("{value:.0} MiB"));
        assert_eq!(claim.word, Word::Fails);
        assert_eq!(claim.found, "too few samples");
        assert_eq!(claim.expected, "at most 10 % and 4 MiB more");
    }
}
