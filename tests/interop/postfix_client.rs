//! Postfix as client: a relay is its relayhost.
//! **Owns:** what Postfix does with our answers. **Never:** Postfix's own queue.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::{
    World,
    client::Client,
    manifests::{MailRelay, rule},
    postfix::{Postfix, Setup},
    source, wait,
};

use crate::{LATER, SOON, foreign, submission};

/// A Postfix that hands all mail to the first relay, and tries again soon: but no sooner than after a whole second. It counts in seconds,
/// and what it looks at again while the delivery before still has the file locked lies in its active queue until its next start.
async fn postfix(world: &World, more: &[(&str, &str)]) -> Result<Postfix> {
    let mut all = vec![
        ("local_header_rewrite_clients".to_owned(), String::new()),
        ("minimal_backoff_time".to_owned(), "2s".to_owned()),
        ("maximal_backoff_time".to_owned(), "3s".to_owned()),
        ("queue_run_delay".to_owned(), "1s".to_owned()),
        ("transport_retry_time".to_owned(), "1s".to_owned()),
    ];
    all.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let setup = Setup { relayhost: Some(world.relays[0].smtp()), more: all, ..Setup::default() };
    Postfix::start(&world.folder().join("client-postfix"), setup).await
}

async fn submit(postfix: &Postfix, to: &[&str], text: &str) -> Result<()> {
    let mut client = Client::greeted(postfix.address()).await?;
    let reply = client.message("a@sender.example", to, text.trim_end()).await?;
    ensure!(reply.code == 250, "{}", reply.text);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn its_mail_arrives_with_two_received_lines_on_top() -> Result<()> {
    let world = submission::relay().await?;
    let authority = submission::authority_path(&world).display().to_string();
    for (level, with) in [("none", "with ESMTP id"), ("verify", "with ESMTPS id")] {
        world.ledger.clear();
        let tls = [
            ("smtp_tls_security_level", level),
            ("smtp_tls_CAfile", &*authority),
            ("smtp_tls_verify_cert_match", "relay.example"),
        ];
        let mut postfix = postfix(&world, &tls).await?;
        let text = source::message("1", "a@sender.example", "b@far.example", 3000) + "..\r\n.x\r\n";
        // The client of this test doesn't stuff.
        submit(&postfix, &["b@far.example"], &text.replace("\r\n.", "\r\n..")).await?;
        let arrival = world.arrival("b@far.example", SOON).await;
        let body = arrival.with_context(|| postfix.log())?.body.context("bodies are kept")?;
        let top = body.strip_suffix(text.as_bytes()).context("the text is its end")?;
        let top = String::from_utf8_lossy(top);
        let fields = top.split("\r\n").filter(|line| line.starts_with("Received: from "));
        ensure!(fields.count() == 2 && top.starts_with("Received: from postfix.example"), "{top}");
        ensure!(top.contains(with), "{top}");
        postfix.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_relay_says_later_it_keeps_its_mail() -> Result<()> {
    let mut world = World::new().await?;
    world.domain("far.example").await?;
    world.relay().await?;
    let postfix = postfix(&world, &[]).await?;
    world.redis[0].kill().await?;
    submit(&postfix, &["b@far.example"], "Subject: x\r\n\r\nx").await?;
    wait::until("Postfix to be told so", LATER, || postfix.log().contains("status=deferred"))
        .await
        .with_context(|| postfix.log())?;
    ensure!(!postfix.log().contains("status=bounced"), "{}", postfix.log());
    world.redis[0].restart().await?;
    world.arrival("b@far.example", LATER).await.with_context(|| postfix.log())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_relay_refuses_it_bounces_through_the_relay() -> Result<()> {
    let mut world = World::new().await?;
    world.domain("sender.example").await?;
    let spec = "matches: [{recipientDomains: [no.example]}]\nroute: {type: Reject, reject: {code: 554, enhanced: 5.7.1, text: not today}}";
    world.manifests.write("rule.yaml", &rule("no", spec))?;
    world.relay().await?;
    let postfix = postfix(&world, &[]).await?;
    submit(&postfix, &["b@no.example"], "Subject: x\r\n\r\nx").await?;
    let bounce = world.arrival("a@sender.example", SOON).await.with_context(|| postfix.log())?;
    ensure!(bounce.sender.is_empty(), "{bounce:?}");
    let text = bounce.text();
    ensure!(text.contains("Reporting-MTA: dns; postfix.example"), "it is Postfix's: {text}");
    ensure!(text.contains("554 5.7.1 not today"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn more_recipients_than_a_message_may_have_come_in_several() -> Result<()> {
    let mut world = World::new().await?;
    world.domain("far.example").await?;
    let listeners = "- {name: smtp, port: 25, protocol: SMTP, allowedClients: {cidrs: [127.0.0.0/8]}, limits: {recipients: 100}}";
    let relay = MailRelay { listeners: listeners.to_owned(), ..MailRelay::default() };
    world.manifests.write("relay.yaml", &relay.yaml())?;
    world.relay().await?;
    let postfix = postfix(&world, &[("default_destination_recipient_limit", "1000")]).await?;
    let recipients: Vec<String> = (0..250).map(|number| format!("b{number}@far.example")).collect();
    let to: Vec<&str> = recipients.iter().map(String::as_str).collect();
    submit(&postfix, &to, "Subject: x\r\n\r\nx").await?;
    let arrived = || world.ledger.entries().iter().map(|entry| entry.recipients.len()).sum::<usize>();
    wait::until("all 250", LATER, || arrived() >= 250).await.with_context(|| postfix.log())?;
    for recipient in to {
        ensure!(world.ledger.to(recipient).len() == 1, "{recipient}");
    }
    ensure!(!postfix.log().contains("status=bounced"), "{}", postfix.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn its_load_generator_is_served() -> Result<()> {
    let world = submission::relay().await?;
    let target = format!("127.0.0.1:{}", submission::port(&world, "smtp")?);
    let load = ["-s", "10", "-m", "200", "-l", "5000", "-f", "a@sender.example", "-t", "b@far.example"];
    let ran = foreign::run("smtp-source", load.iter().copied().chain([&*target]), b"").await?;
    ran.is_good()?;
    wait::until("200 messages", Duration::from_secs(60), || world.ledger.len() >= 200).await?;
    ensure!(world.ledger.len() == 200, "{}", world.ledger.len());
    Ok(())
}
