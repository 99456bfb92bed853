//! Notices against golden files (`UPDATE_GOLDEN=1` writes them), and what must hold of any of them.

use std::path::PathBuf;

use postrider_mail::{
    EnhancedCode, FarReply, FarText, Notify, OriginalRecipient, OutcomeKind, PartitionName, ReplyCode,
    ReturnContent, ReversePath, Stage,
};
use proptest::prelude::*;

use super::*;

const HEADER: &[u8] = b"Received: from app.example by mail.example.com; Sat, 25 Jul 2026 17:20:00 +0000\r\n\
From: Shop <orders@app.example>\r\nTo: bob@far.example\r\nSubject: Your order\r\nMessage-ID: <42@app.example>\r\n";
const BODY: &[u8] = b"Dear Bob,\r\n\r\nit is on its way.\r\n";

/// A bounce of a plain message to one recipient; tests change what they are about.
struct Case {
    kind: Kind,
    envelope: Envelope,
    outcomes: Vec<Outcome>,
    header: Vec<u8>,
    body: Option<Vec<u8>>,
    seven_bit: bool,
}

impl Case {
    fn new(kind: Kind, outcome: Outcome) -> Self {
        Self {
            kind,
            envelope: Envelope {
                sender: path("orders@app.example"),
                recipients: vec![recipient("bob@far.example")],
                body: BodyEncoding::SevenBit,
                smtputf8: false,
                return_content: None,
                envelope_id: None,
                tls: postrider_mail::TlsRequirement::Unsaid,
            },
            outcomes: vec![outcome],
            header: HEADER.to_vec(),
            body: None,
            seven_bit: false,
        }
    }

    fn render(&self) -> Option<Notice> {
        let name = PartitionName::parse("a").expect("a partition");
        let queue_id = QueueId::new(name, 1_785_000_000_000, 0x0123_4567_89ab_cdef);
        let hostname = HostName::parse("mail.example.com").expect("a name");
        let reported = self.outcomes.iter().map(|outcome| Reported {
            recipient: &self.envelope.recipients[outcome.recipient as usize],
            outcome,
            at: Due::from_unix_millis(1_785_000_600_000),
        });
        render(&Report {
            kind: self.kind,
            queue_id: &queue_id,
            serial: 3,
            hostname: &hostname,
            envelope: &self.envelope,
            accepted: Due::from_unix_millis(1_785_000_000_000),
            decided: Due::from_unix_millis(1_785_000_601_000),
            expires: Due::from_unix_millis(1_785_432_000_000),
            recipients: reported.collect(),
            original: Original { header: &self.header, body: self.body.as_deref() },
            seven_bit: self.seven_bit,
        })
    }

    fn text(&self) -> String {
        String::from_utf8(self.render().expect("the sender isn't null").message).expect("UTF-8")
    }
}

fn path(text: &str) -> ReversePath {
    ReversePath::try_from(text.to_owned()).expect("a path")
}

fn recipient(text: &str) -> Recipient {
    Recipient::new(text.parse().expect("a mailbox"))
}

fn outcome(recipient: u32, kind: OutcomeKind, code: u16, enhanced: EnhancedCode, text: &str) -> Outcome {
    Outcome {
        recipient,
        kind,
        stage: Stage::Rcpt,
        status: enhanced,
        reply: Some(FarReply {
            code: ReplyCode::new(code),
            enhanced: Some(enhanced),
            text: FarText::new(text),
        }),
        explanation: FarText::default(),
        host: Some(HostName::parse("mx1.far.example").expect("a name")),
    }
}

fn no_such_user(recipient: u32) -> Outcome {
    outcome(recipient, OutcomeKind::Bounced, 550, EnhancedCode::permanent(1, 1), "no such user here")
}

fn check(name: &str, case: &Case) {
    let found = case.text();
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/bounce/golden").join(format!("{name}.eml"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).expect("the golden file is written");
    }
    let expected = std::fs::read_to_string(&path).expect("a golden file; UPDATE_GOLDEN=1 writes it");
    assert_eq!(found, expected, "{name}: if the change is wanted, UPDATE_GOLDEN=1 and review the difference");
}

#[test]
fn a_bounce_names_each_recipient_and_shows_the_header() {
    let mut case = Case::new(Kind::Bounce, no_such_user(0));
    case.envelope.recipients.push(Recipient {
        notify: Some(Notify::On { success: false, failure: true, delay: false }),
        original: Some(OriginalRecipient {
            address_type: "rfc822".into(),
            address: "carol@old.example".into(),
        }),
        ..recipient("carol@far.example")
    });
    case.envelope.envelope_id = Some("order 42".into());
    let last = outcome(1, OutcomeKind::Deferred, 451, EnhancedCode::transient(3, 2), "try again later");
    case.outcomes.push(crate::outcome::expired(1, Some(&last)));
    check("bounce", &case);
}

#[test]
fn a_bounce_with_ret_full_shows_the_message() {
    let why = crate::outcome::unresolved(&[0], &crate::mx::Unresolved::NoSuchDomain).remove(0);
    let mut case = Case::new(Kind::Bounce, why);
    case.envelope.return_content = Some(ReturnContent::Full);
    case.body = Some(BODY.to_vec());
    check("bounce-full", &case);
}

#[test]
fn a_delay_says_until_when() {
    let why = crate::mx::Unresolved::Failed {
        name: "far.example".into(),
        failure: crate::mx::DnsFailure::ServFail,
    };
    check("delay", &Case::new(Kind::Delay, crate::outcome::unresolved(&[0], &why).remove(0)));
}

#[test]
fn a_success_is_relayed_and_not_called_delivered() {
    let taken = outcome(0, OutcomeKind::Delivered, 250, EnhancedCode::success(0, 0), "ok, queued");
    check("success", &Case::new(Kind::Success, Outcome { stage: Stage::Dot, ..taken }));
}

#[test]
fn an_international_sender_gets_an_international_report() {
    let mut case = Case::new(Kind::Bounce, no_such_user(0));
    case.envelope.sender = path("jürgen@app.example");
    case.envelope.recipients = vec![recipient("bøb@far.example")];
    case.header.extend_from_slice("Subject: Grüße\r\n".as_bytes());
    check("international", &case);
    let notice = case.render().expect("a notice");
    assert!(notice.smtputf8 && notice.encoding == BodyEncoding::EightBitMime);
}

#[test]
fn an_ascii_sender_gets_ascii_whatever_the_recipient_is() {
    let mut case = Case::new(Kind::Bounce, no_such_user(0));
    case.envelope.recipients = vec![recipient("bøb@far.example")];
    case.header.extend_from_slice("Subject: Grüße\r\n".as_bytes());
    check("international-recipient", &case);
    let notice = case.render().expect("a notice");
    assert!(!notice.smtputf8 && notice.encoding == BodyEncoding::SevenBit);
}

#[test]
fn a_null_sender_gets_no_bounce() {
    let mut case = Case::new(Kind::Bounce, no_such_user(0));
    case.envelope.sender = ReversePath::Null;
    assert_eq!(case.render(), None);
}

#[test]
fn what_the_way_does_not_carry_stays_behind() {
    let mut case = Case::new(Kind::Bounce, no_such_user(0));
    case.envelope.return_content = Some(ReturnContent::Full);
    case.body = Some("Grüße\r\n".into());
    assert!(case.text().contains("message/rfc822\r\nContent-Transfer-Encoding: 8bit"));
    case.seven_bit = true;
    let notice = case.render().expect("a notice");
    assert!(notice.message.is_ascii() && notice.encoding == BodyEncoding::SevenBit);
    assert!(case.text().contains("text/rfc822-headers"));
    case.body = Some(vec![b'x'; 60 * 1024]);
    assert!(case.text().contains("text/rfc822-headers"), "too large to return");
}

#[test]
fn an_original_recipient_too_long_to_spell_out_is_left_out() {
    let mut case = Case::new(Kind::Bounce, no_such_user(0));
    let original =
        |n| Some(OriginalRecipient { address_type: "utf-8".into(), address: "é".repeat(n).into() });
    case.envelope.recipients[0].original = original(5);
    assert!(case.text().contains("Original-Recipient: utf-8; \\x{E9}"));
    case.envelope.recipients[0].original = original(250);
    assert!(!case.text().contains("Original-Recipient"));
}

#[test]
fn the_same_record_gives_the_same_bytes() {
    let case = Case::new(Kind::Bounce, no_such_user(0));
    assert_eq!(case.render(), case.render());
}

#[test]
fn a_message_is_split_at_its_first_empty_line() {
    let of = |text: &'static [u8]| {
        let original = split(text);
        (original.header, original.body)
    };
    assert_eq!(of(b"A: b\r\n\r\nc\r\n\r\n"), (&b"A: b\r\n"[..], Some(&b"c\r\n\r\n"[..])));
    assert_eq!(of(b"\r\nbody"), (&b""[..], Some(&b"body"[..])));
    assert_eq!(of(b"A: b\r\n"), (&b"A: b\r\n"[..], None));
}

proptest! {
    #[test]
    fn far_words_and_headers_cannot_break_a_notice(
        words in ".{0,600}", orcpt in ".{0,200}", envid in ".{0,100}", header in proptest::collection::vec(any::<u8>(), 0..400),
        seven_bit: bool, full: bool,
    ) {
        let mut case = Case::new(Kind::Bounce, no_such_user(0));
        case.outcomes[0].reply = Some(FarReply {
            code: ReplyCode::new(550),
            enhanced: None,
            text: FarText::new(&words),
        });
        case.envelope.recipients[0].original =
            Some(OriginalRecipient { address_type: orcpt.as_str().into(), address: orcpt.as_str().into() });
        case.envelope.envelope_id = Some(envid.into());
        case.envelope.return_content = full.then_some(ReturnContent::Full);
        // Intake takes whole lines only.
        case.header = header.into_iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        case.header.extend_from_slice(b"\r\n");
        case.seven_bit = seven_bit;
        let notice = case.render().expect("a notice");
        prop_assert_eq!(notice.message.is_ascii(), notice.encoding == BodyEncoding::SevenBit);
        prop_assert!(notice.message.is_ascii() || !seven_bit);
        // Three parts and the end, whatever the far side said.
        let text = String::from_utf8_lossy(&notice.message).into_owned();
        let boundary = text.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a boundary");
        prop_assert_eq!(text.matches(&format!("\r\n--{boundary}")).count(), 4);
        // No line end is bare.
        prop_assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
        prop_assert!(text.split("\r\n").all(|line| line.len() <= 998));
    }
}
