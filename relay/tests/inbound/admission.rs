//! Who may relay what.

use postrider_core::config::{DomainSet, Rejection, Route, Rule, RuleName, Scope};
use postrider_core::{matcher::Match, policy::PolicyFields};
use postrider_mail::{EnhancedCode, ReplyCode};

use crate::rig::{Rig, Setup, listener, users};

fn rule(name: &str, domain: &str, route: Route) -> Rule {
    let domains = vec![domain.parse().expect("a pattern")];
    Rule {
        name: RuleName::new("mail", "mail", name),
        priority: 0,
        created: 0,
        matches: vec![Match { recipient_domains: Some(domains), ..Match::default() }],
        scope: Scope::default(),
        route: Some(route),
        policy: PolicyFields::default(),
        broken: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_relay() {
    let mut strict = listener("smtp");
    strict.allowed_clients = vec!["192.0.2.0/24".parse().expect("a net")];
    let mut with_users = strict.clone();
    (with_users.name, with_users.auth) = ("submission".into(), users());
    let rig = Rig::start(Setup { listeners: vec![strict, with_users], ..Setup::default() }).await;
    for name in ["smtp", "submission"] {
        let mut peer = crate::peer::Peer::connect(rig.address(name)).await;
        peer.reply().await;
        peer.expect("EHLO client.example", "250").await;
        peer.expect("MAIL FROM:<a@app.example>", "250").await;
        peer.expect("RCPT TO:<b@far.example>", "550 5.7.1 ").await;
        peer.expect("DATA", "5").await;
        peer.expect("QUIT", "221").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_takes_the_sender_domains_that_it_names() {
    let mut one = listener("smtp");
    one.sender_domains = Some(DomainSet(vec!["app.example".parse().expect("a pattern")]));
    let rig = Rig::start(Setup { listeners: vec![one], ..Setup::default() }).await;
    let mut peer = rig.peer().await;
    peer.expect("EHLO client.example", "250").await;
    peer.expect("MAIL FROM:<a@else.example>", "250").await;
    peer.expect("RCPT TO:<b@far.example>", "550 5.7.1 ").await;
    peer.expect("RSET", "250").await;
    peer.expect("MAIL FROM:<a@app.example>", "250").await;
    peer.expect("RCPT TO:<b@far.example>", "250").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_reject_discard_and_hold() {
    let change = |parts: &mut postrider_core::config::ConfigParts| {
        let rejection = Rejection {
            code: ReplyCode::new(553),
            enhanced: EnhancedCode::permanent(1, 3),
            text: "nobody lives there".into(),
        };
        parts.rules = vec![
            rule("no", "no.example", Route::Reject(rejection)),
            rule("drop", "drop.example", Route::Discard),
            rule("hold", "hold.example", Route::Hold { reason: "a test".into() }),
        ];
    };
    let rig = Rig::start(Setup { change, ..Setup::default() }).await;
    let mut peer = rig.peer().await;
    peer.expect("EHLO client.example", "250").await;
    peer.expect("MAIL FROM:<a@app.example>", "250").await;
    peer.expect("RCPT TO:<b@no.example>", "553 5.1.3 nobody lives there").await;
    peer.expect("RCPT TO:<b@drop.example>", "250").await;
    peer.expect("DATA", "354").await;
    peer.expect("Subject: x\r\n\r\nx\r\n.", "250").await;
    let reply = {
        peer.expect("MAIL FROM:<a@app.example>", "250").await;
        peer.expect("RCPT TO:<b@hold.example>", "250").await;
        peer.expect("RCPT TO:<b@drop.example>", "250").await;
        peer.expect("DATA", "354").await;
        peer.expect("Subject: x\r\n\r\nx\r\n.", "250").await
    };
    assert!(rig.stored(&reply).await.ends_with(b"Subject: x\r\n\r\nx\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_rules_reaches_sessions_that_are_open() {
    let rig = Rig::usual().await;
    let mut peer = rig.peer().await;
    peer.expect("EHLO client.example", "250").await;
    peer.expect("MAIL FROM:<a@app.example>", "250").await;
    peer.expect("RCPT TO:<b@no.example>", "250").await;
    peer.expect("RSET", "250").await;
    let rejection = |parts: &mut postrider_core::config::ConfigParts| {
        let (code, enhanced) = (ReplyCode::new(550), EnhancedCode::permanent(7, 1));
        parts.rules =
            vec![rule("no", "no.example", Route::Reject(Rejection { code, enhanced, text: "no".into() }))];
    };
    rig.config.send(crate::rig::config(vec![listener("smtp")], rejection)).expect("it is read");
    peer.expect("MAIL FROM:<a@app.example>", "250").await;
    peer.expect("RCPT TO:<b@no.example>", "550 5.7.1 no").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_has_so_many_sessions() {
    let mut one = listener("smtp");
    one.limits.connections_per_client = 2;
    let rig = Rig::start(Setup { listeners: vec![one], ..Setup::default() }).await;
    let (first, _second) = (rig.peer().await, rig.peer().await);
    let mut third = crate::peer::Peer::connect(rig.address("smtp")).await;
    assert!(third.rest().await.starts_with("421 4.7.0 "));
    drop(first);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    loop {
        let mut fourth = crate::peer::Peer::connect(rig.address("smtp")).await;
        if fourth.reply().await.starts_with("220") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the place was not given back");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
