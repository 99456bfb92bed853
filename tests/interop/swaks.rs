//! swaks as client.
//! **Owns:** each way that it can submit. **Never:** byte for byte (`postfix_far_side`): swaks edits what it sends.

use anyhow::{Context, Result, ensure};
use postrider_tests::{World, ledger::Entry};

use crate::{
    SOON,
    foreign::{self, Ran},
    submission::{self, PASSWORD, USER},
};

/// Dots that must be stuffed, and a line of nothing but one.
const DATA: &str =
    "From: <a@sender.example>\nTo: <b@far.example>\nSubject: swaks\n\n.one dot\n..two dots\n.\nend\n";

async fn swaks(world: &World, listener: &str, more: &[&str]) -> Result<Ran> {
    let port = submission::port(world, listener)?.to_string();
    let mut arguments = vec!["--server", "127.0.0.1", "--port", &port, "--helo", "client.example"];
    arguments.extend(["--from", "a@sender.example", "--to", "b@far.example", "--data", "-"]);
    arguments.extend(more);
    foreign::run("swaks", arguments, DATA.as_bytes()).await
}

/// That it says it went well, and the message that arrives is the one.
async fn arrives(world: &World, listener: &str, more: &[&str]) -> Result<Entry> {
    world.ledger.clear();
    let ran = swaks(world, listener, more).await?;
    ran.is_good()?;
    let entry = world.arrival("b@far.example", SOON).await.with_context(|| ran.text())?;
    let text = entry.text();
    ensure!(entry.sender == "a@sender.example", "{entry:?}");
    ensure!(text.contains("\r\n\r\n.one dot\r\n..two dots\r\n.\r\nend\r\n"), "{text}");
    Ok(entry)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_clear_with_and_without_pipelining() -> Result<()> {
    let world = submission::relay().await?;
    let entry = arrives(&world, "smtp", &[]).await?;
    ensure!(entry.text().contains("with ESMTP id"), "{}", entry.text());
    let entry = arrives(&world, "smtp", &["--pipeline"]).await?;
    ensure!(entry.text().contains("with ESMTP id"), "{}", entry.text());
    let entry = arrives(&world, "smtp", &["--protocol", "SMTP"]).await?;
    ensure!(entry.text().contains("with SMTP id"), "HELO: {}", entry.text());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_recipients_get_one_message() -> Result<()> {
    let world = submission::relay().await?;
    let ran = swaks(&world, "smtp", &["--to", "b@far.example,c@far.example", "--pipeline"]).await?;
    ran.is_good()?;
    let entry = world.arrival("c@far.example", SOON).await?;
    ensure!(entry.recipients == ["b@far.example", "c@far.example"], "{:?}", entry.recipients);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn by_starttls_and_under_tls_from_the_start() -> Result<()> {
    let world = submission::relay().await?;
    let authority = submission::authority_path(&world).display().to_string();
    let verified = ["--tls-verify", "--tls-ca-path", &authority];
    let entry = arrives(&world, "smtp", &[&["--tls"], &verified[..]].concat()).await?;
    ensure!(entry.text().contains("with ESMTPS id"), "{}", entry.text());
    let users = ["--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD];
    let entry = arrives(&world, "smtps", &[&["--tlsc"], &verified[..], &users[..]].concat()).await?;
    ensure!(entry.text().contains("with ESMTPSA id"), "{}", entry.text());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_user_by_plain_and_login_under_tls_only() -> Result<()> {
    let world = submission::relay().await?;
    for mechanism in ["PLAIN", "LOGIN"] {
        let user = ["--tls", "--auth", mechanism, "--auth-user", USER, "--auth-password"];
        let entry = arrives(&world, "submission", &[&user[..], &[PASSWORD]].concat()).await?;
        ensure!(entry.text().contains("with ESMTPSA id"), "{}", entry.text());
        world.ledger.clear();
        let ran = swaks(&world, "submission", &[&user[..], &["wrong"]].concat()).await?;
        // swaks(1), EXIT CODES: 28 is AUTH.
        ensure!(ran.code == Some(28) && ran.out.contains("535 5.7.8"), "{}", ran.text());
    }
    let clear = ["--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD];
    let ran = swaks(&world, "submission", &clear).await?;
    ensure!(ran.code == Some(28) && !ran.out.contains("-> AUTH"), "no AUTH in clear: {}", ran.text());
    let ran = swaks(&world, "submission", &[]).await?;
    ensure!(ran.code == Some(23) && ran.out.contains("530 5.7.0"), "no MAIL in clear: {}", ran.text());
    let ran = swaks(&world, "submission", &["--tls"]).await?;
    ensure!(ran.code == Some(24) && ran.out.contains("550 5.7.1"), "no RCPT of a stranger: {}", ran.text());
    ensure!(world.ledger.is_empty(), "{:?}", world.ledger.entries());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_of_either_version() -> Result<()> {
    let world = submission::relay().await?;
    let source = |address: &'static str| {
        ["--proxy-source", address, "--proxy-source-port", "4321", "--proxy-dest", "198.51.100.1"]
    };
    for version in ["1", "2"] {
        let family = if version == "1" { "TCP4" } else { "AF_INET" };
        let mut proxy = vec!["--proxy-version", version, "--proxy-family", family, "--proxy-dest-port", "25"];
        if version == "2" {
            proxy.extend(["--proxy-protocol", "STREAM", "--proxy-command", "PROXY"]);
        }
        let entry = arrives(&world, "proxied", &[&proxy[..], &source("203.0.113.7")].concat()).await?;
        ensure!(entry.text().contains("([203.0.113.7])"), "{}", entry.text());
        world.ledger.clear();
        let ran = swaks(&world, "proxied", &[&proxy[..], &source("192.0.2.7")].concat()).await?;
        ensure!(ran.code == Some(24) && ran.out.contains("550 5.7.1"), "a stranger: {}", ran.text());
    }
    // Where a header is demanded nobody gets in without.
    let ran = swaks(&world, "proxied", &["--timeout", "10s"]).await?;
    ensure!(ran.code != Some(0), "{}", ran.text());
    // Where none is, one is no SMTP.
    let header = ["--proxy-version", "1", "--proxy-family", "TCP4", "--proxy-dest-port", "25"];
    let ran = swaks(&world, "smtp", &[&header[..], &source("203.0.113.7")].concat()).await?;
    ensure!(ran.code != Some(0), "{}", ran.text());
    ensure!(world.ledger.is_empty(), "{:?}", world.ledger.entries());
    Ok(())
}
