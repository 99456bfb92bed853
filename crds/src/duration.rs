//! Durations as Gateway API writes them: `1h30m`, `500ms`.
//! **Owns:** their syntax (GEP-2257). **Never:** which of them is sensible where (core's compile says it).

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::text;

/// Four numbers of five digits with their units.
const MAX_BYTES: usize = 28;
/// 99999h59m59s999ms: GEP-2257 can't write more down.
const MAX_MILLIS: u64 = 100_000 * 3_600_000 - 1;

/// A duration, at most 99,999 h; whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(std::time::Duration);

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidDuration(String);

impl std::fmt::Display for InvalidDuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let expected = text::meaning(text::DURATION).unwrap_or_default();
        write!(f, "found {:?}; expected {expected}", self.0)
    }
}

impl std::error::Error for InvalidDuration {}

impl Duration {
    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// As the standard library has it.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}

impl From<std::time::Duration> for Duration {
    fn from(duration: std::time::Duration) -> Self {
        Self(duration)
    }
}

impl std::str::FromStr for Duration {
    type Err = InvalidDuration;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self).ok_or_else(|| InvalidDuration(text.chars().take(MAX_BYTES).collect()))
    }
}

fn parse(text: &str) -> Option<std::time::Duration> {
    let mut sum: u64 = 0;
    let (mut rest, mut parts) = (text, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        let (unit, millis) = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
            .into_iter()
            .find(|(unit, _)| behind.starts_with(unit))?;
        if !(1..=5).contains(&digits) {
            return None;
        }
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(millis)?)?;
        rest = behind.strip_prefix(unit)?;
        parts += 1;
    }
    (1..=4).contains(&parts).then(|| std::time::Duration::from_millis(sum.min(MAX_MILLIS)))
}

impl std::fmt::Display for Duration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if millis >= size {
                write!(f, "{}{unit}", millis / size)?;
                millis %= size;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Duration {
    type Error = InvalidDuration;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.to_string()
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": text::DURATION, "maxLength": MAX_BYTES })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_gep_2257_has_them() {
        for (text, millis) in
            [("0s", 0), ("90s", 90_000), ("1h30m", 5_400_000), ("1500ms", 1_500), ("1h1m1s1ms", 3_661_001)]
        {
            assert_eq!(text.parse::<Duration>().expect(text).get().as_millis(), millis, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "0", "5", "1d", "1.5h", "-1s", "100000s", "1h1m1s1ms1s", "m", "1 s", "1µs"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_adds_up_to_more_than_can_be_printed_is_the_most_that_can() {
        let most: Duration = "99999h99999h".parse().expect("each part is one");
        assert_eq!(most.to_string(), "99999h59m59s999ms");
        assert_eq!(most.to_string().parse(), Ok(most));
    }

    #[test]
    fn a_printed_duration_reads_the_same() {
        for text in ["0s", "3m", "120h", "1h30m", "2s500ms"] {
            assert_eq!(text.parse::<Duration>().expect(text).to_string(), text);
        }
    }
}
