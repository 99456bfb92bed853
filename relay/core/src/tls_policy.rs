//! Whether a connection must, may or won't be encrypted, and what a failure of TLS means.
//! **Owns:** the modes, the fall-back to clear text and its memory. **Never:** a handshake.
//! Only an opportunistic connection may go on in clear: at once, on a new connection, in the same attempt (RFC 7435).

use std::{collections::HashMap, net::IpAddr, time::Duration};

use postrider_mail::{FarReply, FarText, HostName, Mono};
use serde::{Deserialize, Serialize};

/// How a rule or the defaults want mail to a far side protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum TlsMode {
    /// No TLS, even if offered.
    Clear,
    /// TLS where offered, with any certificate; in clear where it fails.
    #[default]
    Opportunistic,
    /// TLS with any certificate, or the mail waits.
    Require,
    /// TLS with a certificate that a trusted authority gave to that host, or the mail waits.
    Verify,
}

impl TlsMode {
    /// The name as written in resources, logs and site keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clear => "Clear",
            Self::Opportunistic => "Opportunistic",
            Self::Require => "Require",
            Self::Verify => "Verify",
        }
    }
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
pub const fn intent(mode: TlsMode, is_known_broken: bool) -> Intent {
    match (mode, is_known_broken) {
        (TlsMode::Clear, _) | (TlsMode::Opportunistic, true) => Intent::Never,
        (TlsMode::Opportunistic, false) => Intent::IfOffered,
        (TlsMode::Require | TlsMode::Verify, _) => Intent::Must,
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

/// What a failure means under a mode.
pub const fn after_failure(mode: TlsMode, failure: &TlsFailure) -> AfterTls {
    match (mode, failure) {
        (TlsMode::Require | TlsMode::Verify, _) => AfterTls::NextHost,
        (TlsMode::Clear | TlsMode::Opportunistic, TlsFailure::NotOffered | TlsFailure::Refused(_)) => {
            AfterTls::GoOnInClear
        }
        (TlsMode::Clear | TlsMode::Opportunistic, TlsFailure::Handshake(_) | TlsFailure::Certificate(_)) => {
            AfterTls::ReconnectInClear
        }
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

    const ALL: [TlsMode; 4] = [TlsMode::Clear, TlsMode::Opportunistic, TlsMode::Require, TlsMode::Verify];

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
        for mode in ALL {
            for failure in failures() {
                let goes_on = after_failure(mode, &failure) != AfterTls::NextHost;
                let may = matches!(mode, TlsMode::Clear | TlsMode::Opportunistic);
                assert_eq!(goes_on, may, "{mode:?} {failure:?}");
            }
        }
    }

    #[test]
    fn a_failed_handshake_needs_a_new_connection_and_a_refusal_does_not() {
        let [not_offered, refused, handshake, _] = failures();
        let after = |failure| after_failure(TlsMode::Opportunistic, failure);
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
        assert_eq!(intent(TlsMode::Opportunistic, true), Intent::Never);
        assert_eq!(intent(TlsMode::Require, true), Intent::Must);
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
