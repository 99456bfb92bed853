//! What a relay that isn't sure of its claims must not do, and how it leaves.

use std::time::Duration;

use crate::{
    far_side::{Act, FarSide, Step},
    rig::{Rig, to, until},
};

const TEXT: &str = "Subject: hello\r\n\r\nhello\r\n";

/// A far side whose 354 takes a second, so that there is time to lose a lease.
async fn slow_354() -> FarSide {
    FarSide::start(|step, _| match step {
        Step::Command(line) if line.starts_with("DATA") => Act::Late(Duration::from_secs(1)),
        Step::Command(_) | Step::Greeting | Step::Dot => Act::Usual,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fenced_relay_sends_no_dot() {
    let far = slow_354().await;
    let rig = Rig::start(to(&[&far])).await;
    let me = rig.partition.lease().incarnation().unwrap();
    rig.send("a@app.example", &["b@far.example"], TEXT).await;
    until("DATA", || async { far.seen(|seen| seen.commands.iter().any(|line| line == "DATA")) }).await;
    rig.partition.lease().fenced(me);
    until("the connection is over", || async { far.seen(|seen| seen.over.contains(&1)) }).await;
    // The relay's next life may have delivered it by now, with a claim of its own.
    assert!(far.messages().iter().all(|got| got.connection != 1), "no dot without a permit");
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_the_grace_does_not_wait_for_give_their_claims_back() {
    let far = FarSide::start(|step, _| match step {
        Step::Command(line) if line.starts_with("MAIL") => Act::Hang,
        Step::Command(_) | Step::Greeting | Step::Dot => Act::Usual,
    })
    .await;
    let mut parts = crate::rig::parts(to(&[&far]));
    parts.defaults.retry_initial = Some(Duration::from_secs(60));
    parts.defaults.retry_max = Some(Duration::from_secs(60));
    let rig = Rig::with(parts, postrider_smtp::timer::Waits::default()).await;
    let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
    until("MAIL", || async { far.seen(|seen| seen.commands.iter().any(|line| line.starts_with("MAIL"))) })
        .await;
    let began = std::time::Instant::now();
    rig.shutdown.run(&rig.work, Duration::from_millis(300)).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let seen = rig.inspect(&id).await.expect("nothing is lost");
    assert!(
        matches!(seen.deliveries[0].place, postrider_queue::inspect::Place::Waiting { .. }),
        "{:?}",
        seen.deliveries[0].place
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dot_waits_while_the_lease_is_in_doubt() {
    let far = slow_354().await;
    let rig = Rig::with(crate::rig::parts(to(&[&far])), postrider_smtp::timer::Waits::default()).await;
    let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
    until("DATA", || async { far.seen(|seen| seen.commands.iter().any(|line| line == "DATA")) }).await;
    rig.signal_queue("STOP");
    // Longer than the lease: the far side waits for its dot.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(far.messages().is_empty(), "no dot in doubt");
    rig.signal_queue("CONT");
    rig.ended(&id).await;
    assert_eq!((far.messages().len(), far.seen(|seen| seen.cut)), (1, 0), "once, by the same attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_told_until_the_queue_answers() {
    let far = FarSide::start(|step, _| match step {
        Step::Dot => Act::Late(Duration::from_millis(500)),
        Step::Command(_) | Step::Greeting => Act::Usual,
    })
    .await;
    let rig = Rig::start(to(&[&far])).await;
    let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
    until("DATA", || async { far.seen(|seen| seen.commands.iter().any(|line| line == "DATA")) }).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.kill_queue();
    until("taken", || async { far.messages().len() == 1 }).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.start_queue();
    until("told", || async { matches!(rig.partition.inspect(&id).await, Ok(None)) }).await;
    // The gate is over, and nobody delivers it again.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(far.messages().len(), 1);
}
