//! A far side that does what a test tells it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Where a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Greeting,
    Command(String),
    Dot,
}

/// What a far side does there.
pub enum Act {
    /// What any server would.
    Usual,
    /// Says this instead.
    Say(String),
    /// Says this, then closes.
    Bye(String),
    /// Closes at once.
    Close,
    /// Says nothing for ever.
    Hang,
    /// What any server would, after a while.
    Late(Duration),
}

/// A message that a far side took.
#[derive(Debug, Clone)]
pub struct Got {
    pub from: String,
    pub to: Vec<String>,
    pub body: String,
    /// The connection that it came by, from 1 on.
    pub connection: usize,
    /// Where that came from.
    pub peer: IpAddr,
    /// When it began.
    pub at: Instant,
}

/// What one far side saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub connections: usize,
    pub commands: Vec<String>,
    pub messages: Vec<Got>,
    /// Bodies whose dot never came.
    pub cut: usize,
    /// Connections that are over.
    pub over: Vec<usize>,
    /// The most that were open at once.
    pub most_open: usize,
}

pub struct FarSide {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// Of step and the number of the connection.
type Script = dyn Fn(&Step, usize) -> Act + Send + Sync;

impl FarSide {
    pub async fn usual() -> Self {
        Self::start(|_, _| Act::Usual).await
    }

    pub async fn start(script: impl Fn(&Step, usize) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let script: Arc<Script> = Arc::new(script);
        let task = tokio::spawn({
            let seen = seen.clone();
            async move {
                while let Ok((stream, peer)) = listener.accept().await {
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.connections += 1;
                        seen.most_open = seen.most_open.max(seen.connections - seen.over.len());
                        seen.connections
                    };
                    let (seen, script) = (seen.clone(), script.clone());
                    tokio::spawn(async move {
                        let (stream, peer) = (BufReader::new(stream), peer.ip());
                        let mut session = Session { stream, seen, script, number, peer };
                        let _ = session.run().await;
                        session.seen.lock().unwrap().over.push(number);
                    });
                }
            }
        });
        Self { address, seen, task }
    }

    pub fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }

    pub fn messages(&self) -> Vec<Got> {
        self.seen(|seen| seen.messages.clone())
    }

    pub fn connections(&self) -> usize {
        self.seen(|seen| seen.connections)
    }
}

impl Drop for FarSide {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Session {
    stream: BufReader<TcpStream>,
    seen: Arc<Mutex<Seen>>,
    script: Arc<Script>,
    number: usize,
    peer: IpAddr,
}

/// The session is over.
struct Over;

impl Session {
    async fn run(&mut self) -> Result<(), Over> {
        self.act(&Step::Greeting, "220 far.example ESMTP").await?;
        let (mut from, mut to) = ((String::new(), Instant::now()), Vec::new());
        loop {
            let line = self.line().await?;
            self.seen.lock().unwrap().commands.push(line.clone());
            let step = Step::Command(line.clone());
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    let offers = "250-far.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 10000000";
                    self.act(&step, offers).await?;
                }
                "MAIL" => {
                    to.clear();
                    from = (line[10..].to_owned(), Instant::now());
                    self.act(&step, "250 2.1.0 ok").await?;
                }
                "RCPT" => {
                    if self.act(&step, "250 2.1.5 ok").await?.starts_with('2') {
                        to.push(line[8..].to_owned());
                    }
                }
                "DATA" => {
                    let usual = if to.is_empty() { "503 5.5.1 no recipients" } else { "354 go on" };
                    if self.act(&step, usual).await?.starts_with('3') {
                        self.data(&from, &mut to).await?;
                    }
                }
                "QUIT" => {
                    let _ = self.act(&step, "221 bye").await;
                    return Err(Over);
                }
                "RSET" => {
                    to.clear();
                    self.act(&step, "250 ok").await?;
                }
                _ => {
                    self.act(&step, "502 5.5.1 no").await?;
                }
            }
        }
    }

    async fn data(&mut self, (from, at): &(String, Instant), to: &mut Vec<String>) -> Result<(), Over> {
        let mut body = String::new();
        loop {
            let Ok(line) = self.line().await else {
                self.seen.lock().unwrap().cut += 1;
                return Err(Over);
            };
            if line == "." {
                break;
            }
            body.push_str(line.strip_prefix('.').unwrap_or(&line));
            body.push_str("\r\n");
        }
        let (connection, peer) = (self.number, self.peer);
        let got = Got { from: from.clone(), to: std::mem::take(to), body, connection, peer, at: *at };
        let counts = !got.to.is_empty();
        let act = (self.script)(&Step::Dot, self.number);
        // Whoever closes here may have taken it.
        let takes = matches!(&act, Act::Usual | Act::Late(_) | Act::Close | Act::Hang)
            || matches!(&act, Act::Say(text) | Act::Bye(text) if text.starts_with('2'));
        if takes && counts {
            self.seen.lock().unwrap().messages.push(got);
        }
        self.does(act, "250 2.0.0 taken").await.map(|_| ())
    }

    async fn act(&mut self, step: &Step, usual: &str) -> Result<String, Over> {
        let act = (self.script)(step, self.number);
        self.does(act, usual).await
    }

    async fn does(&mut self, act: Act, usual: &str) -> Result<String, Over> {
        let (text, closes) = match act {
            Act::Usual => (usual.to_owned(), false),
            Act::Late(pause) => {
                tokio::time::sleep(pause).await;
                (usual.to_owned(), false)
            }
            Act::Say(text) => (text, false),
            Act::Bye(text) => (text, true),
            Act::Close => return Err(Over),
            Act::Hang => {
                let mut rest = Vec::new();
                let _ = self.stream.read_to_end(&mut rest).await;
                return Err(Over);
            }
        };
        let sent = self.stream.get_mut().write_all(format!("{text}\r\n").as_bytes()).await;
        if closes || sent.is_err() { Err(Over) } else { Ok(text) }
    }

    async fn line(&mut self) -> Result<String, Over> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line).await {
            Ok(count) if count > 0 => {
                let text = String::from_utf8_lossy(&line);
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            _ => Err(Over),
        }
    }
}
