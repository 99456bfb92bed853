//! What sessions do, as a client sees it.

use std::time::Duration;

use postrider_mail::{EnhancedCode, HostName, ReplyCode};
use proptest::prelude::*;

use super::*;
use crate::sasl::Credentials;

const GREETING: &str = "220 mx.example ESMTP Postrider\r\n";

/// A session whose shell takes everything, but for what a test changes.
struct Session {
    server: Server<&'static str>,
    now: Mono,
    /// What happened, a word each.
    log: Vec<String>,
    content: Vec<u8>,
    end: Option<End>,
    refuses: Vec<&'static str>,
}

fn settings() -> Settings {
    Settings::new(HostName::parse("mx.example").expect("a name"))
}

fn no(code: u16) -> Reply {
    let enhanced = if code < 500 { EnhancedCode::transient(0, 0) } else { EnhancedCode::permanent(0, 0) };
    Reply::new(ReplyCode::new(code), enhanced, "no")
}

impl Session {
    fn new(settings: Settings, channel: Channel) -> Self {
        let now = Mono::from_start(Duration::from_secs(1000));
        let server = Server::new(Arc::new(settings), channel, now);
        Self { server, now, log: Vec::new(), content: Vec::new(), end: None, refuses: Vec::new() }
    }

    fn greeted(settings: Settings) -> Self {
        let mut session = Self::new(settings, Channel::Clear);
        assert_eq!(session.run(), GREETING);
        assert!(session.send("EHLO client.example\r\n").starts_with("250-mx.example\r\n"));
        session.log.clear();
        session
    }

    fn under_tls(settings: Settings) -> Self {
        let mut session = Self::new(settings, Channel::Tls);
        session.run();
        session.send("EHLO client.example\r\n");
        session.log.clear();
        session
    }

    fn refuses(mut self, what: &'static str) -> Self {
        self.refuses.push(what);
        self
    }

    /// Answers until input is needed; gives what was written.
    fn run(&mut self) -> String {
        loop {
            let event = self.server.poll(self.now);
            let is_refused = |what: &str| self.refuses.contains(&what);
            match event {
                Event::Read => break,
                Event::Close(end) => {
                    self.end = Some(end);
                    break;
                }
                Event::Connected(ask) if is_refused("connect") => self.server.resume(ask.refuse(no(554))),
                Event::Connected(ask) => self.server.resume(ask.welcome()),
                Event::Hello(ask) => self.server.resume(ask.welcome()),
                Event::StartTls => {
                    self.log.push("tls".into());
                    break;
                }
                Event::Auth(ask) => {
                    let is_known = *ask.credentials() == Credentials::new("ann", "secret");
                    self.server.resume(if is_known { ask.accept() } else { ask.refuse() });
                }
                Event::Mail(ask) if is_refused("mail") => self.server.resume(ask.refuse(no(550))),
                Event::Mail(ask) => {
                    self.log.push(format!("mail {}", ask.sender()));
                    self.server.resume(ask.accept());
                }
                Event::Recipient(ask) if is_refused(ask.recipient().mailbox.local()) => {
                    self.server.resume(ask.refuse(no(550)));
                }
                Event::Recipient(ask) => self.server.resume(ask.accept()),
                Event::Data(ask) if is_refused("data") => self.server.resume(ask.refuse(no(452))),
                Event::Data(ask) => {
                    self.content.clear();
                    self.log.push("data".into());
                    self.server.resume(ask.accept());
                }
                Event::Body(_) if is_refused("body") => self.server.refuse_body(no(452)),
                Event::Body(piece) => self.content.extend_from_slice(&piece),
                Event::EndOfMessage { envelope, content_bytes, expect } => {
                    assert_eq!(content_bytes, self.content.len() as u64);
                    self.log.push(format!("message for {}", envelope.recipients.len()));
                    let is_refused = self.refuses.contains(&"message");
                    self.server.resume(if is_refused { expect.refuse(no(451)) } else { expect.accept("ID") });
                }
                Event::Aborted(why) => self.log.push(format!("aborted {why:?}")),
            }
        }
        let output = self.server.output().split();
        String::from_utf8(output.to_vec()).expect("UTF-8")
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.server.input().extend_from_slice(bytes.as_ref());
        self.run()
    }

    /// The codes of the replies to what is sent.
    fn codes(&mut self, bytes: impl AsRef<[u8]>) -> Vec<u16> {
        let text = self.send(bytes);
        let is_last = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
        text.lines().filter(is_last).map(|line| line[..3].parse().expect(line)).collect()
    }

    fn pass(&mut self, seconds: u64) -> String {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.run()
    }
}

const ENVELOPE: &str = "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n";

#[test]
fn a_message_is_taken_with_its_receipt() {
    let mut session = Session::greeted(settings());
    assert_eq!(session.codes(format!("{ENVELOPE}DATA\r\n")), [250, 250, 354]);
    assert_eq!(session.send("Subject: x\r\n\r\n..y\r\n.\r\n"), "250 2.0.0 Ok: queued as ID\r\n");
    assert_eq!(session.content, b"Subject: x\r\n\r\n.y\r\n");
    assert_eq!(session.log, ["mail a@b.example", "data", "message for 1"]);
    assert_eq!(session.send("QUIT\r\n"), "221 2.0.0 Bye\r\n");
    assert_eq!(session.end, Some(End::Quit));
}

#[test]
fn what_is_offered_depends_on_the_channel() {
    let settings = Settings { tls: Tls::Optional, auth: Auth::Optional, ..settings() };
    let mut session = Session::new(settings, Channel::Clear);
    session.run();
    let clear = session.send("EHLO a\r\n");
    assert!(clear.contains("250-STARTTLS\r\n") && !clear.contains("AUTH"));
    assert!(
        clear.contains("250-SIZE 26214400\r\n")
            && clear.contains("250 LIMITS RCPTMAX=1000 MAILMAX=10000\r\n")
    );
    assert_eq!(session.send("STARTTLS\r\n"), "220 2.0.0 Ready to start TLS\r\n");
    session.server.tls_established(session.now);
    assert_eq!(session.codes("MAIL FROM:<>\r\n"), [503], "all is forgotten");
    let tls = session.send("EHLO a\r\n");
    assert!(!tls.contains("STARTTLS") && tls.contains("250-AUTH PLAIN LOGIN\r\n"));
    assert_eq!(session.codes("STARTTLS\r\n"), [503]);
}

#[test]
fn clear_text_behind_starttls_ends_the_session() {
    let mut session = Session::greeted(Settings { tls: Tls::Optional, ..settings() });
    assert_eq!(session.codes("STARTTLS\r\nMAIL FROM:<evil@x.example>\r\n"), [554]);
    assert_eq!((session.end, session.log.len()), (Some(End::StartTlsInjection), 0));
    let mut session = Session::greeted(Settings { tls: Tls::Optional, ..settings() });
    assert_eq!(session.codes("STARTTLS\r\n"), [220]);
    session.server.input().extend_from_slice(b"MAIL FROM:<evil@x.example>\r\n");
    session.server.tls_established(session.now);
    session.run();
    assert_eq!(session.end, Some(End::StartTlsInjection));
}

#[test]
fn starttls_does_not_stand_within_a_transaction() {
    let mut session = Session::greeted(Settings { tls: Tls::Optional, ..settings() });
    assert_eq!(session.codes("MAIL FROM:<>\r\nSTARTTLS\r\n"), [250, 503]);
}

#[test]
fn who_speaks_before_the_greeting_is_not_heard() {
    let mut session = Session::new(settings(), Channel::Clear);
    assert_eq!(session.codes("EHLO a\r\n"), [554]);
    assert_eq!(session.end, Some(End::EarlyTalker));
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
fn a_browser_is_sent_away() {
    let mut session = Session::new(settings(), Channel::Clear);
    session.run();
    assert_eq!(session.codes("POST / HTTP/1.1\r\nHost: mx.example\r\n\r\nEHLO a\r\n"), [554]);
    assert_eq!(session.end, Some(End::Http));
}

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
fn a_bare_newline_is_refused_at_the_messages_real_end() {
    for bare in ["a\nb", "a\rb", "\n.\r\n", "\r.\r", "\n.\nMAIL FROM:<evil@x.example>"] {
        let mut session = Session::greeted(settings());
        session.send(format!("{ENVELOPE}DATA\r\n"));
        let reply = session.send(format!("Subject: x\r\n\r\n{bare}\r\nrest\r\n.\r\n"));
        assert!(reply.starts_with("550 5.5.2 ") && reply.lines().count() == 1, "{bare:?}: {reply}");
        assert_eq!(session.log, ["mail a@b.example", "data", "aborted BareNewline"], "{bare:?}");
        assert_eq!(session.codes("NOOP\r\n"), [250]);
    }
}

#[test]
fn a_bare_newline_is_made_whole_where_the_listener_says_so() {
    let mut session = Session::greeted(Settings { bare_newlines: BareNewlines::Normalize, ..settings() });
    session.send(format!("{ENVELOPE}DATA\r\n"));
    assert_eq!(session.codes("a\n.\r\nb\r\n.\r\n"), [250]);
    assert_eq!(session.content, b"a\r\n.\r\nb\r\n");
}

fn small() -> Settings {
    Settings { limits: Limits { message_bytes: 100, recipients: 2, ..Limits::default() }, ..settings() }
}

#[test]
fn a_message_too_large_is_refused_as_soon_as_it_is_known() {
    let mut session = Session::greeted(small());
    assert!(session.send("MAIL FROM:<> SIZE=101\r\n").starts_with("552 5.3.4 "));
    assert_eq!(session.codes(format!("{ENVELOPE}DATA\r\n")), [250, 250, 354]);
    assert_eq!(session.send("x".repeat(200)), "");
    assert_eq!(session.log.last().map(String::as_str), Some("aborted TooLarge"));
    assert!(session.send("\r\nmore\r\n.\r\n").starts_with("552 5.3.4 "));
    assert_eq!(session.codes("NOOP\r\n"), [250]);
}

#[test]
fn a_message_without_end_is_cut() {
    let mut session = Session::greeted(small());
    session.send(format!("{ENVELOPE}DATA\r\n"));
    for _ in 0..40 {
        session.send(vec![b'x'; 64 << 10]);
        assert!(session.server.input().len() < 8);
        if session.end.is_some() {
            break;
        }
    }
    assert_eq!(session.end, Some(End::EndlessMessage));
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

#[test]
fn the_shells_refusals_are_told() {
    let mut session = Session::new(settings(), Channel::Clear).refuses("connect");
    assert_eq!(session.run(), "554 5.0.0 no\r\n");
    assert_eq!(session.end, Some(End::Refused));
    let mut session = Session::greeted(settings()).refuses("data");
    assert_eq!(session.codes(format!("{ENVELOPE}DATA\r\n")), [250, 250, 452]);
    assert_eq!(session.codes("MAIL FROM:<>\r\n"), [250], "the transaction is over");
    let mut session = Session::greeted(settings()).refuses("message");
    session.send(format!("{ENVELOPE}DATA\r\n"));
    assert_eq!(session.codes("x\r\n.\r\n"), [451]);
    for content in ["x\r\n", &"x\r\n".repeat(20_000)] {
        let mut session = Session::greeted(settings()).refuses("body");
        session.send(format!("{ENVELOPE}DATA\r\n"));
        assert_eq!(session.codes(format!("{content}.\r\n")), [452]);
        assert_eq!(session.log.last().map(String::as_str), Some("aborted Refused"));
        assert_eq!(session.codes("NOOP\r\n"), [250]);
    }
}

#[test]
fn tls_and_auth_are_demanded_where_the_listener_says_so() {
    let mut session = Session::greeted(Settings { tls: Tls::Required, auth: Auth::Required, ..settings() });
    assert_eq!(session.codes("MAIL FROM:<>\r\n"), [530]);
    assert_eq!(session.codes("AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"), [538]);
    let mut session = Session::under_tls(Settings { auth: Auth::Required, ..settings() });
    assert_eq!(session.codes("MAIL FROM:<>\r\n"), [530]);
    assert_eq!(session.codes("AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"), [235]);
    assert_eq!(session.server.user(), Some("ann"));
    assert_eq!(session.codes("AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"), [503]);
    assert_eq!(session.codes("MAIL FROM:<>\r\n"), [250]);
}

#[test]
fn auth_goes_by_its_mechanisms() {
    let auth = || Session::under_tls(Settings { auth: Auth::Optional, ..settings() });
    let mut session = auth();
    assert_eq!(session.send("AUTH LOGIN\r\n"), "334 VXNlcm5hbWU6\r\n");
    assert_eq!(session.send("YW5u\r\n"), "334 UGFzc3dvcmQ6\r\n");
    assert_eq!(session.codes("c2VjcmV0\r\n"), [235]);
    let mut session = auth();
    assert_eq!(session.codes("AUTH PLAIN\r\n"), [334]);
    assert_eq!(session.codes("*\r\n"), [501]);
    assert_eq!(session.codes("AUTH SCRAM-SHA-256\r\n"), [504]);
    for code in [535, 535, 421] {
        assert_eq!(session.codes("AUTH PLAIN AGFubgB3cm9uZw==\r\n"), [code]);
    }
    assert_eq!(session.end, Some(End::TooManyAuthFailures));
    let mut session = auth();
    assert_eq!(session.codes(format!("AUTH PLAIN {}\r\n", "A".repeat(11_000))), [501]);
    assert_eq!(session.codes("x".repeat(13_000)), [500]);
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
fn chunks_make_a_message() {
    let mut session = Session::greeted(settings());
    let script = format!("{ENVELOPE}BDAT 6\r\nab\r\n.\rBDAT 4\r\n\ncd\rBDAT 1 LAST\r\n\nNOOP\r\n");
    assert_eq!(session.codes(script), [250, 250, 250, 250, 250, 250]);
    assert_eq!(session.content, b"ab\r\n.\r\ncd\r\n");
    assert_eq!(session.log, ["mail a@b.example", "data", "message for 1"]);
    session.content.clear();
    assert_eq!(session.codes(format!("{ENVELOPE}BDAT 0 LAST\r\n")), [250, 250, 250]);
    assert_eq!(session.codes(format!("{ENVELOPE}BDAT 3 LAST\r\nabc")), [250, 250, 250]);
    assert_eq!(session.content, b"abc\r\n", "the last line is ended");
}

#[test]
fn octets_of_a_refused_chunk_are_no_commands() {
    let mut session = Session::greeted(small());
    assert_eq!(session.codes("BDAT 14\r\nMAIL FROM:<>\r\nNOOP\r\n"), [503, 250], "without a transaction");
    session.send(ENVELOPE);
    let big = "x".repeat(150);
    assert_eq!(session.codes(format!("BDAT 150\r\n{big}BDAT 6 LAST\r\nRSET\r\nNOOP\r\n")), [552, 503, 250]);
    session.send(ENVELOPE);
    assert_eq!(session.codes("BDAT 4\r\na\nb\nBDAT 6 LAST\r\nRSET\r\nNOOP\r\n"), [550, 503, 250], "bare LF");
    session.refuses.push("data");
    session.send(ENVELOPE);
    assert_eq!(
        session.codes("BDAT 6\r\nRSET\r\nBDAT 0 LAST\r\nNOOP\r\n"),
        [452, 503, 250],
        "refused by the shell"
    );
    session.refuses.push("c");
    assert_eq!(session.codes(format!("{ENVELOPE}BDAT 6\r\nRSET\r\nNOOP\r\n")), [250, 550, 554, 250]);
}

#[test]
fn a_chunk_whose_size_is_unknown_ends_the_session() {
    let mut session = Session::greeted(settings());
    assert_eq!(session.codes(format!("{ENVELOPE}BDAT x\r\nQUIT\r\n")), [250, 250, 501]);
    let mut session = Session::greeted(settings());
    assert_eq!(session.codes("BDAT 999999999999\r\n"), [552]);
}

#[test]
fn data_does_not_stand_between_chunks() {
    let mut session = Session::greeted(settings());
    let script = format!("{ENVELOPE}BDAT 3\r\na\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\n");
    assert_eq!(session.codes(script), [250, 250, 250, 503, 503]);
    assert_eq!(session.codes("DATA\r\n"), [503]);
    assert_eq!(session.codes("BDAT 2 LAST\r\n\r\n"), [250]);
    assert_eq!(session.codes(format!("{ENVELOPE}BDAT 1\r\naRSET\r\n")), [250, 250, 250, 250]);
    assert_eq!(session.log.last().map(String::as_str), Some("aborted Reset"));
}

#[test]
fn silence_ends_a_session() {
    let mut session = Session::greeted(settings());
    session.pass(299);
    session.send("NO");
    session.pass(1);
    assert_eq!(session.end, Some(End::TimedOut), "half a command doesn't begin the wait anew");
    let mut session = Session::greeted(settings());
    session.pass(299);
    assert_eq!(session.codes("NOOP\r\n"), [250]);
    assert_eq!(session.pass(299), "");
    assert_eq!(session.pass(1), "421 4.4.2 Timed out\r\n");
}

#[test]
fn one_byte_a_second_is_too_slow_for_a_body() {
    let mut session = Session::greeted(settings());
    session.send(format!("{ENVELOPE}DATA\r\n"));
    for _ in 0..200 {
        session.send("x");
        session.pass(1);
    }
    assert_eq!(session.end, Some(End::TimedOut));
    assert_eq!(session.log.last().map(String::as_str), Some("aborted SessionEnded"));
    let mut session = Session::greeted(settings());
    session.send(format!("{ENVELOPE}DATA\r\n"));
    for _ in 0..400 {
        session.send("x".repeat(200));
        session.pass(1);
    }
    assert_eq!(session.end, None, "faster than the slowest rate");
    assert!(session.server.deadline() > session.now);
    session.pass(180);
    assert_eq!(session.end, Some(End::TimedOut), "but no block may take longer than its wait");
}

#[test]
fn a_session_has_an_end() {
    let limits = Limits { session_seconds: 1000, idle_commands: 10_000, ..Limits::default() };
    let mut session = Session::greeted(Settings { limits, ..settings() });
    for _ in 0..12 {
        session.send("NOOP\r\n");
        session.pass(100);
    }
    assert_eq!(session.end, Some(End::SessionTooLong));
}

#[test]
fn a_client_that_goes_leaves_nothing_open() {
    let mut session = Session::greeted(settings());
    session.server.end_of_input();
    session.run();
    assert_eq!((session.end, session.log.len()), (Some(End::ClosedByClient), 0));
    for (script, log) in [("", "aborted SessionEnded"), ("DATA\r\n", "aborted SessionEnded")] {
        let mut session = Session::greeted(settings());
        session.send(format!("{ENVELOPE}{script}"));
        session.server.end_of_input();
        session.run();
        assert_eq!(session.end, Some(End::ClosedInTransaction));
        assert_eq!(session.log.last().map(String::as_str), Some(log));
    }
}

#[test]
fn what_came_before_the_end_of_input_is_still_done() {
    let mut session = Session::greeted(settings());
    session.send(format!("{ENVELOPE}DATA\r\n"));
    session.server.end_of_input();
    assert_eq!(session.codes("x\r\n.\r\n"), [250]);
    assert_eq!(session.end, Some(End::ClosedByClient));
}

#[test]
fn a_shutdown_is_told_as_soon_as_no_question_is_open() {
    let mut session = Session::greeted(settings());
    assert!(session.server.is_idle());
    session.server.end(no(421));
    assert_eq!(session.run(), "421 4.0.0 no\r\n");
    let mut session = Session::greeted(settings());
    session.server.input().extend_from_slice(b"MAIL FROM:<>\r\n");
    let Event::Mail(ask) = session.server.poll(session.now) else { panic!("MAIL is asked about") };
    session.server.end(no(421));
    assert!(!session.server.is_idle());
    session.server.resume(ask.accept());
    assert_eq!(session.run(), "250 2.1.0 Ok\r\n421 4.0.0 no\r\n");
    assert_eq!(
        (session.end, &session.log[..]),
        (Some(End::Refused), &["aborted SessionEnded".to_owned()][..])
    );
}

/// A long exchange in which the client keeps to what may be pipelined, cut where it has to wait.
fn groups() -> impl Strategy<Value = Vec<String>> {
    let body = prop::collection::vec(
        prop::sample::select(vec!["a", "..", "\r\n", "\r\n", "\r\n..", "\n", "é"]),
        0..30,
    );
    let message = (body, any::<bool>()).prop_map(|(body, is_chunk)| {
        let body = body.concat();
        if is_chunk {
            vec![format!("{ENVELOPE}BDAT {} LAST\r\n{body}", body.len())]
        } else {
            vec![format!("NOOP\r\n{ENVELOPE}DATA\r\n"), format!("{body}\r\n.\r\n")]
        }
    });
    prop::collection::vec(message, 1..5).prop_map(|messages| messages.concat())
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_session(groups in groups(), sizes in prop::collection::vec(1_usize..20, 1..6)) {
        let (mut whole, mut split) = (Session::greeted(settings()), Session::greeted(settings()));
        let mut sizes = sizes.into_iter().cycle();
        for group in groups {
            let expected = whole.send(&group);
            let (mut rest, mut output) = (group.as_bytes(), String::new());
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
                output.push_str(&split.send(piece));
                rest = behind;
            }
            prop_assert_eq!(&output, &expected);
            prop_assert_eq!(&split.log, &whole.log);
            prop_assert_eq!(&split.content, &whole.content);
        }
    }

    #[test]
    fn any_bytes_end_in_replies(lines in prop::collection::vec("(EHLO a|MAIL FROM:<>|RCPT TO:<a@b.example>|DATA|BDAT [0-9]{1,2}( LAST)?|RSET|STARTTLS|\\.|AUTH PLAIN|[ -~é]{0,20})(\r\n|\r|\n)", 0..20)) {
        let mut session = Session::new(Settings { tls: Tls::Optional, ..settings() }, Channel::Tls);
        session.run();
        for line in lines {
            session.send(&line);
            if session.end.is_some() {
                break;
            }
            prop_assert!(session.server.input().len() < 2048);
        }
    }
}
