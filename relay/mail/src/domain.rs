//! Names in the DNS: what mail is addressed to ([`Domain`]), and machines ([`HostName`]).
//! **Owns:** their syntax and normal form (lower-case A-labels). **Never:** a look-up.
//! RFC 1035 2.3.4 (lengths), RFC 5321 4.1.2 (syntax), RFC 5891 and UTS 46 non-transitional (U-labels).

use serde::{Deserialize, Serialize};

/// The longest name in text form, RFC 1035 2.3.4.
const MAX_NAME_BYTES: usize = 253;
/// The longest label, RFC 1035 2.3.4.
const MAX_LABEL_BYTES: usize = 63;

/// What stands right of the `@`: it has MX records, an MTA-STS policy, a lane. Lower-case A-labels, no trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(Box<str>);

/// A machine's name: an MX target, an EHLO name, an SNI: it has addresses and TLSA records. Lower-case A-labels, no
/// trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(Box<str>);

/// Why a text is no name in the DNS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDomain {
    /// Nothing was there.
    #[error("found an empty name; expected a domain such as example.com")]
    Empty,
    /// Longer than the DNS can carry.
    #[error("found a name of {0} bytes; expected at most 253")]
    TooLong(usize),
    /// A label is empty, longer than 63 bytes, starts or ends with a hyphen, or has a character that none may have.
    #[error(
        "found label {0:?}; expected 1 to 63 letters, digits, hyphens or underscores, no hyphen at either end"
    )]
    Label(String),
    /// UTS 46 has no A-labels for it.
    #[error("found {0:?}; expected an international name that UTS 46 allows")]
    NotAllowed(String),
}

impl Domain {
    /// Reads a domain, in U-labels or A-labels; a trailing dot is dropped.
    pub fn parse(text: &str) -> Result<Self, InvalidDomain> {
        normal_form(text).map(Self)
    }

    /// The A-labels.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `parent` or below it.
    pub fn is_within(&self, parent: &Self) -> bool {
        let (name, parent) = (self.as_str(), parent.as_str());
        name == parent || name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
    }
}

impl HostName {
    /// Reads a machine's name, in U-labels or A-labels; a trailing dot is dropped.
    pub fn parse(text: &str) -> Result<Self, InvalidDomain> {
        normal_form(text).map(Self)
    }

    /// The host that a domain without MX records is its own exchanger under: RFC 5321 5.1. The one bridge between the
    /// two kinds of name.
    pub fn implicit_mx(domain: &Domain) -> Self {
        Self(domain.0.clone())
    }

    /// The A-labels.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn normal_form(text: &str) -> Result<Box<str>, InvalidDomain> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() {
        return Err(InvalidDomain::Empty);
    }
    // Bounded before the conversion: UTS 46 is linear, but its input comes from anybody.
    if text.len() > 4 * MAX_NAME_BYTES {
        return Err(InvalidDomain::TooLong(text.len()));
    }
    let ascii = if text.is_ascii() && !text.split('.').any(has_ace_prefix) {
        text.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii(text).map_err(|_| InvalidDomain::NotAllowed(text.to_owned()))?
    };
    if ascii.len() > MAX_NAME_BYTES {
        return Err(InvalidDomain::TooLong(ascii.len()));
    }
    match ascii.split('.').find(|label| !is_label(label)) {
        Some(label) => Err(InvalidDomain::Label(label.to_owned())),
        None => Ok(ascii.into_boxed_str()),
    }
}

fn has_ace_prefix(label: &str) -> bool {
    label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--"))
}

/// Underscores are no host name syntax, but the names of real mail hosts have them.
fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

macro_rules! name_traits {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = InvalidDomain;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidDomain;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }
    };
}
name_traits!(Domain);
name_traits!(HostName);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_take_their_normal_form() {
        for (text, normal) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("_dmarc.example", "_dmarc.example"),
            ("faß.example", "xn--fa-hia.example"),
        ] {
            assert_eq!(Domain::parse(text).expect(text).as_str(), normal);
        }
    }

    #[test]
    fn what_the_dns_cannot_carry_is_refused() {
        let long = "a.".repeat(130);
        for text in
            ["", ".", "a..b", "-a.example", "a-.example", "a b.example", "a@b.example", "xn--\u{80}", &long]
        {
            assert!(Domain::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_domain_is_within_itself_and_its_parents_only() {
        let name = |text| Domain::parse(text).expect(text);
        assert!(name("a.example.com").is_within(&name("example.com")));
        assert!(name("example.com").is_within(&name("example.com")));
        assert!(!name("badexample.com").is_within(&name("example.com")));
    }

    proptest! {
        #[test]
        fn reading_a_printed_name_gives_the_same_name(text in "[a-zA-Z0-9éü._-]{1,40}") {
            if let Ok(name) = Domain::parse(&text) {
                prop_assert_eq!(Domain::parse(&name.to_string()).expect("normal forms parse"), name);
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,300}") {
            let _ = HostName::parse(&text);
        }
    }
}
