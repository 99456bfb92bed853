//! The connections of one site: kept, reused, closed, and never more than the site can take.
//! **Owns:** who may open one, who waits for one. **Never:** how many the site can take (feedback says), SMTP, a socket.
//!
//! State under one mutex rather than an actor: taking and giving back is a few instructions, and no task wakes for it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_queue::Flow;
use tokio::{sync::oneshot, time::Instant};

/// Attempts that wait for a connection of one site. Who finds more hands its claim back: the queue is the place to wait.
pub const WAITING_MAX: usize = 1_024;

/// How long no more connections are opened once that was refused.
const CAPPED_FOR: Duration = Duration::from_secs(1);

/// What a pool keeps.
pub trait Reusable: Send + 'static {
    /// Whether the far side has said or done nothing since the last reply.
    fn is_quiet(&mut self) -> bool;
    /// When it was opened.
    fn opened(&self) -> Instant;
    /// Whether it may be used again now, by somebody urgent or not. Asked for each that is about to be.
    fn may_go_on(&self, _is_urgent: bool) -> bool {
        true
    }
}

/// The connections of a site.
pub struct Pool<C> {
    state: Mutex<State<C>>,
    /// Connections older than this are not reused, so that a host that came back gets its share.
    lifetime: Duration,
}

struct State<C> {
    idle: Vec<(C, Instant)>,
    /// Connections in use, idle or being opened.
    open: usize,
    limit: usize,
    /// No more than these for a moment, as nobody may open another now.
    cap: Option<(usize, Instant)>,
    /// The urgent ones first, each kind by rounds: each flow's first, then each flow's second.
    waiting: VecDeque<Waiter<C>>,
    /// Set when the site isn't to be tried: whoever waits is sent away.
    is_closed: bool,
}

struct Waiter<C> {
    grant: oneshot::Sender<Lease<C>>,
    turn: Turn,
    round: u64,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Who is goes before those who aren't.
    pub is_urgent: bool,
    /// Of which senders: nobody waits behind all that another sender has waiting.
    pub flow: Option<Flow>,
}

/// The right to one connection of a site: a kept one, or none yet. Dropped, its place is free again.
pub struct Lease<C> {
    connection: Option<C>,
    pool: Arc<Pool<C>>,
    /// Whether the place goes back when this is dropped.
    is_held: bool,
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoConnection {
    /// Too many wait already.
    #[error("{WAITING_MAX} attempts wait for this site already")]
    Crowded,
    /// The site was suspended, or so many came that go first that there was no place left.
    #[error("the site is suspended, or too many wait for it")]
    Suspended,
    /// None came free in time.
    #[error("no connection of this site came free in time")]
    TooLate,
}

impl<C: Reusable> Pool<C> {
    /// A pool that opens up to `limit` connections and reuses them for `lifetime`.
    pub fn new(limit: usize, lifetime: Duration) -> Arc<Self> {
        let state =
            State { idle: Vec::new(), open: 0, limit, cap: None, waiting: VecDeque::new(), is_closed: false };
        Arc::new(Self { state: Mutex::new(state), lifetime })
    }

    /// Takes a kept connection, or the right to open one; waits until `deadline` for either.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn take(self: &Arc<Self>, deadline: Instant, turn: Turn) -> Result<Lease<C>, NoConnection> {
        let waiter = {
            let mut state = self.lock();
            if state.is_closed {
                return Err(NoConnection::Suspended);
            }
            if let Some(lease) = self.take_now(&mut state, turn.is_urgent) {
                return Ok(lease);
            }
            let (at, round) = state.place_of(turn);
            if at >= WAITING_MAX {
                return Err(NoConnection::Crowded);
            }
            let (grant, waiter) = oneshot::channel();
            state.waiting.insert(at, Waiter { grant, turn, round });
            // Whoever is last by then is sent away.
            state.waiting.truncate(WAITING_MAX);
            waiter
        };
        match tokio::time::timeout_at(deadline, waiter).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(_)) => Err(NoConnection::Suspended),
            Err(_) => Err(NoConnection::TooLate),
        }
    }

    fn take_now(self: &Arc<Self>, state: &mut State<C>, is_urgent: bool) -> Option<Lease<C>> {
        // The one used last: the others grow old and are closed, so there are never more than are needed.
        while let Some((mut connection, _)) = state.idle.pop() {
            let is_usable = connection.opened().elapsed() < self.lifetime && connection.is_quiet();
            if is_usable && connection.may_go_on(is_urgent) {
                return Some(self.lease(Some(connection)));
            }
            state.open = state.open.saturating_sub(1);
        }
        if state.open >= state.limit() {
            return None;
        }
        state.open += 1;
        Some(self.lease(None))
    }

    fn lease(self: &Arc<Self>, connection: Option<C>) -> Lease<C> {
        Lease { connection, pool: self.clone(), is_held: true }
    }

    /// Sets how many connections the site can take now, and lets as many in.
    pub fn set_limit(self: &Arc<Self>, limit: usize) {
        let mut state = self.lock();
        state.limit = limit;
        self.serve(&mut state);
    }

    /// Sends everybody who waits away, and whoever comes, until [`Self::admit`]. Returns the idle connections.
    pub fn close(&self) -> Vec<C> {
        let mut state = self.lock();
        state.is_closed = true;
        state.waiting.clear();
        let idle = std::mem::take(&mut state.idle);
        state.open = state.open.saturating_sub(idle.len());
        idle.into_iter().map(|(connection, _)| connection).collect()
    }

    /// Lets attempts in (again), as many as the limit says.
    pub fn admit(self: &Arc<Self>, limit: usize) {
        let mut state = self.lock();
        state.is_closed = false;
        state.limit = limit;
        self.serve(&mut state);
    }

    /// Takes out what has been idle for `longest`, to be closed.
    pub fn idle_for(&self, longest: Duration) -> Vec<C> {
        let mut state = self.lock();
        // Pushed at the end and taken from the end: the ones at the front were used longest ago.
        let stale = state.idle.iter().take_while(|(_, since)| since.elapsed() >= longest).count();
        state.open = state.open.saturating_sub(stale);
        state.idle.drain(..stale).map(|(connection, _)| connection).collect()
    }

    /// Whether nothing is open and nobody waits: the pool can be forgotten.
    pub fn is_unused(&self) -> bool {
        let state = self.lock();
        state.open == 0 && state.waiting.is_empty()
    }

    /// Connections in use, idle or being opened; and how many attempts wait.
    pub fn load(&self) -> (usize, usize) {
        let state = self.lock();
        (state.open, state.waiting.len())
    }

    /// Hands free places to those who wait, the first first.
    fn serve(self: &Arc<Self>, state: &mut State<C>) {
        while let Some(first) = state.waiting.front() {
            let is_urgent = first.turn.is_urgent;
            let Some(mut lease) = self.take_now(state, is_urgent) else { return };
            loop {
                let Some(waiter) = state.waiting.pop_front() else {
                    // Nobody is left; taken back by hand, for the lock is held.
                    lease.is_held = false;
                    match lease.connection.take() {
                        Some(connection) => state.idle.push((connection, Instant::now())),
                        None => state.open = state.open.saturating_sub(1),
                    }
                    return;
                };
                match waiter.grant.send(lease) {
                    Ok(()) => break,
                    Err(refused) => lease = refused,
                }
            }
        }
    }

    fn give_back(self: &Arc<Self>, connection: Option<C>) {
        let mut state = self.lock();
        match connection {
            Some(connection) if !state.is_closed => state.idle.push((connection, Instant::now())),
            _ => state.open = state.open.saturating_sub(1),
        }
        self.serve(&mut state);
    }

    /// No call that holds the lock can fail half-way, so a poisoned one is sound.
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> State<C> {
    fn limit(&self) -> usize {
        match self.cap {
            Some((cap, until)) if Instant::now() < until => self.limit.min(cap),
            _ => self.limit,
        }
    }

    /// Where somebody waits who comes now, and in which round.
    fn place_of(&self, turn: Turn) -> (usize, u64) {
        let is_alike = |waiter: &&Waiter<C>| waiter.turn.is_urgent == turn.is_urgent;
        let now = self.waiting.iter().find(is_alike).map_or(0, |first| first.round);
        let own = self.waiting.iter().rev().find(|waiter| waiter.turn == turn).map(|last| last.round + 1);
        let round = own.map_or(now, |own| own.max(now));
        let is_before =
            |waiter: &Waiter<C>| (!waiter.turn.is_urgent, waiter.round) <= (!turn.is_urgent, round);
        (self.waiting.partition_point(is_before), round)
    }
}

impl<C: Reusable> Lease<C> {
    /// Whether there was a kept connection.
    pub const fn is_kept(&self) -> bool {
        self.connection.is_some()
    }

    /// The right to open one can't be used now, and couldn't by others. Says whether there are connections to wait for; if not,
    /// whoever waits is sent away too.
    pub fn refused(mut self) -> bool {
        self.is_held = false;
        let mut state = self.pool.lock();
        state.open = state.open.saturating_sub(1);
        state.cap = Some((state.open, Instant::now() + CAPPED_FOR));
        if state.open == 0 {
            state.waiting.clear();
        }
        state.open > 0
    }

    /// The kept connection, if there was one.
    pub fn kept(&mut self) -> Option<C> {
        self.connection.take()
    }

    /// Keeps the connection for whoever comes next.
    pub fn keep(mut self, connection: C) {
        self.is_held = false;
        self.pool.give_back(Some(connection));
    }
}

impl<C> std::fmt::Debug for Lease<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("has_connection", &self.connection.is_some()).finish_non_exhaustive()
    }
}

impl<C> Drop for Lease<C> {
    fn drop(&mut self) {
        if !std::mem::take(&mut self.is_held) {
            return;
        }
        self.pool.dropped(self.connection.take());
    }
}

impl<C> Pool<C> {
    /// A lease went without its connection being kept. (Not `Reusable`, as `Drop` can't be.)
    fn dropped(self: &Arc<Self>, _closed: Option<C>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open = state.open.saturating_sub(1);
        // Whoever waits longest opens one in its place.
        while state.open < state.limit() {
            let Some(waiter) = state.waiting.pop_front() else { return };
            let lease = Lease { connection: None, pool: self.clone(), is_held: true };
            match waiter.grant.send(lease) {
                Ok(()) => state.open += 1,
                // Its drop would lock again.
                Err(mut refused) => refused.is_held = false,
            }
        }
    }
}

#[cfg(test)]
mod tests;
