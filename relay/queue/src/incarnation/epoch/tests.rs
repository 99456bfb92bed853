//! When the gate closes, and for how long.

use super::*;

fn at(millis: u64) -> Mono {
    Mono::from_start(Duration::from_millis(millis))
}

fn epoch(run_id: &str, accepted: u64, since_millis: u64) -> Epoch {
    Epoch { run_id: run_id.into(), accepted, known: 0, since: Duration::from_millis(since_millis) }
}

#[test]
fn a_store_that_runs_for_long_lets_a_new_pod_in_at_once() {
    let mut gate = EpochGate::default();
    assert_eq!(gate.observe(&epoch("a", 0, 60_000), at(0)), EpochChange::Same);
    assert_eq!(gate.closed_for(at(0)), None);
}

#[test]
fn a_new_pod_waits_for_those_that_knew_the_old_store() {
    let mut gate = EpochGate::default();
    assert_eq!(gate.observe(&epoch("a", 0, 1_000), at(0)), EpochChange::Same);
    assert_eq!(gate.closed_for(at(500)), Some(Duration::from_millis(1_500)));
    assert_eq!(gate.closed_for(at(2_000)), None);
}

#[test]
fn a_reconnect_to_the_same_store_is_no_change() {
    let mut gate = EpochGate::default();
    gate.observe(&epoch("a", 5, 60_000), at(0));
    assert_eq!(gate.observe(&epoch("a", 9, 60_000), at(0)), EpochChange::Same);
    assert_eq!(gate.closed_for(at(0)), None);
}

#[test]
fn who_knew_the_old_store_waits_in_full_however_late_it_comes() {
    let mut gate = EpochGate::default();
    gate.observe(&epoch("a", 5, 60_000), at(0));
    assert_eq!(gate.observe(&epoch("b", 5, 60_000), at(0)), EpochChange::NewRun);
    assert_eq!(gate.closed_for(at(2_999)), Some(Duration::from_millis(1)));
}

#[test]
fn a_store_that_forgot_messages_says_how_many() {
    let mut gate = EpochGate::default();
    gate.observe(&epoch("a", 5, 60_000), at(0));
    gate.saw_accepted(12);
    let asked = Epoch { known: gate.accepted_seen(), ..epoch("a", 10, 60_000) };
    assert_eq!(gate.observe(&asked, at(0)), EpochChange::WentBack { missing: 2 });
    assert_eq!(gate.closed_for(at(0)), Some(GATE));
    // Told once: from here on the store's count is the one to compare with.
    let asked = Epoch { known: gate.accepted_seen(), ..asked };
    assert_eq!(gate.observe(&asked, at(9_000)), EpochChange::Same);
}

#[test]
fn mail_accepted_while_a_connection_is_checked_is_no_loss() {
    let mut gate = EpochGate::default();
    gate.observe(&epoch("a", 5, 60_000), at(0));
    // The check reads 5; then 7 more are accepted over other connections; then the check is judged.
    let asked = Epoch { known: gate.accepted_seen(), ..epoch("a", 5, 60_000) };
    gate.saw_accepted(12);
    assert_eq!(gate.observe(&asked, at(0)), EpochChange::Same);
    assert_eq!(gate.closed_for(at(0)), None);
    assert_eq!(gate.accepted_seen(), 12);
}
