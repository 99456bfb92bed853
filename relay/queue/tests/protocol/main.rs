//! The lease protocol, searched through: every order of beats, claims, releases, settles, a reap, an outage and lost replies, within
//! bounds. Not the product's code but its rules, so that each of them can be left out in turn: a search that doesn't find the harm
//! of that would be worth nothing.
//! **Owns:** why each guard is there. **Never:** how long anything takes in earnest (`incarnation/`, the crash tests).

mod state;
mod steps;

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
    /// Scheduling takes the claim.
    SettleNeedsClaim,
    /// A release takes the claim's number.
    ReleaseNeedsNumber,
    /// After an outage survivors watch anew.
    OutageRestartsLooks,
}

const GUARDS: [Guard; 7] = [
    Guard::LeaseBeforeDot,
    Guard::ReapAfterLease,
    Guard::ReapComparesCounter,
    Guard::BeatNeverCreates,
    Guard::SettleNeedsClaim,
    Guard::ReleaseNeedsNumber,
    Guard::OutageRestartsLooks,
];

const NO_DOT_WITHOUT_CLAIM: &str = "no dot by whoever lost the claim";
const NO_REAP_WITHOUT_CHANCE: &str = "nobody is reaped who couldn't beat";
const TAKEN_OVER: &str = "a survivor delivers what a dead relay had";

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

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend(Step::ALL.into_iter().filter(|step| steps::take(self, state, *step).is_some()));
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        steps::take(self, state, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_DOT_WITHOUT_CLAIM, |_, state: &State| !state.dot_without_claim),
            Property::always(NO_REAP_WITHOUT_CHANCE, |_, state: &State| !state.reap_without_chance),
            Property::sometimes(TAKEN_OVER, |_, state: &State| state.was_taken_over),
        ]
    }
}

#[test]
fn with_every_guard_nothing_harmful_is_found() {
    let checker = Protocol { left_out: None }.checker().threads(2).spawn_bfs().join();
    assert!(checker.unique_state_count() > 10_000, "{} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn without_any_one_guard_harm_is_found() {
    for guard in GUARDS {
        let search = Protocol { left_out: Some(guard) }.checker().finish_when(HasDiscoveries::AnyFailures);
        let checker = search.threads(2).spawn_bfs().join();
        let expected =
            if guard == Guard::OutageRestartsLooks { NO_REAP_WITHOUT_CHANCE } else { NO_DOT_WITHOUT_CLAIM };
        assert!(checker.discovery(expected).is_some(), "{guard:?} may be left out, as it seems");
    }
}
