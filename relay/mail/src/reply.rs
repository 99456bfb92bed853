//! SMTP replies: ours ([`Reply`]), and what a far side said ([`FarReply`]).
//! **Owns:** codes and their meaning. **Never:** the wire (smtp's), what to do about it (core's).
//! RFC 5321 4.2, RFC 2034.

use serde::{Deserialize, Serialize};

use crate::enhanced::EnhancedCode;

/// The longest text kept of a far side's reply, in bytes.
pub const MAX_FAR_TEXT_BYTES: usize = 512;

/// What the first digit of a reply says, RFC 5321 4.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// 2yz: done.
    Success,
    /// 3yz: go on.
    Intermediate,
    /// 4yz: not now.
    Transient,
    /// 5yz: never.
    Permanent,
}

impl Severity {
    /// The digit on the wire.
    pub const fn digit(self) -> u8 {
        match self {
            Self::Success => 2,
            Self::Intermediate => 3,
            Self::Transient => 4,
            Self::Permanent => 5,
        }
    }
}

/// A reply code, 200 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct ReplyCode(u16);

/// A number that is no reply code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("found reply code {0}; expected 200 to 599")]
pub struct InvalidReplyCode(u16);

impl ReplyCode {
    /// A code of our own, checked when it is compiled in a `const`.
    ///
    /// # Panics
    /// Outside of 200 to 599.
    pub const fn new(code: u16) -> Self {
        assert!(code >= 200 && code <= 599, "a reply code is 200 to 599");
        Self(code)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// What its first digit says.
    pub const fn severity(self) -> Severity {
        match self.0 / 100 {
            2 => Severity::Success,
            3 => Severity::Intermediate,
            4 => Severity::Transient,
            _ => Severity::Permanent,
        }
    }
}

impl TryFrom<u16> for ReplyCode {
    type Error = InvalidReplyCode;
    fn try_from(code: u16) -> Result<Self, Self::Error> {
        if (200..=599).contains(&code) { Ok(Self(code)) } else { Err(InvalidReplyCode(code)) }
    }
}

impl From<ReplyCode> for u16 {
    fn from(code: ReplyCode) -> Self {
        code.0
    }
}

impl std::fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A reply of ours. Code and enhanced code can't disagree about the severity (RFC 2034 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: ReplyCode,
    enhanced: Option<EnhancedCode>,
    lines: Vec<std::borrow::Cow<'static, str>>,
}

impl Reply {
    /// A reply of one line with an enhanced code.
    ///
    /// # Panics
    /// When code and enhanced code differ in severity: a bug of the caller, whose codes are constants.
    pub fn new(
        code: ReplyCode,
        enhanced: EnhancedCode,
        text: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Self {
        assert_eq!(code.severity(), enhanced.severity(), "a reply has one severity");
        Self { code, enhanced: Some(enhanced), lines: vec![text.into()] }
    }

    /// A reply that has no enhanced code: greetings, EHLO's answer and 3yz (RFC 2034 4).
    pub fn bare(code: ReplyCode, lines: Vec<std::borrow::Cow<'static, str>>) -> Self {
        Self { code, enhanced: None, lines }
    }

    /// The code.
    pub fn code(&self) -> ReplyCode {
        self.code
    }

    /// The enhanced code.
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        self.enhanced
    }

    /// The text, a line each.
    pub fn lines(&self) -> &[std::borrow::Cow<'static, str>] {
        &self.lines
    }
}

/// What a far side answered. Where its two codes disagree, the reply code decides (RFC 3463 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarReply {
    /// The reply code.
    pub code: ReplyCode,
    /// The enhanced code, if it sent one.
    pub enhanced: Option<EnhancedCode>,
    /// Its words.
    pub text: FarText,
}

impl std::fmt::Display for FarReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        if self.text.as_str().is_empty() { Ok(()) } else { write!(f, " {}", self.text.as_str()) }
    }
}

/// Words of a far side: one line of printable text, at most [`MAX_FAR_TEXT_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct FarText(Box<str>);

impl FarText {
    /// Takes what was sent: line breaks become spaces, what can't be printed becomes `?`, the rest is cut.
    pub fn new(text: &str) -> Self {
        let mut kept = String::with_capacity(text.len().min(MAX_FAR_TEXT_BYTES));
        for c in text.trim().chars() {
            let c = match c {
                '\r' | '\n' | '\t' => ' ',
                c if c.is_control() => '?',
                c => c,
            };
            if kept.len() + c.len_utf8() > MAX_FAR_TEXT_BYTES {
                break;
            }
            kept.push(c);
        }
        // The cut may have come behind a space. What is kept reads back as it is.
        kept.truncate(kept.trim_end().len());
        Self(kept.into_boxed_str())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for FarText {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<FarText> for String {
    fn from(text: FarText) -> Self {
        text.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_digit_is_the_severity() {
        let severity = |code| ReplyCode::try_from(code).map(ReplyCode::severity);
        assert_eq!(severity(250), Ok(Severity::Success));
        assert_eq!(severity(354), Ok(Severity::Intermediate));
        assert_eq!(severity(421), Ok(Severity::Transient));
        assert_eq!(severity(550), Ok(Severity::Permanent));
        assert!(severity(199).is_err() && severity(600).is_err());
    }

    #[test]
    fn far_text_is_one_bounded_line() {
        let text = FarText::new(&format!("no\r\nsuch\u{7}user {}", "é".repeat(600)));
        assert!(text.as_str().starts_with("no  such?user é"));
        assert!(text.as_str().len() <= MAX_FAR_TEXT_BYTES);
    }

    #[test]
    fn far_text_that_was_cut_at_a_space_reads_back_the_same() {
        let text = FarText::new(&format!("{} {}", "x".repeat(MAX_FAR_TEXT_BYTES - 1), "y"));
        assert_eq!(FarText::new(text.as_str()), text);
    }
}
