//! Messages that are too large, by DATA and by BDAT, announced and not.
//! **Owns:** sizes. **Never:** what stands in a message (`lines`, `smuggling`).

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use postrider_tests::{
    client::{Client, Reply},
    eventually,
};

use crate::{SOON, trial::Trial};

const LIMIT_BYTES: usize = 1 << 20;
const LIMITS: &str = "{messageSize: 1Mi}";
const LINE: &str = "The quick brown fox jumps over the lazy dog, and writes a letter home about it.\r\n";

/// So many bytes of text, about.
fn text(bytes: usize) -> Vec<u8> {
    LINE.repeat(bytes / LINE.len()).into_bytes()
}

async fn envelope(client: &mut Client) -> Result<()> {
    client.say("MAIL FROM:<a@sender.example>", 250).await?;
    client.say("RCPT TO:<b@far.example>", 250).await.map(drop)
}

/// Sends the same bytes until there is an answer; how many that took.
async fn until_answered(client: &mut Client, bytes: &[u8], at_most: usize) -> Result<(Reply, usize)> {
    let mut sent = 0;
    while sent < at_most {
        client.send(bytes).await?;
        sent += bytes.len();
        if let Ok(reply) = tokio::time::timeout(Duration::from_millis(1), client.reply()).await {
            return Ok((reply?, sent));
        }
    }
    bail!("no answer to {sent} bytes")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_that_is_declared_too_large_costs_nothing() -> Result<()> {
    let trial = Trial::with_limits(LIMITS).await?;
    let mut client = trial.client().await?;
    for size in ["1048577", "99999999999", "9223372036854775807"] {
        let reply = client.say(&format!("MAIL FROM:<a@sender.example> SIZE={size}"), 552).await?;
        ensure!(reply.text.starts_with("552 5.3.4 "), "{}", reply.text);
    }
    // More digits than RFC 1870 gives it.
    client.say("MAIL FROM:<a@sender.example> SIZE=999999999999999999999999999", 501).await?;
    trial.goes_on(&mut client, "after").await?;
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_grows_too_large_is_refused_at_its_end_and_the_session_goes_on() -> Result<()> {
    let trial = Trial::with_limits(LIMITS).await?;
    let mut client = trial.client().await?;
    // A size that lies helps nobody.
    client.say("MAIL FROM:<a@sender.example> SIZE=1000", 250).await?;
    client.say("RCPT TO:<b@far.example>", 250).await?;
    client.say("DATA", 354).await?;
    client.send(&text(LIMIT_BYTES * 3 / 2)).await?;
    let reply = client.say(".", 552).await?;
    ensure!(reply.text.starts_with("552 5.3.4 "), "{}", reply.text);
    trial.goes_on(&mut client, "data").await?;
    // In chunks, each of which waits for its answer.
    envelope(&mut client).await?;
    let chunk = text(LIMIT_BYTES / 4);
    let mut replies = Vec::new();
    while replies.last().is_none_or(|code| *code == 250) {
        client.send(&[format!("BDAT {}\r\n", chunk.len()).as_bytes(), &chunk].concat()).await?;
        replies.push(client.reply().await?.code);
        ensure!(replies.len() < 10, "{replies:?}");
    }
    ensure!(replies.last() == Some(&552), "{replies:?}");
    client.say("RSET", 250).await?;
    trial.goes_on(&mut client, "chunks").await?;
    // In chunks that wait for none: octets are never taken for commands.
    envelope(&mut client).await?;
    for _ in 0..6 {
        client.send(&[format!("BDAT {}\r\n", chunk.len()).as_bytes(), &chunk].concat()).await?;
    }
    client.send(b"BDAT 0 LAST\r\n").await?;
    let mut codes = Vec::new();
    for _ in 0..7 {
        codes.push(client.reply().await?.code);
    }
    let refused = codes.iter().position(|code| *code == 552).context("a 552")?;
    ensure!(codes.iter().take(refused).all(|code| *code == 250), "{codes:?}");
    ensure!(codes.iter().skip(refused).all(|code| *code >= 500), "{codes:?}");
    client.say("RSET", 250).await?;
    trial.goes_on(&mut client, "pipelined").await?;
    ensure!(trial.world.ledger.to("b@far.example").is_empty());
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_without_end_is_cut() -> Result<()> {
    let trial = Trial::with_limits(LIMITS).await?;
    let mut client = trial.client().await?;
    envelope(&mut client).await?;
    client.say("DATA", 354).await?;
    let (reply, sent) = until_answered(&mut client, &text(64 << 10), 200 << 20).await?;
    ensure!(reply.text.starts_with("552 5.3.4 "), "{}", reply.text);
    println!("cut after {} MiB", sent >> 20);
    ensure!(client.is_closed_within(Duration::from_secs(10)).await);
    // The size of a chunk is known before its first octet.
    for announced in ["10000000000", "4294967296", "18446744073709551615"] {
        let mut client = trial.client().await?;
        envelope(&mut client).await?;
        client.send(format!("BDAT {announced}\r\n").as_bytes()).await?;
        let (reply, sent) = until_answered(&mut client, &text(64 << 10), 200 << 20).await?;
        ensure!(reply.text.starts_with("552 5.3.4 "), "{}", reply.text);
        println!("BDAT {announced} cut after {} MiB", sent >> 20);
        ensure!(client.is_closed_within(Duration::from_secs(10)).await);
    }
    for announced in ["-1", "18446744073709551616", "", "x LAST", "1 2 LAST"] {
        let mut client = trial.client().await?;
        envelope(&mut client).await?;
        let reply = client.ask(&format!("BDAT {announced}")).await?;
        ensure!((500..600).contains(&reply.code), "{announced:?}: {}", reply.text);
    }
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_large_ones_at_once_don_t_fill_the_memory() -> Result<()> {
    let trial = Trial::start().await?;
    let relay = trial.smtp();
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..20_u8 {
        clients.spawn(async move {
            let source = Ipv4Addr::new(127, 1, 1, number + 1);
            let mut client = Client::connect_from(source, relay).await?.greet().await?;
            envelope(&mut client).await?;
            client.say("DATA", 354).await?;
            // The default is 25 MiB; these have 26.
            let block = text(1 << 20);
            for _ in 0..27 {
                client.send(&block).await?;
            }
            let reply = client.ask(".").await?;
            ensure!(matches!(reply.code, 552 | 452), "{}", reply.text);
            Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    let mut client = trial.client().await?;
    trial.goes_on(&mut client, "after").await?;
    ensure!(trial.world.ledger.to("b@far.example").is_empty());
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_vanish_in_the_middle_leave_nothing() -> Result<()> {
    let trial = Trial::start().await?;
    let text = text(600 << 10);
    for length in [0, 1, 100, 16 << 10, 300 << 10, 600 << 10] {
        for end in [&b""[..], b"\r", b"\r\n", b"\r\n.", b"\r\n.\r"] {
            let mut client = trial.client().await?;
            envelope(&mut client).await?;
            client.say("DATA", 354).await?;
            client.send(text.get(..length).unwrap_or_default()).await?;
            client.send(end).await?;
        }
    }
    let mut client = trial.client().await?;
    trial.goes_on(&mut client, "after").await?;
    ensure!(trial.world.ledger.to("b@far.example").is_empty());
    trial.unharmed().await
}

/// What they left would keep new mail out: a queue that is full says 452.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_come_to_nothing_don_t_fill_the_queue() -> Result<()> {
    const MEBIBYTE: u64 = 1 << 20;
    let trial = Trial::start().await?;
    // Nothing that could be packed.
    let noise: Vec<u8> = (0..MEBIBYTE)
        .map(|at| {
            if at % 900 == 899 {
                b'\n'
            } else if at % 900 == 898 {
                b'\r'
            } else {
                rand::random_range(128..=255)
            }
        })
        .collect();
    let used = async || trial.world.redis[0].figure("used_memory").await.ok();
    let before = used().await.context("used_memory")?;
    for number in 0..15 {
        let mut client = trial.client().await?;
        envelope(&mut client).await?;
        client.say("DATA", 354).await?;
        for _ in 0..20 + number % 8 {
            client.send(&noise).await?;
        }
        // Some are too large in the end, the others vanish.
        if number % 8 == 7 {
            client.say("\r\n.", 552).await?;
        }
    }
    let is_gone = async || used().await.filter(|used| *used < before + 30 * MEBIBYTE);
    eventually("the queue to be as it was", SOON, is_gone)
        .await
        .with_context(|| format!("before: {before}"))?;
    let mut client = trial.client().await?;
    trial.goes_on(&mut client, "after").await?;
    trial.unharmed().await
}
