//! What a domain publishes of who may send its mail, and by which keys it is signed.
//! **Owns:** which records are looked at, what is expected of them. **Never:** their syntax (spf, dmarc, dkim_record).

use std::net::IpAddr;

use postrider_mail::Domain;

use super::{
    Finding, FindingKind, KeyAt, SenderDomain, Spf, Subject,
    dkim_record::{self, Fit},
    dmarc::{self, Found},
    facts::{Facts, Lacking},
    spf,
};

/// The most records at a selector that are looked at.
const MOST_RECORDS: usize = 8;

/// Where a key's public half is to be found: RFC 6376 3.6.2.1.
fn name(domain: &Domain, key: &KeyAt) -> String {
    format!("{}._domainkey.{domain}", key.selector)
}

/// Whether a key's public half is published. Where there are several records, one that fits is not enough: RFC 6376 3.6.2.2 leaves
/// open which one is read.
pub(super) fn key(facts: &Facts<'_>, domain: &Domain, key: &KeyAt) -> Result<Option<Finding>, Lacking> {
    let name = name(domain, key);
    let texts = facts.texts(&name)?;
    let finding = |kind, found| {
        let expected = format!("TXT {}", dkim_record::expected(&key.public));
        Some(Finding { kind, subject: name.clone(), found, expected })
    };
    if texts.is_empty() {
        return Ok(finding(FindingKind::KeyMissing, "no TXT record".to_owned()));
    }
    if texts.len() > 1 {
        let is_all_good = texts.iter().take(MOST_RECORDS).all(|text| is_good(text, key));
        return Ok(if is_all_good {
            None
        } else {
            finding(FindingKind::KeyUnfit, format!("{} TXT records", texts.len()))
        });
    }
    Ok(match dkim_record::fit(texts[0], &key.public) {
        Fit::Good(_) => None,
        Fit::Revoked => finding(FindingKind::KeyRevoked, "an empty p=: the key is withdrawn".to_owned()),
        Fit::Other(other) => finding(FindingKind::KeyMismatch, format!("another key, {other}")),
        Fit::Unfit(why) => finding(FindingKind::KeyUnfit, why),
    })
}

/// What is to be said of a key that fits.
pub(super) fn note(facts: &Facts<'_>, domain: &Domain, key: &KeyAt) -> Option<String> {
    let name = name(domain, key);
    let texts = facts.texts(&name).ok()?;
    match dkim_record::fit(texts.first()?, &key.public) {
        Fit::Good(note) => note.map(|note| format!("{name}: {note}")),
        Fit::Revoked | Fit::Other(_) | Fit::Unfit(_) => None,
    }
}

fn is_good(text: &str, key: &KeyAt) -> bool {
    matches!(dkim_record::fit(text, &key.public), Fit::Good(_))
}

/// Whether SPF lets each address send mail of a domain. Without addresses: whether there is a record that can be used.
pub(super) fn spf(
    facts: &Facts<'_>,
    domain: &str,
    subject: &Subject,
) -> Vec<Result<Option<Finding>, Lacking>> {
    let look = |address: IpAddr| spf::check_host(facts, address, domain, subject.ehlo.as_str());
    let finding = |from: Option<IpAddr>, found: &Spf| Finding {
        kind: FindingKind::SpfDoesNotPass,
        subject: match from {
            Some(address) => format!("SPF of {domain} for {address}"),
            None => format!("SPF of {domain}"),
        },
        found: found.to_string(),
        expected: match from {
            Some(address) => format!("pass: a TXT record v=spf1 with {}:{address}, say", family(address)),
            None => "a TXT record v=spf1 that names the addresses that mail leaves from".to_owned(),
        },
    };
    if subject.addresses.is_empty() {
        // An address that nobody has: only the record itself can be wrong.
        let found = look(IpAddr::from([192, 0, 2, 0]));
        let is_bad = |spf: &Spf| matches!(spf, Spf::None | Spf::Broken(_));
        return vec![found.map(|spf| is_bad(&spf).then(|| finding(None, &spf)))];
    }
    let each = subject.addresses.iter().map(|address| {
        let found = look(*address)?;
        Ok((found != Spf::Pass).then(|| finding(Some(*address), &found)))
    });
    each.collect()
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip4" } else { "ip6" }
}

/// Whether mail of a domain passes DMARC.
pub(super) fn dmarc(
    facts: &Facts<'_>,
    sender: &SenderDomain,
    subject: &Subject,
) -> Result<Option<Finding>, Lacking> {
    let domain = sender.domain.as_str();
    let finding = |kind, found: String, expected: String| {
        Some(Finding { kind, subject: format!("DMARC of {domain}"), found, expected })
    };
    let record = match dmarc::discover(facts, domain)? {
        Found::Nothing => {
            let expected = format!("a TXT record at _dmarc.{domain}: v=DMARC1; p=none, to begin with");
            return Ok(finding(FindingKind::DmarcMissing, "no record".to_owned(), expected));
        }
        Found::Unusable(name) => {
            let found = format!("TXT records at {name} that can't be used");
            let expected = "one, such as v=DMARC1; p=none".to_owned();
            return Ok(finding(FindingKind::DmarcInvalid, found, expected));
        }
        Found::Record(record) => record,
    };
    // d= is the domain itself, so its own mail is aligned in either mode; what is below it in relaxed mode only.
    if sender.subdomains && record.is_dkim_strict {
        let found = format!("adkim=s, while {domain} signs for the domains below it, too");
        let expected = "adkim=r, or an entry in spec.dkim for each of them".to_owned();
        return Ok(finding(FindingKind::DmarcNotAligned, found, expected));
    }
    // One that passes is enough, whatever is lacking of the other.
    let ways = [passes_by_dkim(facts, sender), passes_by_spf(facts, domain, subject)];
    if any(ways.into_iter())? {
        return Ok(None);
    }
    let found = "neither a published DKIM key nor an SPF record that passes".to_owned();
    Ok(finding(FindingKind::DmarcNotAligned, found, "one of the two at least".to_owned()))
}

/// Whether one signature of the domain's mail would verify.
fn passes_by_dkim(facts: &Facts<'_>, sender: &SenderDomain) -> Result<bool, Lacking> {
    any(sender.keys.iter().map(|one| Ok(key(facts, &sender.domain, one)?.is_none())))
}

/// Whether mail with a sender of the domain would pass from each address. Of addresses that nobody knows nothing bad is said.
fn passes_by_spf(facts: &Facts<'_>, domain: &str, subject: &Subject) -> Result<bool, Lacking> {
    if subject.addresses.is_empty() {
        return Ok(true);
    }
    for found in spf(facts, domain, subject) {
        if found?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether one is so; what is lacking counts only if none is.
fn any(each: impl Iterator<Item = Result<bool, Lacking>>) -> Result<bool, Lacking> {
    let mut lacking = None;
    for one in each {
        match one {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(one) => lacking = Some(one),
        }
    }
    lacking.map_or(Ok(false), Err)
}
