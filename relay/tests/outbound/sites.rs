//! Connections, hosts, lanes.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use postrider_core::config::Route;
use postrider_mail::{OutcomeKind, Stage};
use postrider_smtp::timer::Waits;

use crate::{
    far_side::{Act, FarSide, Step},
    rig::{Rig, lane, parts, to, to_addresses, until},
};

const TEXT: &str = "Subject: hello\r\n\r\n.a line with a dot\r\nand one without\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_delivered_from_memory_byte_for_byte() {
    let far = FarSide::usual().await;
    let rig = Rig::start(to(&[&far])).await;
    let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
    rig.ended(&id).await;
    let got = far.messages();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].body, TEXT);
    assert!(got[0].from.starts_with("<a@app.example>"), "{}", got[0].from);
    assert_eq!(got[0].to, ["<b@far.example>"]);
    let counted = || rig.metrics.outbound.attempts.with_label_values(&["Delivered", "Dot"]).get();
    until("it is counted", || async { counted() == 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn due_mail_is_claimed_read_back_and_delivered() {
    let far = FarSide::usual().await;
    let rig = Rig::start(to(&[&far])).await;
    let large = format!("Subject: large\r\n\r\n{}", "x".repeat(70).repeat(10) + "\r\n").repeat(1_000);
    let id = rig.queue("a@app.example", &["b@far.example"], &large).await;
    rig.ended(&id).await;
    assert_eq!(far.messages()[0].body, large);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again() {
    let far = FarSide::usual().await;
    let rig = Rig::start(to(&[&far])).await;
    for _ in 0..10 {
        let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
        rig.ended(&id).await;
    }
    assert_eq!((far.messages().len(), far.connections()), (10, 1));
    // And closed, with a QUIT, once nobody needs it.
    until("QUIT", || async { far.seen(|seen| seen.commands.iter().any(|line| line == "QUIT")) }).await;
    until("closed", || async { rig.sites.load().1 == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_go_over_few_connections() {
    let far = FarSide::usual().await;
    let rig = Rig::start(to(&[&far])).await;
    let mut ids = Vec::new();
    for n in 0..300 {
        ids.push(if n % 2 == 0 {
            rig.send("a@app.example", &["b@far.example"], TEXT).await
        } else {
            rig.queue("a@app.example", &["c@far.example"], TEXT).await
        });
    }
    for id in &ids {
        rig.ended(id).await;
    }
    assert_eq!(far.messages().len(), 300);
    assert!(far.connections() <= 20, "{}", far.connections());
    until("all slots are back", || async { rig.dispatcher.window().taken() == 0 }).await;
    assert!(rig.heartbeat.running().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_died_costs_no_attempt() {
    // Says goodbye where the answer to the second MAIL should be, or has closed after the first message.
    for goodbye in [Act::Bye as fn(String) -> Act, |_| Act::Close] {
        let far = FarSide::start(move |step, connection| match step {
            Step::Command(line) if connection == 1 && line.contains("<second@") => {
                goodbye("421 4.7.0 20 messages are enough".to_owned())
            }
            Step::Command(_) | Step::Greeting | Step::Dot => Act::Usual,
        })
        .await;
        let rig = Rig::start(to(&[&far])).await;
        for from in ["first@app.example", "second@app.example"] {
            let id = rig.send(from, &["b@far.example"], TEXT).await;
            assert_eq!(rig.outcomes(&id).await[0].kind, OutcomeKind::Delivered);
        }
        assert_eq!(far.connections(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_host_gets_what_the_first_cannot_take() {
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let far = FarSide::usual().await;
    let rig = Rig::start(to_addresses(&[refused, far.address])).await;
    let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
    let outcomes = rig.outcomes(&id).await;
    assert_eq!(outcomes[0].kind, OutcomeKind::Delivered);
    assert_eq!(far.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_destination_is_suspended_and_costs_the_others_nothing() {
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let far = FarSide::usual().await;
    let mut parts = parts(to(&[&far]));
    parts.rules = vec![rule("dead", "dead.example", to_addresses(&[refused]))];
    let rig = Rig::with(parts, Waits::shortened_for_tests(300)).await;
    let mut dead_lane = lane("b@dead.example");
    dead_lane.route = postrider_queue::RouteName::parse("dead").unwrap();
    for _ in 0..60 {
        rig.queue("a@app.example", &["b@dead.example"], TEXT).await;
    }
    until("suspended", || async { rig.dispatcher.window().suspended_for(&dead_lane).is_some() }).await;
    let id = rig.queue("a@app.example", &["b@live.example"], TEXT).await;
    rig.ended(&id).await;
    assert!(rig.dispatcher.reserve(&dead_lane).is_none());
    let attempts = rig.metrics.outbound.attempts.with_label_values(&["Deferred", "Connect"]).get();
    assert!((1..=20).contains(&attempts), "a handful found out for all of them: {attempts}");
    // What nobody tried is back in its lane, and nothing is stuck.
    until("all claims are back", || async {
        let me = rig.partition.lease().incarnation().unwrap();
        rig.partition.claims_of(me).await.unwrap().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_mail_follows_a_change_of_rules() {
    let is_busy = std::sync::Arc::new(AtomicBool::new(true));
    let busy = FarSide::start({
        let is_busy = is_busy.clone();
        move |step, _| match step {
            Step::Command(line) if line.starts_with("RCPT") && is_busy.load(Ordering::Relaxed) => {
                Act::Say("451 4.3.0 busy".to_owned())
            }
            Step::Command(_) | Step::Greeting | Step::Dot => Act::Usual,
        }
    })
    .await;
    let other = FarSide::usual().await;
    let rig = Rig::start(to(&[&busy])).await;
    let id = rig.send("a@app.example", &["b@far.example", "c@far.example"], TEXT).await;
    let outcomes = rig.outcomes(&id).await;
    assert!(outcomes.iter().all(|one| one.kind == OutcomeKind::Deferred && one.stage == Stage::Rcpt));
    let route = to(&[&busy]);
    let moved = rule("moved", "far.example", to(&[&other]));
    rig.configure(|parts| parts.rules = vec![moved], route);
    rig.ended(&id).await;
    assert_eq!(other.messages().len(), 1);
    assert_eq!(other.messages()[0].to.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_hold_discard_reject_and_defer_waiting_mail() {
    let far = FarSide::usual().await;
    let rejection = postrider_core::config::Rejection {
        code: postrider_mail::ReplyCode::new(550),
        enhanced: postrider_mail::EnhancedCode::permanent(7, 1),
        text: "not from here".into(),
    };
    let mut parts = parts(to(&[&far]));
    parts.rules = vec![
        rule("hold", "hold.example", Route::Hold { reason: "look at it".into() }),
        rule("discard", "discard.example", Route::Discard),
        rule("reject", "reject.example", Route::Reject(rejection)),
        rule("defer", "defer.example", Route::Defer { reason: "later".into() }),
    ];
    let rig = Rig::with(parts, Waits::shortened_for_tests(300)).await;
    let ids = [
        rig.queue("", &["b@hold.example"], TEXT).await,
        rig.queue("", &["b@discard.example"], TEXT).await,
        rig.queue("", &["b@reject.example"], TEXT).await,
        rig.queue("", &["b@defer.example"], TEXT).await,
    ];
    until("held", || async {
        let seen = rig.inspect(&ids[0]).await.unwrap();
        matches!(seen.deliveries[0].place, postrider_queue::inspect::Place::Held { .. })
    })
    .await;
    rig.ended(&ids[1]).await;
    rig.ended(&ids[2]).await;
    assert_eq!(rig.outcomes(&ids[2]).await[0].kind, OutcomeKind::Bounced);
    let deferred = rig.outcomes(&ids[3]).await;
    assert_eq!((deferred[0].kind, deferred[0].stage), (OutcomeKind::Deferred, Stage::Route));
    assert!(far.messages().is_empty(), "a null sender gets no bounce either");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_fleet_sends_nothing_until_it_is_active() {
    let far = FarSide::usual().await;
    let route = to(&[&far]);
    let mut paused = parts(route.clone());
    paused.delivery = postrider_core::config::DeliveryMode::Paused;
    let rig = Rig::with(paused, Waits::shortened_for_tests(300)).await;
    assert!(rig.dispatcher.reserve(&lane("b@far.example")).is_none());
    let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(far.messages().is_empty());
    rig.configure(|_| {}, route);
    rig.ended(&id).await;
    assert_eq!(far.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_starttls_falls_back_to_clear_in_the_same_attempt_unless_the_policy_says_verify() {
    let script = |step: &Step, _: usize| match step {
        Step::Command(line) if line.starts_with("EHLO") => {
            Act::Say("250-far.example\r\n250-STARTTLS\r\n250 PIPELINING".to_owned())
        }
        Step::Command(line) if line == "STARTTLS" => Act::Bye("220 go on".to_owned()),
        Step::Command(_) | Step::Greeting | Step::Dot => Act::Usual,
    };
    let far = FarSide::start(script).await;
    let rig = Rig::start(to(&[&far])).await;
    for _ in 0..2 {
        let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
        assert_eq!(rig.outcomes(&id).await[0].kind, OutcomeKind::Delivered);
    }
    let starts = far.seen(|seen| seen.commands.iter().filter(|line| *line == "STARTTLS").count());
    assert_eq!((starts, far.messages().len()), (1, 2), "and it is remembered");
    rig.configure(
        |parts| parts.defaults.tls = Some(postrider_core::tls_policy::TlsMode::Verify),
        to(&[&far]),
    );
    let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
    let outcomes = rig.outcomes(&id).await;
    assert_eq!((outcomes[0].kind, outcomes[0].stage), (OutcomeKind::Deferred, Stage::Tls));
    assert_eq!(far.messages().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_cannot_be_looked_up_is_deferred_and_its_lane_waits() {
    // Nobody answers at the nameserver's port.
    let rig = Rig::start(Route::Mx).await;
    let id = rig.send("", &["b@far.example"], TEXT).await;
    let outcomes = rig.outcomes(&id).await;
    assert_eq!((outcomes[0].kind, outcomes[0].stage), (OutcomeKind::Deferred, Stage::Dns));
    until("suspended", || async { rig.dispatcher.reserve(&lane("b@far.example")).is_none() }).await;
    assert!(rig.inspect(&id).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_not_sent_in_clear() {
    let far = FarSide::start(|step, _| match step {
        Step::Command(line) if line.starts_with("EHLO") => {
            Act::Say("250-far.example\r\n250 AUTH PLAIN LOGIN".to_owned())
        }
        Step::Command(_) | Step::Greeting | Step::Dot => Act::Usual,
    })
    .await;
    let mut route = to(&[&far]);
    if let Route::Smarthost(smarthost) = &mut route {
        smarthost.credentials = Some(postrider_core::config::Credentials {
            username: "ann".into(),
            password: postrider_core::config::Secret::new("canary".into()),
        });
    }
    let rig = Rig::start(route).await;
    let id = rig.send("", &["b@far.example"], TEXT).await;
    let outcomes = rig.outcomes(&id).await;
    assert_eq!((outcomes[0].kind, outcomes[0].stage), (OutcomeKind::Deferred, Stage::Auth));
    assert!(outcomes[0].explanation.as_str().contains("not sent in clear"), "{outcomes:?}");
    assert!(!far.seen(|seen| seen.commands.iter().any(|line| line.starts_with("AUTH"))));
}

pub fn rule(name: &str, domain: &str, route: Route) -> postrider_core::config::Rule {
    postrider_core::config::Rule {
        name: postrider_core::config::RuleName::new("mail", "mail", name),
        priority: 0,
        created: 0,
        matches: vec![postrider_core::matcher::Match {
            recipient_domains: Some(vec![domain.parse().unwrap()]),
            ..Default::default()
        }],
        scope: Default::default(),
        route: Some(route),
        policy: Default::default(),
        broken: None,
    }
}
