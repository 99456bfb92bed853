//! What sessions do, as a client sees it.

mod any;
mod body;
mod commands;
mod ends;
mod opening;

use std::time::Duration;

use postrider_mail::{EnhancedCode, HostName, ReplyCode};

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

fn small() -> Settings {
    Settings { limits: Limits { message_bytes: 100, recipients: 2, ..Limits::default() }, ..settings() }
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
