//! `postrider-relay send`: hands one mail to a relay, as an application would, and says what it answered.
//! **Owns:** the mail, its attempts and their time. **Never:** takes part in a queue: it acts for no claim, so its dot needs no
//! permit.

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use postrider_mail::{BodyEncoding, Envelope, FarReply, HostName, Mailbox, Recipient, ReversePath, Severity};
use postrider_smtp::client::{
    Answer, Answered, Channel, Client, EndCause, Event, Failure, Settings, Transaction,
};

use super::SendArgs;
use crate::{
    client::socket::{self, Socket},
    clock,
    intake::trace::date_field,
    tls::connect::{Connectors, Trust},
};

/// How long all of it may take: somebody looks on.
const WITHIN: Duration = Duration::from_secs(60);
/// Between a reply that says to come again (4yz) and the next attempt.
const PAUSE: Duration = Duration::from_secs(1);
/// What this client calls itself, and the far side where it is known by its address only: names that can't exist (RFC 6761).
const OWN_NAME: &str = "postrider-send.invalid";
const FAR_NAME: &str = "relay.invalid";

/// How an attempt ended.
enum Attempt {
    /// The relay has the mail.
    Taken(FarReply),
    /// It is to come again: RFC 5321 4.2.1, 4yz.
    ComeAgain(FarReply),
}

/// Sends one mail and prints the reply that took it. A relay that says to come again is asked again, for a minute in all.
///
/// # Errors
/// An address can't be read, the relay can't be reached, or it doesn't take the mail.
pub async fn send(args: &SendArgs, out: &mut impl Write) -> Result<()> {
    let mut last = None;
    let Ok(sent) = tokio::time::timeout(WITHIN, until_taken(args, &mut last)).await else {
        let found = last.map_or_else(|| "no answer".to_owned(), |reply| reply.to_string());
        bail!("--to {}: found {found} within {} s; expected 250", args.to, WITHIN.as_secs());
    };
    let reply = sent.with_context(|| format!("--to {}", args.to))?;
    writeln!(out, "{} has taken the mail for {}: {reply}", args.to, args.rcpt)?;
    Ok(())
}

async fn until_taken(args: &SendArgs, last: &mut Option<FarReply>) -> Result<FarReply> {
    loop {
        match attempt(args).await? {
            Attempt::Taken(reply) => return Ok(reply),
            Attempt::ComeAgain(reply) => *last = Some(reply),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn attempt(args: &SendArgs) -> Result<Attempt> {
    let sender = ReversePath::try_from(args.from.trim_matches(['<', '>']).to_owned())
        .with_context(|| format!("--from {:?}", args.from))?;
    let recipient: Mailbox = args.rcpt.parse().with_context(|| format!("--rcpt {:?}", args.rcpt))?;
    let content = content(&sender, &recipient, &args.subject);
    let mut addresses = tokio::net::lookup_host(&args.to).await.context("looking up its address")?;
    let address = addresses.next().context("found no address of that name; expected one")?;
    let tcp = socket::connect(address, None).await.with_context(|| format!("connecting to {address}"))?;
    let host = args.to.rsplit_once(':').and_then(|(host, _)| HostName::parse(host).ok());
    let mut session = Session {
        socket: Some(Socket::Clear(tcp)),
        machine: Client::new(
            Arc::new(Settings::new(HostName::parse(OWN_NAME)?)),
            Channel::Clear,
            clock::now(),
        ),
        host: host.map_or_else(|| HostName::parse(FAR_NAME), Ok)?,
    };
    let answers = match session.run(&transaction(sender, recipient, &content), &content).await? {
        Ok(answers) => answers,
        Err(reply) if reply.code.severity() == Severity::Transient => return Ok(Attempt::ComeAgain(reply)),
        Err(reply) => bail!("found {reply}; expected that it takes mail"),
    };
    match answers.into_iter().next().map(|answered| answered.answer) {
        Some(Answer::Accepted(reply)) => Ok(Attempt::Taken(reply)),
        Some(Answer::Refused(reply)) if reply.code.severity() == Severity::Transient => {
            Ok(Attempt::ComeAgain(reply))
        }
        Some(Answer::Refused(reply)) => bail!("found {reply}; expected 250"),
        Some(Answer::Failed(failure) | Answer::Unknown(failure)) => {
            bail!("found that {failure}; expected 250")
        }
        Some(Answer::NotTried) | None => bail!("found no answer to the recipient; expected 250"),
    }
}

fn content(sender: &ReversePath, recipient: &Mailbox, subject: &str) -> Bytes {
    let from = sender.mailbox().map_or_else(|| format!("postmaster@{OWN_NAME}"), ToString::to_string);
    // What would end the field becomes a space.
    let subject = subject.replace(|c: char| c.is_control(), " ");
    let date = date_field(SystemTime::now());
    let text = format!(
        "From: <{from}>\r\nTo: <{recipient}>\r\nSubject: {subject}\r\n{date}Auto-Submitted: auto-generated\r\n\
         \r\nSent by postrider-relay send, to see whether mail is taken.\r\n"
    );
    text.into()
}

fn transaction(sender: ReversePath, recipient: Mailbox, content: &Bytes) -> Transaction {
    let is_8bit = !content.is_ascii();
    Transaction {
        envelope: Envelope {
            sender,
            recipients: vec![Recipient::new(recipient)],
            body: BodyEncoding::SevenBit,
            smtputf8: false,
            return_content: None,
            envelope_id: None,
            tls: postrider_mail::TlsRequirement::Unsaid,
        },
        content_bytes: content.len().try_into().unwrap_or(u64::MAX),
        content_is_8bit: is_8bit,
        header_is_utf8: is_8bit,
    }
}

/// One connection, for one mail.
struct Session {
    socket: Option<Socket>,
    machine: Client<()>,
    host: HostName,
}

impl Session {
    /// What became of the mail, or the reply by which the relay took none.
    async fn run(
        &mut self,
        transaction: &Transaction,
        content: &Bytes,
    ) -> Result<Result<Vec<Answered>, FarReply>> {
        let mut answers = None;
        loop {
            match self.machine.poll(clock::now()) {
                Event::Read => self.exchange().await?,
                Event::StartTls => self.encrypt().await.context("the TLS handshake")?,
                Event::Ready if answers.is_none() => self.machine.begin(transaction.clone()),
                Event::Ready => self.machine.quit(),
                Event::Body => {
                    self.machine.body(content);
                    self.machine.end_body();
                }
                Event::Dot(expect) => self.machine.resume(expect.send(())),
                Event::Finished(finished) => answers = Some(finished),
                Event::Ended(ended) => {
                    // A QUIT that can't be said changes nothing.
                    let _ = self.write().await;
                    return match (answers, ended.cause) {
                        (Some(answers), _) => Ok(Ok(answers)),
                        (None, EndCause::Refused(reply)) => Ok(Err(reply)),
                        (None, EndCause::Failed(failure)) => bail!("found that {failure}"),
                        (None, EndCause::Quit) => bail!("the session ended before the mail"),
                    };
                }
            }
        }
    }

    async fn encrypt(&mut self) -> Result<()> {
        let Some(Socket::Clear(tcp)) = self.socket.take() else { bail!("the connection is gone") };
        // The certificate is for the relay's public name, not for the one that it is reached by from within.
        let tls = Connectors::new(&[])?.handshake(tcp, &self.host, &Trust::Anyone).await?;
        self.socket = Some(Socket::Tls(tls));
        self.machine.tls_established(clock::now());
        Ok(())
    }

    async fn exchange(&mut self) -> Result<()> {
        if let Err(error) = self.write().await {
            self.machine.connection_lost(Failure::Lost(error.to_string().into()));
            return Ok(());
        }
        let Some(socket) = self.socket.as_mut() else { bail!("the connection is gone") };
        match socket.read(self.machine.input()).await {
            Ok(0) => self.machine.end_of_input(),
            Ok(_) => {}
            Err(error) => self.machine.connection_lost(Failure::Lost(error.to_string().into())),
        }
        Ok(())
    }

    async fn write(&mut self) -> std::io::Result<()> {
        let Some(socket) = self.socket.as_mut() else { return Ok(()) };
        let mut output = std::mem::take(self.machine.output());
        let mut said = std::mem::take(self.machine.input());
        let written = socket.write(&mut output, &mut said).await;
        *self.machine.output() = output;
        *self.machine.input() = said;
        written
    }
}
