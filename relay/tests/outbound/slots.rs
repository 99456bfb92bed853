//! Limits as the sites of a relay share them: edits of how many connections, and one source's limit beside another's.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use postrider_core::{egress::Pool, limits::Rate};
use postrider_mail::Class;
use postrider_smtp::timer::Waits;

use crate::{
    far_side::{Act, FarSide, Step},
    pools::{address, source, with},
    rig::{Rig, parts, to, until},
};

const TEXT: &str = "Subject: hello\r\n\r\nhello\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_connections_counts_those_that_are_open() {
    let far = FarSide::start(|step, _| match step {
        Step::Dot => Act::Late(Duration::from_millis(500)),
        Step::Greeting | Step::Command(_) => Act::Usual,
    })
    .await;
    let route = to(&[&far]);
    let mut before = parts(route.clone());
    before.defaults.connections = Some(5);
    let rig = Rig::with(before, Waits::shortened_for_tests(300)).await;
    let mut ids = Vec::new();
    for n in 0..40 {
        ids.push(rig.queue("a@app.example", &[&format!("b@d{n}.example")], TEXT).await);
    }
    until("all that may be are open", || async { far.seen(|seen| seen.most_open) == 5 }).await;
    rig.configure(|parts| parts.defaults.connections = Some(6), route);
    for id in &ids {
        rig.ended(id).await;
    }
    assert!(far.seen(|seen| seen.most_open) <= 6, "those of before the edit were forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_source_is_asked_for_puts_off_no_mail_of_another() {
    let (of_b, refused) = (Mutex::new(HashSet::new()), Arc::new(AtomicUsize::new(0)));
    let far = FarSide::start({
        let refused = refused.clone();
        move |step, number| match step {
            Step::Command(line) if line.starts_with("EHLO b.") => {
                of_b.lock().unwrap().insert(number);
                Act::Usual
            }
            Step::Command(line) if line.starts_with("MAIL") && of_b.lock().unwrap().contains(&number) => {
                refused.fetch_add(1, Ordering::Relaxed);
                Act::Bye("421 4.7.0 rate limited".into())
            }
            Step::Greeting | Step::Command(_) | Step::Dot => Act::Usual,
        }
    })
    .await;
    let sources = vec![source("a", address(2)), source("b", address(3))];
    let pool = Pool { name: "main".into(), sources: sources.clone() };
    let rig = Rig::with(with(parts(to(&[&far])), sources), Waits::shortened_for_tests(300)).await;
    let mut of_a = Vec::new();
    for _ in 0..40 {
        let id = rig.queue("a@app.example", &["b@far.example"], TEXT).await;
        if &*pool.order(&id.to_string())[0].name == "a" {
            of_a.push(id);
        }
    }
    until("one is refused", || async { refused.load(Ordering::Relaxed) > 0 }).await;
    for id in &of_a {
        rig.ended(id).await;
    }
    let lanes = rig.partition.top_lanes(5).await.unwrap();
    let suspended = lanes.into_iter().filter_map(|view| view.suspended).next();
    assert_eq!(suspended, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_gets_the_connection_that_bulk_mail_of_another_site_keeps() {
    const BULK: usize = 300;
    let far = FarSide::start(|step, _| match step {
        Step::Dot => Act::Late(Duration::from_millis(50)),
        Step::Greeting | Step::Command(_) => Act::Usual,
    })
    .await;
    let mut parts = parts(to(&[&far]));
    parts.defaults.connections = Some(1);
    // Of its own connections, by the same slots.
    let mut bulk = crate::sites::rule("news", "bulk.example", parts.default_route.clone());
    bulk.route = None;
    bulk.policy.class = Some(Class::Bulk);
    bulk.policy.messages_per_connection = Some(1_000);
    parts.rules = vec![bulk];
    let rig = Rig::with(parts, Waits::shortened_for_tests(300)).await;
    for _ in 0..BULK {
        rig.queue("a@app.example", &["b@bulk.example"], TEXT).await;
    }
    until("bulk has the connection", || async { far.messages().len() > 5 }).await;
    let id = rig.queue("", &["b@far.example"], TEXT).await;
    rig.ended(&id).await;
    let gone = far.messages().len();
    assert!(gone < BULK, "it waited until all others had gone");
    assert_eq!(far.seen(|seen| seen.most_open), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_limit_put_off_goes_at_once_when_the_limit_is_gone() {
    let far = FarSide::usual().await;
    let route = to(&[&far]);
    let mut limited = parts(route.clone());
    limited.defaults.rate = Some(Rate::new(1, Duration::from_secs(3_600), Some(2)));
    let rig = Rig::with(limited, Waits::shortened_for_tests(300)).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(rig.queue("a@app.example", &["b@far.example"], TEXT).await);
    }
    until("the others wait", || async {
        let lanes = rig.partition.top_lanes(5).await.unwrap();
        let ours = lanes.into_iter().find(|view| view.suspended.is_some());
        ours.is_some_and(|view| view.waiting == 3)
    })
    .await;
    rig.configure(|_| {}, route);
    for id in &ids {
        rig.ended(id).await;
    }
}
