//! Commands: their lines, their order, what counts against a client.

use super::*;

#[test]
fn a_line_without_end_ends_the_session() {
    let mut session = Session::greeted(settings());
    assert_eq!(session.codes(vec![b'x'; 1 << 16]), [500]);
    assert_eq!(session.end, Some(End::LineTooLong));
}

#[test]
fn bare_line_ends_are_errors_in_commands() {
    let mut session = Session::greeted(settings());
    assert_eq!(session.codes("NOOP\nNO\rOP\r\nNOOP\r\n"), [500, 500, 250]);
}

#[test]
fn nothing_stands_behind_a_command_that_ends_its_group() {
    for script in ["EHLO a\r\nMAIL FROM:<>\r\n", "HELO a\r\nMAIL FROM:<>\r\n"] {
        let mut session = Session::new(settings(), Channel::Clear);
        session.run();
        assert_eq!(session.codes(script), [554]);
        assert_eq!(session.end, Some(End::UnauthorizedPipelining), "{script}");
    }
    let mut session = Session::greeted(settings());
    assert_eq!(session.codes(format!("{ENVELOPE}DATA\r\nSubject: x\r\n.\r\n")), [250, 250, 554]);
    assert_eq!(session.log, ["mail a@b.example", "aborted SessionEnded"]);
    let mut session = Session::new(settings(), Channel::Clear);
    session.run();
    assert_eq!(session.codes("HELO a\r\n"), [250]);
    assert_eq!(session.codes(ENVELOPE), [554], "without EHLO there is no PIPELINING");
}

#[test]
fn order_is_kept() {
    let mut session = Session::new(settings(), Channel::Clear);
    session.run();
    assert_eq!(session.codes("MAIL FROM:<>\r\n"), [503]);
    session.send("EHLO a\r\n");
    assert_eq!(session.codes("RCPT TO:<c@d.example>\r\nDATA\r\n"), [503, 503]);
    assert_eq!(session.codes("MAIL FROM:<>\r\nMAIL FROM:<>\r\nDATA\r\n"), [250, 503, 503]);
    assert_eq!(session.codes("RSET\r\nRCPT TO:<c@d.example>\r\n"), [250, 503]);
    assert_eq!(session.log, ["mail ", "aborted Reset"]);
    assert_eq!(session.codes("VRFY a\r\nEXPN a\r\nHELP\r\nFOO\r\n"), [252, 502, 214, 500]);
}

#[test]
fn ehlo_ends_a_transaction() {
    let mut session = Session::greeted(settings());
    session.send(ENVELOPE);
    assert_eq!(session.codes("EHLO again\r\n"), [250]);
    assert_eq!(session.log.last().map(String::as_str), Some("aborted Reset"));
    assert_eq!(session.codes("DATA\r\n"), [503]);
}

#[test]
fn recipients_beyond_the_limit_are_put_off() {
    let mut session = Session::greeted(small());
    session.send("MAIL FROM:<>\r\n");
    let many = "RCPT TO:<c@d.example>\r\n".repeat(10_000);
    let codes = session.codes(many);
    assert_eq!((&codes[..3], codes.len()), (&[250, 250, 452][..], 10_000));
    assert_eq!(session.codes("DATA\r\n"), [354]);
    assert_eq!(session.codes(".\r\n"), [250]);
    assert_eq!(session.log.last().map(String::as_str), Some("message for 2"));
}

#[test]
fn data_without_an_accepted_recipient_is_no_error_of_the_clients() {
    let mut session = Session::greeted(settings()).refuses("c");
    assert_eq!(session.codes(format!("{ENVELOPE}DATA\r\n")), [250, 550, 554]);
    let mut session =
        Session::greeted(Settings { limits: Limits { errors: 3, ..Limits::default() }, ..settings() });
    session.refuses.push("mail");
    let rcpts = "RCPT TO:<c@d.example>\r\n".repeat(50);
    let codes = session.codes(format!("MAIL FROM:<>\r\n{rcpts}DATA\r\n"));
    assert_eq!((codes[0], codes[51], session.end), (550, 503, None), "pipelined behind a refused MAIL");
}

#[test]
fn an_address_beyond_ascii_needs_smtputf8() {
    let mut session = Session::greeted(settings());
    assert_eq!(session.codes("MAIL FROM:<jürgen@b.example>\r\n"), [553]);
    assert_eq!(session.codes("MAIL FROM:<a@b.example>\r\nRCPT TO:<jürgen@b.example>\r\n"), [250, 553]);
    session.send("RSET\r\n");
    let utf8 = "MAIL FROM:<jürgen@bücher.example> SMTPUTF8\r\nRCPT TO:<ö@ü.example>\r\n";
    assert_eq!(session.codes(utf8), [250, 250]);
}

#[test]
fn dsn_is_refused_where_it_is_not_offered() {
    let mut session = Session::greeted(Settings { dsn: false, ..settings() });
    assert_eq!(session.codes("MAIL FROM:<> RET=FULL\r\nMAIL FROM:<>\r\n"), [555, 250]);
    assert_eq!(session.codes("RCPT TO:<c@d.example> NOTIFY=NEVER\r\n"), [555]);
}

#[test]
fn errors_and_idle_commands_are_counted() {
    let mut session = Session::greeted(settings());
    let codes = session.codes("FOO\r\n".repeat(30));
    assert_eq!((codes.len(), codes.last(), session.end), (21, Some(&421), Some(End::TooManyErrors)));
    let mut session = Session::greeted(settings());
    let codes = session.codes("NOOP\r\n".repeat(200));
    assert_eq!((codes.last(), session.end), (Some(&421), Some(End::TooManyCommands)));
    assert!(codes.len() <= 101);
}

#[test]
fn messages_of_a_session_are_counted() {
    let limits = Limits { messages: 2, ..Limits::default() };
    let mut session = Session::greeted(Settings { limits, ..settings() });
    for _ in 0..2 {
        session.send(format!("{ENVELOPE}DATA\r\n"));
        assert_eq!(session.codes("x\r\n.\r\n"), [250]);
    }
    assert_eq!(session.codes("MAIL FROM:<>\r\n"), [421]);
    assert_eq!(session.end, Some(End::TooManyMessages));
}
