//! The policy file: which hosts, how strictly, for how long.
//! **Owns:** its syntax, which host it allows. RFC 8461 3.2, 4.1. **Never:** where it comes from.

use std::time::Duration;

use postrider_mail::HostName;
use serde::{Deserialize, Serialize};

/// The longest file that is read, in bytes: RFC 8461 3.3 suggests it.
pub const MAX_BYTES: usize = 64 * 1024;
/// The longest `max_age` in seconds: about a year. RFC 8461 3.2.
const MAX_AGE: u64 = 31_557_600;
/// The most `mx` lines that are kept.
const MAX_HOSTS: usize = 256;

/// A domain's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How strictly it is meant.
    pub mode: Mode,
    /// The hosts that it names.
    pub hosts: Vec<HostPattern>,
    /// How long it holds from when it was fetched, in seconds.
    pub max_age_seconds: u64,
}

/// How strictly a policy is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Mail goes to its hosts by TLS with a good certificate, or waits.
    Enforce,
    /// Mail goes as if there were none; failures are reported to who asks for reports.
    Testing,
    /// There is none any more.
    None,
}

/// A host, or `*.` and the rest of its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPattern {
    #[serde(rename = "n")]
    name: HostName,
    #[serde(rename = "w", default, skip_serializing_if = "std::ops::Not::not")]
    is_wildcard: bool,
}

/// Why a file is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// It is too long.
    #[error("found more than {MAX_BYTES} bytes; expected fewer")]
    TooLong,
    /// It isn't text.
    #[error("found bytes that are no UTF-8; expected text")]
    NotText,
    /// A field is missing.
    #[error("found no field {0}; expected it")]
    Missing(&'static str),
    /// A field has another value than it may have.
    #[error("{field}: found {found:?}; expected {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// Its value, cut.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
}

impl Policy {
    /// Reads a file. Unknown fields are left out, and of a field that may stand once, all but the first.
    ///
    /// # Errors
    /// It is no policy of this version; nothing of it is used then.
    pub fn parse(file: &[u8]) -> Result<Self, InvalidPolicy> {
        if file.len() > MAX_BYTES {
            return Err(InvalidPolicy::TooLong);
        }
        let text = std::str::from_utf8(file).map_err(|_| InvalidPolicy::NotText)?;
        let (mut version, mut mode, mut max_age, mut hosts) = (None, None, None, Vec::new());
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim_matches([' ', '\t']);
            match name.trim_matches([' ', '\t']) {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" if hosts.len() < MAX_HOSTS => hosts.push(HostPattern::parse(value)?),
                _ => {}
            }
        }
        match version.ok_or(InvalidPolicy::Missing("version"))? {
            "STSv1" => {}
            other => return Err(unexpected("version", other, "STSv1")),
        }
        let mode = match mode.ok_or(InvalidPolicy::Missing("mode"))? {
            "enforce" => Mode::Enforce,
            "testing" => Mode::Testing,
            "none" => Mode::None,
            other => return Err(unexpected("mode", other, "enforce, testing or none")),
        };
        let max_age = max_age.ok_or(InvalidPolicy::Missing("max_age"))?;
        let seconds = max_age.parse().ok().filter(|seconds| (0..=MAX_AGE).contains(seconds));
        let max_age_seconds =
            seconds.ok_or_else(|| unexpected("max_age", max_age, "0 to 31557600 seconds"))?;
        if hosts.is_empty() && mode != Mode::None {
            return Err(InvalidPolicy::Missing("mx"));
        }
        Ok(Self { mode, hosts, max_age_seconds })
    }

    /// Whether mail may go to a host, as far as its name is concerned.
    pub fn allows(&self, host: &HostName) -> bool {
        self.hosts.iter().any(|pattern| pattern.matches(host))
    }

    /// How long it holds.
    pub const fn max_age(&self) -> Duration {
        Duration::from_secs(self.max_age_seconds)
    }
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self, InvalidPolicy> {
        let (name, is_wildcard) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        match HostName::parse(name) {
            Ok(name) => Ok(Self { name, is_wildcard }),
            Err(_) => Err(unexpected("mx", text, "a host name, or one behind *.")),
        }
    }

    /// A `*` stands for exactly one label, the leftmost.
    fn matches(&self, host: &HostName) -> bool {
        if self.is_wildcard {
            host.as_str().split_once('.').is_some_and(|(_, rest)| rest == self.name.as_str())
        } else {
            *host == self.name
        }
    }
}

impl std::fmt::Display for HostPattern {
    /// As in the file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.is_wildcard { "*." } else { "" }, self.name)
    }
}

impl Mode {
    /// As in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }
}

fn unexpected(field: &'static str, found: &str, expected: &'static str) -> InvalidPolicy {
    InvalidPolicy::Field { field, found: found.chars().take(80).collect(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n";

    fn host(name: &str) -> HostName {
        HostName::parse(name).expect("a name")
    }

    #[test]
    fn the_example_of_the_rfc_is_read_with_any_line_end() {
        let policy = Policy::parse(GOOD.as_bytes()).expect("a policy");
        assert_eq!((policy.mode, policy.max_age()), (Mode::Enforce, Duration::from_secs(604_800)));
        assert_eq!(Policy::parse(GOOD.replace('\r', "").as_bytes()), Ok(policy.clone()));
        assert_eq!(Policy::parse(GOOD.trim_end().as_bytes()), Ok(policy), "the last line needs no end");
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let policy = Policy::parse(GOOD.as_bytes()).expect("a policy");
        assert!(policy.allows(&host("mail.example.com")));
        assert!(policy.allows(&host("MX1.Example.NET")));
        assert!(!policy.allows(&host("example.net")));
        assert!(!policy.allows(&host("a.b.example.net")));
        assert!(!policy.allows(&host("other.example.com")));
        assert!(!policy.allows(&host("x.mail.example.com")));
    }

    #[test]
    fn unknown_fields_and_repeated_ones_do_not_count() {
        let text = format!("{GOOD}mode: none\r\nfuture: 1\r\nno colon\r\n");
        assert_eq!(Policy::parse(text.as_bytes()), Policy::parse(GOOD.as_bytes()));
    }

    #[test]
    fn what_is_no_policy_says_why() {
        let error = |text: &str| Policy::parse(text.as_bytes()).expect_err("no policy").to_string();
        assert_eq!(error(""), "found no field version; expected it");
        assert_eq!(error(&GOOD.replace("STSv1", "STSv2")), "version: found \"STSv2\"; expected STSv1");
        assert_eq!(
            error(&GOOD.replace("enforce", "strict")),
            "mode: found \"strict\"; expected enforce, testing or none"
        );
        assert_eq!(
            error(&GOOD.replace("604800", "31557601")),
            "max_age: found \"31557601\"; expected 0 to 31557600 seconds"
        );
        assert_eq!(
            error(&GOOD.replace("*.example.net", "*")),
            "mx: found \"*\"; expected a host name, or one behind *."
        );
        assert_eq!(
            error("version: STSv1\nmode: testing\nmax_age: 1\n"),
            "found no field mx; expected it",
            "only mode none needs no host"
        );
        assert_eq!(Policy::parse(&[0xff]), Err(InvalidPolicy::NotText));
        assert_eq!(Policy::parse(&vec![b'a'; MAX_BYTES + 1]), Err(InvalidPolicy::TooLong));
        assert!(Policy::parse(b"version: STSv1\nmode: none\nmax_age: 86400\n").is_ok());
    }
}
