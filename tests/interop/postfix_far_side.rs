//! Postfix as far side: what it files is what was submitted, but for the fields on top.
//! **Owns:** the comparison byte by byte. **Never:** what a client may do wrong (those are tests of abuse).

use anyhow::{Context, Result, bail, ensure};
use postrider_tests::{
    World, certs,
    client::Client,
    eventually,
    postfix::{Postfix, Setup},
};

use crate::SOON;

/// The domain that Postfix takes mail for.
pub(crate) const DOMAIN: &str = "postfix.example";

/// A Postfix at the MX of some domains; it edits no header.
pub(crate) async fn postfix(world: &World, domains: &[&str], more: &[(&str, &str)]) -> Result<Postfix> {
    let address = world.subnet.socket(200);
    for domain in domains {
        world.dns.domain(domain, address.ip()).await?;
    }
    let mut all = vec![("local_header_rewrite_clients".to_owned(), String::new())];
    all.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let setup = Setup {
        address: Some(address),
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        more: all,
        ..Setup::default()
    };
    Postfix::start(&world.folder().join("far-postfix"), setup).await
}

/// The one message in Postfix's maildir that has this text.
pub(crate) async fn filed(postfix: &Postfix, needle: &str) -> Result<Vec<u8>> {
    let has = |message: &Vec<u8>| memchr::memmem::find(message, needle.as_bytes()).is_some();
    eventually(needle, SOON, async || postfix.messages().ok()?.into_iter().find(has))
        .await
        .with_context(|| postfix.log())
}

/// Names of the fields on top of a message, which is `sent` but for them. Maildirs have the line ends of the system.
fn on_top(filed: &[u8], sent: &[u8]) -> Result<Vec<String>> {
    let sent = with_lf(sent);
    let Some(top) = filed.strip_suffix(&sent[..]) else {
        let end = String::from_utf8_lossy(filed.get(filed.len().saturating_sub(300)..).unwrap_or_default());
        bail!("{} bytes were sent, {} were filed, which end in {end:?}", sent.len(), filed.len());
    };
    let top = String::from_utf8(top.to_vec())?;
    let fields = top.lines().filter(|line| !line.starts_with(['\t', ' ']));
    Ok(fields.map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect())
}

fn with_lf(text: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, b"\r\n") {
        lines.extend_from_slice(rest.get(..at).unwrap_or_default());
        lines.push(b'\n');
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    lines.extend_from_slice(rest);
    lines
}

/// Sends by DATA, dots stuffed.
async fn by_data(client: &mut Client, to: &str, text: &[u8]) -> Result<()> {
    client.say("MAIL FROM:<a@sender.example> BODY=8BITMIME", 250).await?;
    client.say(&format!("RCPT TO:<{to}>"), 250).await?;
    client.say("DATA", 354).await?;
    let mut stuffed = Vec::with_capacity(text.len() + 3);
    let mut is_line_start = true;
    for byte in text {
        if is_line_start && *byte == b'.' {
            stuffed.push(b'.');
        }
        stuffed.push(*byte);
        is_line_start = *byte == b'\n';
    }
    stuffed.extend_from_slice(b".\r\n");
    client.send(&stuffed).await?;
    client.expect(250).await.map(drop)
}

/// Sends by BDAT, in two chunks that part it anywhere.
async fn by_bdat(client: &mut Client, to: &str, text: &[u8]) -> Result<()> {
    client.say("MAIL FROM:<a@sender.example> BODY=8BITMIME", 250).await?;
    client.say(&format!("RCPT TO:<{to}>"), 250).await?;
    let (first, second) = text.split_at(text.len() / 2);
    client.send(format!("BDAT {}\r\n", first.len()).as_bytes()).await?;
    client.send(first).await?;
    client.expect(250).await?;
    client.send(format!("BDAT {} LAST\r\n", second.len()).as_bytes()).await?;
    client.send(second).await?;
    client.expect(250).await.map(drop)
}

/// Lines of random lengths and all bytes but CR, LF and NUL, some with dots in front: about so many bytes.
fn random_lines(bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 1000);
    while text.len() < bytes {
        let dots = rand::random_range(0..=2_usize);
        let length = rand::random_range(0..=998 - dots);
        text.extend_from_slice(&b".."[..dots]);
        text.extend((0..length).map(|_| match rand::random_range(1..=255_u8) {
            b'\r' | b'\n' => b'.',
            byte => byte,
        }));
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// Bodies by name.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let all_8bit: Vec<u8> = (128..=255).collect();
    let long = |first: &str, length: usize| format!("{first}{}\r\n", "x".repeat(length - first.len()));
    vec![
        ("empty", b"\r\n".to_vec()),
        ("a-line", b"\r\nhello\r\n".to_vec()),
        ("empty-lines", b"\r\n\r\n\r\n\r\n".to_vec()),
        ("dots", b"\r\n.\r\n..\r\n...\r\n.x\r\n. \r\nx.\r\n.\r\n".to_vec()),
        ("from", b"\r\nFrom here\r\n>From there\r\n".to_vec()),
        ("8-bit", [&b"\r\n"[..], &all_8bit[..], b"\r\n"].concat()),
        ("long-lines", format!("\r\n{}{}{}", long("", 998), long(".", 998), long("a", 997)).into_bytes()),
        ("folded", format!("X-Folded: {} \r\n\t{}\r\n\r\n", "y".repeat(900), "z".repeat(990)).into_bytes()),
        ("white-space", b"\r\n \r\n\t\r\n trailing \t \r\n".to_vec()),
        ("megabyte", [&b"\r\n"[..], &random_lines(1 << 20)[..]].concat()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_filed_as_it_was_submitted() -> Result<()> {
    let mut world = World::new().await?;
    let postfix = postfix(&world, &[DOMAIN], &[]).await?;
    world.relay().await?;
    let mut client = Client::greeted(world.relays[0].smtp()).await?;
    let to = format!("b@{DOMAIN}");
    for (name, body) in bodies() {
        for way in ["data", "bdat"] {
            let id = format!("X-Case: {name} {way}.");
            let text = [format!("From: <a@sender.example>\r\n{id}\r\n").as_bytes(), &body].concat();
            let sent = match way {
                "data" => by_data(&mut client, &to, &text).await,
                _ => by_bdat(&mut client, &to, &text).await,
            };
            sent.with_context(|| id.clone())?;
            let fields = on_top(&filed(&postfix, &id).await?, &text).with_context(|| id.clone())?;
            let expected = ["Return-Path", "X-Original-To", "Delivered-To", "Received", "Received"];
            ensure!(fields == expected, "{id}: {fields:?}");
        }
    }
    ensure!(postfix.messages()?.len() == 2 * bodies().len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_line_without_end_gets_one_and_nothing_else() -> Result<()> {
    let mut world = World::new().await?;
    let postfix = postfix(&world, &[DOMAIN], &[]).await?;
    world.relay().await?;
    let mut client = Client::greeted(world.relays[0].smtp()).await?;
    let to = format!("b@{DOMAIN}");
    for (name, end) in [("text", "no newline at the end"), ("dot", "a dot at the end\r\n."), ("none", "")] {
        let id = format!("X-Case: {name}.");
        // Only BDAT can leave it open.
        let text = format!("{id}\r\n\r\n{end}");
        by_bdat(&mut client, &to, text.as_bytes()).await?;
        let whole = if text.ends_with("\r\n") { text } else { text + "\r\n" };
        on_top(&filed(&postfix, &id).await?, whole.as_bytes())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_and_with_utf8_addresses() -> Result<()> {
    let mut world = World::new().await?;
    let certificate = certs::self_signed("postfix.example")?;
    let (chain, key) = (world.folder().join("tls.crt"), world.folder().join("tls.key"));
    std::fs::write(&chain, &certificate.certificate)?;
    std::fs::write(&key, &certificate.key)?;
    let (chain, key) = (chain.display().to_string(), key.display().to_string());
    let tls = [
        ("smtpd_tls_security_level", "may"),
        ("smtpd_tls_cert_file", &*chain),
        ("smtpd_tls_key_file", &*key),
        ("smtpd_tls_received_header", "yes"),
    ];
    let postfix = postfix(&world, &[DOMAIN], &tls).await?;
    world.relay().await?;
    let mut client = Client::greeted(world.relays[0].smtp()).await?;
    client.say("MAIL FROM:<jürgen@sender.example> SMTPUTF8 BODY=8BITMIME", 250).await?;
    client.say(&format!("RCPT TO:<用户@{DOMAIN}>"), 250).await?;
    client.say("DATA", 354).await?;
    let text = "From: Jürgen <jürgen@sender.example>\r\nSubject: Grüße\r\n\r\n你好\r\n";
    client.send(format!("{text}.\r\n").as_bytes()).await?;
    client.expect(250).await?;
    let message = filed(&postfix, "Grüße").await?;
    on_top(&message, text.as_bytes())?;
    let message = String::from_utf8(message)?;
    ensure!(message.contains("(using TLSv1.3 with cipher"), "{message}");
    ensure!(message.contains("with UTF8SMTPS id") && message.contains("with UTF8SMTP id"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_it_bounces_and_it_is_not_sent() -> Result<()> {
    let mut world = World::new().await?;
    let small = [("message_size_limit", "50000")];
    let postfix = postfix(&world, &[DOMAIN], &small).await?;
    world.domain("sender.example").await?;
    world.relay().await?;
    let text = postrider_tests::source::message("big", "a@sender.example", "b@postfix.example", 60_000);
    let mut client = Client::greeted(world.relays[0].smtp()).await?;
    let reply = client.message("a@sender.example", &["b@postfix.example"], text.trim_end()).await?;
    ensure!(reply.code == 250, "{}", reply.text);
    let bounce = world.arrival("a@sender.example", SOON).await?.text();
    ensure!(bounce.contains("Status: 5.3.4"), "RFC 1870 6.1: {bounce}");
    ensure!(postfix.messages()?.is_empty());
    Ok(())
}
