//! Large providers: whose hosts an MX set is, what they take from one sender, what their replies ask of it.
//! **Owns:** providers.yaml and its meaning. **Never:** a look-up in the DNS, what becomes of a message (outcome.rs).
//! A provider's limits count where no rule says a field, before the MailRelay's defaults do.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use postrider_mail::HostName;
use serde::Deserialize;

use crate::{
    compile,
    config::{Config, ProviderDefaults},
    policy::{PolicyFields, SiteLimits},
    route::{Action, Decision, Target},
    shape::reply::Pattern,
};

/// The file, as it is read by people.
pub const TEXT: &str = include_str!("providers/providers.yaml");

/// Who `explain` says it is that set a limit.
pub const ORIGIN: &str = "postrider's providers.yaml";

static KNOWN: LazyLock<Known> =
    LazyLock::new(|| Known::read(TEXT).expect("providers.yaml is part of this program, and a test reads it"));

/// A provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// What it is called, here and in the store.
    pub name: String,
    /// What names of its MX hosts end in, label-wise, each with a dot at its front.
    pub hosts: Vec<String>,
    /// Whose limits are one.
    pub counted: Counted,
    /// What it takes: its limits, and no other field.
    pub limits: PolicyFields,
    /// What its replies ask.
    pub replies: Vec<Pattern>,
    /// Where the figures come from.
    pub source: String,
}

/// Which hosts of a provider share its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Counted {
    /// All of them.
    Together,
    /// Those of one MX set: each customer has hosts of its own.
    Apart,
}

/// Why a text is no file of providers.
#[derive(Debug, thiserror::Error)]
pub enum InvalidProviders {
    /// It isn't the YAML that is expected.
    #[error("providers.yaml can't be read")]
    Unreadable(#[from] serde_yaml_ng::Error),
    /// A value doesn't fit.
    #[error("provider {name}: {problem}")]
    Provider {
        /// Whose.
        name: String,
        /// What was found and expected.
        problem: String,
    },
}

/// All providers, and the way to them.
struct Known {
    providers: Vec<Provider>,
    everywhere: Vec<Pattern>,
    /// The last two labels of a suffix, and where the providers stand that have it.
    by_end: HashMap<String, Vec<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    providers: Vec<Entry>,
    everywhere: Vec<Pattern>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    hosts: Vec<String>,
    counted: Counted,
    #[serde(default)]
    limits: postrider_crds::Limits,
    #[serde(default)]
    replies: Vec<Pattern>,
    source: String,
}

/// All of them, in the file's order.
pub fn all() -> &'static [Provider] {
    &KNOWN.providers
}

/// Whose hosts these are: all of them one provider's. A look-up for each, and nothing is allocated.
pub fn of_hosts<'a>(hosts: impl IntoIterator<Item = &'a HostName>) -> Option<&'static Provider> {
    let mut hosts = hosts.into_iter();
    let provider = of_host(hosts.next()?)?;
    hosts.all(|host| provider.has(host)).then_some(provider)
}

/// The provider that counts for a decision, once its hosts are known. A smarthost is nobody's, whatever its name.
pub fn of_decision<'a>(
    config: &Config,
    decision: &Decision<'_>,
    hosts: impl IntoIterator<Item = &'a HostName>,
) -> Option<&'static Provider> {
    if config.provider_defaults == ProviderDefaults::Disabled {
        return None;
    }
    match &decision.action {
        Action::Try(Target::Mx | Target::Redirect(_)) => of_hosts(hosts),
        Action::Try(Target::Smarthost(_))
        | Action::Reject(_)
        | Action::Discard
        | Action::Hold { .. }
        | Action::Defer { .. } => None,
    }
}

/// The longest that a reply can ask to be left alone.
pub(crate) fn longest_suspension(defaults: ProviderDefaults) -> Duration {
    let known = match defaults {
        ProviderDefaults::Enabled => all(),
        ProviderDefaults::Disabled => &[],
    };
    let replies = known.iter().flat_map(|provider| &provider.replies).chain(everywhere());
    replies.filter_map(Pattern::suspends_for).max().unwrap_or_default()
}

/// What a reply asks of those who send to a far side, whoever it is.
pub(crate) fn everywhere() -> &'static [Pattern] {
    &KNOWN.everywhere
}

fn of_host(host: &HostName) -> Option<&'static Provider> {
    let known = &*KNOWN;
    let places = known.by_end.get(last_two_labels(host.as_str()))?;
    places.iter().filter_map(|place| known.providers.get(*place)).find(|provider| provider.has(host))
}

/// `l.google.com` -> `google.com`.
fn last_two_labels(name: &str) -> &str {
    let mut dots = name.rmatch_indices('.').skip(1);
    dots.next().map_or(name, |(at, _)| name.get(at + 1..).unwrap_or(name))
}

impl Provider {
    /// Whether a host is its own.
    pub fn has(&self, host: &HostName) -> bool {
        self.hosts.iter().any(|end| host.as_str().ends_with(end.as_str()))
    }

    fn read(entry: Entry) -> Result<Self, InvalidProviders> {
        let invalid = |problem: String| InvalidProviders::Provider { name: entry.name.clone(), problem };
        let mut problems = Vec::new();
        let limits = compile::limits(&entry.limits, "limits", &mut problems);
        if let Some(problem) = problems.first() {
            return Err(invalid(problem.to_string()));
        }
        let wrong = entry.hosts.iter().find(|end| !is_end_of_names(end));
        if let Some(end) = wrong {
            return Err(invalid(format!(
                "hosts: found {end:?}; expected a dot and at least two labels in lower case"
            )));
        }
        if entry.hosts.is_empty() {
            return Err(invalid("hosts: found none; expected one at least".to_owned()));
        }
        Ok(Self {
            name: entry.name,
            hosts: entry.hosts,
            counted: entry.counted,
            limits,
            replies: entry.replies,
            source: entry.source,
        })
    }
}

/// Whether it is a dot and a name of two labels at least, as the way to it needs.
fn is_end_of_names(end: &str) -> bool {
    let name = end.strip_prefix('.').unwrap_or_default();
    name.contains('.') && HostName::parse(name).is_ok_and(|parsed| parsed.as_str() == name)
}

impl Known {
    fn read(text: &str) -> Result<Self, InvalidProviders> {
        let file: File = serde_yaml_ng::from_str(text)?;
        let providers: Vec<Provider> =
            file.providers.into_iter().map(Provider::read).collect::<Result<_, _>>()?;
        let mut by_end: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, provider) in providers.iter().enumerate() {
            for end in &provider.hosts {
                let places = by_end.entry(last_two_labels(end).to_owned()).or_default();
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        Ok(Self { providers, everywhere: file.everywhere, by_end })
    }
}

impl Decision<'_> {
    /// The limits once it is known whose the hosts are: what rules say, then what the provider takes, then the defaults.
    pub fn limits_at(&self, provider: Option<&Provider>, defaults: &PolicyFields) -> SiteLimits {
        let Some(provider) = provider else { return self.policy.limits };
        let mut limits = self.rules_say.or(&provider.limits).or(defaults).complete().limits;
        limits.fleet.owned_as(&self.policy.limits.fleet);
        limits
    }
}

#[cfg(test)]
mod tests;
