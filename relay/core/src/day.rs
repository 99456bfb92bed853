//! A day, by UTC.
//! **Owns:** where it begins and ends, how it is written. **Never:** reads a clock.

use std::{str::FromStr, time::Duration};

use jiff::{civil::Date, tz::TimeZone};
use postrider_mail::Due;
use serde::{Deserialize, Serialize};

const DAY_MILLIS: u64 = 24 * 3_600 * 1_000;

/// A day: so many behind 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(u32);

/// A text that is no day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a day from 1970 on, such as 2026-12-01")]
pub struct InvalidDay;

impl Day {
    /// The day of a time.
    pub fn of(at: Due) -> Self {
        Self(u32::try_from(at.unix_millis() / DAY_MILLIS).unwrap_or(u32::MAX))
    }

    /// The day before; the first has none.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// How many days behind `first` it is; none if it is before that.
    pub const fn since(self, first: Self) -> Option<u32> {
        self.0.checked_sub(first.0)
    }

    /// So many days later.
    #[must_use]
    pub const fn after(self, days: u32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Its first moment.
    pub fn begin(self) -> Due {
        Due::from_unix_millis(u64::from(self.0) * DAY_MILLIS)
    }

    /// The first moment of the next day.
    pub fn end(self) -> Due {
        self.begin().after(Duration::from_millis(DAY_MILLIS))
    }
}

impl std::fmt::Display for Day {
    /// `2026-11-27`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let begin = i64::try_from(self.begin().unix_millis()).ok();
        let begin = begin.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
        write!(f, "{}", begin.unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y-%m-%d"))
    }
}

impl FromStr for Day {
    type Err = InvalidDay;

    /// Reads `2026-11-27`.
    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let date: Date = text.parse().map_err(|_| InvalidDay)?;
        let begin = date.to_zoned(TimeZone::UTC).map_err(|_| InvalidDay)?.timestamp();
        let day = begin.as_second().div_euclid(24 * 3_600);
        let day = u32::try_from(day).map(Self).map_err(|_| InvalidDay)?;
        // Nothing but the date itself: the parser knows more ways to write one.
        if day.to_string() == text { Ok(day) } else { Err(InvalidDay) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_and_ends_at_midnight_utc() {
        let day = Day::of(Due::from_unix_millis(1_459_555_200_000 - 1));
        assert_eq!(day.to_string(), "2016-04-01");
        assert_eq!(day.begin().unix_millis(), 1_459_468_800_000);
        assert_eq!(day.end().unix_millis(), 1_459_555_200_000);
        assert_eq!(Day::of(day.end()).before(), day);
    }

    #[test]
    fn a_day_is_read_as_it_is_written() {
        for text in ["1970-01-01", "2024-02-29", "2026-12-01"] {
            assert_eq!(text.parse::<Day>().map(|day| day.to_string()).as_deref(), Ok(text));
        }
        for text in
            ["", "2026-13-01", "2025-02-29", "20261201", "2026-12-01T00:00:00", "1969-12-31", "2026-1-1"]
        {
            assert_eq!(text.parse::<Day>(), Err(InvalidDay), "{text}");
        }
    }

    #[test]
    fn days_are_counted_from_the_first() {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        assert_eq!(day("2026-12-01").since(day("2026-11-28")), Some(3));
        assert_eq!(day("2026-12-01").since(day("2026-12-01")), Some(0));
        assert_eq!(day("2026-11-30").since(day("2026-12-01")), None);
    }
}
