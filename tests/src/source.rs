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
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
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
    /// Envelope sender.
    pub sender: String,
    /// Recipients, taken in turn, one a message.
    pub recipients: Vec<String>,
    /// Bytes of a message, about.
    pub size: usize,
    /// What stands below the header, ended by CRLF, in place of the same sentence up to `size`.
    pub body: Option<Arc<str>>,
    /// Messages per connection.
    pub per_connection: usize,
    /// Put in front of each ID.
    pub prefix: String,
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
            size: 2048,
            body: None,
            per_connection: 10,
            prefix: format!("{:08x}", rand::random::<u32>()),
            pause: Duration::from_millis(100),
            deadline: Duration::from_secs(180),
        }
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
                deadline: started + load.deadline,
                target: number,
            };
            sessions.spawn(session.run());
        }
        Self { accepted, sessions, started }
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
    deadline: Instant,
    target: usize,
}

/// What became of one message.
enum Sent {
    Accepted,
    Refused(String),
    /// 4xx; the connection goes on.
    Later,
}

struct Connection {
    stream: TcpStream,
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
            let id = format!("{}-{number}", self.load.prefix);
            let recipient =
                self.load.recipients.get(number % self.load.recipients.len()).cloned().unwrap_or_default();
            let text = match &self.load.body {
                Some(body) => header(&id, &self.load.sender, &recipient) + body,
                None => message(&id, &self.load.sender, &recipient, self.load.size),
            };
            self.until_answered(&mut connection, &id, &recipient, &text).await?;
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
        recipient: &str,
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
            match connection.message(&self.load.sender, recipient, text).await {
                Ok(Sent::Accepted) => {
                    locked(&self.accepted).at.insert(id.to_owned(), Instant::now());
                    return Ok(());
                }
                Ok(Sent::Refused(reply)) => {
                    locked(&self.accepted).refused.insert(id.to_owned(), reply);
                    return Ok(());
                }
                Ok(Sent::Later) => self.later().await,
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
        let mut connection =
            Connection { stream, input: Vec::new(), left: self.load.per_connection, is_dot_sent: false };
        connection.reply().await.ok().filter(|reply| reply.starts_with('2'))?;
        connection.say(b"EHLO source.example\r\n").await.ok()?;
        connection.reply().await.ok().filter(|reply| reply.starts_with('2'))?;
        Some(connection)
    }
}

impl Connection {
    /// One transaction, its commands pipelined as RFC 2920 allows.
    async fn message(&mut self, sender: &str, recipient: &str, text: &str) -> Result<Sent> {
        self.is_dot_sent = false;
        self.say(format!("MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n").as_bytes()).await?;
        let replies = [self.reply().await?, self.reply().await?, self.reply().await?];
        if !replies[2].starts_with("354") {
            let reply = replies.into_iter().find(|reply| !reply.starts_with('2')).unwrap_or_default();
            self.say(b"RSET\r\n").await?;
            self.reply().await?;
            return Ok(if reply.starts_with('5') { Sent::Refused(reply) } else { Sent::Later });
        }
        let mut data = Vec::with_capacity(text.len() + 8);
        data.extend_from_slice(text.as_bytes());
        data.extend_from_slice(b".\r\n");
        self.is_dot_sent = true;
        self.say(&data).await?;
        let reply = self.reply().await?;
        self.is_dot_sent = false;
        Ok(match reply.as_bytes().first() {
            Some(b'2') => Sent::Accepted,
            Some(b'5') => Sent::Refused(reply),
            _ => Sent::Later,
        })
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await.context("writing")
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
