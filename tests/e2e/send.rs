//! `postrider-relay send`: one mail, and whether it was taken.
//! **Owns:** what it says and how it ends. **Never:** what becomes of the mail afterwards.

use postrider_tests::{
    World, certs,
    ledger::Ledger,
    relay,
    sink::{At, Rule, Setup, Sink},
};

use crate::SOON;

/// What it printed, and whether it succeeded.
async fn send(arguments: &[&str]) -> (String, bool) {
    let output = relay::command([&["send"], arguments].concat()).await.unwrap();
    let told = [output.stdout, output.stderr].concat();
    (String::from_utf8(told).unwrap(), output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_takes_the_mail_is_told_with_its_reply() {
    let mut world = World::new().await.unwrap();
    world.domain("far.example").await.unwrap();
    world.relay().await.unwrap();
    let to = world.relays[0].smtp().to_string();
    let (told, is_taken) = send(&[
        "--to",
        &to,
        "--from",
        "a@app.example",
        "--rcpt",
        "b@far.example",
        "--subject",
        "J\u{fc}rgen",
    ])
    .await;
    assert!(
        is_taken && told.starts_with(&format!("{to} has taken the mail for b@far.example: 250 ")),
        "{told}"
    );
    let entry = world.arrival("b@far.example", SOON).await.unwrap();
    assert_eq!(entry.sender, "a@app.example");
    assert!(entry.text().contains("\r\nSubject: J\u{fc}rgen\r\n"), "{}", entry.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_fails_where_the_mail_is_not_taken() {
    let ledger = Ledger::default();
    let sink = Sink::start(([127, 0, 0, 1], 0).into(), ledger.clone(), Setup::default()).await.unwrap();
    let to = sink.address().to_string();
    let each = [
        (At::Banner, "554 5.3.2 closed"),
        (At::Mail, "553 5.1.8 no such sender"),
        (At::Rcpt, "550 5.1.1 nobody here"),
        (At::Dot, "552 5.3.4 too much"),
    ];
    for (at, reply) in each {
        sink.behave([Rule::reply(at, reply).times(1)]);
        let (told, is_taken) = send(&["--to", &to, "--rcpt", "b@far.example"]).await;
        assert!(!is_taken && told.contains(&format!("found {reply}")) && told.contains(&to), "{told}");
    }
    assert!(ledger.is_empty());
    let (told, is_taken) = send(&["--to", &to, "--rcpt", "b@far.example"]).await;
    assert!(is_taken, "{told}");
    assert_eq!(ledger.entries()[0].sender, "", "the null sender unless said");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_again_when_it_is_told_to() {
    let ledger = Ledger::default();
    let sink = Sink::start(([127, 0, 0, 1], 0).into(), ledger.clone(), Setup::default()).await.unwrap();
    let to = sink.address().to_string();
    for (at, reply) in [(At::Banner, "421 4.3.2 busy"), (At::Rcpt, "450 4.7.1 not known yet")] {
        sink.behave([Rule::reply(at, reply).times(1)]);
        let (told, is_taken) = send(&["--to", &to, "--rcpt", "b@far.example"]).await;
        assert!(is_taken, "{told}");
    }
    assert_eq!(ledger.entries().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_fails_where_nobody_listens() {
    let to = format!("127.0.0.1:{}", postrider_tests::ports::free().unwrap());
    let (told, is_taken) = send(&["--to", &to, "--rcpt", "b@far.example"]).await;
    assert!(!is_taken && told.contains(&to), "{told}");
    let (told, is_taken) = send(&["--to", &to, "--rcpt", "nobody"]).await;
    assert!(!is_taken && told.contains("--rcpt \"nobody\""), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn starttls_is_used_where_it_is_offered_whatever_the_certificate_names() {
    let ledger = Ledger::default();
    let tls = Some(certs::self_signed("public.example").unwrap().server);
    let setup = Setup { tls, ..Setup::default() };
    let sink = Sink::start(([127, 0, 0, 1], 0).into(), ledger.clone(), setup).await.unwrap();
    let (told, is_taken) = send(&["--to", &sink.address().to_string(), "--rcpt", "b@far.example"]).await;
    assert!(is_taken && ledger.entries()[0].is_tls, "{told}");
}
