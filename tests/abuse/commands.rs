//! Clients that say what no mail client says, or say it thousands of times.
//! **Owns:** floods, harvesting, guessing of passwords, noise. **Never:** long lines (`lines`), crowds (`crowds`).

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use postrider_tests::{
    World, certs,
    client::{Client, Reply},
    manifests::{MailRelay, secret, tls_secret},
};
use tokio::task::JoinSet;

use crate::trial::Trial;

const CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// Says a command until something else than `usual` comes back; how often, and what.
async fn until_unusual(client: &mut Client, command: &str, usual: &str) -> Result<(usize, Reply)> {
    for count in 0..10_000 {
        let reply = client.ask(command).await.with_context(|| format!("{command:?} number {count}"))?;
        if !reply.text.starts_with(usual) {
            return Ok((count, reply));
        }
    }
    anyhow::bail!("{command:?} is answered for ever")
}

/// That all connections end so.
async fn ends_with(mut client: Client, reply: &Reply, start: &str) -> Result<()> {
    ensure!(reply.text.starts_with(start), "{}", reply.text);
    ensure!(client.is_closed_within(CLOSED_WITHIN).await, "still open after {}", reply.text);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_talks_before_the_greeting_gets_none() -> Result<()> {
    // Who may relay anyway is greeted without a pause.
    let listener =
        "- {name: smtp, port: 25, protocol: SMTP, allowedClients: {cidrs: [127.99.99.0/24, 127.0.0.1/32]}}";
    let trial = Trial::with(listener).await?;
    for early in ["EHLO client.example\r\n", "MAIL FROM:<a@sender.example>\r\n", "x", "\r\n", "\0"] {
        let mut client = Client::connect_from(Ipv4Addr::new(127, 7, 7, 7), trial.smtp()).await?;
        client.send(early.as_bytes()).await?;
        let reply = client.reply().await?;
        ends_with(client, &reply, "554 5.5.0 ").await?;
    }
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_bad_commands_end_their_sessions() -> Result<()> {
    let trial = Trial::start().await?;
    let bad =
        ["WHAT", "", "HELLO x", "MAIL x", "RCPT TO:<b@far.example>", "DATA", "TURN", "\u{fc}", "EXPN x"];
    let mut said = 0;
    for round in 0..200 {
        let mut client = trial.client().await?;
        let command = bad.get(round % bad.len()).copied().unwrap_or_default();
        let (count, reply) = until_unusual(&mut client, command, "50").await?;
        ensure!(count == 20, "{command:?}: {count}");
        ends_with(client, &reply, "421 4.7.0 ").await?;
        said += count;
    }
    println!("{said} bad commands");
    // All at once, without reading an answer: they are answered up to the last word, and no further.
    let mut client = trial.client().await?;
    drop(client.send("WHAT\r\n".repeat(10_000).as_bytes()).await);
    let mut codes = Vec::new();
    while let Ok(reply) = client.reply().await {
        codes.push(reply.code);
    }
    ensure!(codes.len() == 21 && codes.last() == Some(&421), "{codes:?}");
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_bring_no_mail_come_to_an_end() -> Result<()> {
    let trial = Trial::start().await?;
    for command in ["NOOP", "RSET", "HELP", "VRFY root", "EHLO client.example", "HELO client.example"] {
        let mut client = trial.client().await?;
        let (count, reply) = until_unusual(&mut client, command, "2").await?;
        ensure!((50..=101).contains(&count), "{command}: {count}");
        ends_with(client, &reply, "421 4.7.0 ").await?;
    }
    // Who sends mail now and then may say what he likes in between.
    let mut client = trial.client().await?;
    for round in 0..5 {
        for _ in 0..60 {
            client.say("NOOP", 250).await?;
        }
        trial.goes_on(&mut client, &format!("round-{round}")).await?;
    }
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn harvesting_by_vrfy_and_expn_learns_nothing() -> Result<()> {
    let trial = Trial::start().await?;
    let mut client = trial.client().await?;
    let mut answers = Vec::new();
    for user in ["root", "postmaster", "nobody-of-that-name", "b@far.example", "<b@good.example>"] {
        answers.push(client.say(&format!("VRFY {user}"), 252).await?.text);
        client.say(&format!("EXPN {user}"), 502).await?;
    }
    answers.dedup();
    ensure!(answers.len() == 1, "one answer for all: {answers:?}");
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn http_and_noise_end_in_a_reply_or_a_close() -> Result<()> {
    let trial = Trial::start().await?;
    for request in
        ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /x HTTP/1.0\r\n\r\n", "CONNECT x:25 HTTP/1.1\r\n"]
    {
        let mut client = Client::connect(trial.smtp()).await?;
        client.expect(220).await?;
        client.send(request.as_bytes()).await?;
        let reply = client.reply().await?;
        ends_with(client, &reply, "554 5.5.0 ").await?;
    }
    for _ in 0..300 {
        let mut client = trial.client().await?;
        let noise: Vec<u8> = (0..rand::random_range(1..5000)).map(|_| rand::random()).collect();
        // It may be cut in the middle.
        drop(client.send(&noise).await);
        drop(client.send(b"\r\n.\r\nQUIT\r\n").await);
        ensure!(client.is_closed_within(CLOSED_WITHIN).await, "{noise:?}");
    }
    let mut client = trial.client().await?;
    trial.goes_on(&mut client, "after").await?;
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_passwords_is_slow_work() -> Result<()> {
    const LISTENER: &str = "- {name: smtp, port: 25, protocol: SMTP, allowedClients: {cidrs: [127.0.0.0/8]}, \
                            tls: {certificateRef: {name: mail-tls}}, auth: {usersRef: {name: users}}}";
    let world = World::new().await?;
    let manifests = &world.manifests;
    manifests.write("tls.yaml", &tls_secret("mail-tls", &certs::self_signed("relay.example")?))?;
    // Of "pencil".
    let hash = "$2b$10$rVHA.vhC/CQrrK8VCDgRhOAhq35n6eKpiAmcI17OQtHY3lHGzsxou";
    manifests.write("users.yaml", &secret("users", &[("shop", hash)]))?;
    let relay = MailRelay { listeners: LISTENER.to_owned(), ..MailRelay::default() };
    manifests.write("relay.yaml", &relay.yaml())?;
    let trial = Trial::of(world, LISTENER).await?;
    let relay = trial.smtp();
    let mut guessers = JoinSet::new();
    for _ in 0..10 {
        guessers.spawn(async move {
            let mut client = Client::greeted(relay).await?.start_tls().await?;
            client.say("EHLO client.example", 250).await?;
            // \0shop\0wrong. Where guesses come faster than they can be checked: 454.
            let (count, reply) =
                until_unusual(&mut client, "AUTH PLAIN AHNob3AAd3Jvbmc=", "535 5.7.8 ").await?;
            ensure!(count <= 3 && matches!(reply.code, 421 | 454), "{count}: {}", reply.text);
            Ok(())
        });
    }
    while let Some(ended) = guessers.join_next().await {
        ended??;
    }
    // \0shop\0pencil
    let mut client = trial.client().await?.start_tls().await?;
    client.say("EHLO client.example", 250).await?;
    client.say("AUTH PLAIN AHNob3AAcGVuY2ls", 235).await?;
    trial.goes_on(&mut client, "user").await?;
    trial.unharmed().await
}
