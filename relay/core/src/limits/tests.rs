//! Rates, reserves and turns.

use super::*;

fn at(millis: u64) -> Mono {
    Mono::from_start(Duration::from_millis(millis))
}

#[test]
fn a_burst_that_nobody_said_is_what_comes_due_in_five_seconds() {
    let burst = |count, per| Rate::new(count, Duration::from_secs(per), None).burst;
    assert_eq!(burst(100, 60), 8);
    assert_eq!(burst(10, 1), 10, "never more than the whole");
    assert_eq!(burst(600, 3_600), 2, "one more than none");
    assert_eq!(burst(1, 3_600), 1);
    assert_eq!(Rate::new(5, Duration::from_secs(1), Some(50)).burst, 50);
}

#[test]
fn bulk_mail_leaves_some_of_a_burst_to_bounces_whatever_their_class() {
    assert_eq!(Class::ALL.map(|class| reserve(class, 8)), [0, 1, 2]);
    assert_eq!(Class::ALL.map(|class| reserve(class, 2)), [0, 1, 1]);
    assert_eq!(Class::ALL.map(|class| reserve(class, 1)), [0, 0, 0], "there is nothing to leave");
    assert_eq!(urgency(Class::Bulk, true), Class::Transactional);
    assert_eq!(urgency(Class::Bulk, false), Class::Bulk);
}

#[test]
fn many_who_wait_come_one_after_the_other_and_the_last_ones_look_again() {
    let mut turns = Turns::default();
    let share = Duration::from_millis(600);
    let mut turn = |who: u32, now| turns.of(who, at(now), at(1_100), share);
    assert_eq!(turn(1, 1_000), at(1_100), "as soon as there is something");
    assert_eq!(turn(2, 1_000), at(1_700));
    assert_eq!(turn(1, 1_050), at(1_100), "who has a turn keeps it");
    assert_eq!(turn(3, 1_000), at(2_300));
    assert_eq!(turn(1, 1_100), at(2_900), "who had one comes behind the others");
    for who in 10..10_000 {
        assert!(turn(who, 1_200) <= at(61_200), "{who}");
    }
    assert!(turns.of.len() <= TURNS_MAX);
    assert!(!turns.is_over(at(61_000)) && turns.is_over(at(61_200)));
}

#[test]
fn a_turn_is_never_before_there_is_something() {
    let mut turns = Turns::default();
    let hour = at(3_600_000);
    assert_eq!(turns.of(1, at(0), hour, Duration::from_secs(3_600)), hour);
    assert_eq!(turns.of(2, at(0), hour, Duration::from_secs(3_600)), hour, "not beyond the last turn");
}

#[test]
fn what_two_rules_set_is_counted_apart() {
    let owner = |name| Owner::rule(&RuleName::new("mail", "mail", name));
    assert_ne!(owner("a"), owner("b"));
    assert_ne!(owner("a"), Owner::default());
    assert_eq!(owner("newsletters").to_string(), format!("{}", owner("newsletters")));
}
