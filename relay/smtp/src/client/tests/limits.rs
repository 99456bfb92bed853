//! What doesn't fit a far side: SIZE, 8BITMIME, SMTPUTF8, DSN, too many recipients.

use postrider_mail::{Notify, ReturnContent};

use super::*;

fn answers_of(settings: Settings, offers: &[&str], transaction: Transaction) -> (String, Vec<String>) {
    let mut talk = Talk::with(settings, offers);
    let said = talk.sends(transaction);
    let answers = if talk.finished.is_empty() { Vec::new() } else { talk.answers() };
    assert_eq!(talk.is_ready, !answers.is_empty(), "what wasn't sent leaves the connection as it was");
    (said, answers)
}

#[test]
fn a_message_too_large_for_the_far_side_is_not_sent() {
    let large = || Transaction { content_bytes: 1001, ..mail(&["bob", "cid"]) };
    let (said, answers) = answers_of(settings(), MODERN, large());
    assert_eq!((said.as_str(), answers), ("", vec!["Mail failed TooLarge(1000)".to_owned(); 2]));
    for offers in [&["PIPELINING", "SIZE"][..], &["SIZE 0"], &["SIZE much"]] {
        let (said, _) = answers_of(settings(), offers, large());
        assert!(said.contains("MAIL FROM:<ann@app.example> SIZE=1001\r\n"), "no limit is said: {said}");
    }
    assert!(!answers_of(settings(), &[], large()).0.contains("SIZE"));
}

#[test]
fn eight_bits_need_8bitmime_unless_the_settings_say_otherwise() {
    let eight = || Transaction { content_is_8bit: true, ..mail(&["bob"]) };
    assert!(answers_of(settings(), MODERN, eight()).0.contains(" BODY=8BITMIME"));
    let (said, answers) = answers_of(settings(), &["PIPELINING"], eight());
    assert_eq!((said.as_str(), answers), ("", vec!["Mail failed EightBitNotOffered".to_owned()]));
    let anyway = Settings { eight_bit: EightBit::SendAnyway, ..settings() };
    let (said, _) = answers_of(anyway, &["PIPELINING"], eight());
    assert!(said.starts_with("MAIL FROM:<ann@app.example>\r\n"), "{said}");
    assert!(!answers_of(settings(), MODERN, mail(&["bob"])).0.contains("BODY"), "7 bits need no word");
}

#[test]
fn smtputf8_is_asked_for_only_where_the_message_needs_it() {
    let header = || Transaction { header_is_utf8: true, ..mail(&["bob"]) };
    let mut sender = mail(&["bob"]);
    sender.envelope.sender = ReversePath::Mailbox("jürgen@app.example".parse().expect("a mailbox"));
    let mut said_by_client = mail(&["bob"]);
    said_by_client.envelope.smtputf8 = true;
    for (transaction, needs) in
        [(header(), true), (sender.clone(), true), (mail(&["jörg"]), true), (said_by_client, false)]
    {
        let (said, _) = answers_of(settings(), MODERN, transaction);
        assert_eq!(said.contains(" SMTPUTF8\r\n"), needs, "{said}");
    }
    for transaction in [header(), sender] {
        let (said, answers) = answers_of(settings(), &["PIPELINING", "8BITMIME"], transaction);
        assert_eq!((said.as_str(), answers), ("", vec!["Mail failed Utf8NotOffered".to_owned()]));
    }
}

#[test]
fn a_recipient_that_needs_smtputf8_keeps_nobody_else_from_mail() {
    let mut talk = Talk::ready(&["PIPELINING"]);
    let said = talk.sends(mail(&["jörg", "bob"]));
    assert!(!said.contains("jörg") && said.contains("RCPT TO:<bob@far.example>\r\nDATA"), "{said}");
    talk.hears("250 ok\r\n250 ok\r\n354 go\r\n");
    talk.hears("250 ok\r\n");
    assert_eq!(talk.answers(), ["Rcpt failed Utf8NotOffered", "Dot accepted 250"]);
}

#[test]
fn what_dsn_asks_is_said_only_to_those_that_offer_it() {
    let with_dsn = || {
        let mut transaction = mail(&["bob"]);
        transaction.envelope.return_content = Some(ReturnContent::Headers);
        transaction.envelope.envelope_id = Some("a=1".into());
        transaction.envelope.recipients[0].notify = Some(Notify::Never);
        transaction
    };
    let (said, _) = answers_of(settings(), MODERN, with_dsn());
    assert!(said.contains(" RET=HDRS ENVID=a+3D1\r\nRCPT TO:<bob@far.example> NOTIFY=NEVER\r\n"), "{said}");
    let (said, _) = answers_of(settings(), &["PIPELINING"], with_dsn());
    assert_eq!(said, "MAIL FROM:<ann@app.example>\r\nRCPT TO:<bob@far.example>\r\nDATA\r\n");
}

#[test]
fn no_more_recipients_are_named_than_the_far_side_says() {
    let mut talk = Talk::ready(&["PIPELINING", "LIMITS RCPTMAX=2 MAILMAX=1"]);
    assert!(talk.client.has_room());
    let said = talk.up_to_dot(&["bob", "cid"]);
    assert!(said.ends_with(".\r\n"));
    talk.hears("250 ok\r\n");
    assert!(!talk.client.has_room());
    assert_eq!(talk.sends(mail(&["dan"])), "", "MAILMAX is reached");
    assert_eq!(brief(&talk.finished[1][0]), "Mail not tried");
    let mut talk = Talk::ready(&["PIPELINING", "LIMITS RCPTMAX=2"]);
    assert_eq!(talk.sends(mail(&["bob", "cid", "dan"])).matches("RCPT").count(), 2);
    talk.hears("250 ok\r\n250 ok\r\n550 who?\r\n354 go\r\n");
    talk.hears("250 ok\r\n");
    assert_eq!(talk.answers(), ["Dot accepted 250", "Rcpt refused 550", "Rcpt not tried"]);
}

#[test]
fn recipients_beyond_what_the_far_side_takes_are_left_for_another_transaction() {
    for full in
        ["452 4.5.3 Too many recipients\r\n", "452 too many recipients\r\n", "552 Too many recipients\r\n"]
    {
        let mut talk = Talk::ready(MODERN);
        talk.sends(mail(&["bob", "cid", "dan"]));
        talk.hears(format!("250 ok\r\n250 ok\r\n{full}{full}354 go\r\n"));
        talk.hears("250 ok\r\n");
        assert_eq!(talk.answers(), ["Dot accepted 250", "Rcpt not tried", "Rcpt not tried"], "{full}");
        let mut talk = Talk::ready(&[]);
        talk.sends(mail(&["bob", "cid", "dan"]));
        talk.hears("250 ok\r\n");
        talk.hears("250 ok\r\n");
        assert_eq!(talk.hears(full), "DATA\r\n", "nobody else is named");
        talk.hears("354 go\r\n");
        talk.hears("250 ok\r\n");
        assert_eq!(talk.answers(), ["Dot accepted 250", "Rcpt not tried", "Rcpt not tried"], "{full}");
    }
}

#[test]
fn a_full_mailbox_and_a_full_house_are_told_apart() {
    for (first, second, answers) in [
        ("452 4.5.3 too many\r\n", "250 ok\r\n", ["Rcpt refused 452", "Dot accepted 250"]),
        ("250 ok\r\n", "452 4.2.2 mailbox full\r\n", ["Dot accepted 250", "Rcpt refused 452"]),
        ("250 ok\r\n", "552 5.2.2 over quota\r\n", ["Dot accepted 250", "Rcpt refused 552"]),
        ("250 ok\r\n", "450 too many recipients\r\n", ["Dot accepted 250", "Rcpt refused 450"]),
    ] {
        let mut talk = Talk::ready(MODERN);
        talk.sends(mail(&["bob", "cid"]));
        talk.hears(format!("250 ok\r\n{first}{second}354 go\r\n"));
        talk.hears("250 ok\r\n");
        assert_eq!(talk.answers(), answers, "{first} {second}");
    }
}
