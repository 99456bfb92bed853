//! What may happen, one thing at a time.
//! **Owns:** each rule of the protocol, with the place of each guard. **Never:** an order: the search tries all.

use crate::{
    Guard, LEASE, Protocol, UNCHANGED_FOR,
    state::{Beat, By, Claim, Registered, Seen, State},
};

/// The bounds of the search.
const END: u8 = 7;
const CLAIMS: u8 = 3;
const BEATS: u8 = 2;

/// One thing that may happen. Who doesn't act is stopped, dead or slow: the search has that too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Tick,
    StoreGoes,
    StoreComes,
    BeatSent,
    BeatRuns,
    BeatAnswered,
    BeatLost,
    RelayClaims,
    /// The claim is made, its reply lost.
    RelayClaimsUnawares,
    RelayDot,
    DeferSent,
    DeferRuns,
    ReleaseSent,
    ReleaseRuns,
    /// It runs and its reply is lost, so that it is sent once more.
    ReleaseRunsUnawares,
    SurvivorLooks,
    ReapRuns,
    SurvivorClaims,
    SurvivorDot,
}

impl Step {
    pub(crate) const ALL: [Self; 19] = [
        Self::Tick,
        Self::StoreGoes,
        Self::StoreComes,
        Self::BeatSent,
        Self::BeatRuns,
        Self::BeatAnswered,
        Self::BeatLost,
        Self::RelayClaims,
        Self::RelayClaimsUnawares,
        Self::RelayDot,
        Self::DeferSent,
        Self::DeferRuns,
        Self::ReleaseSent,
        Self::ReleaseRuns,
        Self::ReleaseRunsUnawares,
        Self::SurvivorLooks,
        Self::ReapRuns,
        Self::SurvivorClaims,
        Self::SurvivorDot,
    ];
}

/// The state after it; none, if it can't happen now.
pub(crate) fn take(protocol: &Protocol, state: &State, step: Step) -> Option<State> {
    let mut next = state.clone();
    let done = match step {
        Step::Tick => tick(&mut next),
        Step::StoreGoes => store_goes(&mut next),
        Step::StoreComes => store_comes(&mut next),
        Step::BeatSent => beat_sent(&mut next),
        Step::BeatRuns => beat_runs(protocol, &mut next),
        Step::BeatAnswered => beat_answered(&mut next),
        Step::BeatLost => std::mem::take(&mut next.relay.beat) != Beat::None,
        Step::RelayClaims => relay_claims(&mut next, true),
        Step::RelayClaimsUnawares => relay_claims(&mut next, false),
        Step::RelayDot => relay_dot(protocol, &mut next),
        Step::DeferSent => {
            next.relay.defer.is_none() && {
                next.relay.defer = next.relay.attempt.take();
                next.relay.defer.is_some()
            }
        }
        Step::DeferRuns => defer_runs(protocol, &mut next),
        Step::ReleaseSent => release_sent(&mut next),
        Step::ReleaseRuns => release_runs(protocol, &mut next, false),
        Step::ReleaseRunsUnawares => release_runs(protocol, &mut next, true),
        Step::SurvivorLooks => survivor_looks(protocol, &mut next),
        Step::ReapRuns => reap_runs(protocol, &mut next),
        Step::SurvivorClaims => survivor_claims(&mut next),
        Step::SurvivorDot => survivor_dot(&mut next),
    };
    // What was done wrong is known: nothing that follows makes it worse.
    let goes_on = !state.dot_without_claim && !state.reap_without_chance;
    (done && goes_on && next != *state).then_some(next)
}

fn tick(state: &mut State) -> bool {
    state.now += 1;
    if state.store.is_there {
        state.store.chance = (state.store.chance + 1).min(UNCHANGED_FOR);
    }
    state.now <= END
}

fn store_goes(state: &mut State) -> bool {
    let may = state.store.is_there && state.store.outages == 0;
    state.store.is_there = false;
    state.store.outages = 1;
    may
}

fn store_comes(state: &mut State) -> bool {
    !std::mem::replace(&mut state.store.is_there, true)
}

fn beat_sent(state: &mut State) -> bool {
    let may = state.relay.beat == Beat::None && state.relay.beats < BEATS;
    state.relay.beat = Beat::Sent { at: state.now };
    state.relay.beats += 1;
    may
}

fn beat_runs(protocol: &Protocol, state: &mut State) -> bool {
    let Beat::Sent { at } = state.relay.beat else { return false };
    let is_good = match state.store.relay {
        Registered::Live { counter } => {
            state.store.relay = Registered::Live { counter: counter + 1 };
            true
        }
        Registered::Fenced if protocol.has(Guard::BeatNeverCreates) => false,
        Registered::Fenced => {
            state.store.relay = Registered::Live { counter: 0 };
            true
        }
    };
    if is_good {
        state.store.chance = 0;
    }
    state.relay.beat = Beat::Answered { sent: at, is_good };
    state.store.is_there
}

fn beat_answered(state: &mut State) -> bool {
    let Beat::Answered { sent, is_good } = std::mem::take(&mut state.relay.beat) else { return false };
    if is_good {
        state.relay.lease_from = Some(sent);
    } else {
        state.relay.lease_from = None;
        state.relay.attempt = None;
    }
    true
}

/// The next claim, if there is something to claim.
fn claim(state: &mut State, by: By) -> Option<u8> {
    let store = &mut state.store;
    if !store.is_there || store.has_ended || store.claim.is_some() || store.claims_given == CLAIMS {
        return None;
    }
    store.claims_given += 1;
    store.claim = Some(Claim { by, number: store.claims_given });
    Some(store.claims_given)
}

fn relay_claims(state: &mut State, is_answered: bool) -> bool {
    let may = state.relay.attempt.is_none() && matches!(state.store.relay, Registered::Live { .. });
    let Some(number) = claim(state, By::Relay) else { return false };
    state.relay.attempt = is_answered.then_some(number);
    may
}

/// The final dot, at once after the permit; that it was taken is settled with it.
fn relay_dot(protocol: &Protocol, state: &mut State) -> bool {
    let Some(number) = state.relay.attempt.take() else { return false };
    let has_lease = state.relay.lease_from.is_some_and(|from| state.now - from < LEASE);
    dot(state, Claim { by: By::Relay, number });
    has_lease || !protocol.has(Guard::LeaseBeforeDot)
}

fn survivor_dot(state: &mut State) -> bool {
    let Some(number) = state.survivor.attempt.take() else { return false };
    dot(state, Claim { by: By::Survivor, number });
    state.was_taken_over |= state.store.relay == Registered::Fenced;
    true
}

fn dot(state: &mut State, claim: Claim) {
    // Somebody else's that came through just before is the window of RFC 1047, which nothing closes.
    state.dot_without_claim |= state.store.claim != Some(claim) && !state.store.has_ended;
    // Facts are recorded wherever the delivery is.
    state.store.has_ended = true;
    state.store.claim = None;
}

fn defer_runs(protocol: &Protocol, state: &mut State) -> bool {
    let Some(number) = state.relay.defer.take() else { return false };
    let is_ours = state.store.claim == Some(Claim { by: By::Relay, number });
    if is_ours || !protocol.has(Guard::SettleNeedsClaim) {
        state.store.claim = None;
    }
    state.store.is_there
}

/// What is claimed in our name and no attempt knows of, as its reply was lost.
fn release_sent(state: &mut State) -> bool {
    let unknown = state.store.claim.filter(|claim| {
        claim.by == By::Relay && state.relay.attempt.is_none() && state.relay.defer != Some(claim.number)
    });
    let may = state.relay.release.is_none() && state.store.is_there;
    state.relay.release = unknown.map(|claim| claim.number);
    may && unknown.is_some()
}

fn release_runs(protocol: &Protocol, state: &mut State, is_sent_again: bool) -> bool {
    let Some(number) = state.relay.release else { return false };
    let is_it = state.store.claim.is_some_and(|claim| {
        claim.by == By::Relay && (claim.number == number || !protocol.has(Guard::ReleaseNeedsNumber))
    });
    if is_it {
        state.store.claim = None;
    }
    if !is_sent_again {
        state.relay.release = None;
    }
    state.store.is_there
}

fn survivor_looks(protocol: &Protocol, state: &mut State) -> bool {
    if !state.store.is_there {
        return false;
    }
    let Registered::Live { counter } = state.store.relay else { return false };
    let (now, outages) = (state.now, state.store.outages);
    let patience = if protocol.has(Guard::ReapAfterLease) { UNCHANGED_FOR } else { LEASE - 2 };
    let same = state.survivor.seen.filter(|seen| {
        seen.counter == counter && (seen.outages == outages || !protocol.has(Guard::OutageRestartsLooks))
    });
    match same {
        Some(seen) if now - seen.since >= patience => state.survivor.reap = Some(counter),
        Some(_) => {}
        None => state.survivor.seen = Some(Seen { counter, since: now, outages }),
    }
    true
}

fn reap_runs(protocol: &Protocol, state: &mut State) -> bool {
    let Some(seen) = state.survivor.reap.take() else { return false };
    let Registered::Live { counter } = state.store.relay else { return false };
    if counter == seen || !protocol.has(Guard::ReapComparesCounter) {
        state.store.relay = Registered::Fenced;
        state.reap_without_chance =
            state.store.chance + 1 < UNCHANGED_FOR && protocol.left_out.is_none_or(is_of_time);
        if state.store.claim.is_some_and(|claim| claim.by == By::Relay) {
            state.store.claim = None;
        }
    }
    state.store.is_there
}

/// Other guards left out make reaps too early as well, and worse: that is what is looked for then.
fn is_of_time(guard: Guard) -> bool {
    guard == Guard::OutageRestartsLooks
}

fn survivor_claims(state: &mut State) -> bool {
    let may = state.survivor.attempt.is_none();
    state.survivor.attempt = claim(state, By::Survivor);
    may && state.survivor.attempt.is_some()
}
