//! Only who stood still under unbroken watch is dead.

use proptest::prelude::*;

use super::*;

const DEAD: Incarnation = Incarnation::from_bits(1);
const ALIVE: Incarnation = Incarnation::from_bits(2);

fn at(millis: u64) -> Mono {
    Mono::from_start(Duration::from_millis(millis))
}

/// Looks every 250 ms from `from` up to and including `until`, each read taking 10 ms; `DEAD` stands still at 7.
fn watch(observer: &mut Observer, from: u64, until: u64) -> Option<u64> {
    (from..=until).step_by(250).find(|&now| {
        let dead = observer.look(&[(DEAD, 7), (ALIVE, now / 250)], at(now), at(now + 10));
        assert!(dead.is_empty() || dead == [(DEAD, 7)]);
        !dead.is_empty()
    })
}

#[test]
fn a_counter_that_stands_still_for_four_seconds_is_dead() {
    // First seen at 10 ms; the first read sent 4 s after that is the one at 4,250 ms.
    assert_eq!(watch(&mut Observer::new(), 0, 10_000), Some(4_250));
}

#[test]
fn a_slow_read_restarts_the_observations() {
    let mut observer = Observer::new();
    assert_eq!(watch(&mut observer, 0, 4_000), None);
    assert!(observer.look(&[(DEAD, 7)], at(4_250), at(4_751)).is_empty());
    assert_eq!(watch(&mut observer, 5_000, 20_000), Some(9_250));
}

#[test]
fn an_error_or_a_reconnect_restarts_the_observations() {
    let mut observer = Observer::new();
    assert_eq!(watch(&mut observer, 0, 4_000), None);
    observer.restart();
    assert_eq!(watch(&mut observer, 4_250, 20_000), Some(8_500));
}

#[test]
fn a_survivor_that_was_paused_itself_judges_nobody() {
    let mut observer = Observer::new();
    assert_eq!(watch(&mut observer, 0, 1_000), None);
    // The node slept for a minute, and everybody with it.
    assert_eq!(watch(&mut observer, 61_000, 70_000), Some(65_250));
}

#[test]
fn a_beat_in_time_saves_a_life() {
    let mut observer = Observer::new();
    assert_eq!(watch(&mut observer, 0, 4_000), None);
    assert!(observer.look(&[(DEAD, 8)], at(4_250), at(4_260)).is_empty());
    assert!(observer.look(&[(DEAD, 8)], at(4_500), at(4_510)).is_empty());
}

#[test]
fn who_left_and_came_back_is_watched_anew() {
    let mut observer = Observer::new();
    assert_eq!(watch(&mut observer, 0, 3_000), None);
    assert!(observer.look(&[(ALIVE, 100)], at(3_250), at(3_260)).is_empty());
    assert_eq!(watch(&mut observer, 3_500, 20_000), Some(7_750));
}

proptest! {
    /// Whoever is reaped has not had a beat run in the store for 4 s before the read that condemned it was sent.
    #[test]
    fn nobody_is_reaped_within_four_seconds_of_a_beat(
        looks in proptest::collection::vec((1_u64..1_600, 0_u64..700, any::<bool>(), 0_u32..12), 1..80),
    ) {
        let mut observer = Observer::new();
        let (mut now, mut counter, mut last_beat) = (0_u64, 1_u64, 0_u64);
        for (wait, takes, beats, fails) in looks {
            now += wait;
            if beats {
                counter += 1;
                last_beat = now;
            }
            if fails == 0 {
                observer.restart();
                continue;
            }
            let dead = observer.look(&[(DEAD, counter)], at(now), at(now + takes));
            if !dead.is_empty() {
                prop_assert_eq!(dead, vec![(DEAD, counter)]);
                prop_assert!(now - last_beat >= 4_000);
            }
            now += takes;
        }
    }
}
