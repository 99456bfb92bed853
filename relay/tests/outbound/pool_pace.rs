//! A far side that wants the mail of one source slower: only that source's.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use postrider_core::egress::Pool;
use postrider_smtp::timer::Waits;

use crate::{
    far_side::{Act, FarSide, Step},
    pools::{address, source, with},
    rig::{Rig, parts, to, until},
};

const TEXT: &str = "Subject: hello\r\n\r\nhello\r\n";
/// Messages by each source at least.
const EACH: usize = 40;
/// The far side takes one message of the slow source in this time: all of them would take a minute and more.
const ONE_IN: Duration = Duration::from_secs(2);

/// Says `421 4.7.0` to what comes faster by the source `a`.
async fn wants_a_slower() -> FarSide {
    let (of_a, last) = (Mutex::new(HashSet::new()), Mutex::new(None::<Instant>));
    FarSide::start(move |step, number| {
        let Step::Command(line) = step else { return Act::Usual };
        if line.starts_with("EHLO a.") {
            of_a.lock().unwrap().insert(number);
        }
        if !line.starts_with("MAIL") || !of_a.lock().unwrap().contains(&number) {
            return Act::Usual;
        }
        let mut last = last.lock().unwrap();
        if last.is_some_and(|last| last.elapsed() < ONE_IN) {
            return Act::Bye("421 4.7.0 rate limited, slow down".into());
        }
        *last = Some(Instant::now());
        Act::Usual
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_told_to_slow_down_holds_up_no_mail_of_the_other() {
    let far = wants_a_slower().await;
    let sources = vec![source("a", address(2)), source("b", address(3))];
    let pool = Pool { name: "main".into(), sources: sources.clone() };
    let rig = Rig::with(with(parts(to(&[&far])), sources), Waits::shortened_for_tests(300)).await;
    let by = |last: u8| {
        let peer = IpAddr::from([127, 0, 0, last]);
        far.messages().iter().filter(|got| got.peer == peer).count()
    };
    let mut sent = [0; 2];
    let send = async |sent: &mut [usize; 2]| {
        let id = rig.queue("a@app.example", &["b@far.example"], TEXT).await;
        sent[usize::from(&*pool.order(&id.to_string())[0].name == "b")] += 1;
    };
    while sent.iter().any(|sent| *sent < EACH) {
        send(&mut sent).await;
    }
    until("all of the other's have come", || async { by(3) >= sent[1] }).await;
    let slow = by(2);
    assert!(
        slow < EACH / 2,
        "{slow} of {} had come by the slow source as the last of the other's did",
        sent[0]
    );
    until("the slow one has a pace", || async { rig.sites.states().paced == 1 }).await;
    // Mail that comes now, while the slow one's waits, goes as well.
    let before = sent[1];
    while sent[1] < before + EACH {
        send(&mut sent).await;
    }
    until("the other's new mail has come", || async { by(3) >= sent[1] }).await;
    let slow = by(2);
    assert!(slow < EACH, "{slow} of {} had come by the slow source as the last of the other's did", sent[0]);
}
