//! `spec.dkim`: domains, and their keys out of Secrets.
//! **Owns:** the checks of both. **Never:** drops an entry whose key is missing: its mail would leave unsigned.

use postrider_crds as crds;
use postrider_mail::Domain;

use super::{Problem, names, secrets::Secrets, shown, treatment};
use crate::config::{DkimDomain, DkimKey};

pub(super) fn compile(
    entries: &[crds::DkimDomain],
    secrets: &Secrets<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<DkimDomain> {
    let mut compiled: Vec<DkimDomain> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let field = format!("spec.dkim[{index}]");
        let at = format!("{field}.domain");
        let Some(domain) = treatment::read(&at, names::domain(&entry.domain), problems) else { continue };
        if compiled.iter().any(|other| other.domain == domain) {
            problems.push(Problem::invalid(at, shown(&entry.domain), "a domain that no other entry has"));
            continue;
        }
        let keys = keys(entry, &field, secrets, problems);
        compiled.push(DkimDomain { domain, subdomains: entry.subdomains, keys });
    }
    compiled
}

fn keys(
    entry: &crds::DkimDomain,
    field: &str,
    secrets: &Secrets<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<DkimKey> {
    if entry.keys.is_empty() {
        problems.push(Problem::invalid(format!("{field}.keys"), "none", "one key at least"));
    }
    let mut keys: Vec<DkimKey> = Vec::new();
    for (index, one) in entry.keys.iter().enumerate() {
        let at = format!("{field}.keys[{index}]");
        let selector = one.selector.to_ascii_lowercase();
        // It becomes part of a name in the DNS, and of the signature.
        if Domain::parse(&selector).map(|name| name.as_str() != selector).unwrap_or(true) {
            let expected = "a label of a name in the DNS, such as s2026a";
            problems.push(Problem::invalid(format!("{at}.selector"), shown(&one.selector), expected));
        } else if keys.iter().any(|other| *other.selector == *selector) {
            let expected = "a selector that no other key of the domain has";
            problems.push(Problem::invalid(format!("{at}.selector"), shown(&one.selector), expected));
        }
        let key = match secrets.signing_key(&one.private_key_ref, &format!("{at}.privateKeyRef")) {
            Ok(key) => Some(key),
            Err(problem) => {
                problems.push(problem);
                None
            }
        };
        keys.push(DkimKey { selector: selector.into(), key });
    }
    keys
}
