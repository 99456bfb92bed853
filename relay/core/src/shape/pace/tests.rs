//! A pace alone, and relays with endless mail against a far side that counts: on a simulated clock.

use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> Mono {
    Mono::from_start(Duration::from_millis(millis))
}

#[test]
fn without_a_complaint_nothing_waits() {
    let mut pace = Pace::new();
    for _ in 0..1_000 {
        assert_eq!(pace.take(at(5)), Ok(()));
        pace.taken(at(5));
    }
    assert_eq!((pace.per_second(), pace.few()), (None, u32::MAX));
}

#[test]
fn a_complaint_makes_a_pace_a_bit_below_what_was_taken() {
    let mut pace = Pace::new();
    for n in 0..300 {
        pace.taken(at(n * 10));
    }
    assert_eq!(pace.slower(at(3_000)), Heard::Begun);
    let first = pace.per_second().expect("a pace");
    assert!((75.0..=85.0).contains(&first), "{first}");
    assert!(pace.take(at(3_000)).is_err());
    assert_eq!(pace.slower(at(3_100)), Heard::Heeded);
    let same_round = pace.per_second().expect("a pace");
    assert!(same_round >= first, "{same_round}");
    assert_eq!(pace.slower(at(3_600)), Heard::Heeded);
    let second = pace.per_second().expect("a pace");
    assert!((same_round * 0.84..same_round * 0.95).contains(&second), "{second}");
}

#[test]
fn what_refuses_everything_is_closed_until_it_takes_something() {
    let mut pace = Pace::new();
    let heard: Vec<Heard> = (0..12).map(|round| pace.slower(at(round * 1_000))).collect();
    assert_eq!(heard[0], Heard::Begun);
    assert_eq!(heard[9], Heard::Heeded);
    assert_eq!(heard[11], Heard::InVain);
    pace.taken(at(13_000));
    assert_eq!(pace.slower(at(14_000)), Heard::Heeded);
}

#[test]
fn an_urgent_message_goes_one_ahead_and_the_others_make_up_for_it() {
    let mut pace = Pace::new();
    pace.slower(at(0));
    let now = at(2_000);
    while pace.take(now).is_ok() {}
    let before = pace.look(now).expect_err("nothing is due");
    assert_eq!(pace.take_ahead(now), Ok(()));
    assert_eq!(pace.look(now).expect_err("less is due"), before + pace.per_message());
    assert!(pace.take_ahead(now).is_err(), "one, not all");
}

#[test]
fn a_pace_that_nobody_complains_about_ends() {
    let mut pace = Pace::new();
    pace.slower(at(0));
    pace.slower(at(1_000));
    assert!(!pace.is_none(at(2_000)));
    assert!(pace.is_none(at(300_000)));
    assert_eq!(pace.take(at(300_000)), Ok(()));
}

/// A token bucket that says `421 4.7.0` when it is empty.
struct Far {
    per_second: f64,
    tokens: f64,
    at: Mono,
}

impl Far {
    const BURST: f64 = 5.0;

    fn takes(&mut self, now: Mono) -> bool {
        let due = now.since(self.at).as_secs_f64() * self.per_second;
        (self.tokens, self.at) = ((self.tokens + due).min(Self::BURST), now);
        let takes = self.tokens >= 1.0;
        self.tokens -= if takes { 1.0 } else { 0.0 };
        takes
    }
}

/// A relay with endless mail over 20 connections.
#[derive(Default)]
struct Relay {
    pace: Pace,
    /// When each message that is under way arrives, or when its answer does and what that is.
    under_way: Vec<(Mono, Option<bool>)>,
}

impl Relay {
    const CONNECTIONS: usize = 20;
    /// One way.
    const LATENCY: Duration = Duration::from_millis(25);

    fn step(&mut self, now: Mono, far: &mut Far, count: &mut Count) {
        while self.under_way.len() < Self::CONNECTIONS && self.pace.take(now).is_ok() {
            self.under_way.push((now.after(Self::LATENCY), None));
        }
        for (when, answer) in &mut self.under_way {
            if *when > now {
                continue;
            }
            match answer {
                None => (*when, *answer) = (now.after(Self::LATENCY), Some(far.takes(now))),
                Some(true) => self.pace.taken(now),
                Some(false) => {
                    self.pace.slower(now);
                }
            }
            if *when <= now {
                let counted = if *answer == Some(true) { &mut count.taken } else { &mut count.refused };
                *counted += 1;
            }
        }
        self.under_way.retain(|(when, _)| *when > now);
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    taken: u32,
    refused: u32,
}

impl Count {
    fn refused_share(self) -> f64 {
        f64::from(self.refused) / f64::from(self.refused + self.taken).max(1.0)
    }
}

/// What each second saw, from a first one to a last.
fn simulate(relays: &mut [Relay], far: &mut Far, seconds: std::ops::Range<u64>) -> Vec<Count> {
    let second = |second: u64| {
        let mut count = Count::default();
        for millis in (0..1_000).step_by(5) {
            // Each one is first at times.
            let first = (millis / 5) as usize % relays.len();
            for n in 0..relays.len() {
                relays[(first + n) % relays.len()].step(at(second * 1_000 + millis), far, &mut count);
            }
        }
        count
    };
    seconds.map(second).collect()
}

fn sum(counts: &[Count]) -> Count {
    counts.iter().fold(Count::default(), |sum, one| Count {
        taken: sum.taken + one.taken,
        refused: sum.refused + one.refused,
    })
}

fn relays(count: usize) -> Vec<Relay> {
    std::iter::repeat_with(Relay::default).take(count).collect()
}

#[test]
fn relays_find_what_a_far_side_takes_and_are_seldom_refused() {
    for count in [1, 4] {
        let mut relays = relays(count);
        let mut far = Far { per_second: 20.0, tokens: Far::BURST, at: at(0) };
        let first = sum(&simulate(&mut relays, &mut far, 0..60));
        for minute in 1..10 {
            let seen = sum(&simulate(&mut relays, &mut far, minute * 60..(minute + 1) * 60));
            let rate = f64::from(seen.taken) / 60.0;
            assert!(
                (16.0..=24.0).contains(&rate),
                "{count} relays, minute {minute}: {rate} taken per second"
            );
            let refused = seen.refused_share();
            assert!(refused < 0.10, "{count} relays, minute {minute}: {refused} of the tries refused");
        }
        assert!(first.taken > 600, "{count} relays, the first minute: {first:?}");
    }
}

#[test]
fn a_far_side_that_takes_more_gets_more() {
    for count in [1, 4] {
        let mut relays = relays(count);
        let mut far = Far { per_second: 20.0, tokens: Far::BURST, at: at(0) };
        simulate(&mut relays, &mut far, 0..120);
        far.per_second = 100.0;
        let seen = simulate(&mut relays, &mut far, 120..720);
        let minutes: Vec<u32> = seen.chunks(60).map(|minute| sum(minute).taken / 60).collect();
        assert!(minutes.iter().any(|rate| *rate >= 80), "{count} relays: {minutes:?} taken per second");
        let last = sum(&seen[540..]);
        assert!(last.refused_share() < 0.10, "{count} relays: {last:?}");
    }
}

#[test]
fn a_far_side_that_takes_less_is_sent_less() {
    let mut relays = relays(4);
    let mut far = Far { per_second: 100.0, tokens: Far::BURST, at: at(0) };
    simulate(&mut relays, &mut far, 0..120);
    far.per_second = 5.0;
    simulate(&mut relays, &mut far, 120..180);
    let seen = sum(&simulate(&mut relays, &mut far, 180..240));
    assert!((240..=360).contains(&seen.taken), "{seen:?}");
    assert!(seen.refused_share() < 0.20, "{seen:?}");
}

proptest! {
    #[test]
    fn whoever_waits_as_long_as_told_may_go_and_nobody_waits_for_long(
        steps in proptest::collection::vec((0_u64..5_000, 0_u8..3), 0..300),
    ) {
        let (mut pace, mut now) = (Pace::new(), 0);
        for (passed, what) in steps {
            now += passed;
            match what {
                0 => pace.taken(at(now)),
                1 => { pace.slower(at(now)); }
                _ => {
                    if let Err(wait) = pace.take(at(now)) {
                        prop_assert!(wait <= Duration::from_secs(11), "{wait:?}");
                        // The pace may only have grown meanwhile.
                        prop_assert_eq!(pace.take(at(now).after(wait)), Ok(()));
                        now += wait.as_millis() as u64 + 1;
                    }
                }
            }
            prop_assert!(pace.per_second().is_none_or(|pace| pace >= LEAST * 0.999));
        }
    }
}
