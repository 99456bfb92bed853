//! What may happen, one thing at a time.
//! **Owns:** beats, claims, releases and reaps, with the place of each guard. **Never:** an order: the search tries all.

use crate::{
    Guard, LEASE, Protocol, UNCHANGED_FOR, settle,
    state::{Beat, By, Outcome, Registered, Seen, State},
};

/// The bounds of the search.
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
    /// The far side wants it later, or never, or a rule holds it: no dot is needed for that.
    RelayEnds(Outcome),
    RelaySettles,
    SettlementSentAgain,
    StraySettles,
    ReleaseSent,
    ReleaseRuns,
    /// It runs and its reply is lost, so that it is sent once more.
    ReleaseRunsUnawares,
    HeldLetGo,
    SurvivorLooks,
    ReapRuns,
    SurvivorClaims,
    SurvivorDot,
    SurvivorBounces,
    SurvivorSettles,
}

impl Step {
    pub(crate) const ALL: [Self; 26] = [
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
        Self::RelayEnds(Outcome::Deferred),
        Self::RelayEnds(Outcome::Held),
        Self::RelayEnds(Outcome::Bounced),
        Self::RelaySettles,
        Self::SettlementSentAgain,
        Self::StraySettles,
        Self::ReleaseSent,
        Self::ReleaseRuns,
        Self::ReleaseRunsUnawares,
        Self::HeldLetGo,
        Self::SurvivorLooks,
        Self::ReapRuns,
        Self::SurvivorClaims,
        Self::SurvivorDot,
        Self::SurvivorBounces,
        Self::SurvivorSettles,
    ];

    /// Something sent before that arrives, or what lets it.
    fn is_arrival(self) -> bool {
        matches!(
            self,
            Self::RelaySettles
                | Self::StraySettles
                | Self::SurvivorSettles
                | Self::ReleaseRuns
                | Self::StoreComes
        )
    }
}

/// The state after it; none, if it can't happen now.
pub(crate) fn take(protocol: &Protocol, state: &State, step: Step) -> Option<State> {
    if state.is_over() && !step.is_arrival() {
        return None;
    }
    let mut next = *state;
    let done = match step {
        Step::Tick => tick(&mut next),
        Step::StoreGoes => store_goes(&mut next),
        Step::StoreComes => !std::mem::replace(&mut next.store.is_there, true),
        Step::BeatSent => beat_sent(&mut next),
        Step::BeatRuns => beat_runs(protocol, &mut next),
        Step::BeatAnswered => beat_answered(&mut next),
        Step::BeatLost => std::mem::take(&mut next.relay.beat) != Beat::None,
        Step::RelayClaims => relay_claims(protocol, &mut next, true),
        Step::RelayClaimsUnawares => relay_claims(protocol, &mut next, false),
        Step::RelayDot => settle::relay_dot(protocol, &mut next),
        Step::RelayEnds(outcome) => settle::relay_ends(&mut next, outcome),
        Step::RelaySettles => settle::relay_settles(protocol, &mut next),
        Step::SettlementSentAgain => settle::sent_again(&mut next),
        Step::StraySettles => settle::stray_runs(protocol, &mut next),
        Step::ReleaseSent => release_sent(&mut next),
        Step::ReleaseRuns => release_runs(protocol, &mut next, false),
        Step::ReleaseRunsUnawares => release_runs(protocol, &mut next, true),
        Step::HeldLetGo => held_let_go(&mut next),
        Step::SurvivorLooks => survivor_looks(protocol, &mut next),
        Step::ReapRuns => reap_runs(protocol, &mut next),
        Step::SurvivorClaims => survivor_claims(&mut next),
        Step::SurvivorDot => settle::survivor_dot(&mut next),
        Step::SurvivorBounces => settle::survivor_ends(&mut next, Outcome::Bounced),
        Step::SurvivorSettles => settle::survivor_settles(protocol, &mut next),
    };
    (done && next != *state).then_some(next)
}

/// I3, the second half: whatever the relay's claim is now, a survivor by itself frees it, and so does the relay if no attempt knows of it.
pub(crate) fn claim_comes_free(protocol: &Protocol, state: &State) -> bool {
    use Step::{ReapRuns, ReleaseRuns, ReleaseSent, StoreComes, SurvivorLooks, Tick};
    const WATCH: [Step; 8] = [StoreComes, SurvivorLooks, Tick, Tick, Tick, Tick, SurvivorLooks, ReapRuns];
    const COMPARE: [Step; 4] = [StoreComes, ReleaseRuns, ReleaseSent, ReleaseRuns];
    let after = |steps: &[Step]| {
        steps
            .iter()
            .fold(*state, |state, step| take(protocol, &state, *step).unwrap_or(state))
            .store
            .claims
            .relay
    };
    state.store.claims.relay.is_none()
        || after(&WATCH).is_none() && (state.unknown_claim().is_none() || after(&COMPARE).is_none())
}

/// A second. Ages stop where they say nothing more.
fn tick(state: &mut State) -> bool {
    let State { store, relay, survivor, .. } = state;
    if store.is_there {
        store.chance = (store.chance + 1).min(UNCHANGED_FOR);
    }
    relay.lease = relay.lease.map(|age| age + 1).filter(|age| *age < LEASE);
    if let Beat::Sent { age } | Beat::Confirmed { age } = &mut relay.beat {
        *age = (*age + 1).min(LEASE);
    }
    if let Some(seen) = &mut survivor.seen {
        seen.age = (seen.age + 1).min(UNCHANGED_FOR);
    }
    true
}

fn store_goes(state: &mut State) -> bool {
    let may = state.store.is_there && state.store.outages == 0;
    state.store.is_there = false;
    state.store.outages = 1;
    may
}

fn beat_sent(state: &mut State) -> bool {
    let may = state.relay.beat == Beat::None && state.relay.beats < BEATS;
    state.relay.beat = Beat::Sent { age: 0 };
    state.relay.beats += 1;
    may
}

fn beat_runs(protocol: &Protocol, state: &mut State) -> bool {
    let Beat::Sent { age } = state.relay.beat else { return false };
    let counter = match state.store.relay {
        Registered::Live { counter } => Some(counter + 1),
        Registered::Fenced if protocol.has(Guard::BeatNeverCreates) => None,
        Registered::Fenced => Some(0),
    };
    state.relay.beat = Beat::Refused;
    if let Some(counter) = counter {
        state.store.relay = Registered::Live { counter };
        state.store.chance = 0;
        state.relay.beat = Beat::Confirmed { age };
    }
    state.store.is_there
}

fn beat_answered(state: &mut State) -> bool {
    match std::mem::take(&mut state.relay.beat) {
        Beat::Confirmed { age } => state.relay.lease = Some(age).filter(|age| *age < LEASE),
        Beat::Refused => {
            state.relay.lease = None;
            state.relay.attempt = None;
        }
        Beat::None | Beat::Sent { .. } => return false,
    }
    true
}

/// The next claim, if there is something to claim.
fn claim(state: &mut State, by: By) -> Option<u8> {
    let store = &mut state.store;
    if !store.is_there || !store.is_in_lane || store.claims_given == CLAIMS {
        return None;
    }
    store.is_in_lane = false;
    store.claims_given += 1;
    *store.claim_of(by) = Some(store.claims_given);
    Some(store.claims_given)
}

fn relay_claims(protocol: &Protocol, state: &mut State, is_answered: bool) -> bool {
    let is_live = state.store.relay != Registered::Fenced || !protocol.has(Guard::ClaimNeedsLife);
    let may = state.relay.attempt.is_none() && is_live;
    let Some(number) = claim(state, By::Relay) else { return false };
    state.relay.attempt = is_answered.then_some(number);
    may
}

fn survivor_claims(state: &mut State) -> bool {
    let may = state.survivor.attempt.is_none() && state.survivor.settlement.is_none();
    state.survivor.attempt = claim(state, By::Survivor);
    may && state.survivor.attempt.is_some()
}

fn release_sent(state: &mut State) -> bool {
    let may = state.relay.release.is_none() && state.relay.attempt.is_none() && state.store.is_there;
    state.relay.release = state.unknown_claim();
    may && state.relay.release.is_some()
}

fn release_runs(protocol: &Protocol, state: &mut State, is_sent_again: bool) -> bool {
    let Some(number) = state.relay.release else { return false };
    let claimed = state.store.claims.relay;
    if claimed.is_some_and(|claimed| claimed == number || !protocol.has(Guard::ReleaseNeedsNumber)) {
        state.store.claims.relay = None;
        state.store.put_back();
    }
    if !is_sent_again {
        state.relay.release = None;
    }
    state.store.is_there
}

/// By a person, or as the reason is gone.
fn held_let_go(state: &mut State) -> bool {
    let may = state.store.is_there && std::mem::take(&mut state.store.is_held);
    state.store.put_back();
    may
}

fn survivor_looks(protocol: &Protocol, state: &mut State) -> bool {
    if !state.store.is_there {
        return false;
    }
    let Registered::Live { counter } = state.store.relay else { return false };
    let outages = state.store.outages;
    let patience = if protocol.has(Guard::ReapAfterLease) { UNCHANGED_FOR } else { LEASE - 2 };
    let same = state.survivor.seen.filter(|seen| {
        seen.counter == counter && (seen.outages == outages || !protocol.has(Guard::OutageRestartsLooks))
    });
    match same {
        Some(seen) if seen.age >= patience => state.survivor.reap = Some(counter),
        Some(_) => {}
        None => state.survivor.seen = Some(Seen { counter, age: 0, outages }),
    }
    true
}

fn reap_runs(protocol: &Protocol, state: &mut State) -> bool {
    let Some(seen) = state.survivor.reap.take() else { return false };
    let Registered::Live { counter } = state.store.relay else { return false };
    if counter == seen || !protocol.has(Guard::ReapComparesCounter) {
        state.store.relay = Registered::Fenced;
        state.reap_without_chance |= !state.store.gave_a_chance();
        if state.store.claims.relay.take().is_some() {
            state.store.put_back();
        }
    }
    state.store.is_there
}
