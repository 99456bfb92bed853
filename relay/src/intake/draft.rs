//! What becomes of a message's signature while the message comes in.
//! **Owns:** that its From decides, once its header is there; who may use a From that is signed. **Never:** signs (signing.rs).
//! Where no domain has keys it keeps nothing, and costs nothing.

use std::sync::Arc;

use postrider_core::{
    config::{Config, DomainSet, Listener, Signing},
    dkim::{self, Signer},
};
use postrider_mail::Domain;
use postrider_queue::Dkim;

use super::{Refusal, scan::Scan};
use crate::signing::{Parts, Signable};

/// A signature that isn't made yet.
#[derive(Debug)]
pub struct Draft {
    config: Arc<Config>,
    /// The domains that this client may use as From, of those with keys.
    sender_domains: Option<DomainSet>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The header isn't over.
    Header(Parts),
    /// The body is hashed.
    Body(Parts, Domain, Vec<Signer>),
    /// A key is missing.
    Owed(Domain),
    /// No entry is for it.
    Unsigned,
}

/// A message that is complete, as far as its signature goes.
#[derive(Debug)]
pub enum Drafted {
    /// It gets none.
    Unsigned,
    /// A key is missing.
    Owed(Domain),
    /// These keys sign.
    By(Signable, Domain, Vec<Signer>),
}

impl Draft {
    /// For a message that comes in by this listener.
    pub fn new(config: &Arc<Config>, listener: &Listener) -> Self {
        let has_keys = !config.dkim.is_empty();
        Self {
            config: config.clone(),
            sender_domains: listener.sender_domains.clone().filter(|_| has_keys),
            state: if has_keys { State::Header(Parts::default()) } else { State::Unsigned },
        }
    }

    /// Whether what comes is copied: the header is, until it is over.
    pub fn is_copying(&self) -> bool {
        matches!(self.state, State::Header(_))
    }

    /// Takes the next bytes, which the scan has seen already.
    ///
    /// # Errors
    /// The client may not send as this From.
    pub fn feed(&mut self, chunk: &[u8], scan: &Scan) -> Result<(), Refusal> {
        match &mut self.state {
            State::Header(parts) => {
                parts.feed(chunk, scan);
                if parts.has_header() {
                    self.decide()?;
                }
            }
            State::Body(parts, ..) => parts.feed(chunk, scan),
            State::Owed(_) | State::Unsigned => {}
        }
        Ok(())
    }

    /// All has come.
    ///
    /// # Errors
    /// The client may not send as this From.
    pub fn finish(mut self) -> Result<Drafted, Refusal> {
        if self.is_copying() {
            self.decide()?;
        }
        Ok(match self.state {
            State::Body(parts, domain, signers) => {
                let (header, body) = parts.finish();
                Drafted::By(Signable { header: header.into(), body }, domain, signers)
            }
            State::Owed(domain) => Drafted::Owed(domain),
            State::Header(_) | State::Unsigned => Drafted::Unsigned,
        })
    }

    fn decide(&mut self) -> Result<(), Refusal> {
        let State::Header(parts) = std::mem::replace(&mut self.state, State::Unsigned) else { return Ok(()) };
        let authors = dkim::author_domains(parts.seen());
        let is_forbidden = |author: &Domain| {
            self.config.dkim_entry(author).is_some()
                && self.sender_domains.as_ref().is_some_and(|allowed| !allowed.contains(author))
        };
        if authors.iter().any(is_forbidden) {
            return Err(Refusal::Author);
        }
        let Some(author) = authors.into_iter().next() else { return Ok(()) };
        self.state = match self.config.signing(Some(&author)) {
            Signing::None => State::Unsigned,
            Signing::By(signers) => State::Body(parts, author, signers),
            Signing::Owed => State::Owed(author),
        };
        Ok(())
    }
}

impl Drafted {
    /// Signs, below what was put on top of the message. `at` is in seconds since 1970.
    pub async fn sign(&self, prefix: &[u8], at: u64) -> Dkim {
        match self {
            Self::Unsigned => Dkim::None,
            Self::Owed(domain) => Dkim::Owed(domain.clone()),
            Self::By(signable, domain, signers) => {
                let whole =
                    Signable { header: [prefix, &signable.header].concat().into(), body: signable.body };
                // A key that fails may do so once only; the message is never sent without.
                whole
                    .sign(signers.clone(), at)
                    .await
                    .map_or_else(|_| Dkim::Owed(domain.clone()), Dkim::Signed)
            }
        }
    }
}
