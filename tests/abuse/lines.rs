//! Lines without end, and NULs.
//! **Owns:** what is no text. **Never:** bare CR and LF (`smuggling`).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::{
    World, certs,
    client::Client,
    manifests::{MailRelay, secret, tls_secret},
};

use crate::{SOON, trial::Trial};

const LISTENERS: &str = "\
- {name: smtp, port: 25, protocol: SMTP, allowedClients: {cidrs: [127.0.0.0/8]}, tls: {certificateRef: {name: mail-tls}}, auth: {usersRef: {name: users}}}";

async fn with_users() -> Result<Trial> {
    let world = World::new().await?;
    let certificate = certs::self_signed("relay.example")?;
    let manifests = &world.manifests;
    manifests.write("tls.yaml", &tls_secret("mail-tls", &certificate))?;
    // The password is nobody's business here.
    let hash = "$2b$10$rVHA.vhC/CQrrK8VCDgRhOAhq35n6eKpiAmcI17OQtHY3lHGzsxou";
    manifests.write("users.yaml", &secret("users", &[("shop", hash)]))?;
    let relay = MailRelay { listeners: LISTENERS.to_owned(), ..MailRelay::default() };
    manifests.write("relay.yaml", &relay.yaml())?;
    Trial::of(world, LISTENERS).await
}

/// Sends a megabyte without a line end, as far as the relay takes it; the answer.
async fn megabyte(mut client: Client, begin: &str) -> Result<()> {
    client.send(begin.as_bytes()).await?;
    let block = vec![b'x'; 64 << 10];
    for _ in 0..16 {
        // The relay has said its last word and closed by now, perhaps.
        if client.send(&block).await.is_err() {
            break;
        }
    }
    let reply = client.reply().await.with_context(|| begin.to_owned())?;
    ensure!(reply.text.starts_with("500 5.5.2 "), "{begin:?}: {}", reply.text);
    ensure!(client.is_closed_within(Duration::from_secs(10)).await, "{begin:?}: still open");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_a_megabyte_ends_the_session_wherever_it_comes() -> Result<()> {
    let trial = with_users().await?;
    let mut before_ehlo = Client::connect(trial.smtp()).await?;
    before_ehlo.expect(220).await?;
    megabyte(before_ehlo, "EHLO ").await?;
    for begin in ["", "NOOP ", "MAIL FROM:<", "VRFY ", "\0", "AUTH PLAIN "] {
        megabyte(trial.client().await?, begin).await?;
    }
    let mut in_transaction = trial.client().await?;
    in_transaction.say("MAIL FROM:<a@sender.example>", 250).await?;
    megabyte(in_transaction, "RCPT TO:<").await?;
    let mut in_tls = trial.client().await?.start_tls().await?;
    in_tls.say("EHLO client.example", 250).await?;
    megabyte(in_tls, "AUTH PLAIN ").await?;
    let mut in_auth = trial.client().await?.start_tls().await?;
    in_auth.say("EHLO client.example", 250).await?;
    in_auth.say("AUTH LOGIN", 334).await?;
    megabyte(in_auth, "").await?;
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_of_megabytes_is_refused_and_a_body_s_line_of_one_arrives() -> Result<()> {
    let trial = Trial::start().await?;
    let mut client = trial.client().await?;
    let long = "x".repeat(1 << 20);
    let field = format!("X-Long: {long}");
    let many = "X-Field: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(40_000);
    for header in [&field, many.trim_end()] {
        let text = format!("{header}\r\n\r\nx");
        let reply = client.message("a@sender.example", &["b@far.example"], &text).await?;
        ensure!(reply.text.starts_with("552 5.3.4 "), "{}", reply.text);
    }
    ensure!(trial.world.ledger.to("b@far.example").is_empty());
    let text = format!("Subject: long\r\n\r\n{long}");
    let reply = client.message("a@sender.example", &["b@far.example"], &text).await?;
    ensure!(reply.code == 250, "{}", reply.text);
    let body = trial.world.arrival("b@far.example", SOON).await?.body.context("bodies are kept")?;
    ensure!(body.ends_with(format!("{text}\r\n").as_bytes()), "{} bytes", body.len());
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nuls_are_refused_but_in_a_body() -> Result<()> {
    let trial = Trial::start().await?;
    let mut client = trial.client().await?;
    for command in ["NOOP \0", "\0NOOP", "MAIL FROM:<a\0@sender.example>", "MAIL FROM:<a@sender.example\0>"] {
        let reply = client.ask(command).await?;
        ensure!((500..600).contains(&reply.code), "{command:?}: {}", reply.text);
    }
    client.say("MAIL FROM:<a@sender.example>", 250).await?;
    let reply = client.ask("RCPT TO:<b@far.example\0.evil.example>").await?;
    ensure!((500..600).contains(&reply.code), "{}", reply.text);
    client.say("RSET", 250).await?;
    let reply = client.message("a@sender.example", &["b@far.example"], "Subject: \0x\r\n\r\nx").await?;
    ensure!(reply.text.starts_with("550 5.6.0 "), "{}", reply.text);
    let text = "Subject: x\r\n\r\na\0b\r\n\0\r\n.\0\r\n";
    let stuffed = text.replace("\r\n.", "\r\n..");
    let reply =
        client.message("c@sender.example", &["c@far.example"], stuffed.trim_end_matches("\r\n")).await?;
    ensure!(reply.code == 250, "{}", reply.text);
    let body = trial.world.arrival("c@far.example", SOON).await?.body.context("bodies are kept")?;
    ensure!(body.ends_with(text.as_bytes()), "{}", String::from_utf8_lossy(&body));
    trial.unharmed().await
}
