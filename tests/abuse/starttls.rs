//! Clear text where TLS should be, and the other way round.
//! **Owns:** STARTTLS injection (CVE-2011-0411), broken handshakes. **Never:** slow ones (`slow`).

use std::time::Duration;

use anyhow::{Result, ensure};
use postrider_tests::client::Client;

use crate::trial::Trial;

const LISTENERS: &str = "\
- {name: smtp, port: 25, protocol: SMTP, allowedClients: {cidrs: [127.0.0.0/8]}, tls: {certificateRef: {name: mail-tls}}}
- {name: smtps, port: 465, protocol: SMTPS, allowedClients: {cidrs: [127.0.0.0/8]}, tls: {certificateRef: {name: mail-tls}}}";
const CLOSED_WITHIN: Duration = Duration::from_secs(10);
const INJECTED: &str =
    "MAIL FROM:<evil@sender.example>\r\nRCPT TO:<victim@far.example>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n";

async fn nothing_was_injected(trial: Trial) -> Result<()> {
    let mut client = trial.client().await?.start_tls().await?;
    client.say("EHLO client.example", 250).await?;
    trial.goes_on(&mut client, "after").await?;
    ensure!(trial.world.ledger.matching(|entry| entry.sender.starts_with("evil")).is_empty());
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_behind_starttls_is_never_taken_as_said_under_tls() -> Result<()> {
    let trial = Trial::with(LISTENERS).await?;
    for injected in ["NOOP\r\n", "RSET\r\nRSET\r\n", "EHLO x\r\n", "x", INJECTED] {
        // In one packet: it is there before the handshake.
        let mut client = trial.client().await?;
        client.send(format!("STARTTLS\r\n{injected}").as_bytes()).await?;
        let reply = client.reply().await?;
        if reply.code == 220
            && let Ok(mut tls) = client.handshake().await
        {
            let reply = tls.reply().await?;
            ensure!(reply.text.starts_with("554 5.5.0 "), "{injected:?}: {}", reply.text);
            ensure!(tls.is_closed_within(CLOSED_WITHIN).await, "{injected:?}");
        }
        // In a packet of its own: it comes in place of the handshake.
        let mut client = trial.client().await?;
        client.say("STARTTLS", 220).await?;
        client.send(injected.as_bytes()).await?;
        client.send(&[b'\r'; 100]).await?;
        ensure!(client.is_closed_within(CLOSED_WITHIN).await, "{injected:?}");
    }
    nothing_was_injected(trial).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_in_clear_is_forgotten_under_tls() -> Result<()> {
    let trial = Trial::with(LISTENERS).await?;
    let mut client = trial.client().await?;
    client.say("MAIL FROM:<evil@sender.example>", 250).await?;
    client.say("RCPT TO:<victim@far.example>", 250).await?;
    client.say("STARTTLS", 503).await?;
    client.say("RSET", 250).await?;
    let mut client = client.start_tls().await?;
    // Not even the name that the client gave itself (RFC 3207 4.2).
    client.say("MAIL FROM:<evil@sender.example>", 503).await?;
    client.say("EHLO client.example", 250).await?;
    client.say("RCPT TO:<victim@far.example>", 503).await?;
    client.say("STARTTLS", 503).await?;
    nothing_was_injected(trial).await
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_place_of_a_handshake_ends_the_connection() -> Result<()> {
    let trial = Trial::with(LISTENERS).await?;
    let smtps = trial.world.relays[0].listener("smtps")?;
    // A record that announces 16 KiB, one of SSL 2, HTTP, SMTP, noise.
    let noise: Vec<u8> = (0..100_000).map(|_| rand::random()).collect();
    let openings: [&[u8]; 5] =
        [b"\x16\x03\x01\x40\x00", b"\x80\x2e\x01\x00\x02", b"GET / HTTP/1.1\r\n\r\n", b"EHLO x\r\n", &noise];
    for opening in openings {
        for is_implicit in [false, true] {
            let mut client = if is_implicit {
                Client::connect(smtps).await?
            } else {
                let mut client = trial.client().await?;
                client.say("STARTTLS", 220).await?;
                client
            };
            // It may be closed before all of it is out.
            drop(client.send(opening).await);
            drop(client.send(&[0; 20_000]).await);
            ensure!(client.is_closed_within(CLOSED_WITHIN).await, "{:?}", opening.get(..10));
        }
    }
    let mut client = Client::connect(smtps).await?.handshake().await?.greet().await?;
    trial.goes_on(&mut client, "smtps").await?;
    nothing_was_injected(trial).await
}
