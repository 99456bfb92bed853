//! Reading the texts in resources as mail's names and as networks.
//! **Owns:** what is said of one that can't be read. **Never:** what it is for.

use ipnet::IpNet;
use postrider_crds::text;
use postrider_mail::{Domain, Mailbox, ReversePath};

use super::{Problem, shown};
use crate::matcher::DomainPattern;

/// Reads each value of a list; those that can't be read are told of and left out.
pub(super) fn read_all<T>(
    values: &[String],
    field: &str,
    problems: &mut Vec<Problem>,
    read: impl Fn(&str) -> Result<T, (String, String)>,
) -> Vec<T> {
    let mut good = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        match read(value) {
            Ok(value) => good.push(value),
            Err((found, expected)) => {
                problems.push(Problem::invalid(format!("{field}[{index}]"), found, expected));
            }
        }
    }
    good
}

pub(super) fn networks(values: &[String], field: &str, problems: &mut Vec<Problem>) -> Vec<IpNet> {
    read_all(values, field, problems, |value| match value.parse::<IpNet>() {
        Ok(network) => Ok(network.trunc()),
        Err(_) => Err((shown(value), expected(text::CIDR))),
    })
}

pub(super) fn patterns(values: &[String], field: &str, problems: &mut Vec<Problem>) -> Vec<DomainPattern> {
    read_all(values, field, problems, |value| {
        value
            .parse()
            .map_err(|err: postrider_mail::InvalidDomain| said(&err.to_string(), value, text::DOMAIN_PATTERN))
    })
}

pub(super) fn mailboxes(values: &[String], field: &str, problems: &mut Vec<Problem>) -> Vec<Mailbox> {
    read_all(values, field, problems, mailbox)
}

pub(super) fn senders(values: &[String], field: &str, problems: &mut Vec<Problem>) -> Vec<ReversePath> {
    read_all(values, field, problems, |value| match value {
        "<>" => Ok(ReversePath::Null),
        value => mailbox(value).map(ReversePath::Mailbox),
    })
}

/// Reads one address; else what was found, and what is expected.
pub(super) fn mailbox(value: &str) -> Result<Mailbox, (String, String)> {
    value.parse().map_err(|err: postrider_mail::InvalidMailbox| said(&err.to_string(), value, text::ADDRESS))
}

/// Reads a domain; else what was found, and what is expected.
pub(super) fn domain(value: &str) -> Result<Domain, (String, String)> {
    Domain::parse(value).map_err(|err| said(&err.to_string(), value, text::DOMAIN))
}

/// Reads a host name; else what was found, and what is expected.
pub(super) fn host_name(value: &str) -> Result<postrider_mail::HostName, (String, String)> {
    postrider_mail::HostName::parse(value).map_err(|err| said(&err.to_string(), value, text::HOST_NAME))
}

/// The value itself, and the parser's own words where it has more exact ones than the pattern.
fn said(parser: &str, value: &str, pattern: &str) -> (String, String) {
    match parser.trim_start_matches("the domain: ").split_once("; expected ") {
        Some((found, wanted)) => {
            let found = found.strip_prefix("found ").unwrap_or(found);
            (format!("{} ({found})", shown(value)), wanted.to_owned())
        }
        None => (shown(value), expected(pattern)),
    }
}

pub(super) fn expected(pattern: &str) -> String {
    text::meaning(pattern).unwrap_or_default().to_owned()
}

/// A number that the schema has bounds for.
pub(super) fn bounded(value: i32, most: u32, field: &str, problems: &mut Vec<Problem>) -> u32 {
    match u32::try_from(value) {
        Ok(value) if (1..=most).contains(&value) => value,
        _ => {
            problems.push(Problem::invalid(field, value.to_string(), format!("1 to {most}")));
            1
        }
    }
}

pub(super) fn port(value: i32, field: &str, problems: &mut Vec<Problem>) -> u16 {
    u16::try_from(bounded(value, u32::from(u16::MAX), field, problems)).unwrap_or(1)
}
