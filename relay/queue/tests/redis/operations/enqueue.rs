//! Taking mail in, and taking it back.

use std::time::Duration;

use postrider_mail::OutcomeKind::Delivered;
use postrider_queue::{EnqueueError, NewMessage, Start, inspect::Place, settle::Settled};

use super::pod::{NOW, Pod, found, settlement};
use crate::{model::proxy::Proxy, server::Server, world};

#[tokio::test]
async fn a_message_goes_in_and_out_in_two_scripts() {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    let first = pod.enqueue(&["b"]).await.claimed.remove(0);
    pod.settle(settlement(first, &[Delivered])).await;
    let _: String = server.command(&["CONFIG", "RESETSTAT"]).await;
    let mut enqueued = pod.enqueue(&["b"]).await;
    let claimed = enqueued.claimed.remove(0);
    assert_eq!(pod.settle(settlement(claimed, &[Delivered])).await, Settled::Applied);
    let stats: String = server.command(&["INFO", "commandstats"]).await;
    assert!(stats.contains("cmdstat_evalsha:calls=2,"), "{stats}");
    // The body by itself, the rest within the scripts; new connections may load a script.
    assert!(stats.contains("cmdstat_set:calls=1,"), "{stats}");
    let calls =
        stats.lines().filter_map(|line| line.split_once("calls=")?.1.split(',').next()?.parse::<u32>().ok());
    let calls: u32 = calls.sum();
    assert!(calls <= 40, "{calls} commands, scripts and what they call:\n{stats}");
    assert!(pod.is_gone(enqueued.receipt.id()).await);
}

#[tokio::test]
async fn the_same_message_twice_is_one() {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    let body = postrider_queue::Body::from_chunks(vec!["Subject: x\r\n\r\nhello\r\n".into()]);
    let id = pod.partition.new_id();
    let message = || NewMessage {
        body: pod.partition.ready_body(&id, &body),
        ..pod.message(&["b", "c"], Start::Claimed)
    };
    let first = pod.try_enqueue(message()).await.expect("room");
    let mut again = pod.try_enqueue(message()).await.expect("room");
    assert_eq!(first.receipt, again.receipt);
    // Still this pod's to try: the answer is the one that was lost.
    assert_eq!(first.claimed[0].claim, again.claimed[0].claim);
    // Asking again gave the body no TTL.
    let ttl: i64 = server.command(&["PTTL", &pod.partition.keys().body(&id, 0)]).await;
    assert_eq!(ttl, -1);
    assert_eq!(pod.partition.load_body(&id).await.expect("a body"), body);
    pod.settle(settlement(again.claimed.remove(0), &[Delivered, Delivered])).await;
    assert!(pod.is_gone(&id).await);
}

/// A pod that reaches the queue through a proxy, and has its connections and scripts.
async fn by_proxy() -> (Server, Proxy, Pod) {
    let server = Server::start().await;
    found(&server).await;
    let proxy = Proxy::start(server.port()).await;
    let pod = Pod::at(&proxy.url()).await;
    pod.enqueue(&["warm"]).await;
    (server, proxy, pod)
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    let (server, proxy, pod) = by_proxy().await;
    for _ in 0..20 {
        proxy.lose_next();
        let enqueued = pod.enqueue(&["b"]).await;
        assert!(proxy.has_lost());
        assert_eq!(enqueued.claimed.len(), 1);
    }
    let accepted: u64 = server.command(&["HGET", &pod.partition.keys().named("meta"), "accepted"]).await;
    assert_eq!(accepted, 21);
    assert_eq!(pod.partition.aborts_pending(), 0);
}

#[tokio::test]
async fn an_enqueue_that_was_asked_again_never_comes_late() {
    let (_server, proxy, pod) = by_proxy().await;
    for _ in 0..20 {
        proxy.hold_next();
        let mut enqueued = pod.enqueue(&["b"]).await;
        let id = enqueued.receipt.id().clone();
        assert_eq!(pod.settle(settlement(enqueued.claimed.remove(0), &[Delivered])).await, Settled::Applied);
        proxy.send_late().await;
        assert!(pod.is_gone(&id).await);
    }
}

#[tokio::test]
async fn an_enqueue_without_an_answer_is_aborted_and_stays_so() {
    let (_server, proxy, pod) = by_proxy().await;
    let id = pod.partition.new_id();
    let body = postrider_queue::Body::from_chunks(vec!["Subject: x\r\n\r\nhello\r\n".into()]);
    let message =
        || NewMessage { body: pod.partition.ready_body(&id, &body), ..pod.message(&["b"], Start::Claimed) };
    proxy.lose_next();
    let why = pod.partition.enqueue(message(), Duration::from_millis(10)).await.expect_err("nobody answered");
    assert!(!why.is_certain(), "{why}");
    assert_eq!(pod.partition.aborts_pending(), 1);
    tokio::select! {
        () = pod.partition.run_aborts() => {}
        () = async { while pod.partition.aborts_pending() > 0 { tokio::time::sleep(Duration::from_millis(5)).await } } => {}
    }
    assert!(pod.is_gone(&id).await);
    // A late one can't come in behind it.
    assert!(matches!(pod.try_enqueue(message()).await, Err(EnqueueError::Aborted)));
    let seen = pod.partition.claims_of(pod.life()).await.expect("an answer");
    assert_eq!(seen.len(), 1, "the first message's");
}

#[tokio::test]
async fn an_enqueue_whose_answer_was_lost_stays_unclear_when_the_store_is_gone_afterwards() {
    let (server, proxy, pod) = by_proxy().await;
    proxy.lose_next_and_end();
    let message = pod.message(&["b"], Start::Claimed);
    let lost = pod.partition.enqueue(message, Duration::from_secs(2)).await;
    let why = lost.expect_err("nobody can be asked again");
    assert!(proxy.has_lost());
    let accepted: u64 = server.command(&["HGET", &pod.partition.keys().named("meta"), "accepted"]).await;
    assert_eq!(accepted, 2, "it is in the queue");
    assert!(!why.is_certain(), "in another shard it would be a second message: {why}");
    assert_eq!(pod.partition.aborts_pending(), 1);
}

#[tokio::test]
async fn an_enqueue_that_is_dropped_is_aborted() {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    let message = pod.message(&["b"], Start::Claimed);
    let _: String = server.command(&["CLIENT", "PAUSE", "200", "ALL"]).await;
    let dropped = tokio::time::timeout(Duration::from_millis(50), pod.try_enqueue(message)).await;
    assert!(dropped.is_err());
    assert_eq!(pod.partition.aborts_pending(), 1);
}

#[tokio::test]
async fn what_others_tried_meanwhile_is_not_aborted() {
    let server = Server::start().await;
    found(&server).await;
    let proxy = Proxy::start(server.port()).await;
    let (pod, other) = (Pod::at(&proxy.url()).await, Pod::on(&server).await);
    pod.enqueue_due(&["warm"]).await;
    let _ = other.claim_one().await;
    proxy.lose_next();
    let message = pod.message(&["b"], Start::After(NOW));
    let id = message.body.id().clone();
    pod.partition.enqueue(message, Duration::from_millis(10)).await.expect_err("nobody answered");
    let claimed = other.claim_one().await;
    tokio::select! {
        () = pod.partition.run_aborts() => {}
        () = async { while pod.partition.aborts_pending() > 0 { tokio::time::sleep(Duration::from_millis(5)).await } } => {}
    }
    assert_eq!(claimed.delivery.id.message, id);
    assert_eq!(other.settle(settlement(claimed, &[Delivered])).await, Settled::Applied);
    assert!(pod.is_gone(&id).await);
}

#[tokio::test]
async fn without_a_life_mail_waits_in_its_lane() {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::unregistered(&server.url());
    assert!(pod.enqueue(&["b"]).await.claimed.is_empty());
    // A life that the store doesn't know, or has fenced, can't claim either.
    let dead = Pod::on(&server).await;
    dead.partition.leave(dead.life()).await.expect("an answer");
    assert!(dead.enqueue(&["c"]).await.claimed.is_empty());
    assert_eq!(Pod::on(&server).await.claim().await.len(), 2);
}

#[tokio::test]
async fn a_partition_that_is_not_open_takes_nothing() {
    let server = Server::start().await;
    let pod = Pod::unregistered(&server.url());
    let refused = pod.try_enqueue(pod.message(&["b"], Start::Claimed)).await;
    assert!(matches!(refused, Err(EnqueueError::NotOpen { .. })), "{refused:?}");
    found(&server).await;
    let _: u64 = server.command(&["HSET", &pod.partition.keys().named("meta"), "state", "Draining"]).await;
    let refused = pod.try_enqueue(pod.message(&["b"], Start::Claimed)).await;
    let Err(EnqueueError::NotOpen { state, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(&*state, "Draining");
}

#[tokio::test]
async fn a_message_for_nobody_is_accepted_and_not_kept() {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    let message = NewMessage { deliveries: Vec::new(), ..pod.message(&["b", "c"], Start::Claimed) };
    let id = message.body.id().clone();
    let enqueued = pod.try_enqueue(message).await.expect("room");
    assert_eq!(enqueued.receipt.id(), &id);
    assert!(pod.is_gone(&id).await);
    let discarded: u64 = server.command(&["HGET", &pod.partition.keys().named("totals"), "discarded"]).await;
    assert_eq!(discarded, 2);
}

#[tokio::test]
async fn a_recipient_is_in_one_delivery() {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    for recipients in [vec![0, 0], vec![1]] {
        let mut message = pod.message(&["b"], Start::Claimed);
        message.deliveries[0].recipients = recipients;
        assert!(matches!(pod.try_enqueue(message).await, Err(EnqueueError::Recipient(_))));
    }
}

#[tokio::test]
async fn held_mail_waits_for_a_person() {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    let message = pod.message(&["b"], Start::Held("rule partners".into()));
    let id = pod.try_enqueue(message).await.expect("room").receipt.id().clone();
    assert!(pod.claim().await.is_empty());
    let seen = pod.partition.inspect(&id).await.expect("an answer").expect("a message");
    assert_eq!(seen.deliveries[0].place, Place::Held { reason: "rule partners".into() });
}

#[tokio::test]
async fn a_large_body_comes_back_as_it_was() {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    let id = pod.partition.new_id();
    let mut writer = pod.partition.body_writer(&id);
    let noise: Vec<u8> = (0..300_000).map(|_| rand::random()).collect();
    let text = b"0123456789abcdef\r\n".repeat(100_000);
    for piece in noise.chunks(7_001).chain(text.chunks(70_001)) {
        writer.write(piece).await.expect("room");
    }
    assert_eq!(writer.len(), (noise.len() + text.len()) as u64);
    let ttl: i64 = server.command(&["PTTL", &pod.partition.keys().body(&id, 1)]).await;
    assert!((590_000..=600_000).contains(&ttl), "{ttl}");
    let message = NewMessage { body: writer.finish(), ..pod.message(&["b"], Start::Claimed) };
    let mut enqueued = pod.try_enqueue(message).await.expect("room");
    let chunks = enqueued.claimed[0].body_chunks;
    assert_eq!(chunks, 9);
    for chunk in 0..chunks {
        let ttl: i64 = server.command(&["PTTL", &pod.partition.keys().body(&id, chunk)]).await;
        assert_eq!(ttl, -1, "chunk {chunk}");
    }
    let body = pod.partition.load_body(&id).await.expect("a body");
    assert!(body.chunks().concat() == [noise, text].concat());
    pod.settle(settlement(enqueued.claimed.remove(0), &[Delivered])).await;
    let left: Vec<String> = server.command(&["KEYS", "*}:b:*"]).await;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_body_whose_chunks_are_gone_is_not_accepted() {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    let id = pod.partition.new_id();
    let mut writer = pod.partition.body_writer(&id);
    writer.write(&vec![b'x'; 600_000]).await.expect("room");
    let _: u64 = server.command(&["DEL", &pod.partition.keys().body(&id, 1)]).await;
    let message = NewMessage { body: writer.finish(), ..pod.message(&["b"], Start::Claimed) };
    assert!(matches!(pod.try_enqueue(message).await, Err(EnqueueError::BodyGone)));
    assert!(pod.partition.inspect(&id).await.expect("an answer").is_none());
}

#[tokio::test]
async fn a_message_of_a_thousand_lanes_goes_in_and_out() {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    let names: Vec<String> = (0..1_500).map(|number| format!("u{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut message = pod.message(&names, Start::After(NOW));
    let one = message.deliveries.remove(0);
    message.deliveries = (0..1_500)
        .map(|number| postrider_queue::NewDelivery {
            lane: world::lane(&format!("d{number}.example")),
            recipients: vec![number],
            ..one.clone()
        })
        .collect();
    let id = pod.try_enqueue(message).await.expect("room").receipt.id().clone();
    let mut settled = 0;
    while settled < 1_500 {
        let claimed = pod.claim().await;
        assert!(!claimed.is_empty(), "{settled} settled");
        settled += claimed.len();
        let batch = claimed.into_iter().map(|one| settlement(one, &[Delivered])).collect();
        assert!(
            pod.partition.settle(batch).await.expect("an answer").iter().all(|one| *one == Settled::Applied)
        );
    }
    assert!(pod.is_gone(&id).await);
}
