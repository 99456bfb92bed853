//! The TXT record at `_smtp._tls.DOMAIN`: whether a domain wants reports, and where.
//! **Owns:** its syntax. RFC 8460 3. **Never:** the look-up.

use postrider_mail::Mailbox;

use super::ReportUrl;
use crate::txt;

/// Destinations that are read of a record; what stands behind them doesn't count.
pub const MAX_DESTINATIONS: usize = 8;
/// The longest record read, in bytes: a TXT record has some hundred.
const MAX_BYTES: usize = 4 * 1024;

/// What a look-up of the record gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The domain wants reports there.
    Wanted(Recipients),
    /// It wants none: no record, several, or one that can't be read.
    Absent,
    /// It isn't known: the look-up failed.
    Failed,
}

/// Where reports go. One of the lists may be empty, not both.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recipients {
    /// By mail.
    pub mailboxes: Vec<Mailbox>,
    /// By HTTPS.
    pub urls: Vec<ReportUrl>,
}

impl Record {
    /// The name that a domain's record is found under.
    pub fn name(domain: &postrider_mail::Domain) -> String {
        format!("_smtp._tls.{}", domain.as_str())
    }

    /// Reads the texts of the TXT records at the name. Others than `v=TLSRPTv1` ones don't count; more than one of these is none.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let texts = texts.into_iter().filter(|text| text.len() <= MAX_BYTES);
        txt::sole("v=TLSRPTv1", texts).and_then(recipients).map_or(Self::Absent, Self::Wanted)
    }
}

fn recipients(fields: &str) -> Option<Recipients> {
    let uris = txt::field(fields, "rua=")?;
    let mut recipients = Recipients::default();
    for uri in uris.split(',').map(|uri| uri.trim_matches([' ', '\t'])).take(MAX_DESTINATIONS) {
        match uri.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("mailto") => {
                recipients.mailboxes.extend(mailbox(rest));
            }
            _ => recipients.urls.extend(ReportUrl::parse(uri)),
        }
    }
    keep_first(&mut recipients.mailboxes);
    keep_first(&mut recipients.urls);
    (!recipients.mailboxes.is_empty() || !recipients.urls.is_empty()).then_some(recipients)
}

/// Each once, in their order; there are few.
fn keep_first<T: PartialEq + Clone>(all: &mut Vec<T>) {
    let mut seen: Vec<T> = Vec::new();
    all.retain(|one| {
        let is_new = !seen.contains(one);
        if is_new {
            seen.push(one.clone());
        }
        is_new
    });
}

/// The address of a `mailto:` (RFC 6068), without what the URI wants in its header. Reports are ASCII.
fn mailbox(rest: &str) -> Option<Mailbox> {
    let address = decoded(rest.split('?').next()?)?;
    let mailbox: Mailbox = address.parse().ok()?;
    mailbox.is_ascii().then_some(mailbox)
}

/// Without percent-encoding, which stands for `!`, `,` and `;` (RFC 8460 3).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(texts: &[&str]) -> Option<(Vec<String>, Vec<String>)> {
        match Record::of(texts.iter().copied()) {
            Record::Wanted(to) => Some((
                to.mailboxes.iter().map(ToString::to_string).collect(),
                to.urls.iter().map(ToString::to_string).collect(),
            )),
            Record::Absent | Record::Failed => None,
        }
    }

    fn mailboxes(text: &str) -> Vec<String> {
        said(&[text]).map(|(mailboxes, _)| mailboxes).unwrap_or_default()
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        assert_eq!(
            mailboxes("v=TLSRPTv1;rua=mailto:reports@example.com"),
            ["reports@example.com"],
            "RFC 8460 3.1.1"
        );
        let (none, urls) =
            said(&["v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt"]).expect("RFC 8460 3.1.2");
        assert!(none.is_empty());
        assert_eq!(urls, ["https://reporting.example.com/v1/tlsrpt"]);
    }

    #[test]
    fn several_destinations_are_read_up_to_a_bound() {
        let both = said(&[
            "v=TLSRPTv1 ; x=1; rua=mailto:a@x.example , https://x.example/r ,mailto:a@x.example,https://x.example/r;",
        ]);
        assert_eq!(both, Some((vec!["a@x.example".to_owned()], vec!["https://x.example/r".to_owned()])));
        let many: Vec<String> = (0..40).map(|n| format!("mailto:r{n}@x.example")).collect();
        assert_eq!(mailboxes(&format!("v=TLSRPTv1;rua={}", many.join(","))).len(), MAX_DESTINATIONS);
    }

    #[test]
    fn what_a_mailto_encodes_is_decoded() {
        assert_eq!(mailboxes("v=TLSRPTv1;rua=mailto:a%21b@x.example?subject=no"), ["a!b@x.example"]);
        assert!(mailboxes("v=TLSRPTv1;rua=mailto:a%0d%0ab@x.example").is_empty());
        assert!(mailboxes("v=TLSRPTv1;rua=mailto:a%2@x.example%2").is_empty());
    }

    #[test]
    fn what_is_no_record_or_not_the_only_one_is_none() {
        assert_eq!(said(&[]), None);
        assert_eq!(said(&["v=TLSRPTv1;rua=mailto:a@x.example", "v=TLSRPTv1;rua=mailto:b@x.example"]), None);
        assert!(said(&["v=spf1 -all", "v=TLSRPTv1;rua=mailto:a@x.example"]).is_some());
        for text in [
            "v=TLSRPTv2;rua=mailto:a@x.example",
            "v=TLSRPTv1",
            "v=TLSRPTv1;",
            "v=TLSRPTv1;rua=",
            "v=TLSRPTv1;rua=ftp://x.example",
            "v=TLSRPTv1;rua=https://127.0.0.1/",
            "v=TLSRPTv1;rua=mailto:nobody",
        ] {
            assert_eq!(said(&[text]), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,120}") {
            let _ = Record::of([text.as_str(), &format!("v=TLSRPTv1;rua={text}")]);
            let _ = Record::of([format!("v=TLSRPTv1;rua=mailto:{text}").as_str()]);
        }
    }
}
