//! Recipients by the rule that routes them, for as many rules as a pod may have series.
//! **Owns:** which rules are told by name. **Never:** routes.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

use postrider_core::config::{Config, RuleName};
use postrider_mail::OutcomeKind;
use prometheus::IntCounterVec;

use super::{Register, labels};

/// The first rules of a configuration, in its order, are told by name; mail of all further ones is `other`.
pub const NAMED_RULES: usize = 200;
const OTHER: &str = "other";

/// Recipients' outcomes by rule. Cloning shares them.
#[derive(Clone)]
pub struct RuleMetrics {
    recipients: IntCounterVec,
    named: Arc<RwLock<BTreeSet<Box<str>>>>,
}

impl RuleMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        let recipients = register.counters(
            "postrider_rule_recipients_total",
            "Recipients' outcomes by the rule that routes them; the first 200 rules by name, the rest as other.",
            &["rule", "outcome"],
        )?;
        Ok(Self { recipients, named: Arc::default() })
    }

    /// Takes a configuration's rules. What is no longer told by name is no longer shown.
    pub fn follow(&self, config: &Config) {
        let first = config.rules.as_slice().iter().take(NAMED_RULES);
        let names: BTreeSet<Box<str>> = first.map(|rule| rule.name.as_str().into()).collect();
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        for gone in named.difference(&names) {
            labels::forget(&self.recipients, "rule", gone);
        }
        *named = names;
    }

    /// Counts one recipient.
    pub fn count(&self, rule: &str, outcome: OutcomeKind) {
        // Held until it is counted: a rule that goes meanwhile leaves no series behind.
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        let label = if rule == RuleName::DEFAULT || named.contains(rule) { rule } else { OTHER };
        self.recipients.with_label_values(&[label, outcome.as_str()]).inc();
    }
}
