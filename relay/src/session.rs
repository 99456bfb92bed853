//! One client, from its connection to its end: bytes to `smtp::server`, its questions to those who can answer.
//! **Owns:** the loop, the waits, the order of things. **Never:** judges mail (admission, core), stores it (intake).
//! Invariant: I1, a 250 to a message is said with the receipt that intake hands on.

mod answers;
mod proxy;
mod replies;
mod tally;
mod wire;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use postrider_core::config::Config;
use postrider_mail::Mono;
use postrider_queue::Receipt;
use postrider_smtp::{
    server::{Channel, End, Event, Server},
    timer::Waits,
};
use tokio::{net::TcpStream, time::Sleep};

use self::{
    proxy::NoClient,
    tally::{Ended, Tally},
    wire::Wire,
};
use crate::{
    admission::counts::{Place, Sessions},
    auth::Authenticator,
    config::ConfigSource,
    intake::{Intake, fates::Fate, spool::Spool},
    listener::door::Door,
    metrics::Metrics,
    shutdown::Shutdown,
    tls::accept::HandshakeFailed,
};

pub(crate) use self::tally::count_refused;

/// An idle session keeps no buffer that is larger.
const IDLE_BUFFER_BYTES: usize = 1024;

/// What all sessions of a process share.
pub struct Inbound {
    /// What is decided by.
    pub config: ConfigSource,
    /// Where messages go.
    pub intake: Intake,
    /// Who checks passwords.
    pub authenticator: Authenticator,
    /// How many sessions there are.
    pub sessions: Sessions,
    /// How many there may be.
    pub sessions_max: u32,
    /// Where counts go.
    pub metrics: Metrics,
    /// When to end.
    pub shutdown: Shutdown,
    /// How long waits are.
    pub waits: Waits,
}

/// What a client is told that gets no place.
pub(crate) fn turned_away() -> Vec<u8> {
    tally::on_the_wire(&replies::too_many_sessions())
}

/// Runs one session to its end.
pub async fn run(inbound: Arc<Inbound>, door: Arc<Door>, place: Place, stream: TcpStream, peer: SocketAddr) {
    let open = door.open.clone();
    open.inc();
    Box::pin(talk(inbound, door, place, stream, peer)).await;
    open.dec();
}

async fn talk(
    inbound: Arc<Inbound>,
    door: Arc<Door>,
    mut place: Place,
    mut stream: TcpStream,
    peer: SocketAddr,
) {
    let client = match client(&door, &mut stream, &mut place, peer).await {
        Ok(client) => client,
        Err(why) => return why.tell(&door, peer, Wire::new(stream)).await,
    };
    let mut wire = Wire::new(stream);
    if let (true, Some(tls)) = (door.is_implicit_tls(), &door.tls)
        && let Err(why) = wire.start_tls(tls.clone()).await
    {
        return NoSession::Handshake(why).tell(&door, client, wire).await;
    }
    let channel = if wire.tls().is_some() { Channel::Tls } else { Channel::Clear };
    count_handshake(&inbound, &door, &wire);
    let started = Instant::now();
    let server = Server::new(door.settings.clone(), channel, Mono::from_start(Duration::ZERO));
    let mut session = Session {
        timer: Box::pin(tokio::time::sleep(Duration::from_secs(3600))),
        armed: Mono::from_start(Duration::from_secs(3600)),
        tally: Tally::new(client.ip()),
        client: client.ip(),
        transaction: None,
        inbound,
        door,
        wire,
        server,
        started,
    };
    let ended = session.serve().await;
    session.tally.tell(&session, &ended);
    // Who has gone needs no goodbye.
    if !ended.is_by_client() {
        session.wire.close().await;
    }
    // The place goes last: a connection that is still closing is one.
    drop(place);
}

/// Who the client is, and whether it has not too many sessions already.
async fn client(
    door: &Door,
    stream: &mut TcpStream,
    place: &mut Place,
    peer: SocketAddr,
) -> Result<SocketAddr, NoSession> {
    let client = if door.listener.is_proxy(peer.ip()) { proxy::client(stream, peer).await? } else { peer };
    place.is_for(client.ip(), door.limits).map_err(|_| NoSession::TooMany)?;
    Ok(client)
}

/// Why a connection became no session.
#[derive(Debug, thiserror::Error)]
enum NoSession {
    #[error(transparent)]
    NoClient(#[from] NoClient),
    #[error("too many sessions of this client")]
    TooMany,
    #[error(transparent)]
    Handshake(HandshakeFailed),
}

impl NoSession {
    async fn tell(self, door: &Door, client: SocketAddr, mut wire: Wire) {
        let why = match &self {
            // A health check, or a client that changed its mind.
            Self::NoClient(NoClient::Closed) => return,
            Self::NoClient(_) => "no_proxy_header",
            Self::TooMany => "sessions_of_client",
            Self::Handshake(_) => "handshake",
        };
        if matches!(self, Self::TooMany) && !door.is_implicit_tls() {
            let _ = wire.write(&turned_away()).await;
        }
        door.count_end(why);
        tracing::info!(listener = &*door.name, client = %client.ip(), end = why, reason = %self, "a connection became no session");
        wire.close().await;
    }
}

struct Session {
    inbound: Arc<Inbound>,
    door: Arc<Door>,
    wire: Wire,
    server: Server<Receipt>,
    client: IpAddr,
    transaction: Option<Transaction>,
    tally: Tally,
    started: Instant,
    timer: Pin<Box<Sleep>>,
    /// Until when the timer runs: moved only when a deadline comes to lie before it, or when it has rung.
    armed: Mono,
}

/// What is known of the transaction that is open.
struct Transaction {
    config: Arc<Config>,
    fates: Vec<Fate>,
    spool: Option<Spool>,
}

impl Session {
    /// Long on purpose: the protocol's events, in their order.
    async fn serve(&mut self) -> Ended {
        loop {
            let now = self.now();
            match self.server.poll(now) {
                Event::Read => {
                    if let Err(why) = self.read().await {
                        return Ended::Broken(why);
                    }
                }
                Event::Connected(ask) => self.greet(ask).await,
                Event::Hello(ask) => self.server.resume(ask.welcome()),
                Event::StartTls => {
                    if let Err(why) = self.start_tls().await {
                        return why;
                    }
                }
                Event::Auth(ask) => Box::pin(self.authenticate(ask)).await,
                Event::Mail(ask) => self.mail(ask),
                Event::Recipient(ask) => self.recipient(ask),
                Event::Data(ask) => self.data(ask),
                Event::Body(chunk) => self.body(chunk).await,
                Event::EndOfMessage { envelope, expect, .. } => {
                    Box::pin(self.end_of_message(envelope, expect)).await;
                }
                Event::Aborted(_) => self.transaction = None,
                Event::Close(end) => {
                    let _ = self.flush().await;
                    return Ended::Protocol(end);
                }
            }
        }
    }

    fn now(&self) -> Mono {
        Mono::from_start(self.started.elapsed())
    }

    async fn flush(&mut self) -> io::Result<()> {
        let output = self.server.output();
        if output.is_empty() {
            return Ok(());
        }
        self.wire.write(output).await?;
        output.clear();
        Ok(())
    }

    /// Writes what is to be said, then waits for bytes, for the deadline, or for the end of the relay.
    async fn read(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.arm();
        // Between transactions a session ends with the relay's first word, in one with its last.
        let shutdown = &self.inbound.shutdown;
        let stop = if self.server.is_idle() { &shutdown.stop_taking } else { &shutdown.stop_running };
        if stop.is_cancelled() {
            self.server.end(replies::shutting_down());
            return Ok(());
        }
        shrink(self.server.output());
        shrink(self.server.input());
        let read = tokio::select! {
            biased;
            read = self.wire.read(self.server.input()) => read?,
            () = stop.cancelled() => {
                self.server.end(replies::shutting_down());
                return Ok(());
            }
            () = self.timer.as_mut() => {
                // It may have rung for a deadline that has moved since: then the next wait sets it anew.
                self.armed = Mono::from_start(Duration::MAX);
                return Ok(());
            }
        };
        self.tally.bytes += read as u64;
        if read == 0 {
            self.server.end_of_input();
        }
        Ok(())
    }

    /// Deadlines mostly move away: a timer that rings early is cheaper than one that is set at each read.
    fn arm(&mut self) {
        let deadline = self.server.deadline();
        if deadline < self.armed {
            self.armed = deadline;
            self.timer.as_mut().reset((self.started + deadline.since_start()).into());
        }
    }

    async fn start_tls(&mut self) -> Result<(), Ended> {
        self.flush().await.map_err(Ended::Broken)?;
        // Offered only where there is a certificate.
        let Some(tls) = self.door.tls.clone() else { return Err(Ended::Protocol(End::Refused)) };
        self.wire.start_tls(tls).await.map_err(Ended::Handshake)?;
        count_handshake(&self.inbound, &self.door, &self.wire);
        let now = self.now();
        self.server.tls_established(now);
        Ok(())
    }
}

fn count_handshake(inbound: &Inbound, door: &Door, wire: &Wire) {
    if let Some((version, _)) = wire.tls() {
        inbound.metrics.tls_handshakes.with_label_values(&[door.listener.name.as_str(), version]).inc();
    }
}

fn shrink(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > IDLE_BUFFER_BYTES {
        *buffer = BytesMut::new();
    }
}
