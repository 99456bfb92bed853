//! What a MailRelay's status says.

use postrider_core::identity::{Finding, FindingKind};

use super::*;
use crate::{
    gather::RelayPod,
    plan::tests::{MANAGED, snapshot},
    report::{ConfigReport, QueueReport, Report},
    validate::validate,
};

fn now() -> Time {
    Time(jiff::Timestamp::UNIX_EPOCH)
}

fn pod(shard: ShardReport) -> RelayPod {
    RelayPod {
        name: "outbound-1".into(),
        uid: "p1".into(),
        address: None,
        is_ready: true,
        is_ending: false,
        annotated_hash: None,
        report: Some(Report {
            config: ConfigReport { hash: "new".into(), error: None },
            queue: Some(QueueReport { shards: vec![shard] }),
        }),
    }
}

fn shard(standing: &str) -> ShardReport {
    ShardReport {
        name: "a".into(),
        standing: standing.into(),
        clock_agrees: Some(true),
        deliveries: Some(12),
        oldest_seconds: Some(119),
        ..ShardReport::default()
    }
}

struct Said(MailRelayStatus);

impl Said {
    fn of(&self, type_: &str) -> (&str, &str, &str) {
        let one = self.0.conditions.iter().find(|one| one.type_ == type_).expect(type_);
        (&one.status, &one.reason, &one.message)
    }
}

fn status(snapshot: &Snapshot, rollout: &Rollout, obstacle: Option<(&'static str, String)>) -> Said {
    status_with(snapshot, rollout, obstacle, None)
}

fn status_with(
    snapshot: &Snapshot,
    rollout: &Rollout,
    obstacle: Option<(&'static str, String)>,
    identity: Option<&Judgement>,
) -> Said {
    let judged = validate(snapshot);
    let facts = Facts {
        snapshot,
        judged: &judged,
        obstacle,
        hash: Some("new"),
        rollout,
        wanted: 0,
        ending: Ending::Stays,
        identity,
    };
    Said(relay_status(&facts, &now()))
}

fn all_run() -> Rollout {
    Rollout { ready: 1, current: 1, failures: Vec::new() }
}

#[test]
fn figures_of_the_queue_are_told_by_the_minute() {
    let mut snapshot = snapshot(MANAGED);
    snapshot.pods = vec![pod(shard("InUse"))];
    let said = status(&snapshot, &all_run(), None);
    let queue = said.0.queue.clone().expect("told");
    assert_eq!((queue.deliveries, queue.oldest.map(|age| age.to_string())), (12, Some("1m".to_owned())));
    assert_eq!(said.of("QueueDurable"), ("True", "Durable", ""));
    assert_eq!(said.of("QueueLost"), ("False", "NothingLost", ""));
}

#[test]
fn nobody_tells_is_unknown_not_empty() {
    let said = status(&snapshot(MANAGED), &Rollout::default(), None);
    assert_eq!(said.0.queue, None);
    assert_eq!(said.of("QueueDurable").0, "Unknown");
    assert_eq!(said.of("Programmed"), ("False", "Pending", "no pod is ready"));
}

#[test]
fn a_server_that_does_not_keep_what_it_is_given_is_told_with_what_to_do() {
    let mut snapshot = snapshot(MANAGED);
    let mut bad = shard("Unusable");
    bad.problems = vec!["appendfsync: found everysec; expected always; set it".into()];
    snapshot.pods = vec![pod(bad)];
    let said = status(&snapshot, &all_run(), None);
    let expected = "shard a: appendfsync: found everysec; expected always; set it";
    assert_eq!(said.of("QueueDurable"), ("False", "NotDurable", expected));
    assert_eq!(said.of("Ready"), ("False", "NotDurable", expected));
}

#[test]
fn a_lost_queue_says_how_much_was_there() {
    let mut snapshot = snapshot(MANAGED);
    let mut lost = shard("Lost");
    lost.lost_deliveries = Some(345);
    snapshot.pods = vec![pod(lost)];
    let said = status(&snapshot, &all_run(), None);
    let (status, reason, message) = said.of("QueueLost");
    assert_eq!((status, reason), ("True", "Lost"));
    assert!(message.contains("345 deliveries") && message.contains("ctl queue adopt a"), "{message}");
}

#[test]
fn what_stands_in_the_way_is_said_where_people_look() {
    let obstacle = Some((reasons::NAME_TAKEN, "found Service outbound that is not ours".to_owned()));
    let said = status(&snapshot(MANAGED), &all_run(), obstacle);
    assert_eq!(said.of("Accepted").1, "NameTaken");
    assert_eq!(said.of("Ready"), ("False", "NameTaken", "found Service outbound that is not ours"));
    assert_eq!(said.of("Programmed").0, "False");
}

#[test]
fn a_missing_certificate_is_said_of_its_listener_too() {
    let manifest = MANAGED.replace("port: 25,", "port: 25, tls: {certificateRef: {name: mail-tls}},");
    let said = status(&snapshot(&manifest), &all_run(), None);
    assert_eq!(said.of("ResolvedRefs").1, "SecretNotFound");
    assert_eq!(said.0.listeners[0].conditions[0].status, "False");
    assert_eq!(said.of("Accepted").0, "True");
}

fn finding(kind: FindingKind) -> Finding {
    Finding { kind, subject: "it".into(), found: "this".into(), expected: "that".into() }
}

#[test]
fn what_the_dns_says_is_told_and_does_not_make_it_unready() {
    let snapshot = snapshot(MANAGED);
    let before = status(&snapshot, &all_run(), None);
    assert_eq!(before.of("EgressIdentity"), ("Unknown", "Pending", "the DNS has not been looked at yet"));
    assert_eq!(before.of("DKIMPublished"), ("True", "NoKeys", ""));
    let judgement = Judgement { egress: vec![finding(FindingKind::PtrMissing); 7], ..Judgement::default() };
    let said = status_with(&snapshot, &all_run(), None, Some(&judgement));
    let (status, reason, message) = said.of("EgressIdentity");
    assert_eq!((status, reason), ("False", "PtrMissing"));
    assert!(message.starts_with("it: found this; expected that\n") && message.ends_with("\nand 2 more"));
    assert_ne!(said.of("Ready").1, "PtrMissing");
    let good = status_with(&snapshot, &all_run(), None, Some(&Judgement::default()));
    let note = "spec.egress.addresses is empty: only names were looked at";
    assert_eq!(good.of("EgressIdentity"), ("True", "NamesFit", note));
}

#[test]
fn what_was_said_of_this_generation_stays_until_somebody_has_looked() {
    let mut snapshot = snapshot(MANAGED);
    let judgement = Judgement { egress: vec![finding(FindingKind::EhloMismatch)], ..Judgement::default() };
    let said = status_with(&snapshot, &all_run(), None, Some(&judgement)).0;
    let relay = std::sync::Arc::make_mut(&mut snapshot.relay);
    relay.status = Some(said);
    let again = status(&snapshot, &all_run(), None);
    assert_eq!(again.of("EgressIdentity").1, "EhloMismatch");
    let relay = std::sync::Arc::make_mut(&mut snapshot.relay);
    relay.metadata.generation = Some(relay.metadata.generation.unwrap_or_default() + 1);
    assert_eq!(status(&snapshot, &all_run(), None).of("EgressIdentity").1, "Pending");
}

#[test]
fn a_fleet_behind_a_smarthost_can_do_without() {
    let manifest = MANAGED.replace("  listeners:", "  egress: {identity: Unchecked}\n  listeners:");
    let said = status(&snapshot(&manifest), &all_run(), None);
    assert_eq!(said.of("EgressIdentity").1, "Unchecked");
}
