//! The lease protocol, searched through: every order of beats, claims, releases, settlements that are lost or come late, a reap, an
//! outage and lost replies, within bounds. Not the product's code but its rules, so that each of them can be left out in turn: a
//! search that doesn't find the harm of that would be worth nothing.
//! **Owns:** why each guard is there, what must hold. **Never:** how long anything takes in earnest (`incarnation/`, the crash tests).

mod settle;
mod state;
mod steps;

use std::collections::BTreeSet;

use state::State;
use stateright::{Checker, HasDiscoveries, Model, Property};
use steps::Step;

/// Seconds, as the product has them, but for 2.5 taken as 3: the harder case.
const LEASE: u8 = 3;
const UNCHANGED_FOR: u8 = 4;

/// What keeps the promises. One may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// A final dot takes a lease that a confirmed beat gave.
    LeaseBeforeDot,
    /// A survivor waits for longer than any lease lasts.
    ReapAfterLease,
    /// A reap names the counter that was seen.
    ReapComparesCounter,
    /// A beat of a fenced incarnation is refused.
    BeatNeverCreates,
    /// So is its claim.
    ClaimNeedsLife,
    /// A settlement schedules only what is claimed by its teller.
    SettleNeedsClaim,
    /// And only under the number of the claim that the attempt ran under.
    SettleNeedsNumber,
    /// A release takes the claim's number.
    ReleaseNeedsNumber,
    /// What a recipient that has ended gets later is ignored.
    EndedStaysEnded,
    /// The bounce is there with the end that it tells of.
    BounceWithTheEnd,
    /// After an outage survivors watch anew.
    OutageRestartsLooks,
}

const IN_ONE_PLACE: &str = "I2: a recipient waits in one place or has ended, and is counted so";
const CLAIMED_ONCE: &str = "I3: it is in one incarnation's claims at most";
const COMES_FREE: &str = "I3: nothing stays claimed once nobody tries it";
const NO_REWRITE_WITHOUT_CLAIM: &str = "I4: whoever lost the claim can't defer, hold or bounce";
const NO_DOT_WITHOUT_CLAIM: &str = "I4: no dot by whoever lost the claim";
const BOUNCES_WITH_THE_END: &str =
    "I5: the bounce is there when its recipient has ended by it, once and not else";
const NO_REAP_WITHOUT_CHANCE: &str = "nobody is reaped who couldn't beat";
const TAKEN_OVER: &str = "a survivor delivers what a dead relay had";

/// The harm that each prevents.
const HARM: [(Guard, &[&str]); 11] = [
    (Guard::LeaseBeforeDot, &[NO_DOT_WITHOUT_CLAIM]),
    (Guard::ReapAfterLease, &[NO_DOT_WITHOUT_CLAIM]),
    (Guard::ReapComparesCounter, &[NO_DOT_WITHOUT_CLAIM]),
    (Guard::BeatNeverCreates, &[NO_DOT_WITHOUT_CLAIM]),
    (Guard::ClaimNeedsLife, &[COMES_FREE]),
    (Guard::SettleNeedsClaim, &[IN_ONE_PLACE, CLAIMED_ONCE, NO_REWRITE_WITHOUT_CLAIM]),
    (Guard::SettleNeedsNumber, &[NO_REWRITE_WITHOUT_CLAIM, NO_DOT_WITHOUT_CLAIM]),
    (Guard::ReleaseNeedsNumber, &[NO_DOT_WITHOUT_CLAIM]),
    (Guard::EndedStaysEnded, &[IN_ONE_PLACE, BOUNCES_WITH_THE_END]),
    (Guard::BounceWithTheEnd, &[BOUNCES_WITH_THE_END]),
    (Guard::OutageRestartsLooks, &[NO_REAP_WITHOUT_CHANCE]),
];

/// A relay that may stop at any step, and a survivor that may take over its one delivery.
#[derive(Debug, Clone)]
struct Protocol {
    left_out: Option<Guard>,
}

impl Protocol {
    fn has(&self, guard: Guard) -> bool {
        self.left_out != Some(guard)
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    /// What can't happen now has no next state.
    fn actions(&self, _: &State, steps: &mut Vec<Step>) {
        steps.extend(Step::ALL);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        steps::take(self, state, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(IN_ONE_PLACE, |_, state: &State| state.store.is_in_one_place()),
            Property::always(CLAIMED_ONCE, |_, state: &State| state.store.is_claimed_once()),
            Property::always(COMES_FREE, |protocol, state: &State| steps::claim_comes_free(protocol, state)),
            Property::always(NO_REWRITE_WITHOUT_CLAIM, |_, state: &State| !state.rewritten_without_claim),
            Property::always(NO_DOT_WITHOUT_CLAIM, |_, state: &State| !state.dot_without_claim),
            Property::always(BOUNCES_WITH_THE_END, |_, state: &State| state.store.bounces_with_the_end()),
            Property::always(NO_REAP_WITHOUT_CHANCE, |_, state: &State| !state.reap_without_chance),
            Property::sometimes(TAKEN_OVER, |_, state: &State| state.is_taken_over()),
        ]
    }
}

#[test]
fn with_every_guard_nothing_harmful_is_found() {
    let checker = Protocol { left_out: None }.checker().threads(2).spawn_bfs().join();
    assert!(checker.unique_state_count() > 1_000_000, "{} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn without_any_one_guard_harm_is_found() {
    for (guard, harm) in HARM {
        let search = Protocol { left_out: Some(guard) }
            .checker()
            .finish_when(HasDiscoveries::AllOf(BTreeSet::from_iter(harm.iter().copied())));
        let checker = search.threads(2).spawn_bfs().join();
        for expected in harm {
            assert!(
                checker.discovery(expected).is_some(),
                "{guard:?} may be left out, as it seems: {expected}"
            );
        }
    }
}
