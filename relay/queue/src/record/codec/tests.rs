//! Records are read as they were written, and anything else is an error, never a panic.

use std::sync::Arc;

use postrider_mail::{EnhancedCode, FarText, Outcome, OutcomeKind, Recipient, ReversePath, Stage};
use proptest::prelude::*;

use super::*;
use crate::record::{Received, Reported};

fn message() -> Message {
    Message {
        sender: ReversePath::Mailbox("a@app.example".parse().expect("a mailbox")),
        body: postrider_mail::BodyEncoding::EightBitMime,
        smtputf8: true,
        return_content: Some(postrider_mail::ReturnContent::Headers),
        envelope_id: Some("x\n1".into()),
        received: Received {
            listener: "smtp".into(),
            client: "10.0.0.1".parse().expect("an address"),
            helo: "app".into(),
            user: None,
            tls: true,
            at: Due::from_unix_millis(1),
            size: 7,
            has_8bit_body: true,
            has_8bit_header: false,
        },
        tls: TlsRequirement::Unsaid,
        dkim: Dkim::None,
    }
}

fn outcome(recipient: u32) -> Outcome {
    Outcome {
        recipient,
        kind: OutcomeKind::Bounced,
        stage: Stage::Rcpt,
        status: EnhancedCode::permanent(1, 1),
        reply: None,
        explanation: FarText::new("no"),
        host: None,
    }
}

fn addressee(number: u32) -> Addressee {
    Addressee { number, recipient: Recipient::new("b@far.example".parse().expect("a mailbox")) }
}

fn raw(recipients: &str) -> Raw {
    Raw {
        lane: b"Bulk/far.example/default".to_vec(),
        expiry: b"99".to_vec(),
        recipients: recipients.as_bytes().to_vec(),
        addressees: encode(&vec![addressee(0), addressee(3)]),
        ..Raw::default()
    }
}

fn id() -> DeliveryId {
    "a-01k2v9q8h3m4n5p6r7s8t9v0wx.3".parse().expect("an ID")
}

#[test]
fn what_is_written_is_read() {
    let bytes = encode(&message());
    assert!(!bytes.contains(&b'\n'));
    assert_eq!(decode::<Message>("m", &bytes), Ok(message()));
}

/// A version that knows no signatures refuses the digit, so that it sends nothing unsigned.
#[test]
fn a_message_with_a_signature_is_of_another_format() {
    assert!(encode_message(&message()).starts_with(b"1{"));
    let domain = postrider_mail::Domain::parse("app.example").expect("a domain");
    for dkim in [Dkim::Owed(domain), Dkim::Signed("DKIM-Signature: v=1\r\n".into())] {
        let message = Message { dkim, ..message() };
        let bytes = encode_message(&message);
        assert!(bytes.starts_with(b"2{"));
        assert_eq!(decode::<Message>("m", &bytes), Ok(message));
    }
}

/// A version that knows nothing of REQUIRETLS refuses the digit, so that it sends nothing past the requirement.
#[test]
fn a_message_that_requires_tls_is_of_another_format() {
    let message = |tls| Message { tls, ..message() };
    assert!(encode_message(&message(TlsRequirement::Lifted)).starts_with(b"1{"));
    let bytes = encode_message(&message(TlsRequirement::Required));
    assert!(bytes.starts_with(b"3{"));
    assert_eq!(decode::<Message>("m", &bytes), Ok(message(TlsRequirement::Required)));
}

#[test]
fn a_record_of_a_later_format_is_refused_by_name() {
    assert_eq!(decode::<Message>("m", b"4{}"), Err(Unreadable::Format("4".into())));
    assert_eq!(decode::<Message>("m", b""), Err(Unreadable::Field("m")));
    assert_eq!(decode::<Message>("m", b"1{}"), Err(Unreadable::Field("m")));
}

#[test]
fn recipients_that_ended_are_left_out() {
    let read = raw("3").read(id(), Arc::new(message())).expect("readable");
    assert_eq!(read.recipients.iter().map(|one| one.number).collect::<Vec<_>>(), [3]);
    assert_eq!((read.kind, read.crashes, read.history), (Kind::Message, 0, History::default()));
}

#[test]
fn a_report_tells_of_those_that_its_list_names() {
    let reported = |number| Reported {
        recipient: addressee(number).recipient,
        outcome: outcome(number),
        at: Due::from_unix_millis(5),
    };
    let report = encode(&Report { recipients: vec![reported(0), reported(1)], retry_until: None });
    let raw = Raw { report, crashes: b"2 1".to_vec(), ..raw("B1") };
    let read = raw.read(id(), Arc::new(message())).expect("readable");
    assert_eq!(read.kind, Kind::Bounce);
    assert_eq!(read.report.recipients, [reported(1)]);
    assert_eq!(read.crashes, 2);
    assert_eq!(read.sender(), &ReversePath::Null);
}

#[test]
fn lists_are_read_as_written() {
    assert_eq!(list([0, 7, 12]), "0,7,12");
    assert_eq!(read_list("0,7,12"), Ok((Kind::Message, vec![0, 7, 12])));
    assert_eq!(read_list("W7"), Ok((Kind::DelayNotice, vec![7])));
    assert_eq!(read_list(""), Ok((Kind::Message, vec![])));
    assert!(read_list("1,x").is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        let raw = Raw { addressees: bytes.clone(), recipients: bytes.clone(), ..raw("0") };
        let _ = raw.read(id(), Arc::new(message()));
        let _ = decode::<Message>("m", &bytes);
    }

    #[test]
    fn reading_a_printed_delivery_id_gives_the_same(number: u32) {
        let id = DeliveryId { number, ..id() };
        prop_assert_eq!(id.to_string().parse::<DeliveryId>(), Ok(id));
    }
}
