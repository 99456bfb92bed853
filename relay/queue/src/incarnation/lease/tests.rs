//! Whoever cannot prove that it is believed alive sends no dot.

use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> Mono {
    Mono::from_start(Duration::from_millis(millis))
}

const ME: Incarnation = Incarnation::from_bits(1);
const EARLIER_ME: Incarnation = Incarnation::from_bits(2);

fn registered_at(millis: u64) -> Lease {
    let mut lease = Lease::new();
    lease.registered(ME, at(millis));
    lease
}

#[test]
fn nobody_sends_a_dot_before_it_is_registered() {
    assert_eq!(Lease::new().check(ME, at(0)).unwrap_err(), NoPermit::ClaimLost { holder: ME });
}

#[test]
fn the_lease_runs_from_when_the_beat_was_sent() {
    let mut lease = registered_at(0);
    lease.confirmed(ME, at(1_000));
    assert!(lease.check(ME, at(3_499)).is_ok());
    assert_eq!(
        lease.check(ME, at(3_500)).unwrap_err(),
        NoPermit::BeatTooOld { age: Duration::from_millis(2_500) }
    );
}

#[test]
fn a_paused_pod_sends_no_dot() {
    // The process stood still from 1.1 s to 61 s; the boot-time clock did not. Nothing ran in between that could have told it.
    let mut lease = registered_at(0);
    lease.confirmed(ME, at(1_000));
    assert!(!lease.check(ME, at(61_000)).unwrap_err().is_final());
    // The beat that it sends on waking is refused: it was reaped. Now the connection is dropped.
    lease.fenced(ME);
    assert!(lease.check(ME, at(61_010)).unwrap_err().is_final());
}

#[test]
fn a_beat_confirmed_late_counts_from_its_sending() {
    let mut lease = registered_at(0);
    lease.confirmed(ME, at(2_000));
    lease.confirmed(ME, at(1_000));
    assert_eq!(lease.margin(at(2_000)), LEASE);
}

#[test]
fn a_claim_of_an_earlier_life_gets_no_permit() {
    let mut lease = registered_at(0);
    assert!(lease.check(EARLIER_ME, at(1)).unwrap_err().is_final());
    // Nor does a confirmation of that life keep this one alive.
    lease.confirmed(EARLIER_ME, at(2_000));
    assert!(lease.check(ME, at(2_600)).is_err());
    // A late refusal of the earlier life doesn't end this one.
    lease.confirmed(ME, at(2_600));
    lease.fenced(EARLIER_ME);
    assert!(lease.check(ME, at(2_700)).is_ok());
}

#[test]
fn an_unanswered_command_stops_the_dots_until_its_answer() {
    let mut lease = registered_at(0);
    let sending = lease.sent(at(100));
    let younger = lease.sent(at(400));
    assert!(lease.check(ME, at(600)).is_ok());
    assert_eq!(
        lease.check(ME, at(601)).unwrap_err(),
        NoPermit::Unanswered { waiting: Duration::from_millis(501) }
    );
    lease.answered(sending);
    assert!(lease.check(ME, at(900)).is_ok());
    assert!(lease.check(ME, at(901)).is_err());
    lease.answered(younger);
    assert!(lease.check(ME, at(901)).is_ok());
}

#[test]
fn a_new_store_stops_the_dots_for_three_seconds() {
    let mut lease = registered_at(0);
    let epoch = |run_id: &str, accepted| Epoch {
        run_id: run_id.into(),
        accepted,
        known: 0,
        since: Duration::from_secs(60),
    };
    assert_eq!(lease.observe_epoch(&epoch("a", 10), at(0)), EpochChange::Same);
    assert!(lease.check(ME, at(1)).is_ok());
    assert_eq!(lease.observe_epoch(&epoch("b", 10), at(1_000)), EpochChange::NewRun);
    for second in 1..=4 {
        lease.confirmed(ME, at(second * 1_000));
    }
    assert_eq!(
        lease.check(ME, at(3_999)).unwrap_err(),
        NoPermit::EpochGate { remaining: Duration::from_millis(1) }
    );
    assert!(lease.check(ME, at(4_000)).is_ok());
}

#[derive(Debug, Clone)]
enum Event {
    Beat { takes: u64 },
    LostBeat,
    Pause(u64),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u64..900).prop_map(|takes| Event::Beat { takes }),
        1 => Just(Event::LostBeat),
        1 => (1_u64..30_000).prop_map(Event::Pause),
        2 => (1_u64..1_500).prop_map(Event::Wait),
    ]
}

proptest! {
    /// Whatever happens to its beats: a permit means that the store ran a beat of this life less than 2.5 s ago, so no
    /// survivor, who needs 4 s of standstill, can have reaped it.
    #[test]
    fn a_permit_proves_a_beat_of_the_last_seconds(events in proptest::collection::vec(event(), 1..60)) {
        let mut lease = registered_at(0);
        let (mut now, mut last_run_in_store) = (0, 0);
        for event in events {
            match event {
                Event::Beat { takes } => {
                    let sent = now;
                    now += takes;
                    // The store ran it at some time between; the worst for us is the earliest.
                    last_run_in_store = sent;
                    lease.confirmed(ME, at(sent));
                }
                Event::LostBeat => now += 500,
                Event::Pause(millis) | Event::Wait(millis) => now += millis,
            }
            let permitted = lease.check(ME, at(now)).is_ok();
            prop_assert_eq!(permitted, now - last_run_in_store < 2_500);
        }
    }
}
