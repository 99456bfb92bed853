//! Which servers run, which of them drain, when a MailRelay may go.

use std::sync::Arc;

use super::*;
use crate::{
    gather::RelayPod,
    plan::{
        Kind,
        tests::{MANAGED, live, snapshot},
    },
    report::{QueueReport, Report, ShardReport},
};

fn pod(shards: Vec<ShardReport>) -> RelayPod {
    RelayPod {
        name: "outbound-1".into(),
        uid: "p1".into(),
        address: None,
        is_ready: true,
        is_ending: false,
        annotated_hash: None,
        report: Some(Report { queue: Some(QueueReport { shards }), ..Report::default() }),
    }
}

fn shard(name: &str, state: &str, deliveries: Option<u64>) -> ShardReport {
    ShardReport {
        name: name.into(),
        standing: "InUse".into(),
        state: Some(state.into()),
        uuid: Some(format!("uuid-{name}")),
        deliveries,
        ..ShardReport::default()
    }
}

/// The spec has two shards; this many run.
fn running(servers: i32, told: Vec<ShardReport>) -> Snapshot {
    let mut snapshot = snapshot(MANAGED);
    let set = Arc::new(live(Kind::StatefulSet, servers));
    snapshot.children.insert((Kind::StatefulSet, "outbound-queue".into()), set);
    snapshot.pods = vec![pod(told)];
    snapshot
}

fn servers_of(snapshot: &Snapshot) -> i32 {
    validate(snapshot).valid.expect("valid").servers.expect("managed").count
}

fn draining(snapshot: &Snapshot) -> Vec<bool> {
    let config = validate(snapshot).valid.expect("valid").config;
    config.queue.shards.iter().map(|shard| shard.draining).collect()
}

#[test]
fn a_shard_that_is_not_asked_for_any_more_drains_and_stays_until_it_is_empty() {
    let full = running(3, vec![shard("c", "Draining", Some(4))]);
    assert_eq!((servers_of(&full), draining(&full)), (3, vec![false, false, true]));
    let unknown = running(3, vec![shard("c", "Draining", None)]);
    assert_eq!(servers_of(&unknown), 3, "not known is not empty");
    let open = running(3, vec![shard("c", "Open", Some(0))]);
    assert_eq!(servers_of(&open), 3, "it may still be given mail");
    let empty = running(3, vec![shard("c", "Closed", Some(0))]);
    assert_eq!((servers_of(&empty), draining(&empty)), (2, vec![false, false]));
}

#[test]
fn shards_go_from_the_last_one_on() {
    let told = vec![shard("c", "Closed", Some(0)), shard("d", "Draining", Some(1))];
    assert_eq!(servers_of(&running(4, told)), 4);
}

#[test]
fn a_queue_that_was_seen_is_named_so_that_an_empty_server_in_its_place_is_noticed() {
    let mut snapshot = running(2, vec![shard("a", "Open", Some(0))]);
    let config = validate(&snapshot).valid.expect("valid").config;
    assert_eq!(config.queue.shards[0].uuid.as_deref(), Some("uuid-a"));
    // All pods are gone: the status remembers.
    snapshot.pods.clear();
    let mut relay = (*snapshot.relay).clone();
    relay.status = Some(postrider_crds::MailRelayStatus {
        shards: vec![postrider_crds::ShardStatus {
            name: "a".into(),
            uuid: Some("uuid-a".into()),
            standing: None,
        }],
        ..Default::default()
    });
    snapshot.relay = Arc::new(relay);
    let config = validate(&snapshot).valid.expect("valid").config;
    assert_eq!(config.queue.shards[0].uuid.as_deref(), Some("uuid-a"));
}

fn going(mut snapshot: Snapshot, annotation: Option<&str>) -> Snapshot {
    let mut relay = (*snapshot.relay).clone();
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH);
    relay.metadata.deletion_timestamp = Some(now);
    relay.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    relay.metadata.annotations =
        annotation.map(|value| [(ABANDON_QUEUE.to_owned(), value.to_owned())].into());
    snapshot.relay = Arc::new(relay);
    snapshot
}

#[test]
fn a_relay_with_mail_in_its_queue_does_not_go() {
    let full = vec![shard("a", "Draining", Some(0)), shard("b", "Draining", Some(7))];
    let waits = going(running(2, full.clone()), None);
    assert_eq!(ending(&waits), Ending::Waits(Some(7)));
    assert_eq!(finalizer(&waits, ending(&waits)), None);
    assert!(draining(&waits).iter().all(|one| *one), "it takes nothing new");
    let silent = going(running(2, Vec::new()), None);
    assert_eq!(ending(&silent), Ending::Waits(None), "no answer is not empty");
    assert_eq!(ending(&going(running(2, full.clone()), Some("true"))), Ending::MayGo);
    assert_eq!(ending(&going(running(2, full), Some("no"))), Ending::Waits(Some(7)));
}

#[test]
fn a_relay_whose_queue_is_empty_goes() {
    let empty = vec![shard("a", "Draining", Some(0)), shard("b", "Closed", Some(0))];
    let snapshot = going(running(2, empty), None);
    assert_eq!(ending(&snapshot), Ending::MayGo);
    assert_eq!(finalizer(&snapshot, Ending::MayGo), Some(Vec::new()));
}

#[test]
fn half_the_shards_told_of_is_not_all_of_them() {
    let snapshot = going(running(2, vec![shard("a", "Draining", Some(0))]), None);
    assert_eq!(ending(&snapshot), Ending::Waits(None));
}
