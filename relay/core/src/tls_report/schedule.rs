//! When a day's reports leave, and the day as a report has it.
//! **Owns:** the spread over hours. **Never:** reads a clock.
//! RFC 8460 4.1 (one report a day, from midnight to midnight UTC), 5.1 (spread over hours).

use std::time::Duration;

use postrider_mail::{Domain, Due};

use crate::day::Day;

/// How long behind a day's end the first reports leave: every relay has stored what it counted by then.
pub(super) const SETTLED: Duration = Duration::from_secs(600);
/// The time within which they leave then, each domain's at a time of its own.
const SPREAD_MILLIS: u64 = 4 * 3_600 * 1_000 - SETTLED.as_millis() as u64;

/// When a domain's report of a day leaves: some time within four hours behind its end, the same for the whole fleet.
pub fn leaves(day: Day, domain: &Domain) -> Due {
    let hash = domain.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    day.end().after(SETTLED + Duration::from_millis((hash ^ (hash >> 32)) % SPREAD_MILLIS))
}

/// A day's first and last second as RFC 3339 has them.
pub(super) fn range(day: Day) -> (String, String) {
    (format!("{day}T00:00:00Z"), format!("{day}T23:59:59Z"))
}

/// The same as seconds since 1970.
pub(super) fn seconds(day: Day) -> (u64, u64) {
    (day.begin().unix_millis() / 1_000, day.end().unix_millis() / 1_000 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_s_day_ends_with_its_last_second() {
        let day = Day::of(Due::from_unix_millis(1_459_555_200_000 - 1));
        assert_eq!(range(day), ("2016-04-01T00:00:00Z".to_owned(), "2016-04-01T23:59:59Z".to_owned()));
        assert_eq!(seconds(day), (1_459_468_800, 1_459_555_199));
    }

    #[test]
    fn reports_leave_within_hours_and_not_all_at_once() {
        let day = Day::of(Due::from_unix_millis(1_785_000_000_000));
        let mut waits: Vec<Duration> = (0..100)
            .map(|n| Domain::parse(&format!("d{n}.example")).expect("a domain"))
            .map(|domain| day.end().until(leaves(day, &domain)))
            .collect();
        let hour = Duration::from_secs(3_600);
        assert!(waits.iter().all(|wait| (SETTLED..4 * hour).contains(wait)));
        waits.sort();
        assert!(waits[20] < hour * 2 && waits[80] > hour * 2, "{waits:?}");
    }
}
