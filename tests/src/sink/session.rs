//! One connection to a sink.
//! **Owns:** the dialogue. **Never:** says 250 to a message before it is in the ledger.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use anyhow::{Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    Act, At, Open, Shared,
    text::{id_of, path, unstuff},
};
use crate::ledger::Entry;

/// Far more than any command has.
const MAX_LINE_BYTES: usize = 64 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

struct Session {
    stream: Box<dyn Stream>,
    shared: Arc<Shared>,
    client: SocketAddr,
    input: BytesMut,
    output: Vec<u8>,
    is_tls: bool,
    /// Whether it was another certificate than the sink's own that was shown.
    is_to_another: bool,
    is_authenticated: bool,
    sender: Option<String>,
    requires_tls: bool,
    recipients: Vec<String>,
    chunks: Vec<u8>,
}

/// Whether the dialogue goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Line,
    StartTls,
    End,
}

/// What a rule left to do.
enum Done {
    /// Nothing was out of the ordinary.
    Ordinary,
    /// The reply is sent; the command counts as done.
    Replied,
    /// The command has failed.
    Failed,
}

pub(super) async fn serve(
    stream: TcpStream,
    client: SocketAddr,
    shared: Arc<Shared>,
    open: Open,
) -> Result<()> {
    stream.set_nodelay(true)?;
    // Loopback connects at once; what is sent first is late by the round trip that this would have taken.
    if !shared.setup.round_trip.is_zero() {
        tokio::time::sleep(shared.setup.round_trip).await;
    }
    let mut session = Session {
        stream: Box::new(stream),
        shared,
        client,
        input: BytesMut::with_capacity(16 * 1024),
        output: Vec::with_capacity(512),
        is_tls: false,
        is_to_another: false,
        is_authenticated: false,
        sender: None,
        requires_tls: false,
        recipients: Vec::new(),
        chunks: Vec::new(),
    };
    // Dropped before the session: who sees this connection closed may open another at once, which isn't one too many.
    let _open = open;
    if let Done::Ordinary = session.out_of_the_ordinary(At::Banner, &[]).await? {
        let banner = format!("220 {} ESMTP", session.shared.setup.hostname);
        session.say(&banner);
    }
    loop {
        let line = session.line().await?;
        match session.command(&line).await? {
            Next::Line => {}
            Next::StartTls => session = session.start_tls().await?,
            Next::End => return session.flush().await,
        }
    }
}

impl Session {
    async fn command(&mut self, line: &str) -> Result<Next> {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => self.ehlo().await?,
            "HELO" => {
                let hostname = format!("250 {}", self.shared.setup.hostname);
                self.ordinary_or_not(At::Ehlo, &[], &hostname).await?;
            }
            "MAIL" => self.mail(line).await?,
            "RCPT" => self.rcpt(line).await?,
            "DATA" => self.data().await?,
            "BDAT" => self.bdat(line).await?,
            "STARTTLS" if self.shared.setup.tls.is_some() && !self.is_tls => {
                self.say("220 2.0.0 go on");
                self.flush().await?;
                return match self.out_of_the_ordinary(At::Handshake, &[]).await? {
                    Done::Ordinary => Ok(Next::StartTls),
                    Done::Replied | Done::Failed => Ok(Next::Line),
                };
            }
            "AUTH" => self.auth(line),
            "RSET" => {
                self.reset();
                self.say("250 2.0.0 ok");
            }
            "NOOP" => self.say("250 2.0.0 ok"),
            "QUIT" => {
                self.say("221 2.0.0 bye");
                return Ok(Next::End);
            }
            _ => self.say("500 5.5.2 what?"),
        }
        Ok(Next::Line)
    }

    async fn ehlo(&mut self) -> Result<()> {
        if !matches!(self.out_of_the_ordinary(At::Ehlo, &[]).await?, Done::Ordinary) {
            return Ok(());
        }
        let setup = &self.shared.setup;
        let mut lines = vec![setup.hostname.clone()];
        lines.extend(setup.extensions.iter().cloned());
        if setup.tls.is_some() && !self.is_tls {
            lines.push("STARTTLS".to_owned());
        }
        if setup.auth.is_some() {
            lines.push("AUTH PLAIN LOGIN".to_owned());
        }
        let last = lines.len() - 1;
        for (at, line) in lines.iter().enumerate() {
            self.say(&format!("250{}{line}", if at == last { ' ' } else { '-' }));
        }
        Ok(())
    }

    async fn mail(&mut self, line: &str) -> Result<()> {
        if self.shared.setup.auth.is_some() && !self.is_authenticated {
            self.say("530 5.7.0 authenticate first");
            return Ok(());
        }
        let sender = path(line);
        if self.ordinary_or_not(At::Mail, std::slice::from_ref(&sender), "250 2.1.0 ok").await? {
            self.reset();
            self.sender = Some(sender);
            self.requires_tls = line.split_whitespace().any(|word| word.eq_ignore_ascii_case("REQUIRETLS"));
        }
        Ok(())
    }

    async fn rcpt(&mut self, line: &str) -> Result<()> {
        if self.sender.is_none() {
            self.say("503 5.5.1 MAIL first");
            return Ok(());
        }
        let recipient = path(line);
        if self.ordinary_or_not(At::Rcpt, std::slice::from_ref(&recipient), "250 2.1.5 ok").await? {
            self.recipients.push(recipient);
        }
        Ok(())
    }

    async fn data(&mut self) -> Result<()> {
        let recipients = self.recipients.clone();
        match self.out_of_the_ordinary(At::Data, &recipients).await? {
            Done::Failed => return Ok(()),
            Done::Replied => {}
            Done::Ordinary if recipients.is_empty() => {
                self.say("503 5.5.1 RCPT first");
                return Ok(());
            }
            Done::Ordinary => self.say("354 go on"),
        }
        self.flush().await?;
        let body = self.body().await?;
        self.end(body).await
    }

    async fn bdat(&mut self, line: &str) -> Result<()> {
        let mut words = line.split(' ').skip(1);
        let size: usize = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let is_last = words.next().is_some_and(|word| word.eq_ignore_ascii_case("LAST"));
        while self.input.len() < size {
            self.read().await?;
        }
        let chunk = self.input.split_to(size);
        if self.recipients.is_empty() {
            self.say("503 5.5.1 RCPT first");
            return Ok(());
        }
        self.chunks.extend_from_slice(&chunk);
        if is_last {
            let body = std::mem::take(&mut self.chunks);
            return self.end(body).await;
        }
        self.say("250 2.0.0 more");
        Ok(())
    }

    /// The message is there: keeps it and says so, or does what a rule says.
    async fn end(&mut self, body: Vec<u8>) -> Result<()> {
        let recipients = self.recipients.clone();
        let sender = self.sender.clone().unwrap_or_default();
        if self.shared.setup.tls.is_some() && (!self.is_tls || self.is_to_another) {
            self.shared.ledger.expose(id_of(&body));
        }
        let act = self.shared.rules.next(At::Dot, &sender, &recipients);
        if recipients.is_empty() {
            self.say("554 5.5.1 no valid recipients");
        } else if let Some(Act::KeepAndClose) = act {
            self.keep(sender, recipients, body, true);
            bail!("closing without a reply");
        } else if let Done::Ordinary = self.act(act).await? {
            self.keep(sender, recipients, body, false);
            self.say("250 2.0.0 kept");
        }
        self.reset();
        Ok(())
    }

    fn keep(&self, sender: String, recipients: Vec<String>, body: Vec<u8>, is_unanswered: bool) {
        let ledger = &self.shared.ledger;
        let id = id_of(&body);
        ledger.add(Entry {
            sender,
            recipients,
            at: self.shared.address,
            time: Instant::now(),
            is_unanswered,
            size: body.len(),
            body: ledger.kept(&id, body),
            id,
            is_tls: self.is_tls,
            requires_tls: self.requires_tls,
            client: self.client,
        });
    }

    fn auth(&mut self, line: &str) {
        let Some((user, password)) = &self.shared.setup.auth else {
            return self.say("502 5.5.1 no AUTH here");
        };
        let wanted = format!("\0{user}\0{password}");
        let given = line.split(' ').nth(2).and_then(|text| BASE64_STANDARD.decode(text).ok());
        self.is_authenticated = given.is_some_and(|given| given == wanted.as_bytes());
        self.say(if self.is_authenticated { "235 2.7.0 welcome" } else { "535 5.7.8 no" });
    }

    /// Replies as usual unless a rule says otherwise; whether the command is done.
    async fn ordinary_or_not(&mut self, at: At, recipients: &[String], reply: &str) -> Result<bool> {
        Ok(match self.out_of_the_ordinary(at, recipients).await? {
            Done::Ordinary => {
                self.say(reply);
                true
            }
            Done::Replied => true,
            Done::Failed => false,
        })
    }

    async fn out_of_the_ordinary(&mut self, at: At, recipients: &[String]) -> Result<Done> {
        let sender = match at {
            At::Mail => recipients.first().cloned().unwrap_or_default(),
            _ => self.sender.clone().unwrap_or_default(),
        };
        let act = self.shared.rules.next(at, &sender, recipients);
        self.act(act).await
    }

    async fn act(&mut self, act: Option<Act>) -> Result<Done> {
        let Some(act) = act else { return Ok(Done::Ordinary) };
        match act {
            Act::Reply(line) => {
                self.say(&line);
                return Ok(if line.starts_with(['2', '3']) { Done::Replied } else { Done::Failed });
            }
            Act::Raw(bytes) => self.output.extend_from_slice(&bytes),
            Act::Drip(bytes, pause) => {
                for byte in bytes {
                    self.output.push(byte);
                    self.flush().await?;
                    tokio::time::sleep(pause).await;
                }
                return Ok(Done::Replied);
            }
            Act::Delay(time) => {
                self.flush().await?;
                tokio::time::sleep(time).await;
                return Ok(Done::Ordinary);
            }
            Act::Hang => {
                self.flush().await?;
                std::future::pending::<()>().await;
            }
            Act::ReplyAndHang(line) => {
                self.say(&line);
                self.flush().await?;
                std::future::pending::<()>().await;
            }
            Act::Endless(bytes) => loop {
                self.output.extend_from_slice(&bytes);
                self.flush().await?;
            },
            Act::Close | Act::KeepAndClose => bail!("closing"),
            Act::ReplyAndClose(line) => {
                self.say(&line);
                self.flush().await?;
                bail!("closing");
            }
        }
        Ok(Done::Failed)
    }

    async fn start_tls(self) -> Result<Self> {
        let another = self.shared.another.now();
        let is_to_another = another.is_some();
        let Some(config) = another.or_else(|| self.shared.setup.tls.clone()) else { bail!("no certificate") };
        let stream = tokio_rustls::TlsAcceptor::from(config).accept(self.stream).await?;
        // RFC 3207 4.2: what was said in clear is forgotten, what was sent ahead is dropped.
        Ok(Self {
            stream: Box::new(stream),
            is_tls: true,
            is_to_another,
            input: BytesMut::new(),
            sender: None,
            ..self
        })
    }

    fn reset(&mut self) {
        self.sender = None;
        self.recipients.clear();
        self.chunks.clear();
    }

    fn say(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    async fn flush(&mut self) -> Result<()> {
        if !self.output.is_empty() {
            if !self.shared.setup.round_trip.is_zero() {
                tokio::time::sleep(self.shared.setup.round_trip).await;
            }
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await?;
            self.output.clear();
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<()> {
        self.flush().await?;
        self.input.reserve(16 * 1024);
        if self.stream.read_buf(&mut self.input).await? == 0 {
            bail!("the client has gone");
        }
        Ok(())
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input) {
                let line = self.input.split_to(end + 1);
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.input.len() > MAX_LINE_BYTES {
                bail!("a line too long");
            }
            self.read().await?;
        }
    }

    /// The message up to its dot, without the stuffing.
    async fn body(&mut self) -> Result<Vec<u8>> {
        let mut from = 0;
        let end = loop {
            if self.input.starts_with(b".\r\n") {
                break 0;
            }
            if let Some(at) = memchr::memmem::find(self.input.get(from..).unwrap_or_default(), b"\r\n.\r\n") {
                break from + at + 2;
            }
            from = self.input.len().saturating_sub(4);
            self.read().await?;
        };
        let stuffed = self.input.split_to(end);
        self.input.advance(3);
        Ok(unstuff(&stuffed))
    }
}
