//! DMARC: what a domain asks receivers to do, and whose domain it is.
//! **Owns:** the record, the tree walk that finds it and the organizational domain. **Never:** a list of public suffixes, reports.
//! RFC 9989.

use super::facts::{Facts, Lacking};

/// A name with more labels is cut to so many after its own: RFC 9989 4.10.
const MOST_LABELS: usize = 7;

/// What a domain publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmarcRecord {
    /// What is to become of mail that doesn't pass.
    pub policy: Policy,
    /// Whether DKIM's domain must be the very one of From.
    pub is_dkim_strict: bool,
    /// The same of SPF's.
    pub is_spf_strict: bool,
    psd: Psd,
}

/// `p=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Nothing.
    None,
    /// It is suspicious.
    Quarantine,
    /// It is refused.
    Reject,
}

/// `psd=`: whether a domain is one below which others register theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Psd {
    Yes,
    No,
    Unknown,
}

/// What is found of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing at it and above it.
    Nothing,
    /// Records that begin as DMARC's do and can't be used, at this name.
    Unusable(String),
    /// A record, at this name.
    Record(DmarcRecord),
}

impl DmarcRecord {
    /// Reads a TXT record; none, if it is no DMARC record or can't be used.
    pub fn parse(text: &str) -> Option<Self> {
        let mut tags = text.split(';').map(|tag| {
            let (name, value) = tag.split_once('=').unwrap_or((tag, ""));
            (name.trim().to_ascii_lowercase(), value.trim())
        });
        if tags.next()? != ("v".to_owned(), "DMARC1") {
            return None;
        }
        let (mut policy, mut has_reports) = (None, false);
        let mut record =
            Self { policy: Policy::None, is_dkim_strict: false, is_spf_strict: false, psd: Psd::Unknown };
        for (name, value) in tags {
            let value = value.to_ascii_lowercase();
            match (name.as_str(), value.as_str()) {
                ("p", "none") => policy = Some(Policy::None),
                ("p", "quarantine") => policy = Some(Policy::Quarantine),
                ("p", "reject") => policy = Some(Policy::Reject),
                ("adkim", mode) => record.is_dkim_strict = mode == "s",
                ("aspf", mode) => record.is_spf_strict = mode == "s",
                ("psd", "y") => record.psd = Psd::Yes,
                ("psd", "n") => record.psd = Psd::No,
                ("rua", address) => has_reports = address.contains(':'),
                // Unknown tags, and known ones with values of later days, are passed over.
                _ => {}
            }
        }
        // RFC 9989 4.7: without a policy that can be read, a record that wants reports asks for none; others aren't used.
        record.policy = match policy {
            Some(policy) => policy,
            None if has_reports => Policy::None,
            None => return None,
        };
        Some(record)
    }
}

/// The record at a name; of several none counts.
fn record_at(facts: &Facts<'_>, domain: &str) -> Result<Found, Lacking> {
    let name = format!("_dmarc.{domain}");
    let is_one = |text: &&str| text.trim_start().to_ascii_lowercase().starts_with("v=dmarc");
    let texts: Vec<&str> = facts.texts(&name)?.into_iter().filter(is_one).collect();
    Ok(match texts.as_slice() {
        [] => Found::Nothing,
        [text] => DmarcRecord::parse(text).map_or_else(|| Found::Unusable(name), Found::Record),
        _ => Found::Unusable(name),
    })
}

/// The record for mail from a domain: its own, else that of its organizational domain.
pub(super) fn discover(facts: &Facts<'_>, domain: &str) -> Result<Found, Lacking> {
    match record_at(facts, domain)? {
        Found::Nothing => {}
        found @ (Found::Record(_) | Found::Unusable(_)) => return Ok(found),
    }
    let organization = organization(facts, domain)?;
    if organization == domain { Ok(Found::Nothing) } else { record_at(facts, &organization) }
}

/// The organizational domain, by the tree walk: RFC 9989 4.10.2.
pub(super) fn organization(facts: &Facts<'_>, domain: &str) -> Result<String, Lacking> {
    let mut highest = domain;
    let mut below = domain;
    for (step, name) in walk(domain).into_iter().enumerate() {
        if let Found::Record(record) = record_at(facts, name)? {
            match record.psd {
                Psd::No => return Ok(name.to_owned()),
                Psd::Yes if step > 0 => return Ok(below.to_owned()),
                Psd::Yes | Psd::Unknown => highest = name,
            }
        }
        below = name;
    }
    Ok(highest.to_owned())
}

/// The names that are looked at: the domain, then those above it, at most eight in all.
fn walk(domain: &str) -> Vec<&str> {
    let labels = domain.split('.').count();
    let above = domain.match_indices('.').map(|(at, _)| &domain[at + 1..]);
    let skipped = labels.saturating_sub(MOST_LABELS + 1);
    std::iter::once(domain).chain(above.skip(skipped)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::testkit::Zone;

    fn organization_of(zone: &str, domain: &str) -> String {
        Zone::of(zone).settle(|facts| organization(facts, domain)).expect("settled")
    }

    #[test]
    fn a_record_is_read_by_its_tags() {
        let record =
            DmarcRecord::parse("v=DMARC1; p=reject; adkim=s; aspf=r; rua=mailto:a@b.example").expect("one");
        assert_eq!(
            (record.policy, record.is_dkim_strict, record.is_spf_strict),
            (Policy::Reject, true, false)
        );
        assert_eq!(DmarcRecord::parse("v = DMARC1 ;P=None").map(|one| one.policy), Some(Policy::None));
        let reports = DmarcRecord::parse("v=DMARC1; p=later; rua=mailto:a@b.example");
        assert_eq!(reports.map(|one| one.policy), Some(Policy::None));
        for text in
            ["", "v=DMARC1", "v=DMARC2; p=none", "p=none; v=DMARC1", "v=DMARC1; p=", "v=DMARC1 p=none"]
        {
            assert_eq!(DmarcRecord::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_nearest_record_counts_and_then_the_organizations() {
        let zone = Zone::of(
            "
            _dmarc.example.com TXT v=DMARC1; p=reject
            _dmarc.own.example.com TXT v=DMARC1; p=none
            _dmarc.bad.example.com TXT v=DMARC1; q=none
            _dmarc.twice.example.com TXT v=DMARC1; p=none
            _dmarc.twice.example.com TXT v=DMARC1; p=none
        ",
        );
        let found = |domain: &str| match zone.settle(|facts| discover(facts, domain)).expect("settled") {
            Found::Record(record) => format!("{:?}", record.policy),
            Found::Unusable(name) => format!("unusable {name}"),
            Found::Nothing => "nothing".to_owned(),
        };
        assert_eq!(found("example.com"), "Reject");
        assert_eq!(found("a.b.example.com"), "Reject");
        assert_eq!(found("own.example.com"), "None");
        assert_eq!(found("bad.example.com"), "unusable _dmarc.bad.example.com");
        assert_eq!(found("twice.example.com"), "unusable _dmarc.twice.example.com");
        assert_eq!(found("example.net"), "nothing");
    }

    #[test]
    fn the_organization_is_found_without_a_list() {
        let zone = "
            _dmarc.example.com TXT v=DMARC1; p=reject
            _dmarc.mail.example.com TXT v=DMARC1; p=reject
            _dmarc.bank TXT v=DMARC1; p=reject; psd=y
            _dmarc.unit.giant.example TXT v=DMARC1; p=none; psd=n
            _dmarc.giant.example TXT v=DMARC1; p=none
        ";
        for (domain, expected) in [
            ("mail.example.com", "example.com"),
            ("a.b.c.mail.example.com", "example.com"),
            ("my.local.bank", "local.bank"),
            ("bank", "bank"),
            ("x.unit.giant.example", "unit.giant.example"),
            ("x.giant.example", "giant.example"),
            ("nothing.example.net", "nothing.example.net"),
        ] {
            assert_eq!(organization_of(zone, domain), expected, "{domain}");
        }
    }

    #[test]
    fn a_walk_has_eight_steps_at_most() {
        assert_eq!(walk("a.b.c"), ["a.b.c", "b.c", "c"]);
        let long = walk("1.2.3.4.5.6.7.8.9.example.com");
        assert_eq!(long.len(), 8);
        assert_eq!(&long[..2], ["1.2.3.4.5.6.7.8.9.example.com", "5.6.7.8.9.example.com"]);
        assert_eq!(long.last(), Some(&"com"));
    }
}
