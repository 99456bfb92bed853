//! The one lease that all tasks of a process share, for one partition.
//! **Owns:** [`LeaseHandle`], [`Clock`]. **Never:** beats (the shell's heartbeat does), or waits under its mutex.

use std::sync::{Arc, Mutex, PoisonError};

use postrider_mail::Mono;
use tokio::sync::watch;

use super::{DotPermit, Epoch, EpochChange, Incarnation, Lease, NoPermit, Sending};
use crate::claim::Claim;

/// Where the time comes from: the shell's boot-time clock, or a test's.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Mono + Send + Sync>);

impl Clock {
    /// A clock that asks `now`. It must go on while the machine sleeps, and never back.
    pub fn new(now: impl Fn() -> Mono + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now.
    pub fn now(&self) -> Mono {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}

/// A partition's lease, shared: the heartbeat writes it, every connection tells it what is unanswered, every attempt asks it
/// before its final dot. Cloning shares.
#[derive(Debug, Clone)]
pub struct LeaseHandle {
    lease: Arc<Mutex<Lease>>,
    lives: watch::Sender<Option<Incarnation>>,
    epochs: watch::Sender<u64>,
    clock: Clock,
}

/// A command on its way. Dropped when its answer came, or when nobody waits for it any more.
#[derive(Debug)]
#[must_use]
pub struct InFlight<'a> {
    handle: &'a LeaseHandle,
    sending: Option<Sending>,
    sent: Mono,
}

impl LeaseHandle {
    /// A lease that permits nothing yet.
    pub fn new(clock: Clock) -> Self {
        Self { lease: Arc::default(), lives: watch::Sender::new(None), epochs: watch::Sender::new(0), clock }
    }

    /// The incarnation that this process is in the partition; `None` before it is registered and after it was fenced.
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.with(|lease| lease.incarnation())
    }

    /// Every change of [`Self::incarnation`]. When it changes, all claims of the one before are lost: attempts end without their
    /// dot. (What they delivered already is still settled: facts count whoever tells them.)
    pub fn watch(&self) -> watch::Receiver<Option<Incarnation>> {
        self.lives.subscribe()
    }

    /// Whether the final dot of this claim's attempt may leave now.
    ///
    /// # Errors
    /// Why not. [`NoPermit::is_final`]: drop the connection without the dot; else ask again in a few milliseconds.
    pub fn permit(&self, claim: &Claim) -> Result<DotPermit, NoPermit> {
        self.with(|lease| lease.permit(claim, self.clock.now()))
    }

    /// What is left of the lease.
    pub fn margin(&self) -> std::time::Duration {
        self.with(|lease| lease.margin(self.clock.now()))
    }

    /// How long nothing may be claimed or reaped, if so: the store behind the partition is another one than before.
    pub fn gate_closed_for(&self) -> Option<std::time::Duration> {
        self.with(|lease| lease.gate_closed_for(self.clock.now()))
    }

    /// A command is sent now. Keep the guard until its answer.
    pub fn in_flight(&self) -> InFlight<'_> {
        let sent = self.clock.now();
        InFlight { handle: self, sending: Some(self.with(|lease| lease.sent(sent))), sent }
    }

    /// The store took this life in, by a command sent at `sent`.
    pub fn registered(&self, incarnation: Incarnation, sent: Mono) {
        self.with(|lease| lease.registered(incarnation, sent));
        self.lives.send_replace(Some(incarnation));
    }

    /// The store confirmed a beat sent at `sent`.
    pub fn confirmed(&self, incarnation: Incarnation, sent: Mono) {
        self.with(|lease| lease.confirmed(incarnation, sent));
    }

    /// The store says that this life is fenced or unknown.
    pub fn fenced(&self, incarnation: Incarnation) {
        self.with(|lease| lease.fenced(incarnation));
        self.lives.send_if_modified(|life| {
            let is_over = *life == Some(incarnation);
            if is_over {
                *life = None;
            }
            is_over
        });
    }

    /// A new connection says which store it found.
    pub fn observe_epoch(&self, epoch: &Epoch) -> EpochChange {
        let change = self.with(|lease| lease.observe_epoch(epoch, self.clock.now()));
        match change {
            EpochChange::Same => {}
            EpochChange::NewRun | EpochChange::WentBack { .. } => {
                self.epochs.send_modify(|count| *count += 1);
            }
        }
        change
    }

    /// Counts the changes of the store behind the partition. At each one, while the gate is closed: first the facts of the last
    /// minutes are told again, then the claims of the attempts that run are re-asserted.
    pub fn watch_epochs(&self) -> watch::Receiver<u64> {
        self.epochs.subscribe()
    }

    /// How long the oldest unanswered command has waited.
    pub fn unanswered_for(&self) -> std::time::Duration {
        self.with(|lease| lease.unanswered_for(self.clock.now()))
    }

    /// The partition answered with its count of accepted messages.
    pub fn saw_accepted(&self, accepted: u64) {
        self.with(|lease| lease.saw_accepted(accepted));
    }

    /// The greatest such count. A connection's check takes it before it asks for the store's.
    pub fn accepted_seen(&self) -> u64 {
        self.with(|lease| lease.accepted_seen())
    }

    /// The clock that the lease runs by.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Nothing that runs under the mutex can panic half-way through a change, so a poisoned one is sound.
    fn with<T>(&self, act: impl FnOnce(&mut Lease) -> T) -> T {
        act(&mut self.lease.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl InFlight<'_> {
    /// When it was sent.
    pub const fn sent(&self) -> Mono {
        self.sent
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(sending) = self.sending.take() {
            self.handle.with(|lease| lease.answered(sending));
        }
    }
}
