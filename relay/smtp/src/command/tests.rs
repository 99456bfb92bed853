//! Commands as clients write them, and as they don't.

use bytes::BytesMut;
use postrider_mail::{Envelope, Notify, OriginalRecipient, TlsRequirement};
use proptest::prelude::*;

use super::*;

fn mail_of(line: &str) -> MailCommand {
    match parse(line.as_bytes()) {
        Ok(Command::Mail(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

fn recipient_of(line: &str) -> Recipient {
    match parse(line.as_bytes()) {
        Ok(Command::Rcpt(command)) => command.recipient,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn commands_without_parameters_are_read() {
    for (line, command) in [
        ("ehlo client.example", Command::Ehlo("client.example")),
        ("HELO [192.0.2.1]", Command::Helo("[192.0.2.1]")),
        ("DATA", Command::Data),
        ("data  ", Command::Data),
        ("BDAT 86 LAST", Command::Bdat { octets: 86, is_last: true }),
        ("bdat 0", Command::Bdat { octets: 0, is_last: false }),
        ("RSET", Command::Rset),
        ("NOOP whatever", Command::Noop),
        ("VRFY ann", Command::Vrfy),
        ("EXPN list", Command::NotImplemented),
        ("HELP MAIL", Command::Help),
        ("QUIT", Command::Quit),
        ("QUIT now", Command::Quit),
        ("STARTTLS", Command::StartTls),
        (
            "AUTH PLAIN AGEAYg==",
            Command::Auth { mechanism: Some(Mechanism::Plain), initial: Some("AGEAYg==") },
        ),
        ("AUTH login", Command::Auth { mechanism: Some(Mechanism::Login), initial: None }),
        ("AUTH CRAM-MD5", Command::Auth { mechanism: None, initial: None }),
        ("GET / HTTP/1.1", Command::Http),
        ("Host: a.example", Command::Http),
        ("", Command::Unknown),
        ("FOO", Command::Unknown),
        ("STARTTLSX", Command::Unknown),
    ] {
        assert_eq!(parse(line.as_bytes()), Ok(command), "{line}");
    }
}

#[test]
fn mail_and_its_parameters_are_read() {
    let command =
        mail_of("MAIL FROM:<a@b.example> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=hdrs ENVID=a+2Bb AUTH=<>");
    assert_eq!(command.sender.to_string(), "a@b.example");
    assert_eq!((command.size, command.body, command.smtputf8), (Some(100), BodyEncoding::EightBitMime, true));
    assert_eq!(
        (command.return_content, command.envelope_id.as_deref()),
        (Some(ReturnContent::Headers), Some("a+b"))
    );
    assert_eq!(mail_of("mail from: <>").sender, ReversePath::Null);
    assert!(mail_of("MAIL FROM:<a@bücher.example>").path_is_utf8);
    assert_eq!(mail_of("MAIL FROM:<\"a> b\"@c.example> SIZE=1").sender.to_string(), "\"a> b\"@c.example");
}

#[test]
fn rcpt_and_its_parameters_are_read() {
    let recipient = recipient_of("RCPT TO:<a@b.example> NOTIFY=SUCCESS,delay ORCPT=rfc822;c+2Bd@e.example");
    assert_eq!(recipient.notify, Some(Notify::On { success: true, failure: false, delay: true }));
    let original = OriginalRecipient { address_type: "rfc822".into(), address: "c+d@e.example".into() };
    assert_eq!(recipient.original, Some(original));
    assert_eq!(recipient_of("RCPT TO:<a@b.example> NOTIFY=NEVER").notify, Some(Notify::Never));
}

#[test]
fn what_is_wrong_is_told_apart() {
    let long_name = format!("EHLO {}", "a".repeat(256));
    let long_id = format!("MAIL FROM:<> ENVID={}", "a".repeat(101));
    for (line, why) in [
        ("EHLO", BadCommand::Arguments("a domain or an address literal")),
        ("EHLO a b", BadCommand::Arguments("a domain or an address literal")),
        (&long_name, BadCommand::Arguments("a domain or an address literal")),
        ("DATA now", BadCommand::Arguments("none")),
        ("MAIL", BadCommand::Arguments("FROM:<address>")),
        ("MAIL FROM:a@b.example", BadCommand::Arguments("an address in angle brackets")),
        ("MAIL FROM:<a@b.example>SIZE=1", BadCommand::Arguments("an address in angle brackets")),
        ("MAIL FROM:<a@b.example", BadCommand::Arguments("an address in angle brackets")),
        ("RCPT TO:<>", BadCommand::Mailbox(InvalidMailbox::NoAt)),
        ("RCPT TO:<@a.example,@b.example:c@d.example>", BadCommand::SourceRoute),
        ("RCPT TO:<a@[192.0.2.1]>", BadCommand::Mailbox(InvalidMailbox::AddressLiteral)),
        ("MAIL FROM:<> FOO=1", BadCommand::UnknownParameter),
        ("RCPT TO:<a@b.example> SIZE=1", BadCommand::UnknownParameter),
        ("MAIL FROM:<> SIZE=1 SIZE=2", BadCommand::ParameterValue("SIZE")),
        ("MAIL FROM:<> SIZE=+1", BadCommand::ParameterValue("SIZE")),
        ("MAIL FROM:<> SIZE=999999999999999999999", BadCommand::ParameterValue("SIZE")),
        ("MAIL FROM:<> BODY=BINARYMIME", BadCommand::ParameterValue("BODY")),
        ("MAIL FROM:<> ENVID=a+0D+0Ab", BadCommand::ParameterValue("ENVID")),
        (&long_id, BadCommand::ParameterValue("ENVID")),
        ("RCPT TO:<a@b.example> NOTIFY=NEVER,SUCCESS", BadCommand::ParameterValue("NOTIFY")),
        ("RCPT TO:<a@b.example> ORCPT=a@b.example", BadCommand::ParameterValue("ORCPT")),
        ("BDAT", BadCommand::Arguments("a number of octets, and perhaps LAST")),
        ("BDAT -1", BadCommand::Arguments("a number of octets, and perhaps LAST")),
        ("BDAT 1 LAST LAST", BadCommand::Arguments("a number of octets, and perhaps LAST")),
        ("AUTH", BadCommand::Arguments("a mechanism, and perhaps an initial response")),
        ("NOOP \0", BadCommand::Characters),
    ] {
        assert_eq!(parse(line.as_bytes()), Err(why), "{line}");
    }
    assert_eq!(parse(b"NOOP \xff"), Err(BadCommand::Characters));
}

fn mailboxes() -> impl Strategy<Value = postrider_mail::Mailbox> {
    "([a-z+=é]{1,6}|\"[a-z<> @]{1,6}\")@[a-z]{1,5}\\.example"
        .prop_map(|text| text.parse().expect("a mailbox"))
}

fn notifies() -> impl Strategy<Value = Option<Notify>> {
    prop::option::of(prop_oneof![
        Just(Notify::Never),
        (any::<bool>(), any::<bool>()).prop_map(|(success, delay)| Notify::On {
            success,
            failure: !success || delay,
            delay
        }),
    ])
}

proptest! {
    #[test]
    fn mail_is_read_as_it_was_written(sender in prop::option::of(mailboxes()), size: u64, body: bool, id in prop::option::of("[ -~é]{1,15}"), ret in prop::option::of(any::<bool>()), requiretls: bool) {
        let envelope = Envelope {
            sender: sender.map_or(ReversePath::Null, ReversePath::Mailbox),
            recipients: Vec::new(),
            body: if body { BodyEncoding::EightBitMime } else { BodyEncoding::SevenBit },
            smtputf8: true,
            return_content: ret.map(|full| if full { ReturnContent::Full } else { ReturnContent::Headers }),
            envelope_id: id.map(Into::into),
            tls: if requiretls { TlsRequirement::Required } else { TlsRequirement::Unsaid },
        };
        let with = EnvelopeParameters { size: Some(size), eight_bit_mime: true, smtputf8: true, dsn: true, requiretls };
        let mut line = BytesMut::new();
        write_mail(&envelope, with, &mut line);
        prop_assert!(line.ends_with(b"\r\n"));
        let Ok(Command::Mail(read)) = parse(&line[..line.len() - 2]) else { panic!("{line:?}") };
        prop_assert_eq!(read.sender, envelope.sender);
        prop_assert_eq!((read.size, read.body, read.smtputf8), (Some(size), envelope.body, true));
        prop_assert_eq!(read.requiretls, requiretls);
        prop_assert_eq!((read.return_content, read.envelope_id), (envelope.return_content, envelope.envelope_id));
    }

    #[test]
    fn rcpt_is_read_as_it_was_written(mailbox in mailboxes(), notify in notifies(), original in prop::option::of("[!-~é]{1,20}")) {
        let original = original.map(|address| OriginalRecipient { address_type: "rfc822".into(), address: address.into() });
        let recipient = Recipient { mailbox, notify, original };
        let with = EnvelopeParameters { dsn: true, smtputf8: true, ..EnvelopeParameters::default() };
        let mut line = BytesMut::new();
        write_recipient(&recipient, with, &mut line);
        let Ok(Command::Rcpt(read)) = parse(&line[..line.len() - 2]) else { panic!("{line:?}") };
        prop_assert_eq!(read.recipient, recipient);
    }

    #[test]
    fn any_line_is_read_without_a_panic(line in "(MAIL FROM:<|RCPT TO:<|BDAT |AUTH |EHLO )?.{0,60}") {
        let _ = parse(line.as_bytes());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = parse(&line);
    }
}
