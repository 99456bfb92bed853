//! A site's window: it opens with success, closes with failure, and a dead site costs one probe.

use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> Mono {
    Mono::from_start(Duration::from_secs(seconds))
}

fn good(shape: &mut Shape) -> Change {
    shape.finished(Some(Feedback::Good), at(0), 1)
}

fn bad(shape: &mut Shape) -> Change {
    shape.finished(Some(Feedback::Bad), at(0), 1)
}

#[test]
fn a_windows_worth_of_success_opens_it_by_one_up_to_the_limit() {
    let mut shape = Shape::new(ShapeLimits::default());
    assert_eq!((shape.window(), shape.room(at(0), 2)), (5, 3));
    for _ in 0..6 {
        good(&mut shape);
    }
    assert_eq!(shape.window(), 6);
    for _ in 0..1000 {
        good(&mut shape);
    }
    assert_eq!(shape.window(), 20);
    shape.limit(ShapeLimits { max: 3, ..ShapeLimits::default() });
    assert_eq!(shape.window(), 3);
}

#[test]
fn one_failure_among_successes_kills_nothing() {
    let mut shape = Shape::new(ShapeLimits::default());
    for _ in 0..100 {
        assert_eq!(bad(&mut shape), Change::None);
        good(&mut shape);
    }
    assert_eq!(shape.state(), BackoffState::Open);
}

#[test]
fn a_cohort_of_failures_suspends_and_a_probe_brings_it_back() {
    let mut shape = Shape::new(ShapeLimits::default());
    let changes: Vec<_> = (0..5).map(|_| bad(&mut shape)).collect();
    let suspended = changes.iter().find_map(|change| match change {
        Change::Suspended(wait) => Some(*wait),
        Change::None | Change::MoreRoom => None,
    });
    let wait = suspended.expect("all of a window failed");
    assert_eq!(shape.room(at(0), 0), 0);
    assert_eq!(shape.wakes(at(0)), Some(at(0).after(wait)));

    let later = at(0).after(wait);
    assert_eq!(shape.room(later, 0), 1, "one probe");
    shape.started(later);
    assert_eq!(shape.room(later, 1), 0);
    assert_eq!(shape.finished(Some(Feedback::Good), later, 1), Change::MoreRoom);
    assert_eq!(shape.room(later, 0), 2, "gradually");
}

#[test]
fn a_failed_probe_suspends_again_at_once() {
    let mut shape = Shape::new(ShapeLimits { start: 1, ..ShapeLimits::default() });
    let Change::Suspended(wait) = bad(&mut shape) else { panic!("a window of one failed") };
    let later = at(0).after(wait);
    shape.started(later);
    let Change::Suspended(longer) = shape.finished(Some(Feedback::Bad), later, 1) else {
        panic!("the probe failed")
    };
    assert!(longer > wait);
}

#[test]
fn what_says_nothing_changes_nothing() {
    let mut shape = Shape::new(ShapeLimits::default());
    assert_eq!(shape.finished(None, at(0), 1), Change::None);
    assert_eq!((shape.window(), shape.state()), (5, BackoffState::Open));
}

#[test]
fn who_wants_fewer_connections_gets_fewer_and_is_not_asked_for_more_soon() {
    let mut shape = Shape::new(ShapeLimits { start: 20, ..ShapeLimits::default() });
    for _ in 0..5 {
        shape.fewer(at(1));
    }
    assert_eq!(shape.window(), 15, "they said it of the same twenty");
    shape.fewer(at(2));
    assert_eq!(shape.window(), 11);
    for _ in 0..100 {
        shape.finished(Some(Feedback::Good), at(3), 1);
    }
    assert_eq!(shape.window(), 11);
    for _ in 0..20 {
        shape.finished(Some(Feedback::Good), at(603), 1);
    }
    assert_eq!(shape.window(), 12);
    for second in 604..640 {
        shape.fewer(at(second));
    }
    assert_eq!(shape.window(), 1);
    assert!(!shape.fewer(at(650)), "who wants fewer than one wants none");
}

#[test]
fn who_wants_nothing_for_a_time_gets_nothing_then_one_then_more() {
    let mut shape = Shape::new(ShapeLimits::default());
    let hour = Duration::from_secs(3_600);
    assert_eq!(shape.suspend(at(10), hour), Change::Suspended(hour));
    assert_eq!(shape.finished(Some(Feedback::Good), at(11), 1), Change::None, "this was under way");
    assert_eq!(shape.wakes(at(3_600)), Some(at(3_610)));
    assert_eq!(shape.room(at(3_610), 0), 1);
    shape.started(at(3_610));
    assert_eq!(shape.finished(Some(Feedback::Good), at(3_611), 1), Change::MoreRoom);
    assert_eq!(shape.room(at(3_611), 0), 2);
}

proptest! {
    #[test]
    fn the_window_stays_in_bounds_and_never_stands_still_forever(
        start in 0_u32..50, max in 0_u32..50, answers in proptest::collection::vec(any::<Option<bool>>(), 0..300),
    ) {
        let mut shape = Shape::new(ShapeLimits { start, max, ..ShapeLimits::default() });
        let mut now = at(0);
        for (seed, answer) in answers.into_iter().enumerate() {
            // Whoever waits as long as it is told may start one.
            now = shape.wakes(now).unwrap_or(now);
            prop_assert!(shape.room(now, 0) >= 1);
            shape.started(now);
            let feedback = answer.map(|good| if good { Feedback::Good } else { Feedback::Bad });
            shape.finished(feedback, now, seed as u64);
            prop_assert!((1..=max.max(1)).contains(&shape.window()));
        }
    }
}
