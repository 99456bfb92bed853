//! Clients under load: sessions that send messages with IDs, try again as clients do, and keep a ledger of every 250.
//! **Owns:** the load and its books. **Never:** gives a message up but for a 5xx or the deadline.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    client::Stream,
    ledger::{Accepted, ID_HEADER},
    wait::locked,
};

/// A load.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to; each session takes them in turn, and goes on to the next when one fails.
    pub targets: Vec<SocketAddr>,
    /// Sessions at once.
    pub sessions: usize,
    /// Messages in all.
    pub messages: usize,
    /// Envelope sender; a `*` in it stands for the message's ID.
    pub sender: String,
    /// Recipients, taken in turn.
    pub recipients: Vec<String>,
    /// Recipients of a message, which follow each other in `recipients`.
    pub together: usize,
    /// Bytes of a message, about.
    pub size: usize,
    /// What stands below the header, ended by CRLF, in place of the same sentence up to `size`; taken in turn.
    pub bodies: Vec<Arc<str>>,
    /// Messages per connection.
    pub per_connection: usize,
    /// STARTTLS on each connection, by this.
    pub tls: Option<Arc<ClientConfig>>,
    /// Put in front of each ID.
    pub prefix: String,
    /// How many begin in a second, however long each takes; as fast as it goes, if absent.
    pub per_second: Option<u32>,
    /// How long a client waits before it tries again.
    pub pause: Duration,
    /// When those that are left give up.
    pub deadline: Duration,
}

impl Load {
    /// `messages` from `sessions` to a recipient.
    pub fn new(target: SocketAddr, sessions: usize, messages: usize, recipient: &str) -> Self {
        Self {
            targets: vec![target],
            sessions,
            messages,
            sender: "app@sender.example".to_owned(),
            recipients: vec![recipient.to_owned()],
            together: 1,
            size: 2048,
            bodies: Vec::new(),
            per_connection: 10,
            tls: None,
            prefix: format!("{:08x}", rand::random::<u32>()),
            per_second: None,
            pause: Duration::from_millis(100),
            deadline: Duration::from_secs(180),
        }
    }

    fn sender_of(&self, id: &str) -> String {
        self.sender.replace('*', id)
    }

    /// Whom the message of a number goes to.
    pub fn recipients_of(&self, number: usize) -> Vec<String> {
        let from = number * self.together;
        (from..from + self.together)
            .filter_map(|at| self.recipients.get(at % self.recipients.len()).cloned())
            .collect()
    }
}

/// A load under way.
pub struct Source {
    accepted: Arc<Mutex<Accepted>>,
    sessions: JoinSet<Result<()>>,
    started: Instant,
}

impl Source {
    /// Starts all sessions.
    pub fn start(load: Load) -> Self {
        let accepted = Arc::new(Mutex::new(Accepted::default()));
        let (next, load) = (Arc::new(AtomicUsize::new(0)), Arc::new(load));
        let started = Instant::now();
        let mut sessions = JoinSet::new();
        for number in 0..load.sessions {
            let session = Session {
                load: load.clone(),
                accepted: accepted.clone(),
                next: next.clone(),
                started,
                deadline: started + load.deadline,
                target: number,
            };
            sessions.spawn(session.run());
        }
        Self { accepted, sessions, started }
    }

    /// Replies of 4xx, and connections lost, so far.
    pub fn retries(&self) -> u64 {
        locked(&self.accepted).retries
    }

    /// How long the 250s behind the first so many took, as far as there are more.
    pub fn waits_from(&self, first: usize) -> Vec<Duration> {
        let accepted = locked(&self.accepted);
        accepted.waits.get(first..).unwrap_or_default().iter().map(|(_, wait)| *wait).collect()
    }

    /// How many have their 250 so far.
    pub fn count(&self) -> usize {
        locked(&self.accepted).at.len()
    }

    /// When the load began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Waits until all messages have had their answer.
    pub async fn finish(mut self) -> Result<Accepted> {
        while let Some(ended) = self.sessions.join_next().await {
            ended.context("a session panicked")??;
        }
        Ok(locked(&self.accepted).clone())
    }
}

/// Sends a load and waits for its end.
pub async fn send(load: Load) -> Result<Accepted> {
    Source::start(load).finish().await
}

/// The message of an ID.
pub fn message(id: &str, sender: &str, recipient: &str, size: usize) -> String {
    let mut text = header(id, sender, recipient);
    while text.len() < size {
        text.push_str("The quick brown fox jumps over the lazy dog, and writes a letter home about it.\r\n");
    }
    text
}

/// MAIL, RCPT and DATA, one a line.
fn envelope(sender: &str, recipients: &[String]) -> String {
    let recipients: String =
        recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>\r\n")).collect();
    format!("MAIL FROM:<{sender}>\r\n{recipients}DATA\r\n")
}

fn header(id: &str, sender: &str, recipient: &str) -> String {
    format!(
        "From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: {id}\r\nDate: Tue, 1 Sep 2026 12:00:00 +0000\r\n\
         Message-ID: <{id}@sender.example>\r\n{ID_HEADER}{id}\r\n\r\n"
    )
}

struct Session {
    load: Arc<Load>,
    accepted: Arc<Mutex<Accepted>>,
    next: Arc<AtomicUsize>,
    started: Instant,
    deadline: Instant,
    target: usize,
}

/// What became of one message.
enum Sent {
    Accepted {
        /// Since the dot.
        wait: Duration,
    },
    Refused(String),
    /// 4xx; the connection goes on.
    Later,
}

struct Connection {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
    left: usize,
    /// Whether the dot of the message under way has gone out.
    is_dot_sent: bool,
}

impl Session {
    async fn run(mut self) -> Result<()> {
        let mut connection: Option<Connection> = None;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.load.messages {
                break;
            }
            if let Some(rate) = self.load.per_second {
                let begins = self.started + Duration::from_secs_f64(number as f64 / f64::from(rate));
                tokio::time::sleep_until(begins.into()).await;
            }
            let id = format!("{}-{number}", self.load.prefix);
            let (sender, recipients) = (self.load.sender_of(&id), self.load.recipients_of(number));
            let first = recipients.first().map(String::as_str).unwrap_or_default();
            let text = match self.load.bodies.get(number % self.load.bodies.len().max(1)) {
                Some(body) => header(&id, &sender, first) + body,
                None => message(&id, &sender, first, self.load.size),
            };
            let envelope = envelope(&sender, &recipients);
            self.until_answered(&mut connection, &id, &envelope, &text).await?;
        }
        if let Some(mut connection) = connection {
            // The other side may be gone by now; the messages aren't.
            drop(connection.stream.write_all(b"QUIT\r\n").await);
        }
        Ok(())
    }

    async fn until_answered(
        &mut self,
        slot: &mut Option<Connection>,
        id: &str,
        envelope: &str,
        text: &str,
    ) -> Result<()> {
        loop {
            if Instant::now() > self.deadline {
                bail!("{id} got no 250 before the deadline");
            }
            if slot.as_ref().is_none_or(|connection| connection.left == 0) {
                *slot = self.connect().await;
            }
            let Some(connection) = slot else {
                self.later().await;
                continue;
            };
            connection.left -= 1;
            match connection.message(envelope, text).await {
                Ok(Sent::Accepted { wait }) => {
                    let (mut accepted, now) = (locked(&self.accepted), Instant::now());
                    accepted.at.insert(id.to_owned(), now);
                    accepted.waits.push((now - wait, wait));
                    return Ok(());
                }
                Ok(Sent::Refused(reply)) => {
                    locked(&self.accepted).refused.insert(id.to_owned(), reply);
                    return Ok(());
                }
                Ok(Sent::Later) => {
                    if connection.is_dot_sent {
                        locked(&self.accepted).deferred.push(id.to_owned());
                    }
                    self.later().await;
                }
                Err(_) => {
                    if connection.is_dot_sent {
                        locked(&self.accepted).ambiguous.push(id.to_owned());
                    }
                    *slot = None;
                    self.later().await;
                }
            }
        }
    }

    async fn later(&mut self) {
        locked(&self.accepted).retries += 1;
        self.target += 1;
        tokio::time::sleep(self.load.pause).await;
    }

    async fn connect(&self) -> Option<Connection> {
        let target = *self.load.targets.get(self.target % self.load.targets.len())?;
        let stream =
            tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(target)).await.ok()?.ok()?;
        stream.set_nodelay(true).ok()?;
        let (stream, left) = (Box::new(stream), self.load.per_connection);
        let mut connection = Connection { stream, input: Vec::new(), left, is_dot_sent: false };
        connection.expect_yes().await.ok()?;
        connection.ask(b"EHLO source.example\r\n").await.ok()?;
        match &self.load.tls {
            None => Some(connection),
            Some(config) => connection.start_tls(config).await.ok(),
        }
    }
}

impl Connection {
    /// One transaction, its commands pipelined as RFC 2920 allows.
    async fn message(&mut self, envelope: &str, text: &str) -> Result<Sent> {
        self.is_dot_sent = false;
        self.say(envelope.as_bytes()).await?;
        let mut bad = None;
        for _ in envelope.lines() {
            let reply = self.reply().await?;
            if !reply.starts_with(['2', '3']) {
                bad.get_or_insert(reply);
            } else if reply.starts_with('3') && bad.is_some() {
                bail!("a recipient was refused and the others were not: the message can't be taken back");
            }
        }
        if let Some(reply) = bad {
            self.say(b"RSET\r\n").await?;
            self.reply().await?;
            return Ok(if reply.starts_with('5') { Sent::Refused(reply) } else { Sent::Later });
        }
        let mut data = Vec::with_capacity(text.len() + 8);
        data.extend_from_slice(text.as_bytes());
        data.extend_from_slice(b".\r\n");
        self.is_dot_sent = true;
        self.say(&data).await?;
        let dot = Instant::now();
        let reply = self.reply().await?;
        Ok(match reply.as_bytes().first() {
            Some(b'2') => Sent::Accepted { wait: dot.elapsed() },
            Some(b'5') => Sent::Refused(reply),
            _ => Sent::Later,
        })
    }

    async fn start_tls(mut self, config: &Arc<ClientConfig>) -> Result<Self> {
        self.ask(b"STARTTLS\r\n").await?;
        let connector = tokio_rustls::TlsConnector::from(config.clone());
        self.stream = Box::new(connector.connect(ServerName::try_from("relay.example")?, self.stream).await?);
        self.ask(b"EHLO source.example\r\n").await?;
        Ok(self)
    }

    async fn ask(&mut self, line: &[u8]) -> Result<()> {
        self.say(line).await?;
        self.expect_yes().await
    }

    async fn expect_yes(&mut self) -> Result<()> {
        let reply = self.reply().await?;
        if !reply.starts_with('2') {
            bail!("expected a 2xx, found {reply:?}");
        }
        Ok(())
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        // Over TLS what was written may still wait for this.
        self.stream.flush().await.context("writing")
    }

    /// The last line of a reply.
    async fn reply(&mut self) -> Result<String> {
        tokio::time::timeout(Duration::from_secs(120), self.read_reply()).await?
    }

    async fn read_reply(&mut self) -> Result<String> {
        loop {
            while let Some(end) = memchr::memchr(b'\n', &self.input) {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                if line.get(3) != Some(&b'-') {
                    return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
                }
            }
            let mut buffer = [0; 2048];
            let read = self.stream.read(&mut buffer).await?;
            if read == 0 {
                bail!("the connection has ended");
            }
            self.input.extend_from_slice(buffer.get(..read).unwrap_or_default());
        }
    }
}
