//! Mail by chosen sources: it leaves by those of its pool, or it waits.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
};

use postrider_core::{
    config::{ConfigParts, HostAddress},
    day::Day,
    egress::{Pool, PoolNumber, ProxyHost, Source, SourceName, WarmUp, Way},
};
use postrider_mail::{HostName, OutcomeKind, Stage};
use postrider_queue::{inspect::Suspension, limit::Limiter};
use postrider_relay::clock;
use postrider_smtp::timer::Waits;

use crate::{
    far_side::{Act, FarSide, Step},
    proxy::{Proxy, nobody},
    rig::{Rig, lane, parts, to, to_addresses, until},
};

const TEXT: &str = "Subject: hello\r\n\r\nhello\r\n";

pub fn source(name: &str, way: Way) -> Source {
    let hostname = HostName::parse(&format!("{name}.mail.example.com")).unwrap();
    Source { name: name.into(), weight: 1, hostname, family: None, warm_up: None, way }
}

pub fn address(last: u8) -> Way {
    Way::Address([127, 0, 0, last].into())
}

fn socks(proxy: SocketAddr) -> Way {
    let proxy = ProxyHost { host: HostAddress::Ip(proxy.ip()), port: proxy.port() };
    Way::Socks5 { proxy, credentials: None }
}

/// All mail by these.
pub fn with(mut parts: ConfigParts, sources: Vec<Source>) -> ConfigParts {
    parts.egress_pools = vec![Pool { name: "main".into(), sources }];
    parts.defaults.pool = PoolNumber::at(0);
    parts
}

async fn rig(far: &FarSide, sources: Vec<Source>) -> Rig {
    let parts = with(parts(to(&[far])), sources);
    let rig = Rig::with(parts.clone(), Waits::shortened_for_tests(300)).await;
    rig.metrics.follow(&parts.into());
    rig
}

fn peers(far: &FarSide) -> Vec<IpAddr> {
    let mut peers: Vec<IpAddr> = far.messages().iter().map(|got| got.peer).collect();
    peers.sort_unstable();
    peers.dedup();
    peers
}

fn failures(rig: &Rig, source: &str) -> u64 {
    rig.metrics.sources.failures(&SourceName { pool: "main".into(), source: source.into() })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_far_side_sees_the_sources_address_and_name() {
    let far = FarSide::usual().await;
    let rig = rig(&far, vec![source("a", address(2))]).await;
    let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
    rig.ended(&id).await;
    assert_eq!(peers(&far), [IpAddr::from([127, 0, 0, 2])]);
    assert!(far.seen(|seen| seen.commands.contains(&"EHLO a.mail.example.com".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_shared_out_and_each_message_keeps_to_its_source() {
    // Each message's second recipient is put off at first: it goes by the same source later.
    let put_off = AtomicUsize::new(0);
    let far = FarSide::start(move |step, _| match step {
        Step::Command(line)
            if line.starts_with("RCPT TO:<c@") && put_off.fetch_add(1, Ordering::AcqRel) < 40 =>
        {
            Act::Say("451 4.3.0 later".into())
        }
        Step::Greeting | Step::Command(_) | Step::Dot => Act::Usual,
    })
    .await;
    let sources = vec![source("a", address(2)), source("b", address(3))];
    let pool = Pool { name: "main".into(), sources: sources.clone() };
    let rig = rig(&far, sources).await;
    let mut ids = Vec::new();
    for n in 0..40 {
        let text = format!("Subject: {n}\r\n\r\nhello\r\n");
        ids.push((rig.send("a@app.example", &["b@far.example", "c@far.example"], &text).await, n));
    }
    for (id, n) in &ids {
        rig.ended(id).await;
        let wanted = match &*pool.order(&id.to_string())[0].name {
            "a" => IpAddr::from([127, 0, 0, 2]),
            _ => IpAddr::from([127, 0, 0, 3]),
        };
        let subject = format!("Subject: {n}\r\n");
        let got: Vec<_> = far.messages().into_iter().filter(|got| got.body.starts_with(&subject)).collect();
        assert_eq!(got.iter().map(|got| got.to.len()).sum::<usize>(), 2);
        assert!(got.iter().all(|got| got.peer == wanted), "{got:?}");
    }
    assert!(far.messages().len() > 40, "some came in two parts");
    assert_eq!(peers(&far).len(), 2, "forty by one source are no accident");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_proxy_had_goes_by_the_others_in_the_same_attempt() {
    let far = FarSide::usual().await;
    let proxy = Proxy::start(Ok([127, 0, 0, 3].into())).await;
    let rig =
        rig(&far, vec![source("dead", socks(nobody().await)), source("well", socks(proxy.address))]).await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(rig.send("a@app.example", &["b@far.example"], TEXT).await);
    }
    for id in &ids {
        rig.ended(id).await;
    }
    assert_eq!((far.messages().len(), peers(&far)), (40, vec![IpAddr::from([127, 0, 0, 3])]));
    let counted = |outcome| rig.metrics.outbound.attempts.with_label_values(&[outcome, "Dot"]).get();
    until("all are counted", || async { counted("Delivered") == 40 }).await;
    assert!(failures(&rig, "dead") > 0);
    assert_eq!(rig.sites.sources_out().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_source_works_mail_waits_and_goes_when_one_does() {
    let far = FarSide::usual().await;
    let sources = vec![
        source("gone", socks(nobody().await)),
        source("not-ours", Way::Address([198, 51, 100, 7].into())),
    ];
    let rig = rig(&far, sources).await;
    let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
    let outcomes = rig.outcomes(&id).await;
    assert_eq!((outcomes[0].kind, outcomes[0].stage), (OutcomeKind::Deferred, Stage::Connect));
    assert_eq!(outcomes[0].status.to_string(), "4.4.1");
    assert!(!outcomes[0].explanation.as_str().contains("198.51"), "{:?}", outcomes[0].explanation);
    assert_eq!(far.connections(), 0, "never by the pod's own address");
    assert!(failures(&rig, "gone") > 0 && failures(&rig, "not-ours") > 0);
    let parts = with(parts(to(&[&far])), vec![source("new", address(4))]);
    rig.config.send_replace(std::sync::Arc::new(parts.into()));
    rig.ended(&id).await;
    assert_eq!(peers(&far), [IpAddr::from([127, 0, 0, 4])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_not_there_or_empty_lets_its_mail_wait() {
    let far = FarSide::usual().await;
    for (sources, number) in [(Vec::new(), 0), (vec![source("a", address(2))], 1)] {
        let mut parts = with(parts(to(&[&far])), sources);
        parts.defaults.pool = PoolNumber::at(number);
        let rig = Rig::with(parts, Waits::shortened_for_tests(300)).await;
        let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
        assert_eq!(rig.outcomes(&id).await[0].kind, OutcomeKind::Deferred);
    }
    assert_eq!(far.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_that_is_not_reached_is_no_fault_of_the_source() {
    let far = FarSide::usual().await;
    let proxy = Proxy::start(Ok([127, 0, 0, 3].into())).await;
    let parts = with(
        parts(to_addresses(&[nobody().await, far.address])),
        vec![source("a", socks(proxy.address)), source("b", socks(proxy.address))],
    );
    let rig = Rig::with(parts, Waits::shortened_for_tests(300)).await;
    let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
    rig.ended(&id).await;
    assert_eq!(far.messages().len(), 1);
    assert!(rig.sites.sources_out().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_is_left_out_and_charges_nobody() {
    let far = FarSide::usual().await;
    let refuses = Proxy::start(Err(2)).await;
    let rig = rig(&far, vec![source("a", socks(refuses.address)), source("b", address(3))]).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(rig.send("a@app.example", &["b@far.example"], TEXT).await);
    }
    for id in &ids {
        rig.ended(id).await;
    }
    assert_eq!(peers(&far), [IpAddr::from([127, 0, 0, 3])]);
    assert!(refuses.connections() <= 20, "one that is out isn't asked by everybody");
    assert_eq!(rig.sites.states().backing_off, 0, "no site is suspended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_that_refuses_one_source_still_gets_mail_of_the_other() {
    let far = FarSide::start(|step, _| match step {
        Step::Command(line) if line.starts_with("EHLO a.") => Act::Bye("554 5.7.1 not from there".into()),
        Step::Greeting | Step::Command(_) | Step::Dot => Act::Usual,
    })
    .await;
    let sources = vec![source("a", address(2)), source("b", address(3))];
    let pool = Pool { name: "main".into(), sources: sources.clone() };
    let rig = rig(&far, sources).await;
    let (mut by_b, mut by_a) = (Vec::new(), 0);
    while by_b.len() < 30 || by_a < 30 {
        let id = rig.queue("a@app.example", &["b@far.example"], TEXT).await;
        if &*pool.order(&id.to_string())[0].name == "b" {
            by_b.push(id);
        } else {
            by_a += 1;
        }
    }
    for id in &by_b {
        rig.ended(id).await;
    }
    assert_eq!(peers(&far), [IpAddr::from([127, 0, 0, 3])]);
    assert!(rig.sites.sources_out().is_empty(), "the far side's refusal is no fault of the source");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_dies_hands_its_mail_on() {
    let far = FarSide::usual().await;
    let mut first = Proxy::start(Ok([127, 0, 0, 2].into())).await;
    let second = Proxy::start(Ok([127, 0, 0, 3].into())).await;
    let mut parts =
        with(parts(to(&[&far])), vec![source("a", socks(first.address)), source("b", socks(second.address))]);
    parts.defaults.messages_per_connection = Some(1);
    let rig = Rig::with(parts, Waits::shortened_for_tests(300)).await;
    let mut ids = Vec::new();
    for n in 0..60 {
        ids.push(rig.send("a@app.example", &["b@far.example"], TEXT).await);
        if n == 30 {
            until("both were used", || async { peers(&far).len() == 2 }).await;
            first.stop().await;
        }
    }
    for id in &ids {
        rig.ended(id).await;
    }
    assert_eq!(far.messages().len(), 60, "each once");
}

/// A plan that gives each day the same, from today plus `days` on.
fn plan(days: u32, messages: u32) -> WarmUp {
    WarmUp { start: Day::of(clock::wall()).after(days), messages: vec![messages; 3] }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_source_carries_what_the_day_has_for_it_and_the_others_the_rest() {
    let far = FarSide::usual().await;
    // Nearly all messages would go by the new one.
    let new = Source { warm_up: Some(plan(0, 7)), weight: 1_000, ..source("new", address(2)) };
    let parts = with(parts(to(&[&far])), vec![new, source("old", address(3))]);
    let began = Day::of(clock::wall());
    let one = Rig::with(parts.clone(), Waits::shortened_for_tests(300)).await;
    let other = one.beside(parts.clone()).await;
    let mut ids = Vec::new();
    for n in 0..60 {
        let rig = if n % 2 == 0 { &one } else { &other };
        ids.push(rig.send("a@app.example", &["b@far.example"], TEXT).await);
    }
    for id in &ids {
        one.ended(id).await;
    }
    let by_new = far.messages().iter().filter(|got| got.peer == IpAddr::from([127, 0, 0, 2])).count();
    assert_eq!(far.messages().len(), 60);
    if Day::of(clock::wall()) == began {
        assert_eq!(by_new, 7);
    }
    for rig in [&one, &other] {
        let waits = rig.metrics.outbound.limit_waits.with_label_values(&["warm-up"]).get();
        assert_eq!(waits, 0, "nothing waits");
        let outcomes = rig.metrics.outbound.attempts.with_label_values(&["Deferred", "Connect"]).get();
        assert_eq!(outcomes, 0, "and nothing is deferred");
        assert!(rig.sites.sources_out().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_no_source_may_carry_today_waits_for_it_by_name() {
    let far = FarSide::usual().await;
    let early = Source { warm_up: Some(plan(1, 7)), ..source("early", address(2)) };
    let spent = Source { warm_up: Some(plan(0, 1)), ..source("spent", address(3)) };
    let rig = rig(&far, vec![early, spent]).await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(rig.send("a@app.example", &["b@far.example"], TEXT).await);
    }
    until("the limit is named", || async {
        let lanes = rig.partition.top_lanes(5).await.unwrap();
        let ours = lanes.into_iter().find(|view| view.lane == lane("b@far.example"));
        let suspended = ours.and_then(|view| view.suspended);
        matches!(suspended, Some(Suspension::Limited { limiter: Limiter::WarmUp, .. }))
    })
    .await;
    assert!(far.messages().len() <= 2, "one a day");
    assert!(!peers(&far).contains(&IpAddr::from([127, 0, 0, 2])), "not before its first day");
    assert!(rig.metrics.outbound.limit_waits.with_label_values(&["warm-up"]).get() > 0);
    // It waits for nothing else than that.
    let parts = with(parts(to(&[&far])), vec![source("new", address(4))]);
    rig.config.send_replace(std::sync::Arc::new(parts.into()));
    for id in &ids {
        rig.ended(id).await;
    }
    assert_eq!(far.messages().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_that_answers_no_source_is_left_alone_though_another_may_not_be_asked() {
    let sources = vec![
        source("old", address(2)),
        Source { warm_up: Some(plan(1, 7)), weight: 1_000, ..source("early", address(3)) },
    ];
    let parts = with(parts(to_addresses(&[nobody().await])), sources);
    let rig = Rig::with(parts, Waits::shortened_for_tests(300)).await;
    for _ in 0..20 {
        rig.send("a@app.example", &["b@far.example"], TEXT).await;
    }
    until("the destination is suspended", || async {
        let lanes = rig.partition.top_lanes(5).await.unwrap();
        let ours = lanes.into_iter().find(|view| view.lane == lane("b@far.example"));
        matches!(ours.and_then(|view| view.suspended), Some(Suspension::Until(_)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_this_relay_can_not_send_is_put_off_for_no_other() {
    let far = FarSide::usual().await;
    let early = Source { warm_up: Some(plan(1, 7)), ..source("early", address(2)) };
    let not_ours = source("not-ours", Way::Address([198, 51, 100, 7].into()));
    let rig = rig(&far, vec![early, not_ours]).await;
    for _ in 0..10 {
        rig.send("a@app.example", &["b@far.example"], TEXT).await;
    }
    let waits = || rig.metrics.outbound.limit_waits.with_label_values(&["warm-up"]).get();
    until("it waits", || async { waits() >= 10 }).await;
    let lanes = rig.partition.top_lanes(5).await.unwrap();
    let ours = lanes.into_iter().find(|view| view.lane == lane("b@far.example")).unwrap();
    assert_eq!(ours.suspended, None);
    assert_eq!(far.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_that_the_day_has_nothing_left_for_go_by_another_source_at_once() {
    let far = FarSide::usual().await;
    let new = Source { warm_up: Some(plan(0, 1)), weight: 1_000, ..source("new", address(2)) };
    let mut parts = with(parts(to(&[&far])), vec![new, source("old", address(3))]);
    parts.defaults.recipients_per_message = Some(1);
    // By the schedule nobody would see them.
    let hour = std::time::Duration::from_secs(3_600);
    (parts.defaults.retry_initial, parts.defaults.retry_max) = (Some(hour), Some(hour));
    let rig = Rig::with(parts, Waits::shortened_for_tests(300)).await;
    let id = rig.send("a@app.example", &["b@far.example", "c@far.example", "d@far.example"], TEXT).await;
    rig.ended(&id).await;
    assert_eq!(far.messages().len(), 3);
}
