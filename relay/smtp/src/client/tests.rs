//! What a client does, as a scripted far side sees it.

mod any;
mod body;
mod broken;
mod limits;
mod opening;
mod transaction;

use std::time::Duration;

use bytes::Bytes;
use postrider_mail::{BodyEncoding, Envelope, HostName, Recipient, ReversePath};

use super::*;

/// What a far side of our days offers.
const MODERN: &[&str] = &["PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 1000"];

/// The right to a dot, of which tests count how many are used.
struct Permit;

/// A client whose shell sends what a test gives it.
struct Talk {
    client: Client<Permit>,
    now: Mono,
    body: Vec<Bytes>,
    /// The dot is kept back until [`Talk::let_dot_go`].
    holds_dot: bool,
    dot: Option<ExpectDot<Permit>>,
    dots_sent: u32,
    is_ready: bool,
    wants_tls: bool,
    /// The answers of each transaction that is over.
    finished: Vec<Vec<Answered>>,
    ended: Option<Ended>,
}

fn settings() -> Settings {
    Settings::new(HostName::parse("relay.example").expect("a name"))
}

/// A message to these local parts.
fn mail(to: &[&str]) -> Transaction {
    let mailbox = |local: &str| format!("{local}@far.example").parse().expect("a mailbox");
    Transaction {
        envelope: Envelope {
            sender: ReversePath::Mailbox("ann@app.example".parse().expect("a mailbox")),
            recipients: to.iter().map(|local| Recipient::new(mailbox(local))).collect(),
            body: BodyEncoding::SevenBit,
            smtputf8: false,
            return_content: None,
            envelope_id: None,
            tls: postrider_mail::TlsRequirement::Unsaid,
        },
        content_bytes: 15,
        content_is_8bit: false,
        header_is_utf8: false,
    }
}

fn why(failure: &Failure) -> String {
    match failure {
        Failure::OutOfStep(reply) => format!("out of step {}", reply.code),
        other => format!("{other:?}"),
    }
}

/// A few words for an answer.
fn brief(one: &Answered) -> String {
    let what = match &one.answer {
        Answer::Accepted(reply) => format!("accepted {}", reply.code),
        Answer::Refused(reply) => format!("refused {}", reply.code),
        Answer::NotTried => "not tried".to_owned(),
        Answer::Failed(failure) => format!("failed {}", why(failure)),
        Answer::Unknown(failure) => format!("unknown {}", why(failure)),
    };
    format!("{:?} {what}", one.stage)
}

impl Talk {
    fn new(settings: Settings, channel: Channel) -> Self {
        let now = Mono::from_start(Duration::from_secs(1000));
        Self {
            client: Client::new(Arc::new(settings), channel, now),
            now,
            body: vec![Bytes::from_static(b"Subject: x\r\n\r\nx\r\n")],
            holds_dot: false,
            dot: None,
            dots_sent: 0,
            is_ready: false,
            wants_tls: false,
            finished: Vec::new(),
            ended: None,
        }
    }

    /// Greeted, in clear text.
    fn with(settings: Settings, offers: &[&str]) -> Self {
        let mut talk = Self::new(settings, Channel::Clear);
        assert_eq!(talk.run(), "", "a client speaks second");
        assert_eq!(talk.hears("220 mx.far.example ESMTP\r\n"), "EHLO relay.example\r\n");
        talk.hears(ehlo_reply(offers));
        talk
    }

    /// Greeted, and ready for mail.
    fn ready(offers: &[&str]) -> Self {
        let talk = Self::with(settings(), offers);
        assert!(talk.is_ready);
        talk
    }

    /// Does what the events say until the far side is waited for; gives what was written.
    fn run(&mut self) -> String {
        loop {
            match self.client.poll(self.now) {
                Event::Read => break,
                Event::StartTls => {
                    self.wants_tls = true;
                    break;
                }
                Event::Ready => self.is_ready = true,
                Event::Body => {
                    for chunk in &self.body {
                        self.client.body(chunk);
                    }
                    self.client.end_body();
                }
                Event::Dot(expect) if self.holds_dot => {
                    self.dot = Some(expect);
                    break;
                }
                Event::Dot(expect) => self.send_dot(expect),
                Event::Finished(answers) => self.finished.push(answers),
                Event::Ended(ended) => {
                    self.ended = Some(ended);
                    break;
                }
            }
        }
        String::from_utf8(self.client.output().split().to_vec()).expect("UTF-8")
    }

    fn send_dot(&mut self, expect: ExpectDot<Permit>) {
        self.dots_sent += 1;
        self.client.resume(expect.send(Permit));
    }

    fn let_dot_go(&mut self) -> String {
        let expect = self.dot.take().expect("a dot was kept back");
        self.holds_dot = false;
        self.send_dot(expect);
        self.run()
    }

    fn hears(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.client.input().extend_from_slice(bytes.as_ref());
        self.run()
    }

    /// What is said for a message.
    fn sends(&mut self, transaction: Transaction) -> String {
        self.is_ready = false;
        self.client.begin(transaction);
        self.run()
    }

    /// A transaction to these, up to where the dot's reply is waited for.
    fn up_to_dot(&mut self, to: &[&str]) -> String {
        self.sends(mail(to));
        let accepted = "250 ok\r\n".repeat(1 + to.len());
        if self.client.offers().pipelining {
            return self.hears(format!("{accepted}354 go\r\n"));
        }
        for _ in 0..=to.len() {
            self.hears("250 ok\r\n");
        }
        self.hears("354 go\r\n")
    }

    fn closes(&mut self) -> String {
        self.client.end_of_input();
        self.run()
    }

    fn pass(&mut self, seconds: u64) -> String {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.run()
    }

    /// The answers of the only transaction that is over.
    fn answers(&self) -> Vec<String> {
        assert_eq!(self.finished.len(), 1, "one transaction, one Finished");
        self.finished[0].iter().map(brief).collect()
    }

    /// How the connection ended.
    fn end(&self) -> String {
        match &self.ended {
            None => "it goes on".to_owned(),
            Some(Ended { stage, cause: EndCause::Quit }) => format!("{stage:?} quit"),
            Some(Ended { stage, cause: EndCause::Refused(reply) }) => {
                format!("{stage:?} refused {}", reply.code)
            }
            Some(Ended { stage, cause: EndCause::Failed(failure) }) => {
                format!("{stage:?} failed {}", why(failure))
            }
        }
    }
}

fn ehlo_reply(offers: &[&str]) -> String {
    let lines = offers.iter().map(|offer| format!("250-{offer}\r\n"));
    format!("250-mx.far.example\r\n{}250 HELP\r\n", lines.collect::<String>())
}
