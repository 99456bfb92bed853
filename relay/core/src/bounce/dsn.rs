//! The report: words for people, fields for machines, and the message that both are about.
//! **Owns:** RFC 6522 and RFC 3464 as bytes. **Never:** the words (text.rs), who gets one (options.rs).
//! RFC 3464 2.2, 2.3; RFC 6533 3 (international forms, where the sender is international); RFC 3834 5; RFC 2046 5.1.1.

use std::fmt::Write as _;

use postrider_mail::{BodyEncoding, Mailbox, Outcome, ReturnContent};

use super::{Kind, Notice, Report, Reported, encode, options, text};

/// The longest header shown of a message; cut at a line's end.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The longest value of a field: with its name, within a line's 998 bytes (RFC 5322 2.1.1).
const MAX_FIELD_BYTES: usize = 900;

pub(super) fn render(report: &Report<'_>, to: &Mailbox) -> Notice {
    // The far side of an international sender takes UTF-8, or can't be written to at all; everybody else gets ASCII.
    let smtputf8 = !to.is_ascii();
    let boundary = format!("{}.{}", report.queue_id, report.serial);
    let mut message = head(report, to, &boundary).into_bytes();
    let mut part = |head: &str, content: &[u8]| {
        message.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
        message.extend_from_slice(content);
        if !content.ends_with(b"\r\n") {
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(b"\r\n");
    };
    let words = text::words(report);
    part(
        &format!(
            "Content-Description: Notification\r\nContent-Type: text/plain; charset={}\r\nContent-Transfer-Encoding: {}",
            if words.is_ascii() { "us-ascii" } else { "utf-8" },
            transfer_encoding(words.as_bytes(), smtputf8),
        ),
        &transferred(words.as_bytes(), smtputf8),
    );
    let fields = fields(report, smtputf8);
    let status_type = if smtputf8 { "message/global-delivery-status" } else { "message/delivery-status" };
    let status_encoding = if fields.is_ascii() { "7bit" } else { "8bit" };
    part(
        &format!(
            "Content-Description: Delivery report\r\nContent-Type: {status_type}\r\nContent-Transfer-Encoding: {status_encoding}"
        ),
        fields.as_bytes(),
    );
    let (returned_head, returned) = returned(report, smtputf8);
    part(&returned_head, &returned);
    message.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let encoding = if message.is_ascii() { BodyEncoding::SevenBit } else { BodyEncoding::EightBitMime };
    Notice { message, encoding, smtputf8 }
}

fn head(report: &Report<'_>, to: &Mailbox, boundary: &str) -> String {
    let host = report.hostname;
    let subject = match report.kind {
        Kind::Bounce => "Undelivered mail returned to sender",
        Kind::Delay => "Delayed mail (still being retried)",
        Kind::Success => "Mail passed on (no further report will follow)",
    };
    let report_type = if to.is_ascii() { "delivery-status" } else { "global-delivery-status" };
    let mut head = format!(
        "Date: {date}\r\n\
         From: Mail Delivery System <MAILER-DAEMON@{host}>\r\n\
         To: {to}\r\n\
         Subject: {subject}\r\n\
         Message-ID: <{boundary}.report@{host}>\r\n",
        date = encode::date(report.decided),
    );
    if let Some(id) = original_message_id(report.original.header) {
        let _ = write!(head, "In-Reply-To: {id}\r\nReferences: {id}\r\n");
    }
    let auto = if report.kind == Kind::Bounce { "auto-replied" } else { "auto-generated" };
    let _ = write!(
        head,
        "Auto-Submitted: {auto}\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type={report_type};\r\n\tboundary=\"{boundary}\"\r\n\
         \r\n\
         This is a report in MIME format.\r\n\r\n",
    );
    head
}

/// The original's Message-ID, if it has one that can stand in a header of ours.
fn original_message_id(header: &[u8]) -> Option<&str> {
    let at = header.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked("message-id:".len())?;
        name.eq_ignore_ascii_case(b"message-id:").then_some(value)
    })?;
    let id = std::str::from_utf8(at).ok()?.trim();
    let is_sound = id.len() <= 250
        && id.starts_with('<')
        && id.ends_with('>')
        && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_sound.then_some(id)
}

fn fields(report: &Report<'_>, smtputf8: bool) -> String {
    let mut fields = String::new();
    let mut field = |name: &str, value: &str| fields.push_str(&encode::folded(name, value));
    field("Reporting-MTA", &format!("dns; {}", report.hostname));
    if let Some(id) = &report.envelope.envelope_id {
        field("Original-Envelope-Id", &encode::ascii(id));
    }
    field("X-Postrider-Queue-ID", &report.queue_id.to_string());
    field("Arrival-Date", &encode::date(report.accepted));
    for reported in &report.recipients {
        fields.push_str("\r\n");
        fields.push_str(&recipient_fields(report, reported, smtputf8));
    }
    fields
}

fn recipient_fields(report: &Report<'_>, reported: &Reported<'_>, smtputf8: bool) -> String {
    let mut fields = String::new();
    let mut field = |name: &str, value: &str| fields.push_str(&encode::folded(name, value));
    let clean = |text: &str| if smtputf8 { encode::printable(text) } else { encode::ascii(text) };
    if let Some(original) = original_recipient(reported, smtputf8) {
        field("Original-Recipient", &original);
    }
    field("Final-Recipient", &typed_address(&reported.recipient.mailbox, smtputf8));
    field("Action", action(report.kind));
    field("Status", &reported.outcome.status.to_string());
    if let Some(host) = &reported.outcome.host {
        field("Remote-MTA", &format!("dns; {host}"));
    }
    if let Some(diagnostic) = diagnostic(reported.outcome) {
        field("Diagnostic-Code", &clean(&diagnostic));
    }
    field("Last-Attempt-Date", &encode::date(reported.at));
    if report.kind == Kind::Delay {
        field("Will-Retry-Until", &encode::date(report.expires));
    }
    fields
}

/// ORCPT as it was given. One that spelling out makes too long for a line is left out: cut, it would name somebody else.
fn original_recipient(reported: &Reported<'_>, smtputf8: bool) -> Option<String> {
    let original = reported.recipient.original.as_ref()?;
    let address = match (original.address.is_ascii(), smtputf8) {
        (true, _) => encode::ascii(&original.address),
        (false, true) => encode::printable(&original.address),
        (false, false) => encode::unitext(&original.address),
    };
    let typed = format!("{}; {address}", encode::ascii(&original.address_type));
    (typed.len() <= MAX_FIELD_BYTES).then_some(typed)
}

/// RFC 6533 3: an address that isn't ASCII has the type `utf-8`, and in an ASCII report its characters are spelt out.
fn typed_address(mailbox: &Mailbox, smtputf8: bool) -> String {
    let address = mailbox.to_string();
    match (mailbox.is_ascii(), smtputf8) {
        (true, _) => format!("rfc822; {}", encode::ascii(&address)),
        (false, true) => format!("utf-8; {}", encode::printable(&address)),
        (false, false) => format!("utf-8; {}", encode::unitext(&address)),
    }
}

/// RFC 3464 2.3.3. `delivered` is for who puts mail into a mailbox; we pass it on.
const fn action(kind: Kind) -> &'static str {
    match kind {
        Kind::Bounce => "failed",
        Kind::Delay => "delayed",
        Kind::Success => "relayed",
    }
}

fn diagnostic(outcome: &Outcome) -> Option<String> {
    match &outcome.reply {
        Some(reply) => Some(format!("smtp; {reply}")),
        None if outcome.explanation.as_str().is_empty() => None,
        None => Some(format!("x-postrider; {}", outcome.explanation.as_str())),
    }
}

/// The third part: the whole message where that was asked for and can travel, else its header.
fn returned(report: &Report<'_>, smtputf8: bool) -> (String, Vec<u8>) {
    let header = cut(report.original.header);
    let wants_body =
        report.kind == Kind::Bounce && report.envelope.return_content == Some(ReturnContent::Full);
    let body = report.original.body.filter(|body| {
        let size = (report.original.header.len() + body.len()) as u64;
        // RFC 2046 5.2.1: a message in a message can't be encoded, so what the way doesn't carry stays behind.
        let travels = (header.is_ascii() || smtputf8) && (body.is_ascii() || !report.seven_bit);
        wants_body && travels && size <= options::MAX_RETURNED_BYTES
    });
    match body {
        Some(body) => {
            let content_type = if smtputf8 { "message/global" } else { "message/rfc822" };
            let content = [header, b"\r\n", body].concat();
            (returned_head("Undelivered message", content_type, eight_or_seven(&content)), content)
        }
        None => {
            let content_type = if smtputf8 { "message/global-headers" } else { "text/rfc822-headers" };
            let encoding = transfer_encoding(header, smtputf8);
            (returned_head("Message header", content_type, encoding), transferred(header, smtputf8))
        }
    }
}

fn returned_head(description: &str, content_type: &str, encoding: &str) -> String {
    format!(
        "Content-Description: {description}\r\nContent-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}"
    )
}

/// At a line's end, if it is too long.
fn cut(header: &[u8]) -> &[u8] {
    if header.len() <= MAX_HEADER_BYTES {
        return header;
    }
    let kept = &header[..MAX_HEADER_BYTES];
    match kept.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => &kept[..=at],
        None => b"",
    }
}

fn eight_or_seven(content: &[u8]) -> &'static str {
    if content.is_ascii() { "7bit" } else { "8bit" }
}

fn transfer_encoding(content: &[u8], smtputf8: bool) -> &'static str {
    match (content.is_ascii(), smtputf8) {
        (true, _) => "7bit",
        (false, true) => "8bit",
        (false, false) => "quoted-printable",
    }
}

fn transferred(content: &[u8], smtputf8: bool) -> Vec<u8> {
    if content.is_ascii() || smtputf8 { content.to_vec() } else { encode::quoted_printable(content) }
}
