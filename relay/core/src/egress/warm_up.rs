//! The first days of a source.
//! **Owns:** how much a day has. **Never:** counts, reads a clock.

use serde::{Deserialize, Serialize};

use crate::day::Day;

/// So many messages to each far side on each of the first days.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WarmUp {
    /// The first day.
    pub start: Day,
    /// The most of each day, from the first on.
    pub messages: Vec<u32>,
}

impl WarmUp {
    /// The most messages that may go to one far side on a day; none before the first day, and no limit behind the last one.
    pub fn most_on(&self, day: Day) -> Option<u32> {
        match day.since(self.start) {
            None => Some(0),
            Some(later) => self.messages.get(usize::try_from(later).unwrap_or(usize::MAX)).copied(),
        }
    }
}

impl std::fmt::Display for WarmUp {
    /// `50 messages to each far side on 2026-12-01, then 100, 500, …, 20000 on 2026-12-12`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        /// Days told between the first and the last.
        const TOLD: usize = 3;
        let [first, between @ .., last] = self.messages.as_slice() else {
            let only = self.messages.first().copied().unwrap_or(0);
            return write!(f, "{only} messages to each far side on {}", self.start);
        };
        write!(f, "{first} messages to each far side on {}, then ", self.start)?;
        for more in between.iter().take(TOLD) {
            write!(f, "{more}, ")?;
        }
        if between.len() > TOLD {
            write!(f, "…, ")?;
        }
        let days = u32::try_from(between.len() + 1).unwrap_or(u32::MAX);
        write!(f, "{last} on {}", self.start.after(days))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    fn plan(messages: &[u32]) -> WarmUp {
        WarmUp { start: day("2026-12-01"), messages: messages.to_vec() }
    }

    #[test]
    fn each_day_has_its_own_and_behind_the_last_there_is_no_limit() {
        let plan = plan(&[50, 100]);
        let most = |text: &str| plan.most_on(day(text));
        assert_eq!(most("2026-11-30"), Some(0), "nothing before the first day");
        assert_eq!(most("2026-12-01"), Some(50));
        assert_eq!(most("2026-12-02"), Some(100));
        assert_eq!(most("2026-12-03"), None);
    }

    #[test]
    fn a_plan_is_told_by_its_ends_and_a_few_days() {
        assert_eq!(plan(&[50]).to_string(), "50 messages to each far side on 2026-12-01");
        assert_eq!(
            plan(&[50, 100]).to_string(),
            "50 messages to each far side on 2026-12-01, then 100 on 2026-12-02"
        );
        assert_eq!(
            plan(&[1, 2, 3, 4, 5, 6, 7]).to_string(),
            "1 messages to each far side on 2026-12-01, then 2, 3, 4, …, 7 on 2026-12-07"
        );
    }
}
