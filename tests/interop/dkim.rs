//! Signatures are verified by dkimpy and by OpenDKIM, over odd mails.
//! **Owns:** the odd mails. **Never:** when a signature is made or owed (e2e).

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use postrider_tests::{
    World,
    client::Client,
    dkim::{self, Keys},
    eventually,
    manifests::MailRelay,
    sink::{At, Rule},
};
use serde_json::json;

use crate::{LATER, foreign};

const DOMAINS: &[&str] = &["app.example", "xn--mller-kva.example", "relay.example"];

/// A relay that signs for these, and far.example.
async fn world() -> Result<World> {
    let mut world = World::new().await?;
    let far = world.domain("far.example").await?;
    world.sinks[far].behave([Rule::reply(At::Rcpt, "550 5.1.1 unknown").recipient("nobody@far.example")]);
    world.domain("app.example").await?;
    world
        .manifests
        .write("relay.yaml", &MailRelay { more: dkim::spec(DOMAINS), ..MailRelay::default() }.yaml())?;
    world.manifests.write("dkim.yaml", &dkim::secret())?;
    world.relay().await?;
    Ok(world)
}

/// Long lines of words with odd spaces: about 10 MB.
fn large() -> String {
    let line = "word  word\tword and \t more of it, with space at its end \t \r\n".repeat(16) + "\r\n\r\n";
    line.repeat(10_000_000 / line.len())
}

/// Messages as they are sent, each with what it is.
fn mails() -> Vec<(&'static str, String)> {
    let with = |fields: &str, body: &str| {
        format!("From: A <a@app.example>\r\nTo: b@far.example\r\n{fields}\r\n{body}")
    };
    vec![
        ("plain", with("Subject: x\r\n", "hello\r\n")),
        ("8bit", with("MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n", "gr\u{fc}\u{df}e \u{2014}\r\n")),
        ("folded", with("Subject: one\r\n\ttwo \t three\r\n   four \r\nReply-To:\r\n c@app.example\r\n", "x\r\n")),
        ("empty body", with("Subject: x\r\n", "")),
        ("only empty lines", with("Subject: x\r\n", "\r\n\r\n \t\r\n\r\n")),
        ("space", with("Subject:x  \t\r\n", " two  spaces\t\tand tabs \t\r\n\r\nend \r\n\r\n\r\n")),
        ("duplicate", with("Subject: one\r\nsubject: two\r\nTo: c@far.example\r\nTo: d@far.example\r\nX-A: 1\r\nX-A: 2\r\n", "x\r\n")),
        ("dots", with("Subject: x\r\n", ".\r\n..\r\n.dot\r\n")),
        ("list", with("List-Id: <l.app.example>\r\nList-Unsubscribe: <https://app.example/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", "x\r\n")),
        ("no end", with("Subject: x\r\n", "the last line has no end")),
        ("no end but space", with("Subject: x\r\n", "line\r\n  ")),
        ("large", with("Subject: large\r\n", &large())),
        ("utf8", "From: J\u{f6}rg <j\u{f6}rg@m\u{fc}ller.example>\r\nTo: b@far.example\r\nSubject: gr\u{fc}\u{df}e\r\n\r\nx\r\n".to_owned()),
    ]
}

/// Sends a message as it is: BDAT needs no end of line at its end.
async fn send(world: &World, to: &str, text: &str) -> Result<()> {
    let mut client = Client::greeted(world.relays[0].smtp()).await?;
    client.say("MAIL FROM:<a@app.example> BODY=8BITMIME SMTPUTF8", 250).await?;
    client.say(&format!("RCPT TO:<{to}>"), 250).await?;
    client.send(format!("BDAT {} LAST\r\n{text}", text.len()).as_bytes()).await?;
    client.expect(250).await?;
    Ok(())
}

/// That each of both signatures holds for both verifiers, by these keys.
async fn verified(world: &World, what: &str, message: &[u8], keys: &Keys) -> Result<()> {
    let mut records = BTreeMap::new();
    for domain in DOMAINS {
        records.extend(keys.records(domain, world.folder()).await?);
    }
    let order = json!({"messages": [BASE64_STANDARD.encode(message)], "records": records});
    let told = foreign::python("dkim_verify.py", &order).await?;
    ensure!(told == json!([[true, true]]), "dkimpy of {what}: {told}\n{}", head(message));
    let path = |name: &str| world.folder().join(name);
    let lines: String = records.iter().map(|(name, text)| format!("{name} {text}\n")).collect();
    std::fs::write(path("records"), lines)?;
    std::fs::write(path("message.eml"), message)?;
    let options = format!("Mode v\nSyslog no\nTestDNSData file:{}\n", path("records").display());
    std::fs::write(path("opendkim.conf"), options)?;
    let arguments = [
        "-v".into(),
        "-v".into(),
        "-x".into(),
        path("opendkim.conf").into_os_string(),
        "-t".into(),
        path("message.eml").into_os_string(),
    ];
    let ran = foreign::run("/usr/sbin/opendkim", arguments, b"").await?;
    ran.is_good()?;
    let passed = ran.text().matches("dkim=pass").count();
    ensure!(passed == 2, "OpenDKIM of {what}: {}\n{}", ran.text(), head(message));
    Ok(())
}

fn head(message: &[u8]) -> String {
    String::from_utf8_lossy(&message[..message.len().min(3_000)]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_signatures_hold_over_odd_mails() -> Result<()> {
    let world = world().await?;
    for (number, (what, text)) in mails().into_iter().enumerate() {
        let to = format!("b{number}@far.example");
        send(&world, &to, &text).await.context(what)?;
        let entry = world.arrival(&to, LATER).await?;
        let body = entry.body.as_deref().context("bodies are kept")?;
        ensure!(body.starts_with(b"DKIM-Signature: "), "{what}: {}", head(body));
        verified(&world, what, body, &Keys::known()).await?;
    }
    let metrics = world.relays[0].metrics().await?;
    let signed = metrics.sum("postrider_dkim_messages_total", &["result=\"signed\""]);
    ensure!(signed as usize == mails().len(), "{signed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_is_signed_for_the_name_of_the_relay() -> Result<()> {
    let world = world().await?;
    send(&world, "nobody@far.example", "From: a@app.example\r\nSubject: x\r\n\r\nx\r\n").await?;
    let entry = world.arrival("a@app.example", LATER).await?;
    let body = entry.body.as_deref().context("bodies are kept")?;
    ensure!(entry.text().contains("d=relay.example"), "{}", head(body));
    verified(&world, "a bounce", body, &Keys::known()).await
}

/// The Secret's keys are others, under the same names and selectors: mail is signed by them, and no longer by the old ones.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_replaced_sign_without_a_restart() -> Result<()> {
    let world = world().await?;
    let text = "From: a@app.example\r\nSubject: x\r\n\r\nx\r\n";
    send(&world, "b@far.example", text).await?;
    let entry = world.arrival("b@far.example", LATER).await?;
    verified(&world, "the first", entry.body.as_deref().unwrap_or_default(), &Keys::known()).await?;
    let fresh = Keys::fresh().await?;
    world.manifests.write("dkim.yaml", &fresh.secret())?;
    let mut number = 0;
    let signed = eventually("mail signed by the new keys", LATER, async || {
        number += 1;
        let to = format!("c{number}@far.example");
        send(&world, &to, text).await.ok()?;
        let body = world.arrival(&to, LATER).await.ok()?.body?;
        verified(&world, &to, &body, &fresh).await.is_ok().then_some(body)
    })
    .await?;
    ensure!(verified(&world, "the last", &signed, &Keys::known()).await.is_err(), "any key verifies");
    Ok(())
}
