//! A client and a server on one wire: whatever pieces the bytes come in, each message arrives as it was sent, and each
//! recipient has the answer that the server gave.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use postrider_mail::{
    BodyEncoding, EnhancedCode, Envelope, HostName, Mono, Recipient, Reply, ReplyCode, ReversePath,
};
use postrider_smtp::{
    client::{self, Answer, Client},
    sasl::Credentials,
    server::{self, Channel, Server},
};
use proptest::prelude::*;

/// A message as the test sends it.
#[derive(Debug, Clone)]
struct Message {
    recipients: Vec<&'static str>,
    body: Vec<u8>,
}

/// A message as the server took it.
#[derive(Debug, PartialEq)]
struct Taken {
    recipients: Vec<String>,
    body: Vec<u8>,
}

/// Both ends, and how many bytes go over at a time.
struct Wire {
    client: Client<()>,
    server: Server<&'static str>,
    sizes: std::iter::Cycle<std::vec::IntoIter<usize>>,
    now: Mono,
    messages: std::vec::IntoIter<Message>,
    body: Vec<Bytes>,
    content: Vec<u8>,
    taken: Vec<Taken>,
    answers: Vec<Vec<u16>>,
    client_end: Option<client::EndCause>,
    server_end: Option<server::End>,
}

fn name(text: &str) -> HostName {
    HostName::parse(text).expect("a name")
}

fn no(code: u16) -> Reply {
    let class = if code < 500 { EnhancedCode::transient(0, 0) } else { EnhancedCode::permanent(0, 0) };
    Reply::new(ReplyCode::new(code), class, "no")
}

fn transaction(message: &Message) -> client::Transaction {
    let recipient = |local: &&str| Recipient::new(format!("{local}@far.example").parse().expect("a mailbox"));
    client::Transaction {
        envelope: Envelope {
            sender: ReversePath::Null,
            recipients: message.recipients.iter().map(recipient).collect(),
            body: BodyEncoding::SevenBit,
            smtputf8: false,
            return_content: None,
            envelope_id: None,
            tls: postrider_mail::TlsRequirement::Unsaid,
        },
        content_bytes: message.body.len() as u64,
        content_is_8bit: !message.body.is_ascii(),
        header_is_utf8: false,
    }
}

/// What a recipient called so gets from this server.
fn answer_of(local: &str) -> u16 {
    match local {
        "nobody" => 550,
        "busy" => 451,
        _ => 250,
    }
}

/// Some bytes go over.
fn pass(from: &mut BytesMut, to: &mut BytesMut, most: usize) -> bool {
    let count = most.min(from.len());
    to.extend_from_slice(&from.split_to(count));
    count > 0
}

impl Wire {
    fn new(
        client: client::Settings,
        server: server::Settings,
        messages: Vec<Message>,
        sizes: Vec<usize>,
    ) -> Self {
        let now = Mono::from_start(std::time::Duration::ZERO);
        Self {
            client: Client::new(Arc::new(client), Channel::Clear, now),
            server: Server::new(Arc::new(server), Channel::Clear, now),
            sizes: sizes.into_iter().cycle(),
            now,
            messages: messages.into_iter(),
            body: Vec::new(),
            content: Vec::new(),
            taken: Vec::new(),
            answers: Vec::new(),
            client_end: None,
            server_end: None,
        }
    }

    /// Until both have ended. Bytes go to one side at a time, so that the other can be found in any state.
    fn run(&mut self) {
        while self.client_end.is_none() || self.server_end.is_none() {
            self.run_server();
            self.run_client();
            let (up, down) = (self.sizes.next().unwrap_or(1), self.sizes.next().unwrap_or(1));
            let has_moved = pass(self.client.output(), self.server.input(), up)
                | pass(self.server.output(), self.client.input(), down);
            assert!(has_moved || self.client_end.is_some(), "each waits for the other");
            if self.client_end.is_some() && !has_moved {
                self.server.end_of_input();
            }
        }
    }

    fn run_client(&mut self) {
        while self.client_end.is_none() {
            match self.client.poll(self.now) {
                client::Event::Read | client::Event::StartTls => return,
                client::Event::Ready => match self.messages.next() {
                    Some(message) => {
                        self.client.begin(transaction(&message));
                        let size = self.sizes.next().unwrap_or(1);
                        self.body = message.body.chunks(size).map(Bytes::copy_from_slice).collect();
                    }
                    None => self.client.quit(),
                },
                client::Event::Body => {
                    for piece in self.body.drain(..) {
                        self.client.body(&piece);
                    }
                    self.client.end_body();
                }
                client::Event::Dot(expect) => self.client.resume(expect.send(())),
                client::Event::Finished(answers) => {
                    let code = |answer| match answer {
                        Answer::Accepted(reply) | Answer::Refused(reply) => reply.code.get(),
                        other => panic!("no reply decided: {other:?}"),
                    };
                    self.answers.push(answers.into_iter().map(|one| code(one.answer)).collect());
                }
                client::Event::Ended(ended) => self.client_end = Some(ended.cause),
            }
        }
    }

    fn run_server(&mut self) {
        while self.server_end.is_none() {
            match self.server.poll(self.now) {
                server::Event::Read => return,
                // Both sides are there once nothing is on the way; the handshake itself is the shells'.
                server::Event::StartTls => {
                    if !self.server.output().is_empty()
                        || !matches!(self.client.poll(self.now), client::Event::StartTls)
                    {
                        return;
                    }
                    self.server.tls_established(self.now);
                    self.client.tls_established(self.now);
                }
                server::Event::Connected(ask) => self.server.resume(ask.welcome()),
                server::Event::Hello(ask) => self.server.resume(ask.welcome()),
                server::Event::Auth(ask) => self.server.resume(ask.accept()),
                server::Event::Mail(ask) => self.server.resume(ask.accept()),
                server::Event::Recipient(ask) => {
                    let code = answer_of(ask.recipient().mailbox.local());
                    self.server.resume(if code == 250 { ask.accept() } else { ask.refuse(no(code)) });
                }
                server::Event::Data(ask) => {
                    self.content.clear();
                    self.server.resume(ask.accept());
                }
                server::Event::Body(piece) => self.content.extend_from_slice(&piece),
                server::Event::EndOfMessage { envelope, expect, .. } => {
                    let local = |recipient: &Recipient| recipient.mailbox.local().to_owned();
                    let recipients = envelope.recipients.iter().map(local).collect();
                    self.taken.push(Taken { recipients, body: std::mem::take(&mut self.content) });
                    self.server.resume(expect.accept("ID"));
                }
                server::Event::Aborted(_) => {}
                server::Event::Close(end) => self.server_end = Some(end),
            }
        }
    }
}

/// The body as it has to arrive: each CR, LF and CRLF a CRLF, the last line ended.
fn in_lines(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(body.to_vec()).expect("UTF-8");
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut text = text.replace('\n', "\r\n");
    if !text.is_empty() && !text.ends_with("\r\n") {
        text.push_str("\r\n");
    }
    text.into_bytes()
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let recipients = prop::collection::vec(prop::sample::select(vec!["ann", "bob", "nobody", "busy"]), 1..5);
    let lines =
        vec!["a", ".", "..", "\r\n", "\r\n", "\r\n.\r\n", "\n", "\r", "é", "QUIT\r\n", "\r\n.\r\nRSET\r\n"];
    let body = prop::collection::vec(prop::sample::select(lines), 0..40);
    let message = (recipients, body)
        .prop_map(|(recipients, body)| Message { recipients, body: body.concat().into_bytes() });
    prop::collection::vec(message, 0..5)
}

fn settings() -> impl Strategy<Value = (client::Settings, server::Settings)> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(pipelining, chunking, tls, auth)| {
            let auth = tls && auth;
            let client = client::Settings {
                pipelining,
                chunking,
                tls: if tls { client::Tls::Required } else { client::Tls::IfOffered },
                auth: auth.then(|| Credentials::new("ann", "secret")),
                ..client::Settings::new(name("relay.example"))
            };
            let server = server::Settings {
                tls: if tls { server::Tls::Required } else { server::Tls::Off },
                auth: if auth { server::Auth::Required } else { server::Auth::Off },
                ..server::Settings::new(name("mx.far.example"))
            };
            (client, server)
        },
    )
}

proptest! {
    #[test]
    fn each_message_arrives_as_it_was_sent_in_any_pieces(
        (client, server) in settings(),
        messages in messages(),
        sizes in prop::collection::vec(prop_oneof![1_usize..9, 100_usize..2000], 1..7),
    ) {
        let mut wire = Wire::new(client, server, messages.clone(), sizes);
        wire.run();
        let is_taken = |local: &&&str| answer_of(local) == 250;
        let expected: Vec<Taken> = messages
            .iter()
            .map(|message| Taken {
                recipients: message.recipients.iter().filter(is_taken).map(|local| (*local).to_owned()).collect(),
                body: in_lines(&message.body),
            })
            .filter(|taken| !taken.recipients.is_empty())
            .collect();
        prop_assert_eq!(wire.taken, expected);
        let codes: Vec<Vec<u16>> =
            messages.iter().map(|message| message.recipients.iter().map(|local| answer_of(local)).collect()).collect();
        prop_assert_eq!(wire.answers, codes);
        prop_assert_eq!(wire.client_end, Some(client::EndCause::Quit));
        prop_assert_eq!(wire.server_end, Some(server::End::Quit));
    }
}
