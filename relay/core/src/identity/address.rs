//! An address's name, and a name's addresses.
//! **Owns:** whether the two agree. **Never:** policies of domains (sender.rs).

use std::net::IpAddr;

use postrider_mail::HostName;

use super::{
    Finding, FindingKind,
    facts::{Facts, Kind, Lacking, kind_of, reverse_name},
};

/// The most names of one address that are looked at, as receivers do.
const MOST_NAMES: usize = 10;
/// The most of them that are shown.
const SHOWN: usize = 3;

/// Whether an address has a name that is its own. One of several is enough.
pub(super) fn pointer(facts: &Facts<'_>, address: IpAddr) -> Result<Option<Finding>, Lacking> {
    let names = facts.names(Kind::Ptr, &reverse_name(address))?;
    let finding = |kind, found: String| Finding {
        kind,
        subject: format!("address {address}"),
        found,
        expected: format!(
            "a PTR record whose name has {address} as its {} record",
            kind_of(address).as_str()
        ),
    };
    if names.is_empty() {
        return Ok(Some(finding(FindingKind::PtrMissing, "no PTR record".to_owned())));
    }
    let (mut others, mut lacking) = (Vec::new(), None);
    for name in names.iter().take(MOST_NAMES) {
        match facts.addresses(kind_of(address), name) {
            Ok(found) if found.contains(&address) => return Ok(None),
            Ok(found) => others.push(format!("{name} ({})", listed(&found))),
            Err(one) => lacking = Some(one),
        }
    }
    match lacking {
        Some(lacking) => Err(lacking),
        None => Ok(Some(finding(FindingKind::PtrMismatch, format!("PTR {}", others.join(", "))))),
    }
}

/// Whether the name in EHLO has an address, and one that mail leaves from.
pub(super) fn ehlo(
    facts: &Facts<'_>,
    whose: String,
    name: &HostName,
    addresses: &[IpAddr],
) -> Result<Option<Finding>, Lacking> {
    let answers = [Kind::A, Kind::Aaaa].map(|kind| facts.addresses(kind, name.as_str()));
    let known: Vec<IpAddr> = answers.iter().flatten().flatten().copied().collect();
    let fits = |found: &[IpAddr]| match addresses {
        [] => !found.is_empty(),
        wanted => found.iter().any(|one| wanted.contains(one)),
    };
    if fits(&known) {
        return Ok(None);
    }
    for answer in answers {
        answer?;
    }
    let kind = if known.is_empty() { FindingKind::EhloUnresolved } else { FindingKind::EhloMismatch };
    let expected = match addresses {
        [] => "an A or AAAA record: the address that mail leaves from".to_owned(),
        wanted => format!("an A or AAAA record with {}, which mail leaves from", one_of(wanted)),
    };
    let found = if known.is_empty() { "no A or AAAA record".to_owned() } else { listed(&known) };
    Ok(Some(Finding { kind, subject: whose, found, expected }))
}

fn one_of(addresses: &[IpAddr]) -> String {
    match addresses {
        [one] => one.to_string(),
        several => format!("one of {}", listed(several)),
    }
}

fn listed(addresses: &[IpAddr]) -> String {
    if addresses.is_empty() {
        return "no address".to_owned();
    }
    let shown: Vec<String> = addresses.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = if addresses.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
