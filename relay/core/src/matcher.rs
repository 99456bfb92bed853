//! Which rules a mail matches, without looking at all of them.
//! **Owns:** patterns, matches, how exactly a match names a mail, the index. **Never:** which of several rules wins (route.rs).
//! The index may name rules that don't match; it never misses one that does.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use ipnet::IpNet;
use postrider_mail::{Domain, InvalidDomain, Mailbox, ReversePath};
use serde::{Deserialize, Serialize};

use crate::config::Rule;

/// What is known of a mail for one recipient when its route is decided.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The envelope's sender.
    pub sender: &'a ReversePath,
    /// The recipient.
    pub recipient: &'a Mailbox,
    /// The listener that it came in by; none for what the relay sends itself (bounces, notices).
    pub listener: Option<&'a str>,
    /// The client's address; none for what the relay sends itself.
    pub client: Option<IpAddr>,
    /// The user that the client authenticated as.
    pub user: Option<&'a str>,
}

/// A domain, or all below one (`*.example.com`, at any depth, without `example.com` itself).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DomainPattern {
    /// This one.
    Exact(Domain),
    /// Those below it.
    Below(Domain),
}

impl DomainPattern {
    /// Whether the domain is meant.
    pub fn matches(&self, domain: &Domain) -> bool {
        match self {
            Self::Exact(exact) => domain == exact,
            Self::Below(parent) => domain != parent && domain.is_within(parent),
        }
    }

    /// Whether everything that `other` matches is matched.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(_), Self::Below(_)) => false,
            (_, Self::Exact(domain)) => self.matches(domain),
            (Self::Below(parent), Self::Below(inner)) => inner.is_within(parent),
        }
    }

    fn rank(&self) -> u16 {
        match self {
            Self::Exact(_) => EXACT_DOMAIN,
            Self::Below(parent) => WILDCARD + u16::try_from(parent.as_str().len()).unwrap_or(u16::MAX / 2),
        }
    }
}

impl std::str::FromStr for DomainPattern {
    type Err = InvalidDomain;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("*.") {
            Some(parent) => Domain::parse(parent).map(Self::Below),
            None => Domain::parse(text).map(Self::Exact),
        }
    }
}

impl std::fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(domain) => domain.fmt(f),
            Self::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

impl TryFrom<String> for DomainPattern {
    type Error = InvalidDomain;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DomainPattern> for String {
    fn from(pattern: DomainPattern) -> Self {
        pattern.to_string()
    }
}

/// One entry of a rule's `matches`: every field that is there must match, in a field any value. A field whose values couldn't
/// be read is there and empty: it matches nothing, rather than everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, Hash)]
pub struct Match {
    /// The recipient's domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient_domains: Option<Vec<DomainPattern>>,
    /// The recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipients: Option<Vec<Mailbox>>,
    /// The sender's domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_domains: Option<Vec<DomainPattern>>,
    /// The sender, `<>` (here the empty string) included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub senders: Option<Vec<ReversePath>>,
    /// The listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Vec<String>>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cidrs: Option<Vec<IpNet>>,
    /// The client's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_users: Option<Vec<String>>,
}

/// How exactly a match names a mail: by its recipient, then by its sender, then by how many fields it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Specificity {
    recipient: u16,
    sender: u16,
    fields: u8,
}

const WILDCARD: u16 = 1;
const EXACT_DOMAIN: u16 = 1_000;
const ADDRESS: u16 = 2_000;

impl Match {
    /// How exactly this names the mail; none, if it doesn't match.
    pub fn find(&self, facts: &Facts<'_>) -> Option<Specificity> {
        let recipient = strongest([
            by_domain(self.recipient_domains.as_deref(), Some(facts.recipient.domain())),
            field(self.recipients.as_deref(), |one| is_same(one, facts.recipient).then_some(ADDRESS)),
        ])?;
        let sender_domain = facts.sender.mailbox().map(Mailbox::domain);
        let sender = strongest([
            by_domain(self.sender_domains.as_deref(), sender_domain),
            field(self.senders.as_deref(), |one| is_same_path(one, facts.sender).then_some(ADDRESS)),
        ])?;
        strongest([
            field(self.listeners.as_deref(), |one| (facts.listener == Some(one.as_str())).then_some(1)),
            field(self.client_users.as_deref(), |one| (facts.user == Some(one.as_str())).then_some(1)),
            field(self.client_cidrs.as_deref(), |one| {
                facts.client.is_some_and(|client| one.contains(&client.to_canonical())).then_some(1)
            }),
        ])?;
        Some(Specificity { recipient, sender, fields: self.fields() })
    }

    /// Each field, by name if it is there, and whether it matches.
    fn told(&self, facts: &Facts<'_>) -> [(Option<&'static str>, bool); 7] {
        let only = |name: &'static str, part: Self, is_there: bool| {
            (is_there.then_some(name), !is_there || part.find(facts).is_some())
        };
        let Self {
            recipient_domains,
            recipients,
            sender_domains,
            senders,
            listeners,
            client_cidrs,
            client_users,
        } = self.clone();
        let none = Self::default;
        let is = [
            recipients.is_some(),
            recipient_domains.is_some(),
            senders.is_some(),
            sender_domains.is_some(),
            listeners.is_some(),
            client_cidrs.is_some(),
            client_users.is_some(),
        ];
        [
            only("recipient", Self { recipients, ..none() }, is[0]),
            only("recipient domain", Self { recipient_domains, ..none() }, is[1]),
            only("sender", Self { senders, ..none() }, is[2]),
            only("sender domain", Self { sender_domains, ..none() }, is[3]),
            only("listener", Self { listeners, ..none() }, is[4]),
            only("client network", Self { client_cidrs, ..none() }, is[5]),
            only("user", Self { client_users, ..none() }, is[6]),
        ]
    }

    fn fields(&self) -> u8 {
        [
            self.recipient_domains.is_some(),
            self.recipients.is_some(),
            self.sender_domains.is_some(),
            self.senders.is_some(),
            self.listeners.is_some(),
            self.client_cidrs.is_some(),
            self.client_users.is_some(),
        ]
        .into_iter()
        .map(u8::from)
        .sum()
    }
}

/// Whether a field that may be absent has a value that matches, and how exactly: `Err(())` where none does.
fn field<T>(values: Option<&[T]>, rank: impl Fn(&T) -> Option<u16>) -> Result<u16, ()> {
    match values {
        None => Ok(0),
        Some(values) => values.iter().filter_map(rank).max().ok_or(()),
    }
}

fn by_domain(patterns: Option<&[DomainPattern]>, domain: Option<&Domain>) -> Result<u16, ()> {
    field(patterns, |pattern| domain.is_some_and(|domain| pattern.matches(domain)).then(|| pattern.rank()))
}

/// The most exact of several fields, all of which must match.
fn strongest<const N: usize>(fields: [Result<u16, ()>; N]) -> Option<u16> {
    fields.into_iter().try_fold(0, |strongest, field| field.map(|rank| strongest.max(rank))).ok()
}

/// Local parts are compared without case: nobody has two mailboxes that differ in it, and rules are written by hand.
fn is_same(a: &Mailbox, b: &Mailbox) -> bool {
    a.domain() == b.domain()
        && (a.local().eq_ignore_ascii_case(b.local()) || a.local().to_lowercase() == b.local().to_lowercase())
}

fn is_same_path(a: &ReversePath, b: &ReversePath) -> bool {
    match (a, b) {
        (ReversePath::Null, ReversePath::Null) => true,
        (ReversePath::Mailbox(a), ReversePath::Mailbox(b)) => is_same(a, b),
        (ReversePath::Null | ReversePath::Mailbox(_), _) => false,
    }
}

/// How exactly a rule names the mail: by its most exact match; none, if it doesn't match or mayn't act on it.
pub fn find(rule: &Rule, facts: &Facts<'_>) -> Option<Specificity> {
    let is_listener_in_scope =
        rule.scope.listeners.as_ref().is_none_or(|names| names.iter().any(|n| facts.listener == Some(n)));
    let is_sender_in_scope = rule
        .scope
        .sender_domains
        .as_ref()
        .is_none_or(|set| facts.sender.mailbox().is_some_and(|sender| set.contains(sender.domain())));
    if !is_listener_in_scope || !is_sender_in_scope {
        return None;
    }
    if rule.matches.is_empty() {
        return Some(Specificity::default());
    }
    rule.matches.iter().filter_map(|one| one.find(facts)).max()
}

/// By what a rule matches the mail, in words.
pub(crate) fn told(rule: &Rule, facts: &Facts<'_>) -> String {
    let best =
        rule.matches.iter().filter_map(|one| Some((one.find(facts)?, one))).max_by_key(|(rank, _)| *rank);
    let Some((_, one)) = best else { return "every mail".to_owned() };
    let fields: Vec<&str> = one.told(facts).into_iter().filter_map(|(name, _)| name).collect();
    if fields.is_empty() { "every mail".to_owned() } else { fields.join(", ") }
}

/// Why a rule doesn't match the mail, in words.
pub(crate) fn mismatch(rule: &Rule, facts: &Facts<'_>) -> String {
    if let Some(listeners) = &rule.scope.listeners
        && !listeners.iter().any(|name| facts.listener == Some(name))
    {
        return format!("is for listener {}", listeners.join(", "));
    }
    let wrong = |one: &Match| -> Vec<&'static str> {
        one.told(facts).into_iter().filter(|(_, matches)| !matches).filter_map(|(name, _)| name).collect()
    };
    match rule.matches.iter().map(wrong).min_by_key(Vec::len) {
        Some(fields) if !fields.is_empty() => format!("another {}", fields.join(", another ")),
        _ => "may not act on this sender (allowedRoutes)".to_owned(),
    }
}

/// From what a mail is to the rules that may match it. Each match entry stands under the first of these fields that it has:
/// recipients, recipient domains, senders, sender domains, users; without any, its rule is looked at for every mail.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    recipient_domain: HashMap<Box<str>, Bucket>,
    recipient_below: HashMap<Box<str>, Bucket>,
    recipient: HashMap<Key, Bucket>,
    sender_domain: HashMap<Box<str>, Bucket>,
    sender_below: HashMap<Box<str>, Bucket>,
    sender: HashMap<Key, Bucket>,
    null_sender: Bucket,
    user: BTreeMap<String, Bucket>,
    every: Bucket,
}

/// Positions in the list of rules, in their order.
type Bucket = Vec<u32>;

/// A mailbox in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key(String);

impl Key {
    fn of(mailbox: &Mailbox) -> Self {
        Self(format!("{}@{}", mailbox.local().to_lowercase(), mailbox.domain()))
    }
}

impl Index {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (position, rule) in rules.iter().enumerate() {
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            if rule.matches.is_empty() {
                push(&mut index.every, position);
            }
            for one in &rule.matches {
                index.add(one, position);
            }
        }
        index
    }

    fn add(&mut self, one: &Match, position: u32) {
        if let Some(recipients) = &one.recipients {
            for mailbox in recipients {
                push(self.recipient.entry(Key::of(mailbox)).or_default(), position);
            }
        } else if let Some(patterns) = &one.recipient_domains {
            add_patterns(patterns, &mut self.recipient_domain, &mut self.recipient_below, position);
        } else if let Some(senders) = &one.senders {
            for sender in senders {
                match sender {
                    ReversePath::Null => push(&mut self.null_sender, position),
                    ReversePath::Mailbox(mailbox) => {
                        push(self.sender.entry(Key::of(mailbox)).or_default(), position);
                    }
                }
            }
        } else if let Some(patterns) = &one.sender_domains {
            add_patterns(patterns, &mut self.sender_domain, &mut self.sender_below, position);
        } else if let Some(users) = &one.client_users {
            for user in users {
                push(self.user.entry(user.clone()).or_default(), position);
            }
        } else {
            push(&mut self.every, position);
        }
    }

    /// Positions of the rules that may match, in their order, each once.
    pub(crate) fn candidates(&self, facts: &Facts<'_>) -> Vec<u32> {
        let mut found = self.every.clone();
        let mut take = |bucket: Option<&Bucket>| found.extend(bucket.into_iter().flatten());
        if !self.recipient.is_empty() {
            take(self.recipient.get(&Key::of(facts.recipient)));
        }
        take_domain(&self.recipient_domain, &self.recipient_below, facts.recipient.domain(), &mut take);
        match facts.sender {
            ReversePath::Null => take(Some(&self.null_sender)),
            ReversePath::Mailbox(mailbox) => {
                if !self.sender.is_empty() {
                    take(self.sender.get(&Key::of(mailbox)));
                }
                take_domain(&self.sender_domain, &self.sender_below, mailbox.domain(), &mut take);
            }
        }
        take(facts.user.and_then(|user| self.user.get(user)));
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn push(bucket: &mut Bucket, position: u32) {
    if bucket.last() != Some(&position) {
        bucket.push(position);
    }
}

fn add_patterns(
    patterns: &[DomainPattern],
    exact: &mut HashMap<Box<str>, Bucket>,
    below: &mut HashMap<Box<str>, Bucket>,
    position: u32,
) {
    for pattern in patterns {
        let bucket = match pattern {
            DomainPattern::Exact(domain) => exact.entry(domain.as_str().into()),
            DomainPattern::Below(parent) => below.entry(parent.as_str().into()),
        };
        push(bucket.or_default(), position);
    }
}

fn take_domain<'i>(
    exact: &'i HashMap<Box<str>, Bucket>,
    below: &'i HashMap<Box<str>, Bucket>,
    domain: &Domain,
    take: &mut impl FnMut(Option<&'i Bucket>),
) {
    take(exact.get(domain.as_str()));
    if below.is_empty() {
        return;
    }
    let mut rest = domain.as_str();
    while let Some((_, parent)) = rest.split_once('.') {
        // What is left of a name at a dot is a name.
        take(below.get(parent));
        rest = parent;
    }
}

#[cfg(test)]
mod tests;
