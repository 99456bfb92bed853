//! Enhanced status codes: `5.1.1`.
//! **Owns:** their syntax. **Never:** which one fits (whoever answers says it). RFC 3463, RFC 5248 (registry).

use serde::{Deserialize, Serialize};

use crate::reply::Severity;

/// Class, subject and detail, RFC 3463 2. The class is a [`Severity`] and never `Intermediate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnhancedCode {
    severity: Severity,
    subject: u16,
    detail: u16,
}

/// A text that is no enhanced status code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}; expected an enhanced status code such as 5.1.1 (RFC 3463)")]
pub struct InvalidEnhancedCode(String);

impl EnhancedCode {
    /// `2.subject.detail`.
    pub const fn success(subject: u16, detail: u16) -> Self {
        Self { severity: Severity::Success, subject, detail }
    }
    /// `4.subject.detail`.
    pub const fn transient(subject: u16, detail: u16) -> Self {
        Self { severity: Severity::Transient, subject, detail }
    }
    /// `5.subject.detail`.
    pub const fn permanent(subject: u16, detail: u16) -> Self {
        Self { severity: Severity::Permanent, subject, detail }
    }
    /// The class.
    pub const fn severity(self) -> Severity {
        self.severity
    }
    /// The subject: 1 addressing, 2 mailbox, 3 system, 4 network, 5 protocol, 6 content, 7 security.
    pub const fn subject(self) -> u16 {
        self.subject
    }
    /// The detail within the subject.
    pub const fn detail(self) -> u16 {
        self.detail
    }
    /// The same subject and detail in another class, as a report of another kind needs it.
    pub const fn with_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }
    /// Reads the code at the start of a reply's text and what follows it.
    pub fn split_from(text: &str) -> Option<(Self, &str)> {
        let end = text.find(' ').unwrap_or(text.len());
        let code = text.get(..end)?.parse().ok()?;
        Some((code, text.get(end..)?.trim_start_matches(' ')))
    }
}

impl std::fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.severity.digit(), self.subject, self.detail)
    }
}

impl std::str::FromStr for EnhancedCode {
    type Err = InvalidEnhancedCode;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidEnhancedCode(text.chars().take(32).collect());
        let mut parts = text.split('.');
        let severity = match parts.next() {
            Some("2") => Severity::Success,
            Some("4") => Severity::Transient,
            Some("5") => Severity::Permanent,
            _ => return Err(invalid()),
        };
        let mut number = || {
            let part = parts.next().filter(|part| (1..=3).contains(&part.len()))?;
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u16>().ok())?
        };
        let (Some(subject), Some(detail)) = (number(), number()) else { return Err(invalid()) };
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self { severity, subject, detail })
    }
}

impl TryFrom<String> for EnhancedCode {
    type Error = InvalidEnhancedCode;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<EnhancedCode> for String {
    fn from(code: EnhancedCode) -> Self {
        code.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_print_as_they_are_read() {
        for text in ["2.0.0", "4.4.1", "5.7.30", "5.1.10"] {
            assert_eq!(text.parse::<EnhancedCode>().expect(text).to_string(), text);
        }
        for text in ["", "5", "5.1", "3.0.0", "5.1.1.1", "5.1000.1", "5.+1.1", "5..1"] {
            assert!(text.parse::<EnhancedCode>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_code_is_split_from_the_text_behind_it() {
        assert_eq!(
            EnhancedCode::split_from("5.1.1 no such user"),
            Some((EnhancedCode::permanent(1, 1), "no such user"))
        );
        assert_eq!(EnhancedCode::split_from("no such user"), None);
    }
}
