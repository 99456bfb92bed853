//! One day of reporting, by UTC.
//! **Owns:** where it begins and ends, its name, when its reports leave. **Never:** reads a clock.
//! RFC 8460 4.1 (one report a day, from midnight to midnight UTC), 5.1 (spread over hours).

use std::time::Duration;

use postrider_mail::{Domain, Due};

const DAY_MILLIS: u64 = 24 * 3_600 * 1_000;
/// How long behind a day's end the first reports leave: every relay has stored what it counted by then.
pub(super) const SETTLED: Duration = Duration::from_secs(600);
/// The time within which they leave then, each domain's at a time of its own.
const SPREAD_MILLIS: u64 = 4 * 3_600 * 1_000 - SETTLED.as_millis() as u64;

/// A day: so many behind 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportDay(u32);

impl ReportDay {
    /// The day of a time.
    pub fn of(at: Due) -> Self {
        Self(u32::try_from(at.unix_millis() / DAY_MILLIS).unwrap_or(u32::MAX))
    }

    /// The day before; the first has none.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Its first moment.
    pub fn begin(self) -> Due {
        Due::from_unix_millis(u64::from(self.0) * DAY_MILLIS)
    }

    /// The first moment of the next day.
    pub fn end(self) -> Due {
        self.begin().after(Duration::from_millis(DAY_MILLIS))
    }

    /// When a domain's report of the day leaves: some time within four hours behind its end, the same for the whole fleet.
    pub fn leaves(self, domain: &Domain) -> Due {
        let hash = domain.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        self.end().after(SETTLED + Duration::from_millis((hash ^ (hash >> 32)) % SPREAD_MILLIS))
    }

    /// Its first and last second as RFC 3339 has them.
    pub(super) fn range(self) -> (String, String) {
        let last = self.end().unix_millis() - 1_000;
        (rfc3339(self.begin().unix_millis()), rfc3339(last))
    }

    /// The same as seconds since 1970.
    pub(super) fn seconds(self) -> (u64, u64) {
        (self.begin().unix_millis() / 1_000, self.end().unix_millis() / 1_000 - 1)
    }
}

fn rfc3339(millis: u64) -> String {
    let at = i64::try_from(millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    at.unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl std::fmt::Display for ReportDay {
    /// `2026-11-27`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(rfc3339(self.begin().unix_millis()).get(..10).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_and_ends_at_midnight_utc() {
        let day = ReportDay::of(Due::from_unix_millis(1_459_555_200_000 - 1));
        assert_eq!(day.to_string(), "2016-04-01");
        assert_eq!(day.range(), ("2016-04-01T00:00:00Z".to_owned(), "2016-04-01T23:59:59Z".to_owned()));
        assert_eq!(day.seconds(), (1_459_468_800, 1_459_555_199));
        assert_eq!(ReportDay::of(day.end()).before(), day);
    }

    #[test]
    fn reports_leave_within_hours_and_not_all_at_once() {
        let day = ReportDay::of(Due::from_unix_millis(1_785_000_000_000));
        let mut waits: Vec<Duration> = (0..100)
            .map(|n| Domain::parse(&format!("d{n}.example")).expect("a domain"))
            .map(|domain| day.end().until(day.leaves(&domain)))
            .collect();
        let hour = Duration::from_secs(3_600);
        assert!(waits.iter().all(|wait| (SETTLED..4 * hour).contains(wait)));
        waits.sort();
        assert!(waits[20] < hour * 2 && waits[80] > hour * 2, "{waits:?}");
    }
}
