//! What the DNS has said so far, and what has to be asked yet.
//! **Owns:** questions, answers as data, how many may be asked. **Never:** asks.
//! A judgement is computed anew with each round of answers: where one is lacking it notes the question and gives up for now.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::mx::{Answer, DnsFailure};

/// The most questions of one judgement; an answer beyond is taken for one that failed.
pub const MOST_QUESTIONS: usize = 4096;
/// The most records of an answer that are looked at.
const MOST_RECORDS: usize = 64;

/// A type of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// The hosts that take a domain's mail.
    Mx,
    /// The name of an address.
    Ptr,
    /// Text.
    Txt,
}

impl Kind {
    /// As zone files write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Mx => "MX",
            Self::Ptr => "PTR",
            Self::Txt => "TXT",
        }
    }
}

/// Something to ask the DNS: the name is lower-case, without a dot at its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// The type of record.
    pub kind: Kind,
    /// Of which name.
    pub name: Box<str>,
}

impl Question {
    /// A question about a name that can be asked for: labels of 1 to 63 printable characters, 253 in all.
    fn about(kind: Kind, name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        };
        let is_name = name.len() <= 253 && name.split('.').all(is_label);
        is_name.then(|| Self { kind, name: name.to_ascii_lowercase().into() })
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.kind.as_str(), self.name)
    }
}

/// A record as an answer holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Of A and AAAA.
    Address(IpAddr),
    /// Of MX and PTR.
    Name(Box<str>),
    /// Of TXT: its strings in a row.
    Text(Box<str>),
}

/// What was asked and answered.
pub type Answers = BTreeMap<Question, Answer<Record>>;

/// An answer isn't there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lacking {
    /// It has to be asked for.
    Pending,
    /// Nobody who knows has answered: never a mismatch.
    Failed(Question, DnsFailure),
}

/// The answers, while they are looked at.
pub(super) struct Facts<'a> {
    answers: &'a Answers,
    needed: RefCell<BTreeSet<Question>>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(answers: &'a Answers) -> Self {
        Self { answers, needed: RefCell::default() }
    }

    /// The records of a name; none, if there are none or there can't be such a name.
    pub(super) fn records(&self, kind: Kind, name: &str) -> Result<&'a [Record], Lacking> {
        let Some(question) = Question::about(kind, name) else { return Ok(&[]) };
        match self.answers.get(&question) {
            Some(Answer::Records(records)) => Ok(&records[..records.len().min(MOST_RECORDS)]),
            Some(Answer::NoData | Answer::NxDomain) => Ok(&[]),
            Some(Answer::Failed(failure)) => Err(Lacking::Failed(question, *failure)),
            None => {
                let mut needed = self.needed.borrow_mut();
                if self.answers.len() + needed.len() >= MOST_QUESTIONS && !needed.contains(&question) {
                    return Err(Lacking::Failed(question, DnsFailure::OtherCode));
                }
                needed.insert(question);
                Err(Lacking::Pending)
            }
        }
    }

    /// The texts of a name.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&'a str>, Lacking> {
        let text = |record: &'a Record| match record {
            Record::Text(text) => Some(&**text),
            Record::Address(_) | Record::Name(_) => None,
        };
        Ok(self.records(Kind::Txt, name)?.iter().filter_map(text).collect())
    }

    /// The names that a name's records point to, for MX and PTR.
    pub(super) fn names(&self, kind: Kind, name: &str) -> Result<Vec<&'a str>, Lacking> {
        let target = |record: &'a Record| match record {
            Record::Name(name) => Some(&**name),
            Record::Address(_) | Record::Text(_) => None,
        };
        Ok(self.records(kind, name)?.iter().filter_map(target).collect())
    }

    /// The addresses of a name, of the family of A or AAAA.
    pub(super) fn addresses(&self, kind: Kind, name: &str) -> Result<Vec<IpAddr>, Lacking> {
        let address = |record: &Record| match record {
            Record::Address(address) => Some(*address),
            Record::Name(_) | Record::Text(_) => None,
        };
        Ok(self.records(kind, name)?.iter().filter_map(address).collect())
    }

    /// What has to be asked.
    pub(super) fn into_needed(self) -> BTreeSet<Question> {
        self.needed.into_inner()
    }
}

/// The type of the records that hold addresses of this one's family.
pub(super) const fn kind_of(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(_) => Kind::A,
        IpAddr::V6(_) => Kind::Aaaa,
    }
}

/// The name under which an address has its PTR record (RFC 1035 3.5, RFC 3596 2.5).
pub(super) fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let mut name: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
            name.push_str("ip6.arpa");
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_names() {
        assert_eq!(reverse_name("203.0.113.10".parse().expect("one")), "10.113.0.203.in-addr.arpa");
        let expected = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(reverse_name("2001:db8::1".parse().expect("one")), expected);
    }

    #[test]
    fn what_can_be_no_name_has_no_records_and_is_not_asked_for() {
        let answers = Answers::new();
        let facts = Facts::new(&answers);
        for name in ["", ".", "a..b", &"a".repeat(64), &"ab.".repeat(90), "a b.example", "a\\b.example"] {
            assert_eq!(facts.records(Kind::A, name), Ok(&[][..]), "{name}");
        }
        assert_eq!(facts.records(Kind::A, "A.example."), Err(Lacking::Pending));
        let needed: Vec<String> = facts.into_needed().iter().map(ToString::to_string).collect();
        assert_eq!(needed, ["A of a.example"]);
    }
}
