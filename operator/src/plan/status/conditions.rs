//! Conditions, and what time does to them.
//! **Owns:** that a condition's time is when its status changed, that two are compared without it. **Never:** what a condition means.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The longest message; the API server takes 32 KiB.
const MOST_CHARACTERS: usize = 2_000;

/// What is to be said by one condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Say {
    /// Its type.
    pub type_: &'static str,
    /// True, False or Unknown.
    pub status: &'static str,
    /// Why, as a word.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

impl Say {
    /// True.
    pub fn yes(type_: &'static str, reason: &'static str, message: String) -> Self {
        Self { type_, status: "True", reason, message }
    }

    /// False.
    pub fn no(type_: &'static str, reason: &'static str, message: String) -> Self {
        Self { type_, status: "False", reason, message }
    }

    /// Unknown.
    pub fn unknown(type_: &'static str, reason: &'static str, message: &str) -> Self {
        Self { type_, status: "Unknown", reason, message: message.to_owned() }
    }

    /// Whether it is True.
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }

    /// The condition, new as of now.
    pub fn condition(self, generation: Option<i64>, now: &Time) -> Condition {
        let message = if self.message.chars().count() > MOST_CHARACTERS {
            let cut: String = self.message.chars().take(MOST_CHARACTERS).collect();
            format!("{cut}…")
        } else {
            self.message
        };
        Condition {
            type_: self.type_.to_owned(),
            status: self.status.to_owned(),
            reason: self.reason.to_owned(),
            message,
            observed_generation: generation,
            last_transition_time: now.clone(),
        }
    }
}

/// What has the status that it had keeps its time.
pub fn keep_times(conditions: &mut [Condition], before: &[Condition]) {
    for condition in conditions {
        let known = before.iter().find(|known| known.type_ == condition.type_);
        if let Some(known) = known.filter(|known| known.status == condition.status) {
            condition.last_transition_time = known.last_transition_time.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time(jiff::Timestamp::from_second(seconds).expect("a time"))
    }

    #[test]
    fn a_time_moves_with_the_status_only() {
        let before = vec![Say::no("Ready", "Pending", "1 of 3".into()).condition(Some(1), &at(10))];
        let mut same = vec![Say::no("Ready", "Pending", "2 of 3".into()).condition(Some(2), &at(20))];
        keep_times(&mut same, &before);
        assert_eq!(same[0].last_transition_time, at(10));
        let mut other = vec![Say::yes("Ready", "Ready", String::new()).condition(Some(2), &at(20))];
        keep_times(&mut other, &before);
        assert_eq!(other[0].last_transition_time, at(20));
    }
}
