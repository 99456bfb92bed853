//! A far side that answers anything to a client.
//! **Owns:** what must hold of every connection: each transaction has one end, none is accepted that the far side didn't take, any
//! split of the replies gives the same. **Never:** what a reply means for mail (core's outcome, and its tests).
//! Input: two bytes of choices, then replies, each ended by a separator: the far side gives one where a reply is due.
#![no_main]

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::{all_parts, has_whole_line_ends, host, pieces};
use postrider_mail::{BodyEncoding, Envelope, Mono, Recipient, ReversePath};
use postrider_smtp::{
    client::{Answer, Answered, Channel, Client, EightBit, Event, Settings, Tls, Transaction},
    reply_codec::ReplyReader,
    sasl::Credentials,
};

/// The most replies that are looked at.
const MOST_REPLIES: usize = 64;

/// A far side that gives the next of its replies where one is due, and nothing more when they are used up.
struct FarSide<'a> {
    replies: Vec<&'a [u8]>,
    said: Vec<u8>,
    is_in_body: bool,
    octets: usize,
    is_last_chunk: bool,
    /// Ends of bodies that were answered by a 2yz.
    taken: usize,
    ends: usize,
}

/// Whether a reply's code does: one of several lines has the code of its last.
fn begins(reply: &[u8], with: &[u8]) -> bool {
    let mut lines = reply.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.next_back().is_some_and(|line| line.starts_with(with))
}

impl<'a> FarSide<'a> {
    fn new(replies: &[&'a [u8]]) -> Self {
        let replies = replies.iter().rev().copied().collect();
        Self {
            replies,
            said: Vec::new(),
            is_in_body: false,
            octets: 0,
            is_last_chunk: false,
            taken: 0,
            ends: 0,
        }
    }

    fn reply(&mut self) -> &'a [u8] {
        self.replies.pop().unwrap_or_default()
    }

    fn end_of_body(&mut self) -> &'a [u8] {
        let reply = self.reply();
        self.ends += 1;
        self.taken += usize::from(begins(reply, b"2"));
        reply
    }

    /// What it says to all that was said to it.
    fn hears(&mut self, text: &[u8]) -> Vec<u8> {
        self.said.extend_from_slice(text);
        let mut replies = Vec::new();
        while let Some(reply) = self.step() {
            replies.extend_from_slice(reply);
        }
        replies
    }

    fn step(&mut self) -> Option<&'a [u8]> {
        if self.octets > 0 {
            let taken = self.octets.min(self.said.len());
            self.said.drain(..taken);
            self.octets -= taken;
            let is_over = self.octets == 0;
            return is_over.then(|| if self.is_last_chunk { self.end_of_body() } else { self.reply() });
        }
        let end = self.said.windows(2).position(|two| two == b"\r\n")?;
        let line: Vec<u8> = self.said.drain(..end + 2).collect();
        if self.is_in_body {
            self.is_in_body = line != b".\r\n";
            return Some(if self.is_in_body { b"" } else { self.end_of_body() });
        }
        if let Some(size) = line.strip_prefix(b"BDAT ") {
            let size = String::from_utf8_lossy(size);
            self.octets = size.split([' ', '\r']).next().and_then(|size| size.parse().ok()).expect("a size");
            self.is_last_chunk = size.contains("LAST");
            return Some(b"");
        }
        let reply = self.reply();
        self.is_in_body = line == b"DATA\r\n" && begins(reply, b"3");
        Some(reply)
    }
}

/// What a whole connection gave.
#[derive(Debug, Default, PartialEq)]
struct Run {
    said: Vec<u8>,
    finished: Vec<Vec<Answered>>,
    begun: Vec<usize>,
    accepted: usize,
    dots: usize,
    /// What the far side took.
    taken: usize,
    end: Option<String>,
}

struct Shell {
    client: Client<()>,
    run: Run,
    is_ready: bool,
    wants_tls: bool,
    is_8bit: bool,
}

fn settings(choices: u8) -> Settings {
    Settings {
        tls: [Tls::Never, Tls::IfOffered, Tls::Required, Tls::IfOffered][usize::from(choices & 3)],
        auth: (choices & 4 != 0).then(|| Credentials::new("ann", "secret")),
        auth_in_clear: choices & 8 != 0,
        pipelining: choices & 16 == 0,
        chunking: choices & 32 != 0,
        eight_bit: if choices & 64 == 0 { EightBit::Refuse } else { EightBit::SendAnyway },
        ..Settings::new(host("relay.example"))
    }
}

fn now() -> Mono {
    Mono::from_start(Duration::from_secs(1000))
}

impl Shell {
    /// Does what the events say until the far side is waited for; what was said meanwhile.
    fn poll(&mut self) -> Vec<u8> {
        while self.run.end.is_none() {
            match self.client.poll(now()) {
                Event::Read => break,
                Event::StartTls => {
                    self.wants_tls = true;
                    break;
                }
                Event::Ready => self.is_ready = true,
                Event::Body => {
                    self.client.body(&Bytes::from_static(b"Subject: x\r\n\r\n.x\r\n\r\n"));
                    self.client.body(&Bytes::from_static(b".\r\ny"));
                    self.client.end_body();
                }
                Event::Dot(expect) => {
                    self.run.dots += 1;
                    self.client.resume(expect.send(()));
                }
                Event::Finished(answers) => self.run.finished.push(answers),
                Event::Ended(ended) => self.run.end = Some(format!("{ended:?}")),
            }
        }
        let said = self.client.output().split().to_vec();
        self.run.said.extend_from_slice(&said);
        said
    }

    fn hears(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.client.input().extend_from_slice(bytes);
        self.poll()
    }

    /// What the shell does while nothing is to be heard.
    fn go_on(&mut self, count: usize) -> Vec<u8> {
        if std::mem::take(&mut self.wants_tls) {
            self.client.tls_established(now());
        } else if !std::mem::take(&mut self.is_ready) {
            self.client.end_of_input();
        } else if self.run.begun.len() >= 3 {
            self.client.quit();
        } else {
            self.run.begun.push(count);
            self.client.begin(transaction(count, self.is_8bit));
        }
        self.poll()
    }
}

fn transaction(count: usize, is_8bit: bool) -> Transaction {
    let mailbox = |number: usize| format!("bob{number}@far.example").parse().expect("a mailbox");
    Transaction {
        envelope: Envelope {
            sender: ReversePath::Null,
            recipients: (0..count).map(|number| Recipient::new(mailbox(number))).collect(),
            body: BodyEncoding::SevenBit,
            smtputf8: false,
            return_content: None,
            envelope_id: None,
            tls: postrider_mail::TlsRequirement::Unsaid,
        },
        content_bytes: 24,
        content_is_8bit: is_8bit,
        header_is_utf8: false,
    }
}

fn run(choices: u8, replies: &[&[u8]], seed: Option<u8>) -> Run {
    let mut far = FarSide::new(replies);
    let client = Client::new(Arc::new(settings(choices)), Channel::Clear, now());
    let is_8bit = choices & 128 != 0;
    let mut shell = Shell { client, run: Run::default(), is_ready: false, wants_tls: false, is_8bit };
    let (mut said, mut heard) = (shell.poll(), far.reply().to_vec());
    while shell.run.end.is_none() {
        if heard.is_empty() {
            said = shell.go_on(usize::from(choices >> 4) % 4);
        }
        match seed {
            None => said.extend(shell.hears(&heard)),
            Some(seed) => pieces(&heard, seed).for_each(|piece| said.extend(shell.hears(piece))),
        }
        heard = far.hears(&std::mem::take(&mut said));
    }
    shell.run.taken = far.taken;
    check(&mut shell.run, &far);
    shell.run
}

fn check(run: &mut Run, far: &FarSide<'_>) {
    assert!(has_whole_line_ends(&run.said));
    assert_eq!(run.finished.len(), run.begun.len(), "each transaction has one end");
    let has = |answers: &[Answered], is: fn(&Answer) -> bool| answers.iter().any(|one| is(&one.answer));
    let mut unknown = 0;
    for (answers, count) in run.finished.iter().zip(&run.begun) {
        assert_eq!(answers.len(), *count, "each recipient has an answer");
        run.accepted += usize::from(has(answers, |answer| matches!(answer, Answer::Accepted(_))));
        unknown += usize::from(has(answers, |answer| matches!(answer, Answer::Unknown(_))));
    }
    assert!(run.accepted + unknown <= run.dots && run.dots <= run.begun.len(), "a dot a message at most");
    assert!(far.ends <= run.begun.len(), "a body ends once at most");
}

/// Whether bytes are one reply, and nothing behind it.
fn is_one_reply(bytes: &[u8]) -> bool {
    let (mut reader, mut input) = (ReplyReader::default(), BytesMut::from(bytes));
    matches!(reader.read(&mut input), Ok(Some(_))) && input.is_empty()
}

fuzz_target!(|input: &[u8]| {
    let [choices, seed, script @ ..] = input else { return };
    let replies: Vec<&[u8]> = all_parts(script).take(MOST_REPLIES).collect();
    let whole = run(*choices, &replies, None);
    // Where a far side speaks before it is asked, when it did so makes a difference; and one that gives two replies to one command
    // means them for others than they are taken for.
    if replies.iter().all(|reply| is_one_reply(reply)) {
        assert!(whole.accepted <= whole.taken, "nothing is accepted that the far side didn't take");
        assert_eq!(run(*choices, &replies, Some(*seed)), whole, "any split of the replies gives the same");
    }
});
