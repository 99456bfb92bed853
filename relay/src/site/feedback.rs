//! What attempts have taught about sites and addresses.
//! **Owns:** [`Pulse`] (one site's window and suspension, by core::shape), [`Health`] (addresses that don't answer, hosts whose TLS is
//! broken). **Never:** connections.
//! What is remembered of an address only changes the order in which hosts are tried, or spares a long wait that was just lost.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_core::{
    policy::SiteLimits,
    retry::BackoffLimits,
    shape::{Change, Feedback, Shape, ShapeLimits},
    tls_policy::BrokenTls,
};
use postrider_mail::{HostName, Mono};
use tokio::time::Instant;

use crate::egress::NamedSource;

/// How long an address that didn't work goes behind the others.
const LAST_FOR: Duration = Duration::from_secs(60);
/// How long an address that didn't answer at all isn't asked again. Shorter than any suspension, so that a probe is a real one.
const SPARED_FOR: Duration = Duration::from_secs(25);
/// Addresses remembered.
const ADDRESSES_MAX: usize = 10_000;

/// How one site does.
pub(super) struct Pulse {
    state: Mutex<State>,
    /// What a site without a history looks like.
    fresh: u32,
}

struct State {
    shape: Shape,
    last_used: Instant,
    is_taught: bool,
}

/// What a site lets an attempt do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Go on, with at most this many connections at once.
    For(usize),
    /// Not before this has passed.
    Suspended(Duration),
}

impl Pulse {
    pub(super) fn new(limits: SiteLimits, backoff: BackoffLimits) -> Self {
        let max = limits.connections.max(1);
        let start = ShapeLimits::default().start.min(max);
        let shape = Shape::new(ShapeLimits { start, max, backoff });
        let fresh = shape.window();
        Self { state: Mutex::new(State { shape, last_used: Instant::now(), is_taught: false }), fresh }
    }

    /// Connections that a site starts with.
    pub(super) fn limit(&self) -> usize {
        self.fresh as usize
    }

    /// Asks to start an attempt.
    pub(super) fn start(&self, now: Mono) -> Room {
        let mut state = self.lock();
        state.last_used = Instant::now();
        if let Some(until) = state.shape.wakes(now) {
            return Room::Suspended(until.since(now));
        }
        state.shape.started(now);
        Room::For(connections(&state.shape, now))
    }

    /// Takes what an attempt found. Says how many connections there may be from now on, and what changed.
    pub(super) fn finish(&self, feedback: Option<Feedback>, now: Mono) -> (usize, Change) {
        let mut state = self.lock();
        state.is_taught |= feedback == Some(Feedback::Bad);
        let change = state.shape.finished(feedback, now, rand::random());
        (connections(&state.shape, now), change)
    }

    /// The far side wants fewer connections at a time. How many there may be from now on; none where one is too many.
    pub(super) fn fewer(&self, now: Mono) -> Option<usize> {
        let mut state = self.lock();
        state.is_taught = true;
        state.shape.fewer(now).then(|| connections(&state.shape, now))
    }

    /// The far side wants nothing for so long.
    pub(super) fn suspend(&self, wait: Duration, now: Mono) -> Change {
        let mut state = self.lock();
        state.is_taught = true;
        state.shape.suspend(now, wait)
    }

    /// Whether nothing is tried there now.
    pub(super) fn is_suspended(&self, now: Mono) -> bool {
        self.lock().shape.wakes(now).is_some()
    }

    /// How long nobody used the site.
    pub(super) fn idle_for(&self) -> Duration {
        self.lock().last_used.elapsed()
    }

    /// Whether a new site would be as good.
    pub(super) fn is_untaught(&self) -> bool {
        let state = self.lock();
        !state.is_taught && state.shape.window() == self.fresh
    }

    /// No call that holds the lock can fail half-way, so a poisoned one is sound.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connections(shape: &Shape, now: Mono) -> usize {
    shape.room(now, 0).max(1) as usize
}

/// An address, and the source that it is reached by: it may let in one and not the other.
pub(super) type Path = (Option<Arc<NamedSource>>, SocketAddr);

/// What is known of addresses, whichever site they are of.
#[derive(Default)]
pub(super) struct Health {
    ill: Mutex<HashMap<Path, Illness>>,
    broken_tls: Mutex<BrokenTls>,
}

#[derive(Clone, Copy)]
struct Illness {
    since: Instant,
    was_silent: bool,
}

impl Health {
    /// An address didn't get as far as a transaction; `was_silent`: it didn't even answer.
    pub(super) fn failed(&self, path: Path, was_silent: bool) {
        let mut ill = self.ill();
        if ill.len() >= ADDRESSES_MAX {
            ill.retain(|_, illness| illness.since.elapsed() < LAST_FOR);
        }
        if ill.len() < ADDRESSES_MAX {
            ill.insert(path, Illness { since: Instant::now(), was_silent });
        }
    }

    /// An address works.
    pub(super) fn works(&self, path: &Path) {
        let mut ill = self.ill();
        if !ill.is_empty() {
            ill.remove(path);
        }
    }

    /// Whether it goes behind the others.
    pub(super) fn is_ill(&self, path: &Path) -> bool {
        self.ill().get(path).is_some_and(|illness| illness.since.elapsed() < LAST_FOR)
    }

    /// Whether it was silent just now, so that asking again would only wait again.
    pub(super) fn is_spared(&self, path: &Path) -> bool {
        let is_recent = |illness: &Illness| illness.was_silent && illness.since.elapsed() < SPARED_FOR;
        self.ill().get(path).is_some_and(is_recent)
    }

    /// Whether a host's TLS is known as broken.
    pub(super) fn has_broken_tls(&self, host: &HostName, address: IpAddr, now: Mono) -> bool {
        self.broken().contains(host, address, now)
    }

    /// Remembers that a host's TLS is broken.
    pub(super) fn remember_broken_tls(&self, host: &HostName, address: IpAddr, now: Mono) {
        self.broken().remember(host.clone(), address, now);
    }

    /// Forgets what is old.
    pub(super) fn tidy(&self) {
        self.ill().retain(|_, illness| illness.since.elapsed() < LAST_FOR);
    }

    fn ill(&self) -> MutexGuard<'_, HashMap<Path, Illness>> {
        self.ill.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broken(&self) -> MutexGuard<'_, BrokenTls> {
        self.broken_tls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: u32) -> SiteLimits {
        SiteLimits { connections, ..SiteLimits::default() }
    }

    fn at(secs: u64) -> Mono {
        Mono::from_start(Duration::from_secs(secs))
    }

    #[tokio::test(start_paused = true)]
    async fn a_site_that_fails_a_whole_window_is_suspended_and_then_probed() {
        let pulse = Pulse::new(limits(20), BackoffLimits::default());
        let mut changes = Vec::new();
        while changes.last().is_none_or(|change| *change == Change::None) && changes.len() < 20 {
            assert!(matches!(pulse.start(at(1)), Room::For(_)));
            changes.push(pulse.finish(Some(Feedback::Bad), at(1)).1);
        }
        let Some(Change::Suspended(wait)) = changes.last() else { panic!("{changes:?}") };
        assert!(matches!(pulse.start(at(1)), Room::Suspended(left) if left == *wait));
        let later = at(1).after(*wait);
        assert_eq!(pulse.start(later), Room::For(1), "one finds out");
        let (room, change) = pulse.finish(Some(Feedback::Good), later);
        assert_eq!(change, Change::MoreRoom);
        assert!((1..5).contains(&room), "and lets the others go gradually: {room}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_site_gets_more_connections_up_to_its_limit() {
        let pulse = Pulse::new(limits(8), BackoffLimits::default());
        for _ in 0..200 {
            assert!(matches!(pulse.start(at(1)), Room::For(_)));
            pulse.finish(Some(Feedback::Good), at(1));
        }
        assert_eq!(pulse.start(at(1)), Room::For(8));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_is_spared_for_a_moment_and_last_for_a_while() {
        let health = Health::default();
        let path: Path = (None, "192.0.2.1:25".parse().unwrap());
        health.failed(path.clone(), true);
        assert!(health.is_spared(&path) && health.is_ill(&path));
        tokio::time::advance(SPARED_FOR).await;
        assert!(!health.is_spared(&path) && health.is_ill(&path));
        tokio::time::advance(LAST_FOR).await;
        assert!(!health.is_ill(&path));
        health.failed(path.clone(), false);
        assert!(!health.is_spared(&path) && health.is_ill(&path));
        health.works(&path);
        assert!(!health.is_ill(&path));
    }
}
