//! Whether the DNS says of a fleet's mail what receivers want to hear: its addresses' names, SPF, DMARC, DKIM keys.
//! **Owns:** what is asked, what fits, in words. **Never:** a look-up, a clock: answers come in as data ([`judge`]).
//! Invariant: a look-up that failed is unknown, never a mismatch.
//! RFC 7208 (SPF), RFC 9989 (DMARC), RFC 6376 3.6 (DKIM), RFC 1912 2.1 (PTR and A agree).

mod address;
mod dkim_record;
mod dmarc;
mod facts;
mod finding;
mod sender;
mod spf;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use postrider_crds::{Egress, IdentityCheck};
use postrider_mail::{Domain, HostName};

pub use dmarc::{DmarcRecord, Policy};
pub use facts::{Answers, Kind, MOST_QUESTIONS, Question, Record};
pub use finding::{Finding, FindingKind, Judgement, Unknown};
pub use spf::{Broken, Spf};

use crate::{
    config::Config,
    dkim::PublicKey,
    egress::{SourceName, Way},
};
use facts::{Facts, Lacking};

/// What is looked at of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The addresses that its mail leaves from; only names are looked at, if none is known.
    pub addresses: Vec<IpAddr>,
    /// What it says in EHLO; also the domain of its bounces.
    pub ehlo: HostName,
    /// Sources of egress pools that have a name or an address of their own.
    pub sources: Vec<SourceIdentity>,
    /// Whose mail it signs.
    pub domains: Vec<SenderDomain>,
    /// Whether addresses and policies are looked at; if not, only the keys are.
    pub is_egress_checked: bool,
}

/// Who the fleet is by one of its sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceIdentity {
    /// What it is called.
    pub name: SourceName,
    /// What it says in EHLO.
    pub ehlo: HostName,
    /// The address that mail leaves by, where the spec has it and it isn't a private one: that of a pod is replaced on its way.
    pub address: Option<IpAddr>,
}

/// A domain whose mail is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderDomain {
    /// `d=`.
    pub domain: Domain,
    /// Whether it signs for the domains below it.
    pub subdomains: bool,
    /// Its keys that are there.
    pub keys: Vec<KeyAt>,
}

/// A key, and where its public half should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAt {
    /// `s=`.
    pub selector: Box<str>,
    /// What should be there.
    pub public: PublicKey,
}

/// What a judgement has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This has to be asked; then again.
    Ask(Vec<Question>),
    /// All is known that can be.
    Done(Judgement),
}

impl Subject {
    /// What is looked at of a fleet with this configuration. A key whose Secret is missing isn't: that is said elsewhere.
    /// What is no address in the spec has been refused (compile).
    pub fn of(config: &Config, egress: Option<&Egress>) -> Self {
        let domains = config.dkim.iter().map(|entry| {
            let key = |one: &crate::config::DkimKey| {
                let public = one.key.as_ref()?.public();
                Some(KeyAt { selector: one.selector.clone(), public })
            };
            SenderDomain {
                domain: entry.domain.clone(),
                subdomains: entry.subdomains,
                keys: entry.keys.iter().filter_map(key).collect(),
            }
        });
        let texts = egress.iter().flat_map(|egress| &egress.addresses);
        let mut addresses: Vec<IpAddr> =
            texts.filter_map(|text| Some(text.parse::<IpAddr>().ok()?.to_canonical())).collect();
        addresses.sort();
        addresses.dedup();
        let is_egress_checked = egress.is_none_or(|egress| egress.identity == IdentityCheck::Checked);
        let sources = sources(config);
        let ehlo = config.hostname.clone();
        Self { addresses, ehlo, sources, domains: domains.collect(), is_egress_checked }
    }

    /// The same with the addresses of all sources.
    fn with_sources(&self) -> Self {
        let mut all = self.clone();
        all.addresses.extend(self.sources.iter().filter_map(|source| source.address));
        all.addresses.sort();
        all.addresses.dedup();
        all
    }
}

/// The sources that aren't the fleet itself.
fn sources(config: &Config) -> Vec<SourceIdentity> {
    let all = config.egress_pools.iter().flat_map(|pool| pool.sources.iter().map(move |one| (pool, one)));
    let known = all.map(|(pool, source)| SourceIdentity {
        name: pool.name_of(source),
        ehlo: source.hostname.clone(),
        address: match source.way {
            Way::Address(address) | Way::Proxy { address, .. } => Some(address).filter(|one| is_seen(*one)),
            Way::Direct | Way::Socks5 { .. } => None,
        },
    });
    known.filter(|source| source.address.is_some() || source.ehlo != config.hostname).collect()
}

/// Whether far sides can see an address, by its kind.
const fn is_seen(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let is_shared = a == 100 && b >= 64 && b < 128;
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared)
        }
        IpAddr::V6(v6) => !(v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local()),
    }
}

/// Judges by the answers so far. Each step asks something new, and all steps together [`MOST_QUESTIONS`] at most.
pub fn judge(subject: &Subject, answers: &Answers) -> Step {
    let facts = Facts::new(answers);
    let mut look = Look { facts: &facts, judgement: Judgement::default(), is_pending: false };
    look.keys(subject);
    if subject.is_egress_checked {
        look.egress(subject);
    }
    let Look { mut judgement, is_pending, .. } = look;
    if is_pending {
        return Step::Ask(facts.into_needed().into_iter().collect());
    }
    judgement.settle();
    Step::Done(judgement)
}

/// A look at everything, in which what is lacking stops nothing else.
struct Look<'a> {
    facts: &'a Facts<'a>,
    judgement: Judgement,
    is_pending: bool,
}

/// Which of the two conditions something is said by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Egress,
    Keys,
}

impl Look<'_> {
    fn keys(&mut self, subject: &Subject) {
        for sender in &subject.domains {
            for key in &sender.keys {
                let found = sender::key(self.facts, &sender.domain, key);
                self.note(About::Keys, found);
                self.judgement.notes.extend(sender::note(self.facts, &sender.domain, key));
            }
        }
    }

    fn egress(&mut self, subject: &Subject) {
        let all = subject.with_sources();
        for address in &all.addresses {
            let found = address::pointer(self.facts, *address);
            self.note(About::Egress, found);
        }
        let whose = format!("spec.hostname {}", subject.ehlo);
        let found = address::ehlo(self.facts, whose, &subject.ehlo, &subject.addresses);
        self.note(About::Egress, found);
        for source in &subject.sources {
            let whose = format!("hostname {} of source {}", source.ehlo, source.name);
            let own = source.address.as_ref().map(std::slice::from_ref);
            let found = address::ehlo(self.facts, whose, &source.ehlo, own.unwrap_or(&subject.addresses));
            self.note(About::Egress, found);
        }
        let names: Vec<&str> = subject.domains.iter().map(|sender| sender.domain.as_str()).collect();
        // Bounces have no sender: for them SPF looks at the name in EHLO (RFC 7208 2.4), which sources have of their own.
        let ehlo = subject.ehlo.as_str();
        let looks_at_ehlo = !subject.addresses.is_empty() && !names.contains(&ehlo);
        let names = names.into_iter().map(|name| (name, &all));
        for (name, subject) in names.chain(looks_at_ehlo.then_some((ehlo, subject))) {
            for found in sender::spf(self.facts, name, subject) {
                self.note(About::Egress, found);
            }
        }
        for domain in &subject.domains {
            let found = sender::dmarc(self.facts, domain, &all);
            self.note(About::Egress, found);
        }
    }

    /// Takes what one look gave.
    fn note(&mut self, about: About, found: Result<Option<Finding>, Lacking>) {
        let (findings, unknown) = match about {
            About::Egress => (&mut self.judgement.egress, &mut self.judgement.egress_unknown),
            About::Keys => (&mut self.judgement.keys, &mut self.judgement.keys_unknown),
        };
        match found {
            Ok(finding) => findings.extend(finding),
            Err(Lacking::Pending) => self.is_pending = true,
            Err(Lacking::Failed(question, failure)) => unknown.push(Unknown { question, failure }),
        }
    }
}
