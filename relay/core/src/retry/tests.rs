//! Schedules grow and end; a destination that is down is probed alone and let go gradually.

use std::time::Duration;

use postrider_mail::{Due, Mono};
use proptest::prelude::*;

use super::*;

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

#[test]
fn the_default_schedule_tries_twice_while_a_greylist_waits_and_then_ever_later() {
    let schedule = Schedule::default();
    let first = schedule.wait(1, 0);
    assert!((minutes(3)..minutes(4)).contains(&first), "{first:?}");
    let second = first + schedule.wait(2, 0);
    assert!((minutes(9)..minutes(12)).contains(&second), "{second:?}");
    assert!((50..=60).contains(&(schedule.wait(10, 0).as_secs() / 60)));
}

#[test]
fn mail_ends_with_its_time() {
    let schedule = Schedule::default();
    let accepted = Due::from_unix_millis(1_000_000);
    let expires = schedule.expires(accepted);
    assert_eq!(schedule.after(9, expires, expires, 0), Retry::Expired);
    let last = schedule.after(9, expires, accepted.after(schedule.max_age - minutes(1)), 0);
    assert_eq!(last, Retry::At(expires), "the last wait ends with the mail's time, not behind it");
}

#[test]
fn a_delay_is_told_between_its_time_and_the_end() {
    let schedule = Schedule::default();
    let accepted = Due::from_unix_millis(0);
    let told = |hours: u64| schedule.is_delayed(accepted, accepted.after(minutes(60 * hours)));
    assert!(!told(3) && told(4) && told(100) && !told(120));
    let silent = Schedule { delay_notice: None, ..schedule };
    assert!(!silent.is_delayed(accepted, accepted.after(minutes(600))));
}

proptest! {
    #[test]
    fn retries_grow_and_end(
        initial in 1_u64..7200, max in 1_u64..86_400, max_age in 1_u64..10 * 86_400, seed: u64,
    ) {
        let schedule = Schedule {
            initial: Duration::from_secs(initial),
            max: Duration::from_secs(max),
            max_age: Duration::from_secs(max_age),
            delay_notice: None,
        };
        let accepted = Due::from_unix_millis(seed >> 16);
        let expires = schedule.expires(accepted);
        let (mut now, mut before, mut attempts) = (accepted, Duration::ZERO, 0_u32);
        while let Retry::At(due) = schedule.after(attempts + 1, expires, now, seed.wrapping_add(attempts.into())) {
            attempts += 1;
            let wait = now.until(due);
            prop_assert!(due > now && due <= expires);
            prop_assert!(wait <= schedule.max.max(FLOOR));
            // The top of the schedule sways by a fifth; below it, each wait is longer than the one before.
            prop_assert!(due == expires || wait.as_secs_f64() >= before.as_secs_f64() * 0.79, "{wait:?} after {before:?}");
            prop_assert!(u64::from(attempts) <= 24 + 2 * max_age / max.min(initial).max(1) + 2);
            (before, now) = (wait, due);
        }
        prop_assert_eq!(now, expires);
    }

    #[test]
    fn any_policy_and_any_count_give_a_wait(initial: u64, max: u64, attempts: u32, seed: u64) {
        let schedule = Schedule {
            initial: Duration::from_millis(initial),
            max: Duration::from_millis(max),
            ..Schedule::default()
        };
        prop_assert!(schedule.wait(attempts, seed) >= FLOOR);
    }
}

fn at(seconds: u64) -> Mono {
    Mono::from_start(Duration::from_secs(seconds))
}

#[test]
fn a_destination_that_is_down_is_probed_by_one_and_let_go_gradually() {
    let mut lane = Backoff::new(BackoffLimits::default());
    assert_eq!(lane.room(at(0), 7), u32::MAX);
    let wait = lane.down(at(0), 1).expect("it is suspended");
    assert!((30..=60).contains(&wait.as_secs()));
    assert_eq!((lane.room(at(1), 0), lane.wakes(at(1))), (0, Some(at(0).after(wait))));
    assert_eq!(lane.down(at(1), 2), None, "late failures make no wait longer");

    let later = at(0).after(wait);
    assert_eq!((lane.room(later, 0), lane.wakes(later)), (1, None));
    lane.started(later);
    assert_eq!(lane.room(later, 1), 0, "the rest waits for the probe");
    let longer = lane.down(later, 1).expect("the probe failed");
    assert!(longer > wait);

    let later = later.after(longer);
    lane.started(later);
    assert!(lane.up(), "waiting mail is woken");
    let mut window = lane.room(later, 0);
    assert_eq!(window, 2);
    while lane.state() != BackoffState::Open {
        lane.up();
        assert!(lane.room(later, 0) > window);
        window = lane.room(later, 0);
    }
    let wait = lane.down(later, 3).expect("it is suspended");
    assert!(wait <= minutes(1), "an answer forgets the failures before it");
}

#[test]
fn a_probe_that_says_nothing_is_followed_by_another() {
    let mut lane = Backoff::new(BackoffLimits::default());
    let later = at(0).after(lane.down(at(0), 1).expect("it is suspended"));
    lane.started(later);
    lane.unknown(later);
    assert_eq!(lane.room(later, 0), 1);
}

#[test]
fn waits_are_bounded_and_asked_ones_kept() {
    let limits = BackoffLimits::default();
    let mut lane = Backoff::new(limits);
    let mut now = at(0);
    for seed in 0..40 {
        let wait = lane.down(now, seed).expect("it is suspended");
        assert!(wait <= limits.max);
        now = now.after(wait);
    }
    lane.hold_off(now, minutes(600));
    assert_eq!(lane.wakes(now), Some(now.after(minutes(600))));
    lane.hold_off(now, minutes(1));
    assert_eq!(lane.wakes(now), Some(now.after(minutes(600))), "never shorter than it waits already");
}

#[test]
fn who_was_only_too_much_at_once_comes_soon_but_not_for_ever() {
    let schedule = Schedule::default();
    let waits: Vec<u64> = (1..=5).map(|attempts| schedule.wait_soon(attempts, 1).as_secs()).collect();
    assert_eq!(waits, [2, 4, 8, 16, 32]);
    assert_eq!(schedule.wait_soon(6, 1), schedule.wait(6, 1));
    let hasty = Schedule { initial: Duration::from_secs(1), max: Duration::from_secs(1), ..schedule };
    assert!(hasty.wait_soon(3, 1) <= Duration::from_secs(1));
}
