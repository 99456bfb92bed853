//! The pace of one site, as its attempts meet it.
//! **Owns:** who waits for it, and when who comes again. **Never:** how fast it is (core::shape::pace), what a reply asks.
//! It is this relay's own: nobody is asked, other relays find theirs.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use postrider_core::{
    limits::Turns,
    shape::pace::{Heard, Pace},
};
use postrider_mail::Mono;
use postrider_queue::{Lane, incarnation::Clock, lane::Limited, limit::Limiter};

use super::limits::{PutOff, SHORT, Who};

/// How often anybody waits with its connection, if others are always faster.
const PATIENCE: usize = 20;

/// The pace of one site.
pub(super) struct PaceGate {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pace: Pace,
    turns: Turns<Lane>,
    /// Of urgent mail, which waits behind no other.
    urgent_turns: Turns<Lane>,
}

impl PaceGate {
    /// None yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Whether mail needn't come at all for now.
    pub(super) fn look(&self, who: Who<'_>) -> Result<(), PutOff> {
        let seen = self.state().look(who, self.clock.now());
        match seen {
            Err(wait) if wait > SHORT => Err(self.put_off(who)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The turn of a message that goes now.
    pub(super) async fn turn(&self, who: Who<'_>) -> Result<(), PutOff> {
        for _ in 0..PATIENCE {
            let taken = self.state().take(who, self.clock.now());
            match taken {
                Ok(()) => return Ok(()),
                Err(wait) if wait > SHORT => break,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
        Err(self.put_off(who))
    }

    /// The far side took a message.
    pub(super) fn taken(&self) {
        self.state().pace.taken(self.clock.now());
    }

    /// The far side said that this was too fast. Says how that was taken, and the pace from now on.
    pub(super) fn slower(&self) -> (Heard, Option<f64>) {
        let mut state = self.state();
        (state.pace.slower(self.clock.now()), state.pace.per_second())
    }

    /// How long mail stays away that the pace lets wait: behind the others of the site that do; if it is urgent, only
    /// behind those that are as well.
    pub(super) fn put_off(&self, who: Who<'_>) -> PutOff {
        self.state().put_off(who, self.clock.now())
    }

    /// Whether there is a pace.
    pub(super) fn is_kept(&self) -> bool {
        !self.state().pace.is_none(self.clock.now())
    }

    /// Nothing that holds the lock can fail half-way, so a poisoned one is sound.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn look(&mut self, who: Who<'_>, now: Mono) -> Result<(), Duration> {
        if who.is_urgent() { self.pace.look_ahead(now) } else { self.pace.look(now) }
    }

    fn take(&mut self, who: Who<'_>, now: Mono) -> Result<(), Duration> {
        if who.is_urgent() { self.pace.take_ahead(now) } else { self.pace.take(now) }
    }

    fn put_off(&mut self, who: Who<'_>, now: Mono) -> PutOff {
        let wait = self.look(who, now).err().unwrap_or_default().max(Duration::from_millis(1));
        let few = self.pace.few();
        let turns = if who.is_urgent() { &mut self.urgent_turns } else { &mut self.turns };
        let share = self.pace.per_message().saturating_mul(few);
        let wait = turns.of(who.lane.clone(), now, now.after(wait), share).since(now);
        PutOff { limited: Limited { limiter: Limiter::Pace, wait, few }, is_for_all: false }
    }
}

#[cfg(test)]
mod tests {
    use postrider_mail::{Class, Domain};
    use postrider_queue::RouteName;

    use super::*;

    fn lane(class: Class, domain: &str) -> Lane {
        let domain = Domain::parse(domain).expect("a domain");
        Lane { class, domain, route: RouteName::default_route(), flow: None }
    }

    fn wait(state: &mut State, lane: &Lane, now: Mono) -> Duration {
        state.put_off(Who { lane, urgency: lane.class }, now).limited.wait
    }

    /// A pace of less than a message a second, and the time it has that at.
    fn slow() -> (State, Mono) {
        let (mut state, now) = (State::default(), Mono::from_start(Duration::from_secs(5)));
        for round in 0..5 {
            state.pace.slower(now.after(Duration::from_secs(round)));
        }
        (state, now.after(Duration::from_secs(5)))
    }

    fn waits(state: &mut State, class: Class, now: Mono) -> Vec<Duration> {
        (0..30).map(|n| wait(state, &lane(class, &format!("d{n}.example")), now)).collect()
    }

    #[test]
    fn a_bounce_waits_behind_no_lanes_turn() {
        let (mut state, now) = slow();
        let waits = waits(&mut state, Class::Bulk, now);
        assert!(waits[29] > Duration::from_secs(20), "{waits:?}");
        let bounce = wait(&mut state, &lane(Class::Transactional, "far.example"), now);
        assert!(bounce < Duration::from_secs(1), "{bounce:?}");
    }

    #[test]
    fn urgent_lanes_come_one_behind_the_other() {
        let (mut state, now) = slow();
        let waits = waits(&mut state, Class::Transactional, now);
        assert!(waits.is_sorted() && waits[29] > Duration::from_secs(20), "{waits:?}");
    }
}
