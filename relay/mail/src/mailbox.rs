//! Addresses of people: `local-part@domain`.
//! **Owns:** their syntax. **Never:** comments, display names, groups (RFC 5322's): an envelope has none.
//! RFC 5321 4.1.2 and 4.5.3.1, RFC 6531 3.3 (UTF-8 local parts).

use serde::{Deserialize, Serialize};

use crate::domain::{Domain, InvalidDomain};

/// The longest local part, RFC 5321 4.5.3.1.1.
pub const MAX_LOCAL_PART_BYTES: usize = 64;

/// A mailbox. The local part is kept as written, quotes included: only the far side may say what it means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mailbox {
    local: Box<str>,
    domain: Domain,
}

/// Why a text is no mailbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMailbox {
    /// There is no `@` with something on both sides.
    #[error("found no @ between a local part and a domain; expected an address such as user@example.com")]
    NoAt,
    /// The local part is longer than 64 bytes.
    #[error("found a local part of {0} bytes; expected at most 64")]
    LocalPartTooLong(usize),
    /// The local part is neither a dot-string nor a quoted string.
    #[error("found a local part that is neither atoms with dots between nor a quoted string")]
    LocalPart,
    /// An address literal: legal, but mail is relayed to domains only.
    #[error("found an address literal; expected a domain")]
    AddressLiteral,
    /// The domain isn't one.
    #[error("the domain: {0}")]
    Domain(#[from] InvalidDomain),
}

impl Mailbox {
    /// Puts a mailbox together.
    pub fn new(local: &str, domain: Domain) -> Result<Self, InvalidMailbox> {
        if local.len() > MAX_LOCAL_PART_BYTES {
            return Err(InvalidMailbox::LocalPartTooLong(local.len()));
        }
        if is_dot_string(local) || is_quoted_string(local) {
            Ok(Self { local: local.into(), domain })
        } else {
            Err(InvalidMailbox::LocalPart)
        }
    }

    /// Left of the `@`, as written.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// Right of the `@`.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether it can be sent without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii()
    }
}

impl std::str::FromStr for Mailbox {
    type Err = InvalidMailbox;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The last @: a quoted local part may have others.
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidMailbox::NoAt)?;
        if local.is_empty() || domain.is_empty() {
            return Err(InvalidMailbox::NoAt);
        }
        if domain.starts_with('[') {
            return Err(InvalidMailbox::AddressLiteral);
        }
        Self::new(local, Domain::parse(domain)?)
    }
}

impl std::fmt::Display for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl TryFrom<String> for Mailbox {
    type Error = InvalidMailbox;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Mailbox> for String {
    fn from(mailbox: Mailbox) -> Self {
        mailbox.to_string()
    }
}

/// Where a bounce goes: nowhere, or to a mailbox. RFC 5321 4.5.5.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ReversePath {
    /// `<>`: mail that must not be answered.
    Null,
    /// Who sent it.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// The mailbox, unless the path is null.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

impl std::fmt::Display for ReversePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

impl TryFrom<String> for ReversePath {
    type Error = InvalidMailbox;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() { Ok(Self::Null) } else { text.parse().map(Self::Mailbox) }
    }
}

impl From<ReversePath> for String {
    fn from(path: ReversePath) -> Self {
        path.to_string()
    }
}

fn is_dot_string(local: &str) -> bool {
    !local.is_empty() && local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

/// `"…"` of printable characters, a backslash before any of them, no line break.
fn is_quoted_string(local: &str) -> bool {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut is_escaped = false;
    for c in inner.chars() {
        if c.is_control() || (c == '"' && !is_escaped) {
            return false;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    !is_escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn real_addresses_are_read() {
        for text in [
            "a@b.example",
            "a.b+c@d.example",
            "\"a b\"@c.example",
            "\"a\\\"@b\"@c.example",
            "jürgen@example.com",
        ] {
            assert_eq!(text.parse::<Mailbox>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@b.example", "a".repeat(65));
        for text in [
            "",
            "a",
            "@b",
            "a@",
            ".a@b",
            "a..b@c",
            "a b@c",
            "\"a@b",
            "\"a\\\"@b",
            "a\r@b",
            "a@[10.0.0.1]",
            "<a@b>",
            &long,
        ] {
            assert!(text.parse::<Mailbox>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_a_printed_mailbox_gives_the_same(text in "[\"a-z\\\\ .é]{1,10}@[a-z.]{1,10}") {
            if let Ok(mailbox) = text.parse::<Mailbox>() {
                prop_assert_eq!(mailbox.to_string().parse::<Mailbox>().expect("printed ones parse"), mailbox);
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,100}") {
            let _ = text.parse::<Mailbox>();
        }
    }
}
