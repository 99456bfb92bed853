//! What is told as an event: conditions that changed. Pure.
//! **Owns:** which changes are worth one. **Never:** sends it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use postrider_crds::status::{conditions as types, reasons};

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Whether somebody should look.
    pub is_warning: bool,
    /// The condition's reason.
    pub reason: String,
    /// The condition's type, and its message.
    pub note: String,
}

/// The events of a change of conditions: each that went from or to `True`, and a new reason for not being so.
pub fn events(before: &[Condition], after: &[Condition]) -> Vec<Told> {
    let changed = after.iter().filter(|condition| {
        let known = before.iter().find(|known| known.type_ == condition.type_);
        let is_new = known
            .is_none_or(|known| (&known.status, &known.reason) != (&condition.status, &condition.reason));
        // What isn't known yet, what passes by itself, and what is fine from the start, is no news.
        let is_news = condition.status != "Unknown"
            && condition.reason != reasons::PENDING
            && !(known.is_none() && is_good(condition));
        is_new && is_news
    });
    let told = changed.map(|condition| Told {
        is_warning: !is_good(condition),
        reason: condition.reason.clone(),
        note: match condition.message.as_str() {
            "" => format!("{} is {}", condition.type_, condition.status),
            message => format!("{} is {}: {message}", condition.type_, condition.status),
        },
    });
    told.collect()
}

/// Whether a condition is as one wants it: all but `QueueLost` want to be true.
fn is_good(condition: &Condition) -> bool {
    let wanted = if condition.type_ == types::QUEUE_LOST { "False" } else { "True" };
    condition.status == wanted
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::plan::status::conditions::Say;

    fn condition(say: Say) -> Condition {
        say.condition(Some(1), &Time(jiff::Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn a_condition_that_turns_bad_is_a_warning_and_its_end_is_told() {
        let good = vec![condition(Say::yes("ResolvedRefs", "ResolvedRefs", String::new()))];
        let bad = vec![condition(Say::no("ResolvedRefs", "SecretNotFound", "no Secret".into()))];
        let told = events(&good, &bad);
        assert_eq!((told[0].is_warning, told[0].reason.as_str()), (true, "SecretNotFound"));
        assert!(!events(&bad, &good)[0].is_warning);
        assert!(events(&bad, &bad).is_empty() && events(&[], &good).is_empty());
    }

    #[test]
    fn an_edit_is_told_when_it_is_live_and_not_before() {
        let pending = vec![condition(Say::no("Programmed", reasons::PENDING, "no pod yet".into()))];
        let live = vec![condition(Say::yes("Programmed", "Programmed", String::new()))];
        assert!(events(&live, &pending).is_empty());
        assert_eq!(events(&pending, &live)[0].note, "Programmed is True");
    }

    #[test]
    fn a_lost_queue_is_bad_when_true() {
        let lost = vec![condition(Say::yes("QueueLost", "Lost", "3 deliveries".into()))];
        assert!(events(&[], &lost)[0].is_warning);
    }
}
