//! Ending attempts: facts and scheduling, reports, fences.

use std::time::Duration;

use postrider_mail::{
    OutcomeKind::{Bounced, Deferred, Delivered},
    ReversePath,
};
use postrider_queue::{Kind, NewNotice, Part, Rest, Settled, Settlement, Start, inspect::Place};

use super::pod::{HOUR, NOW, Pod, bounce, envelope, found, outcome, settlement};
use crate::{model::proxy::Proxy, server::Server, world};

async fn start() -> (Server, Pod) {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    (server, pod)
}

#[tokio::test]
async fn a_deferred_recipient_is_tried_again_alone() {
    let (_server, pod) = start().await;
    let claimed = pod.enqueue(&["b", "c"]).await.claimed.remove(0);
    assert_eq!(pod.settle(settlement(claimed, &[Delivered, Deferred])).await, Settled::Applied);
    let again = pod.claim_one().await;
    assert_eq!(again.delivery.recipients.iter().map(|to| to.number).collect::<Vec<_>>(), [1]);
    assert_eq!(again.delivery.history.attempts, 1);
    assert_eq!(again.delivery.history.last, [outcome(1, Deferred)]);
    assert_eq!(again.claim.number().get(), 2);
}

#[tokio::test]
async fn a_deferred_delivery_waits_as_long_as_it_is_told() {
    let (_server, pod) = start().await;
    let claimed = pod.enqueue(&["b"]).await.claimed.remove(0);
    let rest = Rest::Defer(Duration::from_secs(300));
    pod.settle(Settlement { rest, ..settlement(claimed, &[Deferred]) }).await;
    let batch = pod.try_claim(10).await.expect("an answer");
    assert!(batch.claimed.is_empty());
    let wait = batch.now.until(batch.next.expect("something waits"));
    assert!((298..=300).contains(&wait.as_secs()), "{wait:?}");
}

#[tokio::test]
async fn a_bounce_enters_with_the_end_of_its_recipients() {
    let (server, pod) = start().await;
    let claimed = pod.enqueue(&["b", "c", "d"]).await.claimed.remove(0);
    let id = claimed.delivery.id.message.clone();
    let settled =
        Settlement { notices: vec![bounce(&[1, 2])], ..settlement(claimed, &[Delivered, Bounced, Deferred]) };
    pod.settle(settled).await;
    let mut claimed = pod.claim().await;
    claimed.sort_by_key(|one| one.delivery.id.number);
    let [rest, report]: [_; 2] = claimed.try_into().expect("two deliveries");
    assert_eq!((rest.delivery.kind, report.delivery.kind), (Kind::Message, Kind::Bounce));
    assert_eq!(report.delivery.lane, world::lane("near.example"));
    assert_eq!(report.delivery.recipients[0].recipient.mailbox.to_string(), "app@near.example");
    assert_eq!(report.delivery.sender(), &ReversePath::Null);
    // Of d it can't tell: d hasn't ended.
    let told: Vec<_> = report.delivery.report.recipients.iter().map(|one| one.outcome.clone()).collect();
    assert_eq!(told, [outcome(1, Bounced)]);
    pod.settle(settlement(rest, &[Delivered])).await;
    // The body is there for the report to show.
    assert!(pod.partition.load_body(&id).await.is_ok());
    // A report that bounces ends, and nobody is told.
    let settled = Settlement { notices: vec![bounce(&[0])], ..settlement(report, &[Bounced]) };
    pod.settle(settled).await;
    assert!(pod.is_gone(&id).await);
    let left: Vec<String> = server.command(&["KEYS", "*"]).await;
    assert!(
        !left.iter().any(|key| key.contains("lane:") || key.contains(":m:") || key.contains("expiry")),
        "{left:?}"
    );
}

#[tokio::test]
async fn null_sender_gets_no_bounce() {
    let (_server, pod) = start().await;
    let mut message = pod.message(&["b"], Start::Claimed);
    message.envelope = envelope("", &["b"]);
    let claimed = pod.try_enqueue(message).await.expect("room").claimed.remove(0);
    let id = claimed.delivery.id.message.clone();
    pod.settle(Settlement { notices: vec![bounce(&[0])], ..settlement(claimed, &[Bounced]) }).await;
    assert!(pod.is_gone(&id).await);
    assert!(pod.claim().await.is_empty());
}

#[tokio::test]
async fn who_lost_the_claim_can_only_say_what_was_delivered() {
    let (server, pod) = start().await;
    let other = Pod::on(&server).await;
    let lost = pod.enqueue(&["b", "c"]).await.claimed.remove(0);
    assert!(matches!(
        other.partition.reap(pod.life(), 0).await,
        Ok(postrider_queue::reap::Reaped::Done { moved: 1 })
    ));
    let id = lost.delivery.id.message.clone();
    let settled = Settlement {
        notices: vec![bounce(&[1])],
        rest: Rest::Hold("no".into()),
        ..settlement(lost, &[Delivered, Bounced])
    };
    assert_eq!(pod.settle(settled).await, Settled::ClaimLost);
    let taken = other.claim_one().await;
    assert_eq!(taken.delivery.kind, Kind::Message);
    assert_eq!(taken.delivery.recipients.iter().map(|to| to.number).collect::<Vec<_>>(), [1]);
    assert_eq!(other.settle(settlement(taken, &[Delivered])).await, Settled::Applied);
    assert!(pod.is_gone(&id).await);
}

#[tokio::test]
async fn a_fact_reaches_a_delivery_that_another_tries() {
    let (server, pod) = start().await;
    let other = Pod::on(&server).await;
    let lost = pod.enqueue(&["b"]).await.claimed.remove(0);
    other.partition.reap(pod.life(), 0).await.expect("an answer");
    let taken = other.claim_one().await;
    let fact = settlement(lost, &[Delivered]);
    assert_eq!(pod.settle(fact).await, Settled::ClaimLost);
    // The other one deferred it; there is nothing left to defer.
    let id = taken.delivery.id.message.clone();
    assert_eq!(other.settle(settlement(taken, &[Deferred])).await, Settled::Applied);
    assert!(pod.is_gone(&id).await);
}

#[tokio::test]
async fn a_fact_follows_a_delivery_that_was_split() {
    let (server, pod) = start().await;
    let other = Pod::on(&server).await;
    let lost = pod.enqueue(&["b", "c"]).await.claimed.remove(0);
    other.partition.reap(pod.life(), 0).await.expect("an answer");
    let taken = other.claim_one().await;
    let part =
        |recipient, domain| Part { lane: world::lane(domain), recipients: vec![recipient], after: NOW };
    let rest = Rest::Split(vec![part(0, "x.example"), part(1, "y.example")]);
    assert_eq!(other.settle(Settlement { rest, ..settlement(taken, &[]) }).await, Settled::Applied);
    assert_eq!(pod.settle(settlement(lost, &[Deferred, Delivered])).await, Settled::ClaimLost);
    let left = other.claim_one().await;
    assert_eq!(left.delivery.lane, world::lane("x.example"));
    assert_eq!((left.delivery.recipients[0].number, left.delivery.history.attempts), (0, 0));
}

#[tokio::test]
async fn a_settlement_told_twice_counts_once() {
    let (server, pod) = start().await;
    let proxy = Proxy::start(server.port()).await;
    let far = Pod::unregistered(&proxy.url());
    let life = pod.life();
    far.partition.lease().registered(life, far.partition.lease().clock().now());
    let claimed = pod.enqueue(&["b", "c"]).await.claimed.remove(0);
    far.enqueue_due(&["warm"]).await;
    let warm = far.claim_one().await;
    far.settle(settlement(warm, &[Delivered])).await;
    proxy.lose_next();
    let settled = Settlement { notices: vec![bounce(&[1])], ..settlement(claimed, &[Deferred, Bounced]) };
    let (batch, why) = far.partition.settle(vec![settled]).await.expect_err("the answer is lost");
    assert!(why.may_have_run(), "{why}");
    assert_eq!(far.partition.settle(batch).await.expect("an answer"), [Settled::ClaimLost]);
    let mut kinds: Vec<Kind> = pod.claim().await.iter().map(|one| one.delivery.kind).collect();
    kinds.sort_by_key(|kind| *kind != Kind::Message);
    assert_eq!(kinds, [Kind::Message, Kind::Bounce]);
}

#[tokio::test]
async fn a_rule_change_splits_a_delivery() {
    let (_server, pod) = start().await;
    let claimed = pod.enqueue(&["b", "c", "d", "e"]).await.claimed.remove(0);
    let expires = claimed.delivery.expires;
    let part = |recipients: &[u32], domain| Part {
        lane: world::lane(domain),
        recipients: recipients.to_vec(),
        after: NOW,
    };
    let rest = Rest::Split(vec![part(&[0, 1], "x.example"), part(&[2], "y.example")]);
    pod.settle(Settlement { rest, ..settlement(claimed, &[Delivered]) }).await;
    let mut parts = pod.claim().await;
    parts.sort_by_key(|one| one.delivery.lane.clone());
    let shape = parts.iter().map(|one| {
        let numbers: Vec<u32> = one.delivery.recipients.iter().map(|to| to.number).collect();
        (one.delivery.lane.domain.to_string(), numbers)
    });
    // Nobody is forgotten: e goes with the last part.
    assert_eq!(shape.collect::<Vec<_>>(), [("x.example".into(), vec![1]), ("y.example".into(), vec![2, 3])]);
    assert!(parts.iter().all(|one| one.delivery.expires == expires && one.delivery.history.attempts == 1));
}

#[tokio::test]
async fn the_sender_is_told_of_a_delay_and_of_success() {
    let (_server, pod) = start().await;
    let claimed = pod.enqueue(&["b", "c"]).await.claimed.remove(0);
    let expires = claimed.delivery.expires;
    let notice = |kind, about: &[u32]| NewNotice { kind, ..bounce(about) };
    let notices = vec![notice(Kind::DelayNotice, &[0, 1]), notice(Kind::SuccessNotice, &[0, 1])];
    let rest = Rest::Defer(HOUR);
    pod.settle(Settlement { notices, rest, ..settlement(claimed, &[Delivered, Deferred]) }).await;
    let told: Vec<_> = pod.claim().await;
    let about = |kind| {
        let report = &told.iter().find(|one| one.delivery.kind == kind).expect("a report").delivery.report;
        (report.recipients.iter().map(|one| one.outcome.recipient).collect::<Vec<_>>(), report.retry_until)
    };
    assert_eq!(about(Kind::DelayNotice), (vec![1], Some(expires)));
    assert_eq!(about(Kind::SuccessNotice), (vec![0], None));
}

#[tokio::test]
async fn a_hold_says_why_and_history_knows() {
    let (_server, pod) = start().await;
    let claimed = pod.enqueue(&["b"]).await.claimed.remove(0);
    let id = claimed.delivery.id.message.clone();
    let rest = Rest::Hold("x".repeat(1_000).into());
    pod.settle(Settlement { rest, ..settlement(claimed, &[Deferred]) }).await;
    let seen = pod.partition.inspect(&id).await.expect("an answer").expect("a message");
    let Place::Held { reason } = &seen.deliveries[0].place else { panic!("{seen:?}") };
    assert_eq!(reason.len(), 300);
    let events = pod.partition.trace(&id).await.expect("an answer");
    assert_eq!((events.len(), &*events[0].rest), (1, "Hold"));
    assert_eq!(events[0].outcomes, [outcome(0, Deferred)]);
}

#[tokio::test]
async fn a_discarded_recipient_ends_and_nobody_is_told() {
    let (server, pod) = start().await;
    let claimed = pod.enqueue(&["b"]).await.claimed.remove(0);
    let id = claimed.delivery.id.message.clone();
    pod.settle(Settlement { discarded: vec![0], ..settlement(claimed, &[]) }).await;
    assert!(pod.is_gone(&id).await);
    let discarded: u64 = server.command(&["HGET", &pod.partition.keys().named("totals"), "discarded"]).await;
    assert_eq!(discarded, 1);
}

#[tokio::test]
async fn a_report_settled_twice_strikes_nobody_else() {
    let (_server, pod) = start().await;
    let claimed = pod.enqueue(&["b", "c"]).await.claimed.remove(0);
    let settled = Settlement { notices: vec![bounce(&[1])], ..settlement(claimed, &[Deferred, Bounced]) };
    pod.settle(settled).await;
    let (mut reports, mut rest): (Vec<_>, Vec<_>) =
        pod.claim().await.into_iter().partition(|one| one.delivery.kind == Kind::Bounce);
    let report = settlement(reports.remove(0), &[Delivered]);
    let fact = report.fact().expect("it was delivered");
    assert_eq!(pod.settle(report).await, Settled::Applied);
    // Told again, as after a lost answer or a change of the store: recipient 0 of the report isn't recipient 0 of the message.
    pod.partition.tell(&[fact]).await.expect("an answer");
    let rest = rest.remove(0);
    let id = rest.delivery.id.message.clone();
    assert_eq!(pod.settle(settlement(rest, &[Deferred])).await, Settled::Applied);
    let again = pod.claim_one().await;
    assert_eq!(again.delivery.recipients.iter().map(|to| to.number).collect::<Vec<_>>(), [0]);
    pod.settle(settlement(again, &[Delivered])).await;
    assert!(pod.is_gone(&id).await);
}
