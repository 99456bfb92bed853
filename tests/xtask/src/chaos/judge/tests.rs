//! Books made by hand, and what is said of them.

use super::*;

const FAR: &str = "far.example";

fn at(millis: u64) -> At {
    Duration::from_millis(millis)
}

/// One message, accepted at 1 s, with its copies.
fn books(copies: &[u64]) -> Books {
    let mut books = Books::default();
    books.accepted.insert("x-1".into(), (vec![FAR.into()], at(1_000)));
    let copy = |time: &u64| Arrival {
        id: "x-1".into(),
        queue_id: "a-1".into(),
        domain: FAR.into(),
        at: at(*time),
        is_unanswered: false,
    };
    books.arrivals = copies.iter().map(copy).collect();
    books
}

fn settled(at: At) -> Settled {
    Settled { relay: 0, delivery: "a-1".into(), domain: FAR.into(), end: End::Delivered, at }
}

fn bounce(name: &str, time: u64) -> Bounce {
    Bounce {
        id: "x-1".into(),
        name: name.into(),
        domains: vec![FAR.into()],
        at: at(time),
        is_unanswered: false,
    }
}

fn kill() -> Struck {
    Struck {
        from: at(1_500),
        to: at(4_000),
        is_disruptive: true,
        is_pause: false,
        relay: Some(0),
        is_kill: true,
        is_partition: false,
        is_outage: false,
        is_of_store: false,
        may_promote: false,
        is_clock: false,
    }
}

fn pause() -> Struck {
    Struck { is_kill: false, is_pause: true, ..kill() }
}

#[test]
fn a_message_that_arrived_or_bounced_is_not_lost() {
    assert_eq!(judge(&books(&[1_100]), &[]).fault(), None);
    let mut bounced = books(&[]);
    bounced.bounces.push(bounce("<a-1.1.report@relay.example>", 1_200));
    let verdict = judge(&bounced, &[]);
    assert_eq!((verdict.fault(), verdict.bounced), (None, 1));
    let lost = judge(&books(&[]), &[kill()]).fault().expect("nothing came");
    assert!(lost.starts_with("1 lost: x-1 to far.example"), "{lost}");
}

#[test]
fn in_a_protected_run_each_copy_is_signed_and_none_is_exposed() {
    let mut books = books(&[1_100]);
    books.signed = 1;
    assert_eq!(judge(&books, &[]).unprotected(), None);
    books.unsigned.push("x-1".into());
    let told = judge(&books, &[kill()]).unprotected();
    assert_eq!(told.as_deref(), Some("1 without both signatures: x-1"));
    books.exposed.push("x-1".into());
    let told = judge(&books, &[kill()]).unprotected();
    assert_eq!(told.as_deref(), Some("1 in clear or to a wrong certificate: x-1"));
}

#[test]
fn a_second_copy_needs_a_fault_for_its_reason() {
    assert!(judge(&books(&[1_100, 5_000]), &[]).fault().is_some());
    let verdict = judge(&books(&[1_100, 5_000]), &[kill()]);
    assert_eq!((verdict.fault(), verdict.explained), (None, 1));
    let mut unanswered = books(&[1_100, 5_000]);
    unanswered.arrivals[0].is_unanswered = true;
    assert_eq!(judge(&unanswered, &[]).fault(), None);
}

#[test]
fn a_second_copy_behind_a_confirmed_settlement_has_no_reason() {
    let mut books = books(&[1_600, 5_000]);
    books.settled.push(settled(at(1_700)));
    assert!(judge(&books, &[kill()]).fault().expect("it was over").contains("though settled"));
    books.settled[0].at = at(5_010);
    assert_eq!(judge(&books, &[kill()]).fault(), None);
    books.settled.push(settled(at(5_020)));
    assert!(judge(&books, &[kill()]).fault().is_some(), "two settlements");
}

#[test]
fn a_dot_of_a_relay_that_was_stopped_at_its_write_is_counted() {
    let mut books = books(&[3_000, 4_100]);
    books.settled.push(settled(at(3_010)));
    let verdict = judge(&books, &[pause()]);
    assert_eq!((verdict.fault(), verdict.late_dots), (None, 1));
    books.arrivals[1].at = at(4_300);
    assert!(judge(&books, &[pause()]).fault().is_some(), "too long after it woke");
}

#[test]
fn a_late_dot_is_of_the_relay_that_was_stopped() {
    let mut books = books(&[3_000, 4_100]);
    books.settled.push(settled(at(3_010)));
    let of_server = Struck { relay: None, is_of_store: true, ..pause() };
    assert!(judge(&books, &[of_server]).fault().is_some(), "a server of the queue was stopped");
    books.settled.push(Settled { relay: 1, end: End::ClaimLost, ..settled(at(4_150)) });
    assert!(
        judge(&books, &[pause()]).fault().is_some(),
        "the queue told another relay that its claim is lost"
    );
    books.settled[1].relay = 0;
    assert_eq!(judge(&books, &[pause()]).late_dots, 1);
}

#[test]
fn a_relay_that_sends_more_than_one_dot_when_it_wakes_does_not_look_before_it_sends() {
    let mut books = books(&[3_000, 4_100]);
    books.settled = vec![settled(at(3_010)), Settled { delivery: "a-2".into(), ..settled(at(3_010)) }];
    books.accepted.insert("x-2".into(), (vec![FAR.into()], at(1_000)));
    let others = books.arrivals.clone();
    let other = |one| Arrival { id: "x-2".into(), queue_id: "a-2".into(), ..one };
    books.arrivals.extend(others.into_iter().map(other));
    let verdict = judge(&books, &[pause()]);
    assert_eq!(verdict.late_dots, 1);
    assert!(verdict.fault().expect("two of one stop").contains("though settled"));
}

#[test]
fn a_bounce_that_comes_again_needs_a_reason_of_its_time() {
    const NAME: &str = "<a-1.1.report@relay.example>";
    let mut books = books(&[]);
    books.bounces = vec![bounce(NAME, 2_000), bounce(NAME, 5_000)];
    assert_eq!(judge(&books, &[kill()]).explained, 1);
    books.settled.push(Settled { delivery: "a-1.1".into(), domain: domain(DOMAINS), ..settled(at(2_010)) });
    let told = judge(&books, &[kill()]).fault().expect("its end was known");
    assert!(told.contains("a-1.1 to sender.example at 5s, though settled"), "{told}");
    books.settled.clear();
    books.bounces = vec![bounce(NAME, 30_000), bounce(NAME, 31_000)];
    assert!(judge(&books, &[kill()]).fault().is_some(), "the fault was long over");
}

#[test]
fn a_message_whose_end_was_told_twice_is_a_failure_whatever_happened() {
    let mut books = books(&[]);
    books.bounces =
        vec![bounce("<a-1.1.report@relay.example>", 2_000), bounce("<a-1.1.report@relay.example>", 5_000)];
    assert_eq!(judge(&books, &[kill()]).fault(), None, "one bounce that was sent twice");
    books.bounces[1].name = "<a-1.2.report@relay.example>".into();
    assert!(judge(&books, &[kill()]).fault().is_some(), "two bounces");
}

#[test]
fn a_message_that_was_delivered_and_refused_later_needs_a_reason_too() {
    let mut books = books(&[1_100]);
    books.bounces.push(bounce("<a-1.1.report@relay.example>", 5_000));
    assert!(judge(&books, &[]).fault().is_some());
    assert_eq!(judge(&books, &[kill()]).fault(), None);
    books.settled.push(settled(at(1_200)));
    assert!(judge(&books, &[kill()]).fault().is_some(), "the queue knew");
}

#[test]
fn what_the_client_sent_twice_is_its_own() {
    let mut books = books(&[1_100]);
    let again = Arrival { queue_id: "a-2".into(), ..books.arrivals[0].clone() };
    books.arrivals.push(again);
    assert!(judge(&books, &[]).fault().is_some(), "it sent it once");
    books.ambiguous.insert("x-1".into());
    let verdict = judge(&books, &[]);
    assert_eq!((verdict.fault(), verdict.resent), (None, 1));
}

#[test]
fn a_take_over_is_from_the_kill_to_the_reap_of_that_life() {
    let mut books = books(&[1_100]);
    books.lives.insert("old".into(), (0, at(100)));
    books.lives.insert("other".into(), (1, at(100)));
    books.reaped.insert("other".into(), at(1_600));
    books.reaped.insert("old".into(), at(6_000));
    assert_eq!(judge(&books, &[kill()]).takeovers, [at(4_500)]);
    let outage = Struck { is_of_store: true, is_kill: false, ..kill() };
    assert!(judge(&books, &[kill(), outage]).takeovers.is_empty(), "the queue was away");
}

#[test]
fn a_settlement_may_go_with_a_primary_if_nobody_is_left_to_tell_it_again() {
    let mut books = books(&[1_600, 30_000]);
    books.settled = vec![settled(at(1_700)), settled(at(30_010))];
    let failover = Struck { is_kill: false, relay: None, is_of_store: true, may_promote: true, ..kill() };
    assert!(
        judge(&books, std::slice::from_ref(&failover)).fault().is_some(),
        "the relay lives, and has to tell"
    );
    assert_eq!(judge(&books, &[failover.clone(), kill()]).fault(), None);
    let other = Struck { relay: Some(1), ..kill() };
    assert!(judge(&books, &[failover, other]).fault().is_some(), "another relay died");
}

#[test]
fn who_waits_for_the_server_of_three_that_is_away_is_answered_soon_after_its_return() {
    let outage = Struck { is_kill: false, relay: None, is_of_store: true, is_outage: true, ..kill() };
    let mut books = books(&[1_100]);
    let calm = (at(0), at(1_400));
    let (passed_on, on_its_way) = ((at(2_000), at(3)), (at(1_450), at(3_000)));
    books.waits = vec![calm, passed_on, on_its_way];
    let verdict = judge(&books, std::slice::from_ref(&outage));
    assert_eq!((verdict.fault(), &verdict.accept_waits[..]), (None, &[at(3_000)][..]));
    books.waits.push((at(1_500), at(14_000)));
    let verdict = judge(&books, std::slice::from_ref(&outage));
    assert_eq!(verdict.accept_waits, [at(14_000)]);
    let told = verdict.fault().expect("it was back for long");
    assert!(told.starts_with("1 waited too long: 14s from 1.5s"), "{told}");
    let long = Struck { to: at(60_000), ..outage.clone() };
    assert_eq!(judge(&books, std::slice::from_ref(&long)).fault(), None);
    books.waits = vec![(at(1_600), at(30_500))];
    assert!(judge(&books, &[long]).fault().is_some(), "longer than the intake waits");
    let beside = Struck { is_outage: false, from: at(20_000), ..outage.clone() };
    assert_eq!(judge(&books, &[outage, beside]).fault(), None, "another fault came upon it");
}
