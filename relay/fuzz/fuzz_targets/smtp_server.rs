//! A client that sends anything to a server.
//! **Owns:** what must hold of every session: any split of the bytes gives the same one, a 250 to a message has a receipt, replies
//! are whole lines, what is kept is bounded. **Never:** what each command does (the crate's tests).
//! Input: two bytes of choices, then what the client sends; after each separator it waits for the server.
#![no_main]

use std::{sync::Arc, time::Duration};

use libfuzzer_sys::fuzz_target;
use postrider_fuzz::{all_parts, has_whole_line_ends, host, no, pieces};
use postrider_mail::Mono;
use postrider_smtp::{
    sasl::MAX_AUTH_LINE_BYTES,
    server::{Auth, BareNewlines, Channel, End, Event, Limits, Server, Settings, Tls},
};

/// What can be seen of a session.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    replies: Vec<u8>,
    /// What the shell was told, a line each; pieces of a body only once they are a message.
    told: Vec<String>,
    end: Option<End>,
}

struct Session {
    server: Server<&'static str>,
    seen: Seen,
    content: Vec<u8>,
    receipts: usize,
    settings: Arc<Settings>,
}

fn settings(choices: u8) -> Settings {
    let demand = choices >> 1 & 3;
    let limits =
        Limits { message_bytes: 300, recipients: 2, messages: 4, idle_commands: 8, ..Limits::default() };
    Settings {
        tls: [Tls::Off, Tls::Optional, Tls::Required, Tls::Optional][usize::from(demand)],
        auth: [Auth::Off, Auth::Optional, Auth::Required, Auth::Off][usize::from(choices >> 3 & 3)],
        // Of a body that is too large and has a bare CR or LF, pieces decide which is seen first; either refuses it.
        bare_newlines: if choices & (32 | 128) == 0 { BareNewlines::Refuse } else { BareNewlines::Normalize },
        dsn: choices & 64 == 0,
        limits: if choices & 128 == 0 { Limits::default() } else { limits },
        ..Settings::new(host("mx.example"))
    }
}

fn now() -> Mono {
    Mono::from_start(Duration::from_secs(1000))
}

impl Session {
    fn new(choices: u8) -> Self {
        let settings = Arc::new(settings(choices));
        let channel = if choices & 1 == 0 { Channel::Clear } else { Channel::Tls };
        let server = Server::new(Arc::clone(&settings), channel, now());
        let mut session = Self { server, seen: Seen::default(), content: Vec::new(), receipts: 0, settings };
        session.run();
        session
    }

    fn hears(&mut self, bytes: &[u8]) {
        if self.seen.end.is_none() {
            self.server.input().extend_from_slice(bytes);
            self.run();
        }
    }

    /// Answers until the client is waited for.
    fn run(&mut self) {
        loop {
            match self.server.poll(now()) {
                Event::Read => break assert!(self.server.input().len() <= MAX_AUTH_LINE_BYTES),
                Event::Connected(ask) => self.server.resume(ask.welcome()),
                Event::Hello(ask) => self.server.resume(ask.welcome()),
                Event::StartTls => self.server.tls_established(now()),
                Event::Auth(ask) => {
                    let is_known = ask.credentials().user() == ask.credentials().expose_password();
                    self.told(format!("auth {}", ask.credentials().user()));
                    self.server.resume(if is_known { ask.accept() } else { ask.refuse() });
                }
                Event::Mail(ask) => {
                    self.told(format!("mail {}", ask.sender()));
                    let is_wanted = !ask.sender().to_string().starts_with("no");
                    self.server.resume(if is_wanted { ask.accept() } else { ask.refuse(no(550)) });
                }
                Event::Recipient(ask) => {
                    self.told(format!("recipient {:?}", ask.recipient()));
                    let is_wanted = !ask.recipient().mailbox.local().starts_with("no");
                    self.server.resume(if is_wanted { ask.accept() } else { ask.refuse(no(451)) });
                }
                Event::Data(ask) => {
                    self.content.clear();
                    self.server.resume(ask.accept());
                }
                Event::Body(piece) => self.content.extend_from_slice(&piece),
                Event::EndOfMessage { envelope, content_bytes, expect } => {
                    assert_eq!(content_bytes, self.content.len() as u64);
                    assert!(content_bytes <= self.settings.limits.message_bytes);
                    assert!(has_whole_line_ends(&self.content));
                    assert!(self.content.is_empty() || self.content.ends_with(b"\r\n"));
                    let count = envelope.recipients.len();
                    assert!((1..=self.settings.limits.recipients as usize).contains(&count));
                    self.told(format!("message {envelope:?} {:?}", self.content));
                    let is_wanted = !self.content.starts_with(b"no");
                    self.receipts += usize::from(is_wanted);
                    self.server.resume(if is_wanted { expect.accept("ID") } else { expect.refuse(no(452)) });
                }
                Event::Aborted(why) => self.told(format!("aborted {why:?}")),
                Event::Close(end) => {
                    self.seen.end = Some(end);
                    break;
                }
            }
        }
        let output = self.server.output().split();
        self.seen.replies.extend_from_slice(&output);
    }

    fn told(&mut self, what: String) {
        self.seen.told.push(what);
    }

    /// The client goes: what its session was.
    fn finish(mut self) -> Seen {
        self.server.end_of_input();
        self.run();
        assert!(self.seen.end.is_some(), "a session ends with its client");
        let replies = std::str::from_utf8(&self.seen.replies).expect("replies are UTF-8");
        assert!(has_whole_line_ends(replies.as_bytes()) && replies.ends_with("\r\n"));
        for line in replies.split_terminator("\r\n") {
            let (code, rest) = line.split_at_checked(3).expect("a reply has a code");
            assert!((211..=555).contains(&code.parse().unwrap_or(0)), "{line:?}");
            assert!(rest.starts_with([' ', '-']) && line.len() <= 510 && !line.contains(char::is_control));
        }
        let promised = replies.matches("250 2.0.0 Ok: queued as ").count();
        assert_eq!(promised, self.receipts, "a 250 to a message has a receipt, and each receipt is told");
        self.seen
    }
}

fn run(choices: u8, script: &[u8], seed: Option<u8>) -> Seen {
    let mut session = Session::new(choices);
    for turn in all_parts(script) {
        match seed {
            None => session.hears(turn),
            Some(seed) => pieces(turn, seed).for_each(|piece| session.hears(piece)),
        }
    }
    session.finish()
}

fuzz_target!(|input: &[u8]| {
    let [choices, seed, script @ ..] = input else { return };
    let whole = run(*choices, script, None);
    // What came too early is seen only if it came at once.
    if matches!(whole.end, Some(End::UnauthorizedPipelining | End::StartTlsInjection)) {
        return;
    }
    assert_eq!(run(*choices, script, Some(*seed)), whole, "any split of the bytes gives the same session");
});
