//! Mail that this relay has room for is claimed as it enters, and tried from memory.

use crate::rig::{Rig, Setup, queue_id};

#[tokio::test(flavor = "multi_thread")]
async fn a_small_message_is_started_from_memory() {
    let mut rig = Rig::start(Setup { window: Some(100), ..Setup::default() }).await;
    let mut peer = rig.peer().await;
    peer.expect("EHLO client.example", "250").await;
    peer.expect("MAIL FROM:<a@app.example>", "250").await;
    for recipient in ["b@far.example", "c@far.example", "d@other.example"] {
        peer.expect(&format!("RCPT TO:<{recipient}>"), "250").await;
    }
    peer.expect("DATA", "354").await;
    let reply = peer.expect("Subject: x\r\n\r\nx\r\n.", "250").await;
    let (first, second) =
        (rig.started.recv().await.expect("a delivery"), rig.started.recv().await.expect("a delivery"));
    let stored = rig.stored(&reply).await;
    let mut recipients = Vec::new();
    for started in [&first, &second] {
        assert_eq!(started.claimed.delivery.id.message, queue_id(&reply));
        assert_eq!(*started.slot.destination(), started.claimed.delivery.lane.destination());
        assert_eq!(started.body.as_ref().expect("its body").chunks().concat(), stored);
        recipients.push(started.claimed.delivery.recipients.iter().map(|one| one.number).collect::<Vec<_>>());
    }
    recipients.sort();
    assert_eq!(recipients, [vec![0, 1], vec![2]]);
    assert!(rig.budget.used() > 0);
    drop(first);
    assert!(rig.budget.used() > 0);
    drop(second);
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_message_is_started_without_its_body() {
    let mut rig = Rig::start(Setup { window: Some(100), ..Setup::default() }).await;
    // It has no header either, which is no reason to take all of it for one.
    let reply = rig.peer().await.message("0123456789\r\n".repeat(50_000).as_bytes()).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let started = rig.started.recv().await.expect("a delivery");
    assert_eq!(started.claimed.delivery.id.message, queue_id(&reply));
    assert!(started.body.is_none());
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_mail_waits_in_the_queue() {
    let mut rig = Rig::start(Setup { window: Some(1), ..Setup::default() }).await;
    let mut peer = rig.peer().await;
    let (first, second) = (peer.message(b"1\r\n").await, peer.message(b"2\r\n").await);
    assert!(first.starts_with("250 ") && second.starts_with("250 "), "{first} {second}");
    let started = rig.started.recv().await.expect("a delivery");
    assert_eq!(started.claimed.delivery.id.message, queue_id(&first));
    assert!(rig.started.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_hang_do_not_keep_new_mail_out() {
    let mut rig = Rig::start(Setup { window: Some(1000), budget_bytes: 100_000, ..Setup::default() }).await;
    let mut peer = rig.peer().await;
    let body = "x\r\n".repeat(7_000);
    for n in 0..10 {
        let reply = peer.message(body.as_bytes()).await;
        assert!(reply.starts_with("250 "), "{n}: {reply}");
    }
    let mut started = Vec::new();
    while let Ok(one) = rig.started.try_recv() {
        started.push(one);
    }
    // Up to half of the budget.
    assert_eq!(started.len(), 2);
}
