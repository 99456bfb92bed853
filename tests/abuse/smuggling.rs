//! Ends of a message that are none: whoever takes one for an end sees a second message in the first.
//! **Owns:** bare CR and LF around dots, by DATA and by BDAT. **Never:** other bytes (`lines`).
//! CVE-2023-51764, -51765, -51766; RFC 5321 2.3.8 and 4.1.1.4.

use anyhow::{Context, Result, ensure};
use postrider_tests::client::Client;

use crate::{SOON, trial::Trial};

/// What others have taken for an end.
const ENDS: &[&str] = &[
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r.\r\n",
    "\r\n.\r",
    "\r.\n",
    "\n.\r",
    "\n\n.\n\n",
    "\r\r\n.\r\r\n",
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "\r\n. \r\n",
    "\r\n .\r\n",
    "\r\n.\r\0\n",
];
/// What comes behind it, and must never be taken for commands.
const SMUGGLED: &str = "MAIL FROM:<evil@sender.example>\r\nRCPT TO:<victim@far.example>\r\nDATA\r\n\
                        Subject: smuggled\r\n\r\nsmuggled\r\n.\r\nQUIT\r\n";

const NORMALIZE: &str = "- {name: smtp, port: 25, protocol: SMTP, allowedClients: {cidrs: [127.0.0.0/8]}, bareLineEnds: Normalize}";

fn has_bare(end: &str) -> bool {
    let rest = end.replace("\r\n", "");
    rest.contains(['\r', '\n'])
}

/// The first message with everything that would be smuggled in it, its real end behind all.
fn cargo(number: usize, end: &str) -> String {
    // Dots of the inner message are stuffed: this is one message.
    let inner = SMUGGLED.replace("\r\n.\r\n", "\r\n..\r\n");
    format!("Subject: cargo\r\nX-Ledger-Id: cargo-{number}\r\n\r\nbefore{end}{inner}")
}

async fn envelope(client: &mut Client, number: usize) -> Result<()> {
    client.say("MAIL FROM:<a@sender.example> BODY=8BITMIME", 250).await?;
    client.say(&format!("RCPT TO:<cargo-{number}@far.example>"), 250).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_one_message_is_refused_as_one() -> Result<()> {
    let trial = Trial::start().await?;
    for (number, end) in ENDS.iter().enumerate() {
        let mut client = trial.client().await?;
        for by_the_byte in [false, true] {
            envelope(&mut client, number).await?;
            client.say("DATA", 354).await?;
            let text = cargo(number, end) + ".\r\n";
            // However the network cuts it.
            let pieces = if by_the_byte { text.as_bytes().chunks(1) } else { text.as_bytes().chunks(4096) };
            for piece in pieces {
                client.send(piece).await?;
            }
            let reply = client.reply().await.with_context(|| format!("{end:?}"))?;
            if has_bare(end) {
                ensure!(reply.text.starts_with("550 5.5.2 "), "{end:?}: {}", reply.text);
            } else {
                ensure!(reply.code == 250, "{end:?} is content: {}", reply.text);
            }
        }
        trial.goes_on(&mut client, &format!("after-{number}")).await.with_context(|| format!("{end:?}"))?;
    }
    let smuggled = trial.world.ledger.matching(|entry| entry.sender == "evil@sender.example");
    ensure!(smuggled.is_empty(), "{smuggled:?}");
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_they_are_normalized_one_message_arrives_as_one() -> Result<()> {
    let trial = Trial::with(NORMALIZE).await?;
    for (number, end) in ENDS.iter().enumerate() {
        for by_chunks in [false, true] {
            trial.world.ledger.clear();
            let mut client = trial.client().await?;
            envelope(&mut client, number).await?;
            let text = cargo(number, end);
            if by_chunks {
                client.send(format!("BDAT {} LAST\r\n{text}", text.len()).as_bytes()).await?;
            } else {
                client.say("DATA", 354).await?;
                client.send(format!("{text}.\r\n").as_bytes()).await?;
            }
            let reply = client.reply().await?;
            ensure!(reply.code == 250, "{end:?}: {}", reply.text);
            let entry = trial.world.arrival(&format!("cargo-{number}@far.example"), SOON).await?;
            let text = entry.text();
            ensure!(text.contains("Subject: smuggled"), "{end:?}: it is all content: {text:?}");
            ensure!(!text.replace("\r\n", "").contains(['\r', '\n']), "{end:?}: {text:?}");
            trial.goes_on(&mut client, &format!("after-{number}-{by_chunks}")).await?;
            let smuggled = trial.world.ledger.matching(|entry| entry.sender == "evil@sender.example");
            ensure!(smuggled.is_empty(), "{end:?}: {smuggled:?}");
        }
    }
    // The book was cleared: the bystander's mail is not in it.
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_chunks_they_are_refused_too() -> Result<()> {
    let trial = Trial::start().await?;
    for (number, end) in ENDS.iter().enumerate().filter(|(_, end)| has_bare(end)) {
        let mut client = trial.client().await?;
        envelope(&mut client, number).await?;
        // Cut between the bytes that matter: a CR at the end of a chunk isn't alone if LF begins the next.
        let text = cargo(number, end);
        let at = text.find(end).context("it is there")? + 1;
        let (first, second) = text.split_at(at);
        client.send(format!("BDAT {}\r\n{first}", first.len()).as_bytes()).await?;
        let reply = client.reply().await?;
        client.send(format!("BDAT {} LAST\r\n{second}", second.len()).as_bytes()).await?;
        if reply.code == 250 {
            let reply = client.reply().await?;
            ensure!(reply.text.starts_with("550 5.5.2 "), "{end:?}: {}", reply.text);
        } else {
            ensure!(reply.text.starts_with("550 5.5.2 "), "{end:?}: {}", reply.text);
            client.expect(503).await?;
        }
        client.say("RSET", 250).await?;
        trial.goes_on(&mut client, &format!("after-{number}")).await?;
    }
    ensure!(trial.world.ledger.matching(|entry| entry.sender == "evil@sender.example").is_empty());
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_with_crlf_only() -> Result<()> {
    let trial = Trial::start().await?;
    for bare in
        ["NOOP\n", "NO\rOP\r\n", "MAIL FROM:<a@sender.example>\n", "MAIL FROM:<a\r@sender.example>\r\n"]
    {
        let mut client = trial.client().await?;
        client.send(bare.as_bytes()).await?;
        let reply = client.reply().await?;
        ensure!(reply.text.starts_with("500 5.5.2 "), "{bare:?}: {}", reply.text);
        trial.goes_on(&mut client, "after").await?;
    }
    trial.unharmed().await
}
