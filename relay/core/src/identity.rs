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

use crate::{config::Config, dkim::PublicKey};
use facts::{Facts, Lacking};

/// What is looked at of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The addresses that its mail leaves from; only names are looked at, if none is known.
    pub addresses: Vec<IpAddr>,
    /// What it says in EHLO; also the domain of its bounces.
    pub ehlo: HostName,
    /// Whose mail it signs.
    pub domains: Vec<SenderDomain>,
    /// Whether addresses and policies are looked at; if not, only the keys are.
    pub is_egress_checked: bool,
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
        Self { addresses, ehlo: config.hostname.clone(), domains: domains.collect(), is_egress_checked }
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
        for address in &subject.addresses {
            let found = address::pointer(self.facts, *address);
            self.note(About::Egress, found);
        }
        let found = address::ehlo(self.facts, &subject.ehlo, &subject.addresses);
        self.note(About::Egress, found);
        let mut names: Vec<&str> = subject.domains.iter().map(|sender| sender.domain.as_str()).collect();
        // Bounces have no sender: for them SPF looks at the name in EHLO (RFC 7208 2.4).
        if !subject.addresses.is_empty() && !names.contains(&subject.ehlo.as_str()) {
            names.push(subject.ehlo.as_str());
        }
        for name in names {
            for found in sender::spf(self.facts, name, subject) {
                self.note(About::Egress, found);
            }
        }
        for domain in &subject.domains {
            let found = sender::dmarc(self.facts, domain, subject);
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
