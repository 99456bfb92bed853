//! The fleet's connections to one site, this relay's part of them.
//! **Owns:** how many slots are in use here, when one can be used again, what the store is told of it. **Never:** a connection.
//! Who finds none has the idle connections of all sites that share them closed; for somebody urgent a busy one ends after its message, too,
//! and what comes free is kept until it comes again.
//! A slot is taken before a connection is opened and kept until it is closed. Where the far side didn't answer our farewell it rests for
//! a moment first: the far side may still count the connection.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use postrider_mail::Mono;
use postrider_queue::{
    incarnation::Clock,
    lane::Limited,
    limit::Limiter,
    shards::Shards,
    slots::{Book, Taken, Wish},
};

use super::PutOff;
use crate::site::{connections::Pool, held::Held};

/// How long a slot rests whose connection didn't end in peace.
const REST: Duration = Duration::from_millis(250);
/// How long a slot that nobody uses is kept for whoever is next.
const SPARE_FOR: Duration = Duration::from_secs(1);
/// How long the store isn't asked again that had no slot.
const FULL_FOR: Duration = Duration::from_millis(500);
/// How long mail waits that found no slot: connections of others end, or take the mail.
const WAIT: Duration = Duration::from_secs(1);
/// How long a slot is kept for somebody urgent who found none: it comes again after `WAIT`.
const KEPT_FOR: Duration = Duration::from_secs(3);
/// How often idle connections are looked for where slots are missed: sites may be many.
const SWEPT_EVERY: Duration = Duration::from_millis(100);
/// How many of a lane are worth a try at a time where slots are rare.
const FEW: u32 = 4;
/// Books that we may still stand in; more are never open at once but where shards come and go by the second.
const BOOKS_MAX: usize = 8;

/// The slots of one site.
pub(crate) struct SlotGate {
    key: String,
    shards: Shards,
    clock: Clock,
    state: Mutex<State>,
    /// Of the sites that share these slots.
    pools: Mutex<Vec<Weak<Pool<Held>>>>,
    /// Whoever holds it tells the store.
    telling: tokio::sync::Mutex<()>,
}

struct State {
    /// What the fleet may have, by whoever asked last: an edit changes it while connections are open.
    most: u32,
    /// Slots that the store counts as ours: of connections, and spare ones.
    used: u32,
    /// Spare ones, since when; the first that came back first.
    spare: VecDeque<Spare>,
    /// Connections that should end rather than go on: the fleet has too many.
    excess: u32,
    /// Where we are counted.
    book: Option<Book>,
    /// Where we no longer are, and should be taken out.
    left: Vec<Book>,
    /// Whether the store may believe something else.
    is_untold: bool,
    full_until: Mono,
    /// What comes free is for somebody urgent until then.
    kept_until: Mono,
    /// Idle connections have just been closed.
    swept_until: Mono,
}

struct Spare {
    since: Mono,
    is_at_peace: bool,
}

/// The right to one connection.
pub(crate) struct Permit {
    gate: Arc<SlotGate>,
    is_at_peace: bool,
}

impl SlotGate {
    pub(super) fn new(key: String, most: u32, shards: Shards, clock: Clock) -> Self {
        let state = Mutex::new(State::new(most));
        let telling = tokio::sync::Mutex::default();
        Self { key, shards, clock, state, pools: Mutex::default(), telling }
    }

    /// A site opens its connections by these slots.
    pub(in crate::site) fn is_used_by(&self, pool: &Arc<Pool<Held>>) {
        self.pools().push(Arc::downgrade(pool));
    }

    /// Somebody found no slot and comes again.
    pub(super) fn missed(&self, is_urgent: bool) {
        if !self.state().missed(is_urgent, self.clock.now()) {
            return;
        }
        let pools: Vec<_> = self.pools().iter().filter_map(Weak::upgrade).collect();
        pools.iter().flat_map(|pool| pool.idle_for(Duration::ZERO)).for_each(Held::close);
    }

    /// Takes a slot where there may be `most`.
    pub(crate) async fn take(self: &Arc<Self>, is_urgent: bool, most: u32) -> Result<Permit, PutOff> {
        self.state().set_most(most);
        if let Some(found) = self.take_here(is_urgent) {
            return found;
        }
        let _telling = self.telling.lock().await;
        // Whoever told before may have found that there is none.
        if let Some(found) = self.take_here(is_urgent) {
            return found;
        }
        let more = self.tell(1).await;
        let mut state = self.state();
        if more == Some(1) {
            state.used += 1;
            state.found(is_urgent);
            return Ok(self.permit());
        }
        state.full_until = self.clock.now().after(FULL_FOR);
        Err(put_off())
    }

    /// Whether there may be a slot, as far as is known here. Asks nobody.
    pub(super) fn look(&self) -> Result<(), PutOff> {
        self.state().look(self.clock.now())
    }

    /// A spare slot; or that there is none, as far as is known here.
    fn take_here(self: &Arc<Self>, is_urgent: bool) -> Option<Result<Permit, PutOff>> {
        let taken = self.state().take(is_urgent, self.clock.now())?;
        Some(taken.map(|()| self.permit()))
    }

    /// Tells the store what is in use here and takes more. None, if it gave no answer: it is told again.
    async fn tell(&self, more: u32) -> Option<u32> {
        let wish = {
            let mut state = self.state();
            state.is_untold = true;
            Wish { used: state.used, more, most: state.most }
        };
        match self.shards.take_slots(&self.key, wish).await {
            Ok(Taken { more, all, book }) => {
                let mut state = self.state();
                state.is_untold = false;
                state.excess = all.saturating_sub(state.most);
                let before = state.book.replace(book.clone()).filter(|before| *before != book);
                if state.left.len() < BOOKS_MAX {
                    state.left.extend(before);
                }
                state.left.retain(|left| *left != book);
                Some(more)
            }
            Err(why) => {
                tracing::debug!(limit = Limiter::Connections.as_str(), %why, "the keeper of slots gave no answer");
                None
            }
        }
    }

    /// Gives back spare slots, and tells a new keeper what is in use.
    pub(super) async fn tidy(&self) {
        self.pools().retain(|pool| pool.strong_count() > 0);
        let is_due = {
            let now = self.clock.now();
            let mut state = self.state();
            // Under the lock of whoever tells: a spare slot is never both given back and taken.
            state.give_back(now);
            let is_elsewhere = || self.shards.slot_book(&self.key).is_ok_and(|book| state.book != Some(book));
            state.is_untold || (state.used > 0 && is_elsewhere())
        };
        if is_due {
            let _telling = self.telling.lock().await;
            self.tell(0).await;
        }
        let left = self.state().left.first().cloned();
        if let Some(book) = left
            && self.shards.leave_book(&self.key, &book).await.is_ok()
        {
            self.state().left.retain(|one| *one != book);
        }
    }

    /// Whether a new one would be as good.
    pub(super) fn is_unused(&self) -> bool {
        let state = self.state();
        state.used == 0 && !state.is_untold && state.left.is_empty()
    }

    fn permit(self: &Arc<Self>) -> Permit {
        Permit { gate: self.clone(), is_at_peace: true }
    }

    /// Nothing that holds the lock can fail half-way, so a poisoned one is sound.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pools(&self) -> MutexGuard<'_, Vec<Weak<Pool<Held>>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(most: u32) -> Self {
        let past = Mono::from_start(Duration::ZERO);
        Self {
            most,
            used: 0,
            spare: VecDeque::new(),
            excess: 0,
            book: None,
            left: Vec::new(),
            is_untold: false,
            full_until: past,
            kept_until: past,
            swept_until: past,
        }
    }

    /// What was found out under another limit says nothing of this one. The store is told of it by the next tidying.
    fn set_most(&mut self, most: u32) {
        if self.most != most {
            self.most = most;
            self.full_until = Mono::from_start(Duration::ZERO);
            self.is_untold |= self.used > 0;
        }
    }

    /// A spare slot; or that there is none, as far as is known here.
    fn take(&mut self, is_urgent: bool, now: Mono) -> Option<Result<(), PutOff>> {
        if !is_urgent && self.is_kept(now) {
            return Some(Err(put_off()));
        }
        match self.usable(now) {
            Some(at) => {
                self.spare.remove(at);
                self.found(is_urgent);
                Some(Ok(()))
            }
            None if self.full_until > now => Some(Err(put_off())),
            None => None,
        }
    }

    /// Says whether idle connections should be looked for.
    fn missed(&mut self, is_urgent: bool, now: Mono) -> bool {
        if is_urgent {
            self.kept_until = now.after(KEPT_FOR);
        }
        let is_due = self.swept_until <= now;
        if is_due {
            self.swept_until = now.after(SWEPT_EVERY);
        }
        is_due
    }

    /// Who is urgent has a slot: nothing is kept for it any more.
    fn found(&mut self, is_urgent: bool) {
        if is_urgent {
            self.kept_until = Mono::from_start(Duration::ZERO);
        }
    }

    fn is_kept(&self, now: Mono) -> bool {
        self.kept_until > now
    }

    /// Whether a connection may be used again: one too many ends, and one for somebody urgent, if there is no slot for that yet.
    fn may_go_on(&mut self, is_urgent: bool, now: Mono) -> bool {
        if self.excess > 0 {
            self.excess -= 1;
            return false;
        }
        is_urgent || !self.is_kept(now) || !self.spare.is_empty()
    }

    /// Slots that were spare for long are no longer ours.
    fn give_back(&mut self, now: Mono) {
        let (before, is_kept) = (self.spare.len(), self.is_kept(now));
        self.spare.retain(|spare| is_kept || now.since(spare.since) < SPARE_FOR);
        let given = u32::try_from(before - self.spare.len()).unwrap_or(u32::MAX);
        self.is_untold |= given > 0;
        self.used = self.used.saturating_sub(given);
    }

    fn look(&self, now: Mono) -> Result<(), PutOff> {
        let is_full = self.full_until > now && self.usable(now).is_none();
        if is_full { Err(put_off()) } else { Ok(()) }
    }

    /// Where a spare slot stands that can be used.
    fn usable(&self, now: Mono) -> Option<usize> {
        let is_usable = |spare: &Spare| spare.is_at_peace || now.since(spare.since) >= REST;
        self.spare.iter().position(is_usable).filter(|_| self.excess == 0)
    }
}

impl Permit {
    /// A connection is about to be opened.
    pub(crate) fn opens(&mut self) {
        self.is_at_peace = false;
    }

    /// The far side has closed it too.
    pub(crate) fn closed(&mut self) {
        self.is_at_peace = true;
    }

    /// Whether a kept connection may be used again, by somebody urgent or not: asked for each that is about to be used.
    pub(crate) fn may_go_on(&self, is_urgent: bool) -> bool {
        self.gate.state().may_go_on(is_urgent, self.gate.clock.now())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let since = self.gate.clock.now();
        let is_at_peace = self.is_at_peace;
        self.gate.state().spare.push_back(Spare { since, is_at_peace });
    }
}

const fn put_off() -> PutOff {
    PutOff { limited: Limited { limiter: Limiter::Connections, wait: WAIT, few: FEW }, is_for_all: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_busy_one_ends_for_somebody_urgent_and_its_slot_is_kept_for_that() {
        let mut state = State { used: 2, ..State::new(2) };
        assert!(state.may_go_on(false, at(1_000)));
        state.missed(true, at(1_000));
        assert!(state.may_go_on(true, at(1_000)), "it is as urgent");
        assert!(!state.may_go_on(false, at(1_010)));
        state.spare.push_back(Spare { since: at(1_010), is_at_peace: true });
        assert!(state.may_go_on(false, at(1_020)), "one is enough");
        assert!(matches!(state.take(false, at(1_020)), Some(Err(_))));
        state.give_back(at(2_500));
        assert_eq!((state.used, state.spare.len()), (2, 1), "it comes again");
        assert!(matches!(state.take(true, at(2_500)), Some(Ok(()))));
        assert!(state.may_go_on(false, at(2_500)) && state.take(false, at(2_500)).is_none());
    }

    #[test]
    fn who_does_not_come_again_keeps_nothing_from_others_for_long() {
        let mut state = State { used: 1, ..State::new(1) };
        state.missed(true, at(0));
        state.spare.push_back(Spare { since: at(0), is_at_peace: true });
        assert!(matches!(state.take(false, at(2_999)), Some(Err(_))));
        assert!(matches!(state.take(false, at(3_000)), Some(Ok(()))));
    }

    #[test]
    fn a_limit_that_was_raised_is_not_full_and_one_that_changed_is_told() {
        let mut state = State { used: 5, full_until: at(500), ..State::new(5) };
        assert!(matches!(state.take(false, at(0)), Some(Err(_))));
        state.set_most(6);
        assert!(state.take(false, at(0)).is_none() && state.is_untold);
    }
}
