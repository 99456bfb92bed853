//! Whose a message says it is: the domains of its From.
//! **Owns:** finding them in what people write. **Never:** judges them.
//! RFC 5322 3.4 (addresses), 3.2.2 (comments), 3.2.4 (quoted strings), RFC 6532 (U-labels).

use postrider_mail::Domain;

use super::fields;

/// The domains of all addresses in all From fields, in their order; an address that can't be read is left out.
pub fn author_domains(header: &[u8]) -> Vec<Domain> {
    let mut domains = Vec::new();
    for field in fields::fields(header).filter(|field| field.name.eq_ignore_ascii_case(b"from")) {
        let text = String::from_utf8_lossy(field.value);
        domains.extend(addresses(&bare(&text)).filter_map(|address| {
            let (_, domain) = address.rsplit_once('@')?;
            let domain: String = domain.chars().filter(|c| !c.is_whitespace()).collect();
            Domain::parse(&domain).ok()
        }));
    }
    domains
}

/// Without comments; what is quoted is taken out, too: no domain is in it.
fn bare(text: &str) -> String {
    let (mut bare, mut depth, mut is_quoted) = (String::with_capacity(text.len()), 0_u32, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if is_quoted || depth > 0 => drop(chars.next()),
            '"' if depth == 0 => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted && depth > 0 => depth -= 1,
            _ if is_quoted || depth > 0 => {}
            c => bare.push(c),
        }
    }
    bare
}

/// What is in angle brackets, else all of an entry. A group's name ends with a colon, the group with a semicolon.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    let entries = text.split([',', ';']);
    entries.map(|entry| match entry.rsplit_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or(rest),
        None => entry.rsplit(':').next().unwrap_or(entry),
    })
}
