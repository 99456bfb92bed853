//! One line of a client's.
//! **Owns:** MAIL and RCPT, written again, say the same; what was read is bounded and can't break a line. **Never:** whether a
//! command may come (the server's).
//! Input: the line.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::has_whole_line_ends;
use postrider_mail::{
    Envelope, TlsRequirement,
    envelope::{MAX_ENVELOPE_ID_BYTES, MAX_ORIGINAL_RECIPIENT_BYTES},
};
use postrider_smtp::command::{
    Command, EnvelopeParameters, MailCommand, RcptCommand, parse, write_mail, write_recipient,
};

const ALL: EnvelopeParameters =
    EnvelopeParameters { size: None, eight_bit_mime: true, smtputf8: true, dsn: true, requiretls: false };

fn again(written: &BytesMut) -> Command<'_> {
    assert!(has_whole_line_ends(written));
    let line = written.strip_suffix(b"\r\n").expect("a line");
    assert!(!line.contains(&b'\n'), "one line");
    parse(line).expect("what is written can be read")
}

fn mail(read: &MailCommand) {
    assert!(read.envelope_id.as_ref().is_none_or(|id| id.len() <= MAX_ENVELOPE_ID_BYTES));
    let envelope = Envelope {
        sender: read.sender.clone(),
        recipients: Vec::new(),
        body: read.body,
        smtputf8: read.smtputf8,
        return_content: read.return_content,
        envelope_id: read.envelope_id.clone(),
        tls: TlsRequirement::Unsaid,
    };
    let mut written = BytesMut::new();
    write_mail(
        &envelope,
        EnvelopeParameters { size: read.size, smtputf8: read.smtputf8, requiretls: read.requiretls, ..ALL },
        &mut written,
    );
    let Command::Mail(again) = again(&written) else { panic!("another command") };
    // A domain's U-labels are written as A-labels.
    assert_eq!(again, MailCommand { path_is_utf8: again.path_is_utf8, ..read.clone() });
    assert_eq!(again.path_is_utf8, again.sender.mailbox().is_some_and(|mailbox| !mailbox.is_ascii()));
}

fn recipient(read: &RcptCommand) {
    let original = read.recipient.original.as_ref();
    assert!(original.is_none_or(|original| original.address.len() <= MAX_ORIGINAL_RECIPIENT_BYTES));
    let mut written = BytesMut::new();
    write_recipient(&read.recipient, ALL, &mut written);
    let Command::Rcpt(again) = again(&written) else { panic!("another command") };
    assert_eq!(again.recipient, read.recipient);
}

fuzz_target!(|line: &[u8]| {
    let read = parse(line);
    match &read {
        Ok(Command::Mail(read)) => mail(read),
        Ok(Command::Rcpt(read)) => recipient(read),
        Ok(Command::Ehlo(name) | Command::Helo(name)) => {
            assert!((1..=255).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        Ok(Command::Bdat { octets, is_last }) => {
            let text = format!("BDAT {octets}{}", if *is_last { " LAST" } else { "" });
            assert_eq!(parse(text.as_bytes()), read);
        }
        Ok(_) | Err(_) => {}
    }
    assert_eq!(parse(&[line, b" \t"].concat()).is_ok(), read.is_ok(), "space at a line's end is nothing");
});
