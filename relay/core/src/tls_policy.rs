//! Whether a connection must, may or won't be encrypted, and what a failure of TLS means.
//! **Owns:** what rules want, what applies to one host, the fall-back to clear text and its memory. **Never:** a handshake.
//! Only an opportunistic connection may go on in clear: at once, on a new connection, in the same attempt (RFC 7435).

use std::{collections::HashMap, net::IpAddr, time::Duration};

use postrider_mail::{FarReply, FarText, HostName, Mono, TlsRequirement};
use serde::{Deserialize, Serialize};

use crate::{
    dane::{Demand, HostDane},
    mta_sts,
    mx::{Host, Unresolved},
};

/// How a rule or the defaults want mail to a far side protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum TlsMode {
    /// No TLS, even if offered.
    Clear,
    /// TLS where offered, with any certificate; in clear where it fails. What the far side has published doesn't count.
    Opportunistic,
    /// As the far side has published (DANE, else MTA-STS); where it has published nothing, as `Opportunistic`.
    #[default]
    Published,
    /// TLS with any certificate, or the mail waits.
    Require,
    /// TLS with a certificate that a trusted authority gave to that host, or the mail waits.
    Verify,
}

/// How connections to one host are protected, once it is known what the rule wants and the far side has published.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Protection {
    /// No TLS, even if offered.
    Clear,
    /// TLS where offered, with any certificate; in clear where it fails.
    #[default]
    Opportunistic,
    /// TLS with any certificate, or not with this host.
    Require,
    /// TLS with a certificate that a trusted authority gave to that host, or not with this host.
    Verify,
    /// The same, because the domain's enforced MTA-STS policy says so (RFC 8461 4.2).
    MtaSts,
    /// TLS with a certificate that fits the host's TLSA records, or not with this host.
    Dane {
        /// The name that its records are found under.
        base: HostName,
        /// What they say.
        demand: Demand,
    },
}

impl TlsMode {
    /// What applies to a host that has published nothing.
    pub const fn protection(self) -> Protection {
        match self {
            Self::Clear => Protection::Clear,
            Self::Opportunistic | Self::Published => Protection::Opportunistic,
            Self::Require => Protection::Require,
            Self::Verify => Protection::Verify,
        }
    }

    /// The name as written in resources and explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clear => "Clear",
            Self::Opportunistic => "Opportunistic",
            Self::Published => "Published",
            Self::Require => "Require",
            Self::Verify => "Verify",
        }
    }
}

/// What a rule's mode is for one message: RFC 8689 4.1 lifts what the far side has published, not what a rule says.
pub const fn mode_for(mode: TlsMode, requirement: TlsRequirement) -> TlsMode {
    match (mode, requirement) {
        (TlsMode::Published, TlsRequirement::Lifted) => TlsMode::Opportunistic,
        (mode, TlsRequirement::Unsaid | TlsRequirement::Required | TlsRequirement::Lifted) => mode,
    }
}

/// Whether a message may go to a host of this protection: one that requires TLS needs its certificate verified, and that in a name
/// that wasn't foisted on us (RFC 8689 4.2.1). `is_name_proven`: whether a rule, a signed MX record or an enforced policy names it.
pub const fn is_enough(protection: &Protection, requirement: TlsRequirement, is_name_proven: bool) -> bool {
    match requirement {
        TlsRequirement::Required => match protection {
            Protection::Verify => is_name_proven,
            Protection::MtaSts => true,
            Protection::Dane { demand, .. } => demand.is_fitting(),
            Protection::Clear | Protection::Opportunistic | Protection::Require => false,
        },
        TlsRequirement::Unsaid | TlsRequirement::Lifted => true,
    }
}

/// How a host is protected, by what the rule wants, its own records say and its domain has published; none, if mail may not go
/// there (RFC 7672 2.1.2, RFC 8461 5). DANE goes first: a policy that lets a host pass doesn't help one that fails by its records,
/// and one that doesn't name it takes nothing from a host whose records vouch for it (RFC 8461 2).
pub fn for_host(
    mode: TlsMode,
    dane: &HostDane,
    published: Option<&mta_sts::Policy>,
    host: &HostName,
) -> Option<Protection> {
    match (mode, dane) {
        (TlsMode::Published, HostDane::Demand { base, demand }) => {
            return Some(Protection::Dane { base: base.clone(), demand: demand.clone() });
        }
        (TlsMode::Published, HostDane::Unusable(_)) => return None,
        _ => {}
    }
    match published {
        Some(policy) if mode == TlsMode::Published && policy.mode == mta_sts::Mode::Enforce => {
            policy.allows(host).then_some(Protection::MtaSts)
        }
        _ => Some(mode.protection()),
    }
}

/// Whether a domain's policy is enforced and names a host.
pub fn is_named(published: Option<&mta_sts::Policy>, host: &HostName) -> bool {
    published.is_some_and(|policy| policy.mode == mta_sts::Mode::Enforce && policy.allows(host))
}

/// The hosts that a domain's policy has no say in, while nobody knows whether it has one: those whose own records demand something, or
/// all, where the rule doesn't ask for what is published.
///
/// # Errors
/// If there is none.
pub fn without_policy(
    mut hosts: Vec<(Host, HostDane)>,
    mode: TlsMode,
) -> Result<Vec<(Host, HostDane)>, Unresolved> {
    hosts.retain(|(_, dane)| mode != TlsMode::Published || matches!(dane, HostDane::Demand { .. }));
    if hosts.is_empty() { Err(Unresolved::PolicyUnknown) } else { Ok(hosts) }
}

/// Why none of these hosts may be mailed to, where [`for_host`] allows none; nothing where there is none.
pub fn refusal(hosts: &[(Host, HostDane)]) -> Option<Unresolved> {
    let unproven = hosts.iter().find_map(|(host, dane)| match dane {
        HostDane::Unusable(failure) => {
            Some(Unresolved::Unproven { name: host.name.as_str().into(), failure: *failure })
        }
        HostDane::None | HostDane::Demand { .. } => None,
    });
    let first = || Some(Unresolved::NotInPolicy(hosts.first()?.0.name.as_str().into()));
    unproven.or_else(first)
}

/// What to do about STARTTLS on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Go on in clear.
    Never,
    /// STARTTLS if the far side offers it.
    IfOffered,
    /// STARTTLS, or this host can't be used.
    Must,
}

/// What to do about STARTTLS on a new connection. `is_known_broken`: see [`BrokenTls`].
pub const fn intent(protection: &Protection, is_known_broken: bool) -> Intent {
    match (protection, is_known_broken) {
        (Protection::Clear, _) | (Protection::Opportunistic, true) => Intent::Never,
        (Protection::Opportunistic, false) => Intent::IfOffered,
        (Protection::Require | Protection::Verify | Protection::MtaSts | Protection::Dane { .. }, _) => {
            Intent::Must
        }
    }
}

/// How TLS failed on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFailure {
    /// EHLO didn't offer STARTTLS.
    NotOffered,
    /// STARTTLS got another reply than 220.
    Refused(FarReply),
    /// The handshake failed, or took too long; also bytes in clear before it (RFC 3207 6).
    Handshake(FarText),
    /// The handshake was fine, its certificate wasn't: only where it is verified.
    Certificate(FarText),
}

/// How to go on after a failure of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterTls {
    /// In clear on this connection: it was left as it was.
    GoOnInClear,
    /// In clear on a new connection to the same address; remember the pair as broken.
    ReconnectInClear,
    /// Not with this host.
    NextHost,
}

/// What a failure means under a protection.
pub const fn after_failure(protection: &Protection, failure: &TlsFailure) -> AfterTls {
    match protection {
        Protection::Require | Protection::Verify | Protection::MtaSts | Protection::Dane { .. } => {
            AfterTls::NextHost
        }
        Protection::Clear | Protection::Opportunistic => match failure {
            TlsFailure::NotOffered | TlsFailure::Refused(_) => AfterTls::GoOnInClear,
            TlsFailure::Handshake(_) | TlsFailure::Certificate(_) => AfterTls::ReconnectInClear,
        },
    }
}

/// Which pairs of host and address failed their handshake: opportunistic mail spares them the failure for some hours.
#[derive(Debug, Default)]
pub struct BrokenTls {
    until: HashMap<(HostName, IpAddr), Mono>,
}

impl BrokenTls {
    /// How long a pair is remembered: long enough to spare a busy site, short enough to find it repaired the same day.
    pub const REMEMBERED_FOR: Duration = Duration::from_secs(6 * 3600);
    /// The most pairs remembered: a few hundred kilobytes. One forgotten costs one failed handshake.
    pub const MAX_PAIRS: usize = 4096;

    /// Whether the pair is known as broken.
    pub fn contains(&self, host: &HostName, address: IpAddr, now: Mono) -> bool {
        !self.until.is_empty() && self.until.get(&(host.clone(), address)).is_some_and(|until| now < *until)
    }

    /// Remembers a pair whose handshake failed.
    pub fn remember(&mut self, host: HostName, address: IpAddr, now: Mono) {
        if self.until.len() >= Self::MAX_PAIRS {
            self.until.retain(|_, until| now < *until);
        }
        if self.until.len() >= Self::MAX_PAIRS {
            self.forget_soonest();
        }
        self.until.insert((host, address), now.after(Self::REMEMBERED_FOR));
    }

    /// How many pairs are remembered.
    pub fn len(&self) -> usize {
        self.until.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    fn forget_soonest(&mut self) {
        let soonest = self.until.iter().min_by_key(|(_, until)| **until).map(|(pair, _)| pair.clone());
        if let Some(pair) = soonest {
            self.until.remove(&pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dane::Tlsa, mx::DnsFailure};

    fn dane() -> Protection {
        Protection::Dane { base: host("mx.example"), demand: Demand::Encrypted }
    }

    fn host(name: &str) -> HostName {
        HostName::parse(name).expect("a name")
    }

    fn failures() -> [TlsFailure; 4] {
        let refused = FarReply {
            code: postrider_mail::ReplyCode::new(454),
            enhanced: None,
            text: FarText::new("not now"),
        };
        [
            TlsFailure::NotOffered,
            TlsFailure::Refused(refused),
            TlsFailure::Handshake(FarText::new("alert")),
            TlsFailure::Certificate(FarText::new("expired")),
        ]
    }

    #[test]
    fn only_opportunistic_mail_goes_on_in_clear() {
        use Protection::{Clear, MtaSts, Opportunistic, Require, Verify};
        for protection in [Clear, Opportunistic, Require, Verify, MtaSts, dane()] {
            for failure in failures() {
                let goes_on = after_failure(&protection, &failure) != AfterTls::NextHost;
                let may = matches!(protection, Protection::Clear | Protection::Opportunistic);
                assert_eq!(goes_on, may, "{protection:?} {failure:?}");
            }
        }
    }

    #[test]
    fn a_failed_handshake_needs_a_new_connection_and_a_refusal_does_not() {
        let [not_offered, refused, handshake, _] = failures();
        let after = |failure| after_failure(&Protection::Opportunistic, failure);
        assert_eq!(after(&not_offered), AfterTls::GoOnInClear);
        assert_eq!(after(&refused), AfterTls::GoOnInClear);
        assert_eq!(after(&handshake), AfterTls::ReconnectInClear);
    }

    #[test]
    fn a_broken_pair_is_spared_the_handshake_for_some_hours_only() {
        let (host, other) = (HostName::parse("mx.example").expect("a name"), [192, 0, 2, 2].into());
        let (mut broken, at) = (BrokenTls::default(), Mono::from_start(Duration::from_secs(1)));
        let address = [192, 0, 2, 1].into();
        broken.remember(host.clone(), address, at);
        assert!(broken.contains(&host, address, at.after(Duration::from_secs(60))));
        assert!(!broken.contains(&host, other, at));
        assert!(!broken.contains(&host, address, at.after(BrokenTls::REMEMBERED_FOR)));
        assert_eq!(intent(&Protection::Opportunistic, true), Intent::Never);
        assert_eq!(intent(&Protection::Require, true), Intent::Must);
        assert_eq!(intent(&dane(), true), Intent::Must);
    }

    #[test]
    fn only_an_enforced_policy_counts_and_only_where_the_rule_asks_for_it() {
        let policy = |mode: &str| {
            let file = format!("version: STSv1\nmode: {mode}\nmx: mx.example\nmax_age: 86400\n");
            mta_sts::Policy::parse(file.as_bytes()).expect("a policy")
        };
        let enforce = policy("enforce");
        let published = |policy: Option<&_>, name: &str| {
            for_host(TlsMode::Published, &HostDane::None, policy, &host(name))
        };
        assert_eq!(published(Some(&enforce), "mx.example"), Some(Protection::MtaSts));
        assert_eq!(published(Some(&enforce), "other.example"), None);
        assert_eq!(published(Some(&policy("testing")), "other.example"), Some(Protection::Opportunistic));
        assert_eq!(published(Some(&policy("none")), "other.example"), Some(Protection::Opportunistic));
        assert_eq!(published(None, "mx.example"), Some(Protection::Opportunistic));
        for mode in [TlsMode::Clear, TlsMode::Opportunistic, TlsMode::Require, TlsMode::Verify] {
            let other = host("other.example");
            assert_eq!(for_host(mode, &HostDane::None, Some(&enforce), &other), Some(mode.protection()));
        }
    }

    #[test]
    fn what_a_host_says_by_dane_goes_before_its_domains_policy() {
        let file = b"version: STSv1\nmode: enforce\nmx: other.example\nmax_age: 86400\n";
        let policy = mta_sts::Policy::parse(file).expect("a policy");
        let demand = HostDane::Demand { base: host("mx.example"), demand: Demand::Encrypted };
        let broken = HostDane::Unusable(DnsFailure::Bogus);
        let of = |mode, said: &HostDane| for_host(mode, said, Some(&policy), &host("mx.example"));
        assert_eq!(of(TlsMode::Published, &demand), Some(dane()));
        assert_eq!(of(TlsMode::Published, &broken), None);
        for mode in [TlsMode::Clear, TlsMode::Opportunistic, TlsMode::Require, TlsMode::Verify] {
            assert_eq!(of(mode, &demand), Some(mode.protection()));
            assert_eq!(of(mode, &broken), Some(mode.protection()));
        }
    }

    #[test]
    fn while_a_policy_is_not_known_only_mail_that_needs_none_goes() {
        let set = crate::mx::HostSet::of([]);
        let mx = Host { name: host("mx.example"), preference: 10, addresses: Vec::new(), set };
        let demand = HostDane::Demand { base: host("mx.example"), demand: Demand::Encrypted };
        let (signed, plain) = ((mx.clone(), demand), (mx, HostDane::None));
        let both = vec![signed.clone(), plain.clone()];
        assert_eq!(without_policy(both.clone(), TlsMode::Published), Ok(vec![signed]));
        assert_eq!(without_policy(vec![plain], TlsMode::Published), Err(Unresolved::PolicyUnknown));
        assert_eq!(without_policy(both.clone(), TlsMode::Verify), Ok(both));
    }

    #[test]
    fn a_message_lifts_what_is_published_and_nothing_else() {
        for mode in [TlsMode::Clear, TlsMode::Opportunistic, TlsMode::Require, TlsMode::Verify] {
            assert_eq!(mode_for(mode, TlsRequirement::Lifted), mode);
        }
        assert_eq!(mode_for(TlsMode::Published, TlsRequirement::Lifted), TlsMode::Opportunistic);
        assert_eq!(mode_for(TlsMode::Published, TlsRequirement::Required), TlsMode::Published);
    }

    #[test]
    fn mail_that_requires_tls_needs_a_certificate_that_somebody_vouches_for() {
        use Protection::{Clear, MtaSts, Opportunistic, Require, Verify};
        let record = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
        let demand = Demand::of(&[record]).expect("a record");
        let fitting = Protection::Dane { base: host("mx.example"), demand };
        for (protections, is_verified) in
            [(vec![Clear, Opportunistic, Require, dane()], false), (vec![Verify, MtaSts, fitting], true)]
        {
            for protection in protections {
                assert!(is_enough(&protection, TlsRequirement::Unsaid, false));
                assert!(is_enough(&protection, TlsRequirement::Lifted, false));
                let found = is_enough(&protection, TlsRequirement::Required, true);
                assert_eq!(found, is_verified, "{protection:?}");
            }
        }
        assert!(
            !is_enough(&Verify, TlsRequirement::Required, false),
            "of a host that anybody may have named"
        );
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut broken = BrokenTls::default();
        for n in 0..BrokenTls::MAX_PAIRS + 10 {
            let host = HostName::parse(&format!("h{n}.example")).expect("a name");
            broken.remember(host, [192, 0, 2, 1].into(), Mono::from_start(Duration::from_secs(n as u64)));
        }
        assert_eq!(broken.len(), BrokenTls::MAX_PAIRS);
    }
}
