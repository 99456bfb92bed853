//! A report as a message.
//! **Owns:** its form. RFC 8460 5.1 (file name), 5.3 (mail), RFC 6522 (multipart/report). **Never:** its way, its signature.
//! The same report and date give the same bytes.

use std::{fmt::Write as _, io::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use postrider_mail::{Domain, Due, Mailbox};

use super::{Report, Submitter, schedule::seconds};
use crate::{bounce::encode, day::Day};

/// Characters of base64 in a line (RFC 2045 6.8).
const LINE: usize = 76;

/// All that a report's message is made of.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// The report.
    pub report: &'a Report,
    /// Its day.
    pub day: Day,
    /// The domain that it is about.
    pub domain: &'a Domain,
    /// Who reports.
    pub submitter: &'a Submitter,
    /// Whom to; not empty.
    pub to: &'a [Mailbox],
    /// Its date.
    pub date: Due,
}

/// A report's file: its JSON, packed.
///
/// # Errors
/// Never in practice: packing goes to memory.
pub fn pack(report: &Report) -> std::io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(report.json().as_bytes())?;
    packer.finish()
}

/// The message around the file: header and body, lines ended by CRLF, ASCII, no dots doubled.
pub fn render(from: &Letter<'_>, gzip: &[u8]) -> Vec<u8> {
    let mut message = head(from);
    let boundary = boundary(from);
    let _ = write!(
        message,
        "--{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\n{}",
        words(from)
    );
    let file = file_name(from);
    let _ = write!(
        message,
        "\r\n--{boundary}\r\nContent-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment;\r\n filename=\"{file}\"\r\n\r\n"
    );
    let encoded = STANDARD.encode(gzip);
    for line in encoded.as_bytes().chunks(LINE) {
        message.push_str(&String::from_utf8_lossy(line));
        message.push_str("\r\n");
    }
    let _ = write!(message, "--{boundary}--\r\n");
    message.into_bytes()
}

fn head(from: &Letter<'_>) -> String {
    let Letter { report, domain, submitter, .. } = from;
    let to: Vec<String> = from.to.iter().map(|mailbox| format!("<{mailbox}>")).collect();
    let by = submitter.from.domain().as_str();
    let mut head = String::new();
    head.push_str(&encode::folded("From", &format!("<{}>", submitter.from)));
    head.push_str(&encode::folded("To", &to.join(", ")));
    let subject = format!("Report Domain: {} Submitter: {by} Report-ID: <{}>", domain.as_str(), report.id());
    head.push_str(&encode::folded("Subject", &subject));
    head.push_str(&encode::folded("Date", &encode::date(from.date)));
    head.push_str(&encode::folded("Message-ID", &format!("<{}>", report.id())));
    head.push_str(&encode::folded("TLS-Report-Domain", domain.as_str()));
    head.push_str(&encode::folded("TLS-Report-Submitter", by));
    // RFC 8460 5.3, RFC 8689 3: what it reports may be what would stop it.
    head.push_str("TLS-Required: No\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
    let _ = write!(
        head,
        "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"{}\"\r\n\r\n",
        boundary(from)
    );
    head
}

fn words(from: &Letter<'_>) -> String {
    let (domain, organization) = (from.domain.as_str(), encode::ascii(&from.submitter.organization));
    format!(
        "This is a TLS report (RFC 8460) about mail to {domain}\r\non {} (UTC), by {organization}.\r\n\
         It is sent because {domain} asks for it in its DNS.\r\n",
        from.day
    )
}

/// RFC 2046 5.1.1 allows 70 characters; nothing in base64 or in the words has `_=`.
fn boundary(from: &Letter<'_>) -> String {
    format!("_=tlsrpt.{}", from.day)
}

/// RFC 8460 5.1.
fn file_name(from: &Letter<'_>) -> String {
    let (begin, end) = seconds(from.day);
    let by = from.submitter.from.domain().as_str();
    format!("{by}!{}!{begin}!{end}!{}.json.gz", from.domain.as_str(), unique(from))
}

/// Sets reports of several fleets apart: letters and digits only.
fn unique(from: &Letter<'_>) -> String {
    let name = from.submitter.hostname.as_str();
    name.chars().filter(char::is_ascii_alphanumeric).take(40).collect()
}
