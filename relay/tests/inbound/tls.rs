//! STARTTLS, implicit TLS, AUTH.

use base64::{Engine, engine::general_purpose::STANDARD};
use postrider_core::config::{Protocol, TlsDemand};

use crate::{
    peer::Peer,
    rig::{Rig, Setup, certificate, listener, tls, users},
};

fn plain(user: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", STANDARD.encode(format!("\0{user}\0{password}")))
}

/// A submission listener that only users may use. Returns what to trust, too.
async fn submission(demand: TlsDemand) -> (Rig, String) {
    let (certificate, trusted) = certificate();
    let mut one = listener("smtp");
    one.allowed_clients.clear();
    one.tls = tls(demand, &certificate);
    one.auth = users();
    (Rig::start(Setup { listeners: vec![one], ..Setup::default() }).await, trusted)
}

async fn start_tls(rig: &Rig, trusted: &str) -> Peer {
    let mut peer = rig.peer().await;
    assert!(peer.expect("EHLO client.example", "250").await.contains("STARTTLS"));
    peer.expect("STARTTLS", "220").await;
    let mut peer = peer.secure(trusted).await;
    assert!(!peer.expect("EHLO client.example", "250").await.contains("STARTTLS"));
    peer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_relays_after_starttls_and_auth() {
    let (rig, trusted) = submission(TlsDemand::Optional).await;
    let mut peer = start_tls(&rig, &trusted).await;
    peer.expect(&plain("ann", "pencil"), "235").await;
    peer.expect("MAIL FROM:<a@app.example>", "250").await;
    peer.expect("RCPT TO:<b@far.example>", "250").await;
    peer.expect("DATA", "354").await;
    let reply = peer.expect("Subject: x\r\n\r\nx\r\n.", "250 2.0.0 ").await;
    let stored = String::from_utf8(rig.stored(&reply).await).expect("text");
    assert!(stored.contains(" with ESMTPSA id ") && stored.contains("\r\n\ttls TLS"), "{stored}");
    // Who submits may leave these to us: RFC 6409 8.
    assert!(stored.contains("\r\nDate: ") && stored.contains("\r\nMessage-ID: <"), "{stored}");
    assert!(stored.ends_with("Subject: x\r\n\r\nx\r\n"), "{stored}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_user_are_told_the_same() {
    let (rig, trusted) = submission(TlsDemand::Optional).await;
    let mut peer = start_tls(&rig, &trusted).await;
    let wrong = peer.expect(&plain("ann", "pen"), "535 5.7.8 ").await;
    let unknown = peer.expect(&plain("eve", "pencil"), "535 5.7.8 ").await;
    assert_eq!(wrong, unknown);
    peer.expect("MAIL FROM:<a@app.example>", "250").await;
    peer.expect("RCPT TO:<b@far.example>", "550 5.7.1 ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_ends_the_session() {
    let (rig, trusted) = submission(TlsDemand::Optional).await;
    let mut peer = start_tls(&rig, &trusted).await;
    peer.expect(&plain("ann", "guess"), "535 ").await;
    peer.expect(&plain("ann", "guess"), "535 ").await;
    let told = peer.say(&plain("ann", "guess")).await + &peer.rest().await;
    assert!(told.contains("421 "), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_auth_in_clear_text() {
    let (rig, _) = submission(TlsDemand::Optional).await;
    let mut peer = rig.peer().await;
    assert!(!peer.expect("EHLO client.example", "250").await.contains("AUTH"));
    peer.expect(&plain("ann", "pencil"), "5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_may_demand_tls() {
    let (rig, trusted) = submission(TlsDemand::Required).await;
    let mut peer = rig.peer().await;
    peer.expect("EHLO client.example", "250").await;
    peer.expect("MAIL FROM:<a@app.example>", "530 5.7.0 ").await;
    let mut peer = start_tls(&rig, &trusted).await;
    peer.expect("MAIL FROM:<a@app.example>", "250").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_text_behind_starttls_ends_the_session() {
    let (rig, _) = submission(TlsDemand::Optional).await;
    let mut peer = rig.peer().await;
    peer.expect("EHLO client.example", "250").await;
    peer.send(b"STARTTLS\r\nRSET\r\n").await;
    let told = peer.rest().await;
    assert!(!told.contains("250"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn smtps_begins_with_tls_and_a_new_certificate_is_served_at_once() {
    let (first, trusted) = certificate();
    let mut one = listener("smtp");
    one.protocol = Protocol::Smtps;
    one.tls = tls(TlsDemand::Required, &first);
    let rig = Rig::start(Setup { listeners: vec![one.clone()], ..Setup::default() }).await;
    let mut old = Peer::connect(rig.address("smtp")).await.secure(&trusted).await;
    assert!(old.reply().await.starts_with("220 "));
    let (second, trusted) = certificate();
    one.tls = tls(TlsDemand::Required, &second);
    rig.config.send(crate::rig::config(vec![one], |_| {})).expect("it is read");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let mut new = Peer::connect(rig.address("smtp")).await.secure(&trusted).await;
    assert!(new.reply().await.starts_with("220 "));
    // The old session goes on.
    let reply = old.message(b"Subject: x\r\n\r\nx\r\n").await;
    assert!(String::from_utf8_lossy(&rig.stored(&reply).await).contains(" with ESMTPS id "));
}
