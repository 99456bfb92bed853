//! Why a domain or a host can't be mailed to now, and whether that is final.
//! **Owns:** the verdicts, their statuses and words. RFC 3463, RFC 7505 4, RFC 5321 5.1. **Never:** the order of hosts.

use std::net::IpAddr;

use postrider_mail::{EnhancedCode, OutcomeKind};

use super::{Addresses, Answer, Candidate, Destinations, MxTarget, Origin, addresses};

/// How a look-up failed. None of these is an answer, so none of them bounces (I6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DnsFailure {
    /// The resolver says that it couldn't find out.
    ServFail,
    /// The resolver won't answer us.
    Refused,
    /// Another error code.
    OtherCode,
    /// No answer in time.
    Timeout,
    /// No resolver could be reached.
    Unreachable,
    /// An answer that can't be read, or truncated without TCP.
    Malformed,
    /// DNSSEC validation failed; also when keys couldn't be fetched.
    Bogus,
    /// Aliases in a circle, or too many.
    AliasLoop,
}

impl DnsFailure {
    /// The name as written in metrics, logs and explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServFail => "SERVFAIL",
            Self::Refused => "REFUSED",
            Self::OtherCode => "error",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Malformed => "malformed",
            Self::Bogus => "bogus",
            Self::AliasLoop => "alias loop",
        }
    }
}

/// Why there is no host to try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// The domain says that it takes no mail.
    #[error("the domain takes no mail (null MX, RFC 7505)")]
    NullMx,
    /// The domain doesn't exist.
    #[error("the domain does not exist")]
    NoSuchDomain,
    /// The domain exists, with neither MX nor address.
    #[error("the domain has neither MX nor address records")]
    NoMailHost,
    /// It has MX records, and none of their hosts exists.
    #[error("none of the domain's mail hosts has an address")]
    HostsAbsent,
    /// The best host left is this fleet itself.
    #[error("mail for the domain loops back to this relay")]
    Loop,
    /// All addresses are in special networks that no configuration allows.
    #[error("found only addresses in networks that mail may not go to, such as {0}")]
    Forbidden(IpAddr),
    /// All addresses are of a family that isn't used.
    #[error("found only addresses of a family that this relay does not use")]
    OtherFamily,
    /// The first hosts have no address, and there are more than an attempt asks for.
    #[error("none of the first of the domain's many mail hosts has an address")]
    TooMany,
    /// A smarthost named by a rule doesn't exist.
    #[error("the smarthost {0} has no address")]
    SmarthostAbsent(Box<str>),
    /// The domain's MTA-STS policy is enforced and names none of its hosts.
    #[error("the domain's MTA-STS policy does not allow {0}, nor another of its mail hosts")]
    NotInPolicy(Box<str>),
    /// Whether the domain has an MTA-STS policy isn't known.
    #[error("it is not known whether the domain has an MTA-STS policy: the queue's store does not answer")]
    PolicyUnknown,
    /// What DANE demands of the host isn't known, nor of any other host of the domain.
    #[error("DANE: the TLSA records of {name}, and of each other mail host, can't be had: {}", failure.as_str())]
    Unproven {
        /// The first host.
        name: Box<str>,
        /// How.
        failure: DnsFailure,
    },
    /// The message requires TLS, and nobody says whose certificate a host must have.
    #[error(
        "the message requires TLS (REQUIRETLS), and neither a policy of the domain nor a rule says that its mail hosts' certificates are verified"
    )]
    NotVouched,
    /// A look-up failed.
    #[error("the DNS look-up of {name} failed: {}", failure.as_str())]
    Failed {
        /// What was asked for.
        name: Box<str>,
        /// How it failed.
        failure: DnsFailure,
    },
}

impl Unresolved {
    /// Whether mail waits or bounces: only the word of an authority bounces.
    pub const fn kind(&self) -> OutcomeKind {
        match self {
            Self::NullMx | Self::NoSuchDomain | Self::NoMailHost | Self::HostsAbsent | Self::Loop => {
                OutcomeKind::Bounced
            }
            // An address that our own configuration forbids can be allowed tomorrow.
            Self::Forbidden(_)
            | Self::OtherFamily
            | Self::TooMany
            | Self::SmarthostAbsent(_)
            | Self::NotInPolicy(_)
            | Self::PolicyUnknown
            | Self::Unproven { .. }
            // A policy may only not be known now.
            | Self::NotVouched
            | Self::Failed { .. } => OutcomeKind::Deferred,
        }
    }

    /// The status that reports give.
    pub const fn status(&self) -> EnhancedCode {
        match self {
            Self::NullMx => EnhancedCode::permanent(1, 10),
            Self::NoSuchDomain | Self::NoMailHost => EnhancedCode::permanent(1, 2),
            Self::HostsAbsent => EnhancedCode::permanent(4, 4),
            Self::Loop => EnhancedCode::permanent(4, 6),
            Self::Forbidden(_) | Self::OtherFamily | Self::TooMany => EnhancedCode::transient(4, 4),
            Self::SmarthostAbsent(_) | Self::Failed { .. } => EnhancedCode::transient(4, 3),
            Self::NotInPolicy(_) | Self::PolicyUnknown => EnhancedCode::transient(7, 0),
            Self::Unproven { .. } => EnhancedCode::transient(7, 5),
            Self::NotVouched => EnhancedCode::transient(7, 30),
        }
    }

    /// What an administrator can do; for logs and `explain`, not for reports to senders.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Forbidden(_) => {
                Some("if mail should go there, list it in the MailRelay's spec.allowedDestinations.cidrs")
            }
            Self::SmarthostAbsent(_) => Some("check the rule's spec.route.smarthost.hosts"),
            Self::NotInPolicy(_) => Some(
                "the domain's administrator has to mend its policy; a rule with policy.tls.mode Opportunistic goes before it",
            ),
            Self::Unproven { .. } => Some(
                "the domain's administrator has to mend its DNS; a rule with policy.tls.mode Opportunistic goes before it",
            ),
            Self::NotVouched => Some(
                "a rule with policy.tls.mode Verify vouches for a smarthost that it names, and for mail hosts whose MX records are signed",
            ),
            Self::OtherFamily
            | Self::TooMany
            | Self::PolicyUnknown
            | Self::Failed { .. }
            | Self::NullMx
            | Self::NoSuchDomain
            | Self::NoMailHost
            | Self::HostsAbsent
            | Self::Loop => None,
        }
    }

    /// The name as written in metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NullMx => "null_mx",
            Self::NoSuchDomain => "no_such_domain",
            Self::NoMailHost => "no_mail_host",
            Self::HostsAbsent | Self::SmarthostAbsent(_) | Self::TooMany => "hosts_absent",
            Self::Loop => "loop",
            Self::Forbidden(_) => "forbidden",
            Self::OtherFamily => "other_family",
            Self::NotInPolicy(_) => "not_in_policy",
            Self::PolicyUnknown => "policy_unknown",
            Self::Unproven { .. } => "unproven",
            Self::NotVouched => "not_vouched",
            Self::Failed { .. } => "failed",
        }
    }
}

/// The verdict over candidates of which none has an address that may be tried. What may change outweighs what can't.
pub(super) fn of_none(kept: &[&(Candidate, Addresses)], is_complete: bool, to: &Destinations) -> Unresolved {
    let failed = kept.iter().find_map(|(candidate, found)| Some((candidate, failure(found)?)));
    if let Some((candidate, failure)) = failed {
        return Unresolved::Failed { name: name(&candidate.target), failure };
    }
    if let Some(address) = kept.iter().find_map(|(_, found)| addresses::forbidden(found, to)) {
        return Unresolved::Forbidden(address);
    }
    if kept.iter().any(|(_, found)| has_records(found)) {
        return Unresolved::OtherFamily;
    }
    match kept.first().map(|(candidate, _)| (candidate.origin, &candidate.target)) {
        Some((Origin::Implicit, _)) => Unresolved::NoMailHost,
        Some((Origin::Rule, target)) => Unresolved::SmarthostAbsent(name(target)),
        Some((Origin::Mx, _)) if is_complete => Unresolved::HostsAbsent,
        Some((Origin::Mx, _)) | None => Unresolved::TooMany,
    }
}

/// A target that can't be looked up is as absent as one that doesn't exist: the MX record is the authority's word.
fn failure(found: &Addresses) -> Option<DnsFailure> {
    match (&found.v4, &found.v6) {
        (Answer::Failed(failure), _) | (_, Answer::Failed(failure)) => Some(*failure),
        _ => None,
    }
}

fn has_records(found: &Addresses) -> bool {
    matches!(found.v4, Answer::Records(_)) || matches!(found.v6, Answer::Records(_))
}

fn name(target: &MxTarget) -> Box<str> {
    match target {
        MxTarget::Null => ".".into(),
        MxTarget::Host(host) => host.as_str().into(),
        MxTarget::Broken(text) => text.clone(),
    }
}
