//! How attempts end: the final dot, the settlement, and what the store makes of it.
//! **Owns:** the rules of `settle`, with the place of each guard. **Never:** who has the claim.

use crate::{
    Guard, Protocol,
    state::{By, End, Outcome, Settlement, State, Store},
};

/// The final dot, at once after the permit; the far side takes it.
pub(crate) fn relay_dot(protocol: &Protocol, state: &mut State) -> bool {
    let has_permit = state.relay.lease.is_some() || !protocol.has(Guard::LeaseBeforeDot);
    dot_goes_out(state, By::Relay, state.relay.attempt);
    has_permit && relay_ends(state, Outcome::Delivered)
}

pub(crate) fn survivor_dot(state: &mut State) -> bool {
    dot_goes_out(state, By::Survivor, state.survivor.attempt);
    survivor_ends(state, Outcome::Delivered)
}

fn dot_goes_out(state: &mut State, by: By, attempt: Option<u8>) {
    state.dot_without_claim |= *state.store.claim_of(by) != attempt;
}

/// An attempt ends, and its settlement is on the way.
pub(crate) fn relay_ends(state: &mut State, outcome: Outcome) -> bool {
    let may = state.relay.settlement.is_none();
    state.relay.settlement = state.relay.attempt.take().map(|number| Settlement { number, outcome });
    may && state.relay.settlement.is_some()
}

pub(crate) fn survivor_ends(state: &mut State, outcome: Outcome) -> bool {
    state.survivor.settlement = state.survivor.attempt.take().map(|number| Settlement { number, outcome });
    state.survivor.settlement.is_some()
}

/// It runs, and the reply comes.
pub(crate) fn relay_settles(protocol: &Protocol, state: &mut State) -> bool {
    let told = state.relay.settlement.take();
    runs(protocol, state, By::Relay, told)
}

pub(crate) fn survivor_settles(protocol: &Protocol, state: &mut State) -> bool {
    let told = state.survivor.settlement.take();
    runs(protocol, state, By::Survivor, told)
}

/// No reply came: it is asked for again, and what was sent before may have run, may still come, or never.
pub(crate) fn sent_again(state: &mut State) -> bool {
    let may = state.relay.stray.is_none();
    state.relay.stray = state.relay.settlement;
    may && state.relay.stray.is_some()
}

/// Nobody hears the reply.
pub(crate) fn stray_runs(protocol: &Protocol, state: &mut State) -> bool {
    let told = state.relay.stray.take();
    runs(protocol, state, By::Relay, told)
}

fn runs(protocol: &Protocol, state: &mut State, by: By, told: Option<Settlement>) -> bool {
    let Some(told) = told else { return false };
    let before = state.store;
    let claimed = *state.store.claim_of(by);
    let has_claim = match claimed {
        None => !protocol.has(Guard::SettleNeedsClaim),
        Some(number) => number == told.number || !protocol.has(Guard::SettleNeedsNumber),
    };
    if has_claim {
        *state.store.claim_of(by) = None;
        apply(protocol, &mut state.store, told.outcome);
    } else if told.outcome == Outcome::Delivered {
        tell(protocol, &mut state.store);
    }
    // Facts are nobody's to forbid; all else is of who has the claim.
    let has_rewritten = told.outcome != Outcome::Delivered && state.store != before;
    state.rewritten_without_claim |= has_rewritten && claimed != Some(told.number);
    state.store.is_there
}

/// The claim held, and is taken out: everything counts.
fn apply(protocol: &Protocol, store: &mut Store, outcome: Outcome) {
    match outcome {
        Outcome::Delivered => ends(protocol, store, End::Delivered),
        Outcome::Bounced => ends(protocol, store, End::Bounced),
        Outcome::Deferred => store.put_back(),
        Outcome::Held => store.is_held = store.ended.is_none(),
    }
}

/// The claim is lost: that the recipient has it counts wherever the delivery is. Who has claimed it keeps an empty claim.
fn tell(protocol: &Protocol, store: &mut Store) {
    store.is_in_lane = false;
    store.is_held = false;
    ends(protocol, store, End::Delivered);
}

fn ends(protocol: &Protocol, store: &mut Store, end: End) {
    if store.ended.is_some() && protocol.has(Guard::EndedStaysEnded) {
        return;
    }
    store.ended = Some(end);
    store.ends_counted = (store.ends_counted + 1).min(2);
    // Else it is the relay's next request, which may never come.
    if end == End::Bounced && protocol.has(Guard::BounceWithTheEnd) {
        store.bounces = (store.bounces + 1).min(2);
    }
}
