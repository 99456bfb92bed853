//! Notices to senders, of replies and messages that others wrote.
//! **Owns:** whatever they say, a notice has three parts and the fields that it should have, whole and bounded lines, and bytes that its
//! way carries; the same record gives the same bytes. **Never:** who gets one.
//! Input: a byte of choices, then a far side's reply, our words, ORCPT, ENVID, the sender, the recipient, the message.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use postrider_core::bounce::{Kind, Notice, Original, Report, Reported, options, render, split};
use postrider_fuzz::{has_whole_line_ends, host, parts, text};
use postrider_mail::{
    BodyEncoding, Due, EnhancedCode, Envelope, FarReply, FarText, Mailbox, OriginalRecipient, Outcome,
    OutcomeKind, QueueId, Recipient, ReturnContent, ReversePath, Stage,
};
use postrider_smtp::reply_codec::ReplyReader;

const BOUNDARY: &str = "a-01k2v9q8h3m4n5p6r7s8t9v0wx.3";
/// The fields of a notice's head, and of its parts.
const NAMES: &[&str] = &[
    "Date",
    "From",
    "To",
    "Subject",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
];
const STATUS_NAMES: &[&str] = &[
    "Reporting-MTA",
    "Original-Envelope-Id",
    "X-Postrider-Queue-ID",
    "Arrival-Date",
    "Original-Recipient",
    "Final-Recipient",
    "Action",
    "Status",
    "Remote-MTA",
    "Diagnostic-Code",
    "Last-Attempt-Date",
    "Will-Retry-Until",
];

fn reply(bytes: &[u8]) -> Option<FarReply> {
    let mut input = BytesMut::from(bytes);
    input.extend_from_slice(b"\r\n");
    Some(ReplyReader::default().read(&mut input).ok()??.reply)
}

fn mailbox(part: &[u8]) -> Mailbox {
    text(part).parse().unwrap_or_else(|_| "ann@app.example".parse().expect("a mailbox"))
}

/// ORCPT as the server takes it: printable, bounded.
fn original_recipient(part: &[u8]) -> Option<OriginalRecipient> {
    let text = text(part);
    let (address_type, address) = text.split_once(';')?;
    let is_type =
        !address_type.is_empty() && address_type.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_address = !address.is_empty() && text.len() <= 500 && !address.contains(char::is_control);
    (is_type && is_address)
        .then(|| OriginalRecipient { address_type: address_type.into(), address: address.into() })
}

fn envelope_id(part: &[u8]) -> Option<Box<str>> {
    let text = text(part);
    ((1..=100).contains(&text.len()) && !text.contains(char::is_control)).then(|| text.into())
}

/// Names of the fields in some lines; a name for what is none.
fn names(head: &str) -> Vec<&str> {
    let lines = head.split("\r\n").filter(|line| !line.is_empty() && !line.starts_with([' ', '\t']));
    lines.map(|line| line.split_once(':').map_or("no field", |(name, _)| name)).collect()
}

fn longest_line(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap_or(0)
}

/// `client` is what the client said: it can't know the boundary, which has the queue ID; here it may, and then the parts
/// aren't counted. The far side can: our Received field tells it.
fn check(notice: &Notice, report: &Report<'_>, message: &[u8], client: &[&[u8]]) {
    let Notice { message: bytes, encoding, smtputf8 } = notice;
    assert!(bytes.ends_with(b"\r\n"));
    assert_eq!(*encoding == BodyEncoding::SevenBit, bytes.is_ascii());
    let sender_is_ascii = report.envelope.sender.mailbox().is_some_and(Mailbox::is_ascii);
    assert_eq!(*smtputf8, !sender_is_ascii);
    assert!(!(sender_is_ascii && report.seven_bit) || bytes.is_ascii(), "the way takes 7 bits");
    assert!(!has_whole_line_ends(message) || has_whole_line_ends(bytes));
    assert!(longest_line(bytes) <= longest_line(message).max(999), "RFC 5322 2.1.1");
    let shown = String::from_utf8_lossy(bytes);
    let (head, _) = shown.split_once("\r\n\r\n").expect("a head");
    assert!(names(head).iter().all(|name| NAMES.contains(name)), "{head}");
    let has_boundary =
        |said: &&[u8]| said.windows(BOUNDARY.len()).any(|window| window == BOUNDARY.as_bytes());
    if client.iter().any(has_boundary) {
        return;
    }
    let parts: Vec<&str> = shown.split(&format!("\r\n--{BOUNDARY}")).collect();
    assert_eq!(parts.len(), 5, "a preamble, three parts, an end");
    assert_eq!(parts[4], "--\r\n");
    let (_, status) = parts[2].split_once("\r\n\r\n").expect("a part's head");
    assert!(names(status).iter().all(|name| STATUS_NAMES.contains(name)), "{status}");
    assert_eq!(status.trim_end().split("\r\n\r\n").count(), 1 + report.recipients.len());
}

fuzz_target!(|input: &[u8]| {
    let [choices, input @ ..] = input else { return };
    let [far, ours, orcpt, envid, sender, recipient, message] = parts(input);
    let client = [orcpt, envid, sender, recipient, message];
    let queue_id: QueueId = BOUNDARY.split('.').next().expect("an ID").parse().expect("an ID");
    let hostname = host("mail.example.com");
    let recipient = Recipient { original: original_recipient(orcpt), ..Recipient::new(mailbox(recipient)) };
    let envelope = Envelope {
        sender: ReversePath::Mailbox(mailbox(sender)),
        recipients: vec![recipient.clone()],
        body: BodyEncoding::SevenBit,
        smtputf8: false,
        return_content: (choices & 1 != 0).then_some(ReturnContent::Full),
        envelope_id: envelope_id(envid),
        tls: postrider_mail::TlsRequirement::Unsaid,
    };
    let reply = reply(far);
    let outcome = Outcome {
        recipient: 0,
        kind: OutcomeKind::Bounced,
        stage: [Stage::Rcpt, Stage::Dot, Stage::Dns, Stage::Expiry][usize::from(choices >> 1 & 3)],
        status: reply.as_ref().and_then(|reply| reply.enhanced).unwrap_or(EnhancedCode::permanent(1, 1)),
        reply,
        explanation: FarText::new(&text(ours)),
        host: (choices & 8 != 0).then(|| host("mx.far.example")),
    };
    let reported = Reported { recipient: &recipient, outcome: &outcome, at: Due::from_unix_millis(5) };
    let Original { header, body } = split(message);
    let report = Report {
        kind: [Kind::Bounce, Kind::Delay, Kind::Success, Kind::Bounce][usize::from(choices >> 4 & 3)],
        queue_id: &queue_id,
        serial: 3,
        hostname: &hostname,
        envelope: &envelope,
        accepted: Due::from_unix_millis(1_785_000_000_000),
        decided: Due::from_unix_millis(u64::from(*choices) << 56),
        expires: Due::from_unix_millis(1_785_432_000_000),
        recipients: vec![reported; 2],
        original: Original { header, body },
        seven_bit: choices & 64 != 0,
    };
    let notice = render(&report).expect("its sender isn't null");
    assert_eq!(render(&report).as_ref(), Some(&notice), "the same record gives the same bytes");
    check(&notice, &report, message, &client);
    let _ = options::is_bulk(header);
});
