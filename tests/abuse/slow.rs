//! Clients that are slow on purpose.
//! **Owns:** what each wait does to them, in real time. **Never:** waits in short: `relay/tests/inbound` has those.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use postrider_tests::client::{Client, Reply};
use tokio::task::JoinSet;

use crate::trial::Trial;

const LISTENERS: &str = "\
- {name: smtp, port: 25, protocol: SMTP, allowedClients: {cidrs: [127.0.0.0/8]}, tls: {certificateRef: {name: mail-tls}}}
- {name: smtps, port: 465, protocol: SMTPS, allowedClients: {cidrs: [127.0.0.0/8]}, tls: {certificateRef: {name: mail-tls}}}
- {name: proxied, port: 26, protocol: SMTP, allowedClients: {cidrs: [127.0.0.0/8]}, proxyProtocol: {trustedCIDRs: [127.0.0.0/8]}}";

/// One byte of these in each second, over and over.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

/// Sends a byte a second until the relay answers or closes; the reply, if any, and how long it took.
async fn drip(mut client: Client, at_most: Duration) -> Result<(Option<Reply>, Duration)> {
    let started = Instant::now();
    for byte in LETTERS.iter().cycle() {
        let is_sent = client.send(&[*byte]).await.is_ok();
        match tokio::time::timeout(Duration::from_secs(1), client.reply()).await {
            Ok(reply) => return Ok((reply.ok(), started.elapsed())),
            Err(_) => ensure!(is_sent, "neither an answer nor an end"),
        }
        ensure!(started.elapsed() < at_most, "still waited for after {at_most:?}");
    }
    anyhow::bail!("there is always a next byte")
}

/// That a connection is closed, not before `least` and not long after.
async fn is_cut(what: &str, mut client: Client, least: u64) -> Result<()> {
    let started = Instant::now();
    ensure!(client.is_closed_within(Duration::from_secs(least + 25)).await, "{what}: still open");
    let took = started.elapsed();
    ensure!(took + Duration::from_secs(1) > Duration::from_secs(least), "{what}: cut after {took:?}");
    println!("{what}: cut after {took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_a_session_must_come_soon() -> Result<()> {
    let trial = Trial::with(LISTENERS).await?;
    let relay = &trial.world.relays[0];
    let (smtp, smtps, proxied) = (relay.smtp(), relay.listener("smtps")?, relay.listener("proxied")?);
    let mut slow = JoinSet::new();
    slow.spawn(async move { is_cut("no PROXY header", Client::connect(proxied).await?, 5).await });
    slow.spawn(async move { is_cut("no handshake", Client::connect(smtps).await?, 20).await });
    slow.spawn(async move {
        let mut client = Client::greeted(smtp).await?;
        client.say("STARTTLS", 220).await?;
        is_cut("no handshake behind STARTTLS", client, 20).await
    });
    slow.spawn(async move {
        let mut client = Client::connect(proxied).await?;
        client.send(b"PROXY ").await?;
        let (reply, took) = drip(client, Duration::from_secs(30)).await?;
        ensure!(reply.is_none(), "{reply:?}");
        println!("a PROXY header in drops: cut after {took:?}");
        Ok(())
    });
    slow.spawn(async move {
        let mut client = Client::connect(smtps).await?;
        // The start of a record of 16 KiB, which would take hours.
        client.send(b"\x16\x03\x01\x40\x00\x01").await?;
        let (_, took) = drip(client, Duration::from_secs(45)).await?;
        println!("a handshake in drops: cut after {took:?}");
        Ok(())
    });
    while let Some(ended) = slow.join_next().await {
        ended??;
    }
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_a_second_from_hundreds_holds_up_nobody() -> Result<()> {
    let trial = Trial::start().await?;
    let relay = trial.smtp();
    let mut slow = JoinSet::new();
    for number in 0..300_u16 {
        slow.spawn(async move {
            let [third, last] = (number + 256).to_be_bytes();
            let source = Ipv4Addr::new(127, 4, third, last);
            let mut client = Client::connect_from(source, relay).await?.greet().await?;
            if number % 2 == 0 {
                client.say("MAIL FROM:<slow@sender.example>", 250).await?;
                client.say("RCPT TO:<b@far.example>", 250).await?;
                client.say("DATA", 354).await?;
            }
            for byte in LETTERS.iter().take(10) {
                client.send(&[*byte]).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            // Slow, not wrong: who ends in time is served.
            let ends = if number % 2 == 0 { client.ask("\r\n.").await? } else { client.ask("").await? };
            ensure!(ends.code == if number % 2 == 0 { 250 } else { 500 }, "{}", ends.text);
            Ok(())
        });
    }
    while let Some(ended) = slow.join_next().await {
        ended??;
    }
    postrider_tests::wait::until("the slow ones' mail", crate::LATER, || {
        trial.world.ledger.matching(|entry| entry.sender == "slow@sender.example").len() == 150
    })
    .await?;
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_no_replies_is_cut() -> Result<()> {
    let trial = Trial::start().await?;
    let mut client = trial.client().await?;
    client.say("MAIL FROM:<a@sender.example>", 250).await?;
    // Replies beyond the limit of recipients go on for ever, until the kernel holds no more of them.
    let flood = "RCPT TO:<b@far.example>\r\n".repeat(10_000);
    let started = Instant::now();
    let sending = async { while client.send(flood.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(120), sending).await.context("the relay reads for ever")?;
    println!("cut after {:?}", started.elapsed());
    trial.unharmed().await
}

/// In real time: a command may take 5 minutes, a block of a body 3 (RFC 5321 4.5.3.2.7).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes 5½ minutes"]
async fn a_byte_a_second_is_cut_in_the_end() -> Result<()> {
    let trial = Trial::start().await?;
    let relay = trial.smtp();
    let mut slow = JoinSet::new();
    for (stage, least, most) in [("command", 299, 330), ("data", 179, 230), ("chunk", 179, 230)] {
        slow.spawn(async move {
            let mut client = Client::greeted(relay).await?;
            if stage != "command" {
                client.say("MAIL FROM:<a@sender.example>", 250).await?;
                client.say("RCPT TO:<b@far.example>", 250).await?;
            }
            match stage {
                "data" => client.say("DATA", 354).await.map(drop)?,
                "chunk" => client.send(b"BDAT 100000 LAST\r\n").await?,
                _ => {}
            }
            let (reply, took) = drip(client, Duration::from_secs(most)).await?;
            let text = reply.context("a last word")?.text;
            ensure!(text.starts_with("421 4.4.2 ") && took.as_secs() >= least, "{stage}: {took:?}: {text}");
            println!("{stage}: cut after {took:?}");
            Ok(())
        });
    }
    while let Some(ended) = slow.join_next().await {
        ended??;
    }
    trial.unharmed().await
}
