//! Macros in SPF records.
//! **Owns:** their syntax and expansion. RFC 7208 7. **Never:** `%{c}`, `%{r}` and `%{t}`, which `exp` alone may have.

use std::{fmt::Write as _, net::IpAddr};

/// The longest name, RFC 7208 7.3: labels of a longer one are dropped from its left.
const MOST_CHARACTERS: usize = 253;
/// The longest text that is kept on the way to it.
const MOST_EXPANDED: usize = 4096;

/// What macros stand for.
pub(super) struct Context<'a> {
    pub(super) address: IpAddr,
    pub(super) sender: &'a str,
    pub(super) domain: &'a str,
    pub(super) ehlo: &'a str,
}

/// A name with macros.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DomainSpec(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    Macro(Macro),
}

#[derive(Debug, PartialEq, Eq)]
struct Macro {
    letter: Letter,
    is_escaped: bool,
    /// How many parts are kept, from the right.
    kept: Option<usize>,
    is_reversed: bool,
    /// `.`, if empty.
    delimiters: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letter {
    Sender,
    Local,
    SenderDomain,
    Domain,
    Address,
    Validated,
    Version,
    Ehlo,
}

impl DomainSpec {
    /// Reads one: it ends with a macro, or with a label that can be the last of a name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let pieces = pieces(text)?;
        let ends_well = match pieces.last()? {
            Piece::Macro(_) => true,
            Piece::Literal(literal) => {
                let literal = literal.strip_suffix('.').unwrap_or(literal);
                literal.rsplit_once('.').is_some_and(|(_, last)| is_top_label(last))
            }
        };
        ends_well.then_some(Self(pieces))
    }

    /// Whether the macros of a text can be read.
    pub(super) fn is_macro_string(text: &str) -> bool {
        pieces(text).is_some()
    }

    /// The name that it stands for.
    pub(super) fn expand(&self, context: &Context<'_>) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Macro(one) => one.expand(context, &mut text),
            }
            if text.len() > MOST_EXPANDED {
                break;
            }
        }
        let mut name = text.strip_suffix('.').unwrap_or(&text);
        while name.len() > MOST_CHARACTERS {
            match name.split_once('.') {
                Some((_, rest)) => name = rest,
                None => break,
            }
        }
        name.to_owned()
    }
}

fn is_top_label(label: &str) -> bool {
    let is_plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let has_other = label.bytes().any(|byte| !byte.is_ascii_digit());
    is_plain && has_other && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
}

fn pieces(text: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first != '%' {
            if !first.is_ascii_graphic() {
                return None;
            }
            literal.push(first);
            rest = &rest[1..];
            continue;
        }
        match rest.as_bytes().get(1)? {
            b'%' => literal.push('%'),
            b'_' => literal.push(' '),
            b'-' => literal.push_str("%20"),
            b'{' => {
                let end = rest.find('}')?;
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
                }
                pieces.push(Piece::Macro(Macro::parse(&rest[2..end])?));
                rest = &rest[end + 1..];
                continue;
            }
            _ => return None,
        }
        rest = &rest[2..];
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into()));
    }
    Some(pieces)
}

impl Macro {
    /// Reads what is between the braces.
    fn parse(text: &str) -> Option<Self> {
        let first = text.chars().next()?;
        let letter = match first.to_ascii_lowercase() {
            's' => Letter::Sender,
            'l' => Letter::Local,
            'o' => Letter::SenderDomain,
            'd' => Letter::Domain,
            'i' => Letter::Address,
            'p' => Letter::Validated,
            'v' => Letter::Version,
            'h' => Letter::Ehlo,
            _ => return None,
        };
        let rest = &text[1..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = rest.split_at(digits);
        let kept = match number {
            "" => None,
            // More than there can be is all of them.
            number => Some(number.parse().unwrap_or(usize::MAX)),
        };
        if kept == Some(0) {
            return None;
        }
        let (is_reversed, rest) = match rest.strip_prefix(['r', 'R']) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let is_delimiter = |byte: u8| b".-+,/_=".contains(&byte);
        let is_good = rest.bytes().all(is_delimiter);
        let is_escaped = first.is_ascii_uppercase();
        is_good.then(|| Self { letter, is_escaped, kept, is_reversed, delimiters: rest.into() })
    }

    fn expand(&self, context: &Context<'_>, into: &mut String) {
        let value = self.letter.value(context);
        let is_delimiter = |one: char| match &*self.delimiters {
            "" => one == '.',
            delimiters => delimiters.contains(one),
        };
        let mut parts: Vec<&str> = value.split(is_delimiter).collect();
        if self.is_reversed {
            parts.reverse();
        }
        let dropped = self.kept.map_or(0, |kept| parts.len().saturating_sub(kept));
        let text = parts[dropped..].join(".");
        if !self.is_escaped {
            return into.push_str(&text);
        }
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                into.push(char::from(byte));
            } else {
                write!(into, "%{byte:02X}").expect("a String takes all");
            }
        }
    }
}

impl Letter {
    fn value(self, context: &Context<'_>) -> String {
        let (local, domain) = context.sender.rsplit_once('@').unwrap_or(("postmaster", context.sender));
        match self {
            Self::Sender => context.sender.to_owned(),
            Self::Local => local.to_owned(),
            Self::SenderDomain => domain.to_owned(),
            Self::Domain => context.domain.to_owned(),
            Self::Address => dotted(context.address),
            // RFC 7208 7.3: should not be used; nobody validates for it.
            Self::Validated => "unknown".to_owned(),
            Self::Version => if context.address.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            Self::Ehlo => context.ehlo.to_owned(),
        }
    }
}

/// An address with a dot between its parts; of IPv6 the parts are nibbles.
fn dotted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
            nibbles.map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str, address: &str) -> Option<String> {
        let context = Context {
            address: address.parse().expect("an address"),
            sender: "strong-bad@email.example.com",
            domain: "email.example.com",
            ehlo: "mx.example.org",
        };
        // Texts of the RFC's table aren't all names.
        let pieces = DomainSpec(pieces(text)?);
        Some(pieces.expand(&context))
    }

    /// RFC 7208 7.4.
    #[test]
    fn the_examples_of_the_rfc() {
        for (text, expected) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d3}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr}", "strong-bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
            ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
            ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
            ("%{S}", "strong-bad%40email.example.com"),
            ("%%%_%-%{h2}", "% %20example.org"),
            ("%{p}", "unknown"),
        ] {
            assert_eq!(expand(text, "192.0.2.3").as_deref(), Some(expected), "{text}");
        }
        let expected = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com";
        assert_eq!(expand("%{ir}.%{v}._spf.%{d2}", "2001:db8::cb01").as_deref(), Some(expected));
    }

    #[test]
    fn what_is_no_macro_is_refused() {
        for text in ["%", "%(d)", "%{d", "%{}", "%{x}", "%{d0}", "%{d2x}", "a%a.example", "%{c}", "%{ü}", "é"]
        {
            assert_eq!(expand(text, "192.0.2.3"), None, "{text}");
        }
    }

    #[test]
    fn a_name_ends_as_names_do() {
        for text in ["example.com", "a.example.com.", "%{d}", "foo.%{d}", "_spf.%{d2}", "a.xn--p1ai"] {
            assert!(DomainSpec::parse(text).is_some(), "{text}");
        }
        for text in ["", "museum", "museum.", "a.b.123", "example.com/24", "a..", "a.-b", "%{d}x y"] {
            assert!(DomainSpec::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_long_name_loses_labels_on_its_left() {
        let long = format!("{}.%{{d}}", vec!["a123456789"; 30].join("."));
        let name = expand(&long, "192.0.2.3").expect("a name");
        assert!(name.len() <= 253 && name.ends_with(".email.example.com"), "{name}");
    }
}
