//! One far side: bytes between a socket and `smtp::client`.
//! **Owns:** the loop, the waits in real time, the permit before the dot. **Never:** what an answer means (core::outcome).
//! Invariant: no final dot without a `DotPermit`, asked for when all but the dot is sent.
//! Invariant: a dot that the kernel still holds when the lease is in doubt is taken back by a reset.

pub mod socket;
mod terms;

pub use terms::{Door, Fence, OpenError, Over, Spoken};

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use postrider_core::tls_policy::Protection;
use postrider_mail::{HostName, Mono, Stage};
use postrider_queue::incarnation::{Clock, DotPermit};
use postrider_smtp::{
    client::{
        self, Answered, Channel, Client, EndCause, Ended, Event, ExpectDot, Failure, Settings, Transaction,
    },
    timer::Wait,
};
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use crate::{
    egress::dial::dial,
    failpoint::{self, Step},
    site::connections::Reusable,
    tls::connect::{Connectors, HandshakeError, Trust},
};
use socket::Socket;

/// How much of a body is made ready for one write.
const WRITE_BYTES: usize = 64 * 1_024;
/// How often a permit is asked for again while the lease is in doubt.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// How often the lease is looked at while a reply to the dot is waited for.
const LOOK_AT_LEASE: Duration = Duration::from_millis(500);
/// What stands in for a deadline where the machine has none.
const IDLE_WAIT: Duration = Duration::from_secs(3_600);
/// More than this unread is no reply of anybody's: the machine bounds replies, this bounds the buffer before it.
const INPUT_MAX_BYTES: usize = 128 * 1_024;

/// A connection that has got as far as its first MAIL.
pub struct Connection {
    socket: Option<Socket>,
    machine: Client<DotPermit>,
    host: HostName,
    address: SocketAddr,
    settings: Arc<Settings>,
    clock: Clock,
    opened: Instant,
    protection: Protection,
    /// How it ended, once it did.
    ended: Option<Ended>,
}

impl Connection {
    /// Connects, greets, encrypts and authenticates: all that comes before a first MAIL.
    ///
    /// # Errors
    /// How far it came.
    pub async fn open(door: &Door, connectors: &Connectors, clock: &Clock) -> Result<Self, OpenError> {
        let tcp = dial(door.address, door.source.as_deref()).await?;
        let (socket, channel) = if door.is_implicit_tls {
            let tls = connectors
                .handshake(tcp, &door.host, &Trust::under(&door.protection))
                .await
                .map_err(OpenError::Handshake)?;
            (Socket::Tls(tls), Channel::Tls)
        } else {
            (Socket::Clear(tcp), Channel::Clear)
        };
        let mut connection = Self {
            socket: Some(socket),
            machine: Client::new(door.settings.clone(), channel, clock.now()),
            host: door.host.clone(),
            address: door.address,
            settings: door.settings.clone(),
            clock: clock.clone(),
            opened: Instant::now(),
            protection: door.protection.clone(),
            ended: None,
        };
        connection.greet(connectors).await?;
        Ok(connection)
    }

    async fn greet(&mut self, connectors: &Connectors) -> Result<(), OpenError> {
        let mut is_just_encrypted = false;
        loop {
            match self.machine.poll(self.clock.now()) {
                Event::Read => self.exchange(None, false).await,
                Event::StartTls => {
                    self.encrypt(connectors).await.map_err(OpenError::Handshake)?;
                    is_just_encrypted = true;
                }
                Event::Ready => return Ok(()),
                Event::Ended(ended) => {
                    self.farewell();
                    return Err(if is_just_encrypted {
                        after_handshake(ended)
                    } else {
                        OpenError::Ended(ended)
                    });
                }
                Event::Body | Event::Dot(_) | Event::Finished(_) => {
                    return Err(OpenError::Ended(out_of_step(Stage::Banner)));
                }
            }
        }
    }

    async fn encrypt(&mut self, connectors: &Connectors) -> Result<(), HandshakeError> {
        let tcp = match self.socket.take() {
            Some(Socket::Clear(tcp)) => tcp,
            Some(Socket::Tls(_)) | None => {
                return Err(HandshakeError::Failed(std::io::ErrorKind::NotConnected.into()));
            }
        };
        let tls = connectors.handshake(tcp, &self.host, &Trust::under(&self.protection)).await?;
        self.socket = Some(Socket::Tls(tls));
        self.machine.tls_established(self.clock.now());
        Ok(())
    }

    /// Sends one message. Afterwards [`Self::is_reusable`] says whether another can follow.
    pub async fn send(&mut self, transaction: Transaction, body: &[Bytes], fence: Fence<'_>) -> Spoken {
        let recipients = transaction.envelope.recipients.len();
        let mut is_dot_sent = false;
        self.machine.begin(transaction);
        loop {
            match self.machine.poll(self.clock.now()) {
                Event::Read => self.exchange(Some(fence), is_dot_sent).await,
                Event::Body => self.send_body(body).await,
                Event::Dot(expect) => is_dot_sent = self.send_dot(expect, fence).await,
                Event::Finished(answers) => return Spoken { answers, is_dot_sent },
                Event::Ended(ended) => {
                    // Each transaction gets its Finished first; this is for a machine that is out of order.
                    self.ended = Some(ended);
                    return Spoken { answers: broken_off(recipients), is_dot_sent };
                }
                Event::Ready | Event::StartTls => {
                    self.machine.connection_lost(Failure::Abandoned);
                    return Spoken { answers: broken_off(recipients), is_dot_sent };
                }
            }
        }
    }

    /// The body, in writes of a bounded size; the last of it stays in the buffer for the dot to join.
    async fn send_body(&mut self, body: &[Bytes]) {
        for chunk in body {
            for piece in pieces(chunk) {
                if self.machine.output().len() >= WRITE_BYTES && !self.write().await {
                    return;
                }
                self.machine.body(&piece);
            }
        }
        self.machine.end_body();
    }

    /// Asks for the permit; while there is none, what is ready goes out and the far side waits for the rest.
    async fn send_dot(&mut self, expect: ExpectDot<DotPermit>, fence: Fence<'_>) -> bool {
        let mut is_flushed = false;
        let give_up = self.clock.now().after(self.settings.waits.of(Wait::DataBlock));
        loop {
            match fence.lease.permit(fence.claim) {
                Ok(permit) => {
                    failpoint::passed(Step::Permitted);
                    self.machine.resume(expect.send(permit));
                    return true;
                }
                Err(why) if why.is_final() || self.clock.now() >= give_up => {
                    tracing::warn!(%why, "a message is not ended: this relay can't prove its claim");
                    self.machine.resume(expect.abandon());
                    // A QUIT would be taken for a line of the body.
                    self.cut();
                    return false;
                }
                Err(_) => {}
            }
            if !std::mem::replace(&mut is_flushed, true) && !self.write().await {
                self.machine.resume(expect.abandon());
                return false;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Writes what is ready, then reads once, or until the wait is over. Once the dot is out it is taken back if the kernel still
    /// has it when the lease is in doubt; before that, the end of the claim ends the connection.
    async fn exchange(&mut self, fence: Option<Fence<'_>>, is_dot_sent: bool) {
        if !self.machine.output().is_empty() {
            if !self.write().await {
                return;
            }
            if is_dot_sent {
                failpoint::passed(Step::DotSent);
            }
        }
        if self.machine.input().len() > INPUT_MAX_BYTES {
            self.lose("the far side answers more than anybody asked");
            return;
        }
        let now = self.clock.now();
        let mut until = instant(now, self.machine.deadline().unwrap_or(now.after(IDLE_WAIT)));
        if let Some(fence) = fence {
            let look = Instant::now() + LOOK_AT_LEASE;
            until = if is_dot_sent { until.min(look) } else { until.min(fence.until) };
        }
        let Some(socket) = self.socket.as_mut() else {
            self.machine.connection_lost(Failure::Closed);
            return;
        };
        let read = tokio::select! {
            biased;
            read = tokio::time::timeout_at(until, socket.read(self.machine.input())) => read,
            () = claim_over(fence), if !is_dot_sent => Ok(Err(std::io::ErrorKind::Interrupted.into())),
        };
        match read {
            // A far side that closes without close_notify has closed.
            Ok(Ok(0)) => self.machine.end_of_input(),
            Ok(Ok(_)) => {}
            Ok(Err(err)) if err.kind() == std::io::ErrorKind::UnexpectedEof => self.machine.end_of_input(),
            Ok(Err(err)) if err.kind() == std::io::ErrorKind::Interrupted => self.abandon(),
            Ok(Err(err)) => self.lose(&err.to_string()),
            Err(_) => match fence {
                Some(fence) if is_dot_sent => self.take_back_dot(fence),
                Some(fence) if Instant::now() >= fence.until => self.abandon(),
                _ => {}
            },
        }
    }

    fn take_back_dot(&mut self, fence: Fence<'_>) {
        let Err(why) = fence.lease.permit(fence.claim) else { return };
        if self.socket.as_ref().is_some_and(Socket::has_unacknowledged) {
            tracing::warn!(%why, "a message on its way is taken back: this relay can't prove its claim");
            self.cut();
            self.machine.connection_lost(Failure::Lost("reset, as the lease ended".into()));
        }
    }

    /// Writes all that is ready. False when the connection is gone.
    async fn write(&mut self) -> bool {
        let Some(socket) = self.socket.as_mut() else {
            self.machine.connection_lost(Failure::Closed);
            return false;
        };
        let mut output = std::mem::take(self.machine.output());
        let mut said = std::mem::take(self.machine.input());
        let wait = self.settings.waits.of(Wait::DataBlock);
        let written = tokio::time::timeout(wait, socket.write(&mut output, &mut said)).await;
        output.clear();
        *self.machine.output() = output;
        *self.machine.input() = said;
        match written {
            Ok(Ok(())) => true,
            Ok(Err(err)) => {
                self.lose(&err.to_string());
                false
            }
            Err(_) => {
                self.cut();
                self.machine.connection_lost(Failure::TimedOut(Wait::DataBlock));
                false
            }
        }
    }

    /// No dot was sent, and none will be.
    fn abandon(&mut self) {
        self.cut();
        self.machine.connection_lost(Failure::Abandoned);
    }

    fn lose(&mut self, why: &str) {
        self.cut();
        self.machine.connection_lost(Failure::Lost(why.into()));
    }

    /// Ends the connection without a word.
    fn cut(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.reset();
        }
    }

    /// Brings the connection to where another transaction can begin, and says whether one may.
    pub async fn is_reusable(&mut self, messages_max: u32) -> bool {
        if self.ended.is_some() || self.machine.transactions() >= messages_max {
            return false;
        }
        while self.socket.is_some() {
            match self.machine.poll(self.clock.now()) {
                Event::Ready => return self.machine.has_room(),
                // An answer to RSET.
                Event::Read => self.exchange(None, false).await,
                Event::Ended(ended) => {
                    self.ended = Some(ended);
                    return false;
                }
                Event::StartTls | Event::Body | Event::Dot(_) | Event::Finished(_) => return false,
            }
        }
        false
    }

    /// Says QUIT if that needs no waiting, and closes: the answer decides nothing.
    pub fn close(mut self) {
        if self.ended.is_none() && self.socket.is_some() {
            self.machine.quit();
            let _ = self.machine.poll(self.clock.now());
            self.farewell();
        }
    }

    /// Says QUIT and waits until the far side has closed too, for `longest` at most. Says whether it has.
    pub async fn part(mut self, longest: Duration) -> bool {
        if self.ended.is_none() {
            self.machine.quit();
            let _ = self.machine.poll(self.clock.now());
        }
        let Some(mut socket) = self.socket.take() else { return false };
        let mut output = std::mem::take(self.machine.output());
        let said = self.machine.input();
        let closed = async {
            socket.write(&mut output, said).await?;
            while socket.read(said).await? > 0 {
                said.clear();
            }
            Ok::<_, std::io::Error>(())
        };
        matches!(tokio::time::timeout(longest, closed).await, Ok(Ok(())))
    }

    /// Writes what is left as far as the kernel takes it at once.
    fn farewell(&mut self) {
        let Some(mut socket) = self.socket.take() else { return };
        let mut output = std::mem::take(self.machine.output());
        if !output.is_empty() {
            use futures::FutureExt as _;
            let _ = socket.write(&mut output, self.machine.input()).now_or_never();
        }
    }

    /// Whose it is.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// How it is protected.
    pub const fn protection(&self) -> &Protection {
        &self.protection
    }

    /// Where it leads.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Messages begun on it.
    pub fn messages(&self) -> u32 {
        self.machine.transactions()
    }

    /// Whether the far side takes DSN options, and so tells senders itself.
    pub fn has_dsn(&self) -> bool {
        self.machine.offers().dsn
    }

    /// The far side's certificates, its own first; none in clear.
    pub fn certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match self.socket.as_ref()? {
            Socket::Clear(_) => None,
            Socket::Tls(tls) => Some(tls.get_ref().1.peer_certificates().unwrap_or_default()),
        }
    }

    /// How it is protected, as logs say it.
    pub fn tls(&self) -> &'static str {
        match (self.socket.as_ref().is_some_and(Socket::is_tls), Trust::under(&self.protection)) {
            (false, _) => "clear",
            (true, Trust::Anyone) => "unverified",
            (true, Trust::Verified) => "verified",
            (true, Trust::Dane { .. }) => "dane",
        }
    }
}

impl Reusable for Connection {
    fn is_quiet(&mut self) -> bool {
        self.socket.as_mut().is_some_and(Socket::is_quiet)
    }

    fn opened(&self) -> Instant {
        self.opened
    }
}

/// Under TLS 1.3 our side of the handshake is done before the far side has looked at it (RFC 8446 2): one that wants none of it
/// closes where the answer to our first word under TLS is due.
fn after_handshake(ended: Ended) -> OpenError {
    match ended.cause {
        EndCause::Failed(why @ (Failure::Closed | Failure::Lost(_))) if ended.stage == Stage::Ehlo => {
            OpenError::Handshake(HandshakeError::Failed(std::io::Error::other(why.to_string())))
        }
        _ => OpenError::Ended(ended),
    }
}

fn pieces(chunk: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    (0..chunk.len()).step_by(WRITE_BYTES).map(|at| chunk.slice(at..chunk.len().min(at + WRITE_BYTES)))
}

fn instant(now: Mono, until: Mono) -> Instant {
    Instant::now() + until.since(now)
}

fn out_of_step(stage: Stage) -> Ended {
    Ended { stage, cause: EndCause::Failed(Failure::Abandoned) }
}

fn broken_off(recipients: usize) -> Vec<Answered> {
    let answer = Answered { stage: Stage::Mail, answer: client::Answer::Failed(Failure::Abandoned) };
    vec![answer; recipients]
}

async fn claim_over(fence: Option<Fence<'_>>) {
    match fence {
        Some(fence) => fence.over.wait().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_far_side_that_closes_right_after_the_handshake_has_refused_it() {
        let ended = |stage, failure| Ended { stage, cause: EndCause::Failed(failure) };
        let is_handshake = |ended| matches!(after_handshake(ended), OpenError::Handshake(_));
        assert!(is_handshake(ended(Stage::Ehlo, Failure::Closed)));
        assert!(is_handshake(ended(Stage::Ehlo, Failure::Lost("received fatal alert".into()))));
        assert!(!is_handshake(ended(Stage::Ehlo, Failure::TimedOut(Wait::Ehlo))));
        assert!(!is_handshake(ended(Stage::Auth, Failure::Closed)));
    }
}
