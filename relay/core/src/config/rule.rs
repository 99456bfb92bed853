//! The rules of a configuration, in their order.
//! **Owns:** [`Rule`], and the order among rules of one configuration. **Never:** which one a mail gets (route.rs).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DomainSet, Route};
use crate::{
    matcher::{Index, Match},
    policy::PolicyFields,
};

/// What lanes, logs, metrics and `explain` call a rule: its name, with its namespace before it (`team-a/invoices`) where
/// that isn't the MailRelay's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleName(Box<str>);

impl RuleName {
    /// What mail that no rule routes has in place of a rule's name.
    pub const DEFAULT: &'static str = "default";

    /// The name of a rule for a fleet in `fleet_namespace`.
    pub fn new(fleet_namespace: &str, namespace: &str, name: &str) -> Self {
        // A rule that is called `default` must not share lanes with mail that has no rule.
        if fleet_namespace == namespace && name != Self::DEFAULT {
            Self(name.into())
        } else {
            Self(format!("{namespace}/{name}").into())
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RuleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One RoutingRule, compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it is called.
    pub name: RuleName,
    /// Higher ones go first.
    pub priority: i32,
    /// When it was created (seconds since 1970; 0 where nobody knows): among equals, the older goes first.
    pub created: i64,
    /// Mail that any of these matches; all mail, if empty.
    pub matches: Vec<Match>,
    /// Within what the MailRelay lets it act.
    #[serde(default, skip_serializing_if = "Scope::is_all")]
    pub scope: Scope,
    /// Where the mail goes; absent, if the rule only says how it is treated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// How the mail is treated.
    pub policy: PolicyFields,
    /// What is wrong with the rule. Its mail is deferred, whatever else it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

/// What a MailRelay lets a rule act on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Hash)]
pub struct Scope {
    /// The listeners that its `parentRefs` name; all, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<String>>,
    /// The sender domains that `allowedRoutes` gives it; all, if absent. The null sender is in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_domains: Option<DomainSet>,
}

impl Scope {
    fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// Rules, in their order: priority, then age, then name. Among those of one priority that match a mail, the one that names
/// it more exactly goes first; that depends on the mail.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Rule>", into = "Vec<Rule>")]
pub struct Rules {
    list: Vec<Rule>,
    index: Index,
    longest_wait: Duration,
}

impl Rules {
    /// Puts rules into their order.
    pub fn new(mut list: Vec<Rule>) -> Self {
        list.sort_by(|a, b| {
            (-i64::from(a.priority), a.created, &a.name).cmp(&(-i64::from(b.priority), b.created, &b.name))
        });
        let index = Index::new(&list);
        let longest_wait = list.iter().map(|rule| rule.policy.longest_wait()).max().unwrap_or_default();
        Self { list, index, longest_wait }
    }

    /// The longest wait that any of them asks for; zero, if none does.
    pub fn longest_wait(&self) -> Duration {
        self.longest_wait
    }

    /// All of them, in their order.
    pub fn as_slice(&self) -> &[Rule] {
        &self.list
    }

    /// The rule of that name.
    pub fn named(&self, name: &str) -> Option<&Rule> {
        self.list.iter().find(|rule| rule.name.as_str() == name)
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Eq for Rules {}

impl From<Vec<Rule>> for Rules {
    fn from(list: Vec<Rule>) -> Self {
        Self::new(list)
    }
}

impl From<Rules> for Vec<Rule> {
    fn from(rules: Rules) -> Self {
        rules.list
    }
}
