//! Bounces go to a real Postfix and are read by Python's email module.
//! **Owns:** that others understand them: RFC 6522's parts, RFC 3464's fields. **Never:** when there is one (e2e).

use anyhow::{Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use postrider_tests::{
    World,
    client::Client,
    postfix::Postfix,
    sink::{Act, At, Rule},
};
use serde_json::{Value, json};

use crate::{
    foreign,
    postfix_far_side::{filed, postfix},
};

/// Senders at a Postfix, a far side that refuses so, a relay between them.
async fn world(rules: Vec<Rule>) -> Result<(World, Postfix)> {
    let mut world = World::new().await?;
    let postfix = postfix(&world, &["sender.example"], &[]).await?;
    let far = world.domain("far.example").await?;
    world.sinks[far].behave(rules);
    world.relay().await?;
    Ok((world, postfix))
}

async fn read(message: &[u8]) -> Result<Value> {
    foreign::python("report.py", &json!({"message": BASE64_STANDARD.encode(message)})).await
}

/// That it is a report without a flaw; its part about deliveries.
fn is_report(report: &Value, status_type: &str) -> Result<Value> {
    ensure!(report["type"] == "multipart/report", "{report:#}");
    ensure!(report["report_type"].as_str().is_some_and(|kind| status_type.ends_with(kind)), "{report:#}");
    ensure!(report["defects"] == json!([]), "{report:#}");
    let parts = report["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(parts.len() == 3 && parts.iter().all(|part| part["defects"] == json!([])), "{report:#}");
    ensure!(parts[0]["type"] == "text/plain" && parts[1]["type"] == status_type, "{report:#}");
    let header = &report["header"];
    for (name, value) in [("return-path", "<>"), ("auto-submitted", "auto-replied"), ("mime-version", "1.0")]
    {
        ensure!(header[name] == value, "{name}: {report:#}");
    }
    for name in ["from", "to", "date", "subject", "message-id"] {
        ensure!(header[name].as_str().is_some_and(|value| !value.is_empty()), "{name}: {report:#}");
    }
    Ok(parts[1].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_recipient_is_told_with_all_fields() -> Result<()> {
    let refusals = [
        Rule::reply(At::Rcpt, "550 5.1.1 no such user here").recipient("nobody@far.example"),
        Rule::reply(At::Rcpt, "552 5.2.2 full").recipient("full@far.example"),
    ];
    let (world, postfix) = world(refusals.to_vec()).await?;
    let mut client = Client::greeted(world.relays[0].smtp()).await?;
    client.say("MAIL FROM:<a@sender.example> ENVID=order42", 250).await?;
    client.say("RCPT TO:<nobody@far.example> ORCPT=rfc822;first@home.example", 250).await?;
    client.say("RCPT TO:<b@far.example>", 250).await?;
    client.say("RCPT TO:<full@far.example>", 250).await?;
    client.say("DATA", 354).await?;
    client.send(b"Subject: original\r\nMessage-ID: <1@sender.example>\r\n\r\nthe body\r\n.\r\n").await?;
    client.expect(250).await?;
    let report = read(&filed(&postfix, "multipart/report").await?).await?;
    let status = is_report(&report, "message/delivery-status")?;
    let blocks = &status["blocks"];
    ensure!(blocks.as_array().is_some_and(|blocks| blocks.len() == 3), "{blocks:#}");
    ensure!(blocks[0]["reporting-mta"] == "dns; relay.example", "{blocks:#}");
    ensure!(blocks[0]["original-envelope-id"] == "order42", "{blocks:#}");
    ensure!(blocks[0]["arrival-date"].is_string(), "{blocks:#}");
    ensure!(blocks[1]["original-recipient"] == "rfc822; first@home.example", "{blocks:#}");
    for (block, recipient, status, reply) in [
        (&blocks[1], "nobody@far.example", "5.1.1", "550 5.1.1 no such user here"),
        (&blocks[2], "full@far.example", "5.2.2", "552 5.2.2 full"),
    ] {
        let is = |name: &str, value: String| block[name].as_str().is_some_and(|found| found == value);
        ensure!(is("final-recipient", format!("rfc822; {recipient}")), "{block:#}");
        ensure!(is("action", "failed".into()) && is("status", status.into()), "{block:#}");
        ensure!(is("diagnostic-code", format!("smtp; {reply}")), "{block:#}");
        ensure!(block["remote-mta"].as_str().is_some_and(|mta| mta.starts_with("dns; ")), "{block:#}");
    }
    let original = &report["parts"][2];
    ensure!(original["header"]["subject"] == "original", "{original:#}");
    ensure!(report["header"]["in-reply-to"] == "<1@sender.example>", "{report:#}");
    let told = report["parts"][0]["text"].as_str().unwrap_or_default();
    ensure!(told.contains("nobody@far.example") && told.contains("full@far.example"), "{told}");
    ensure!(!told.contains("b@far.example\n"), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_can_put_nothing_of_its_own_into_it() -> Result<()> {
    // Control characters, bytes of no charset, a line end that is none, fields and boundaries as text, far too much of it.
    let mut hostile = b"550-5.1.1 \x1b[31m\x00\xff\xfe\rBcc: all@sender.example\r\n".to_vec();
    hostile.extend_from_slice(
        b"550-\r\n550---=_boundary--\r\n550-Final-Recipient: rfc822; other@far.example\r\n",
    );
    for _ in 0..100 {
        hostile.extend_from_slice(&[b"550-", "x".repeat(400).as_bytes(), b"\r\n"].concat());
    }
    hostile.extend_from_slice(b"550 5.1.1 end\r\n");
    let rules = vec![Rule::new(At::Rcpt, Act::Raw(hostile)).recipient("nobody@far.example")];
    let (world, postfix) = world(rules).await?;
    world.send(0, "a@sender.example", &["nobody@far.example"], "1").await?;
    let message = filed(&postfix, "multipart/report").await?;
    let is_text = |byte: &u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~');
    ensure!(message.iter().all(is_text), "{}", String::from_utf8_lossy(&message));
    let longest = message.split(|byte| *byte == b'\n').map(<[u8]>::len).max();
    ensure!(longest.is_some_and(|longest| longest <= 998), "{longest:?}");
    let report = read(&message).await?;
    let status = is_report(&report, "message/delivery-status")?;
    let blocks = &status["blocks"];
    ensure!(blocks.as_array().is_some_and(|blocks| blocks.len() == 2), "{blocks:#}");
    ensure!(blocks[1]["final-recipient"] == "rfc822; nobody@far.example", "{blocks:#}");
    ensure!(report["header"]["bcc"].is_null(), "{report:#}");
    ensure!(message.len() < 16 << 10, "{} bytes", message.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_with_utf8_addresses_has_its_own_kind() -> Result<()> {
    let (world, postfix) = world(vec![Rule::reply(At::Rcpt, "550 5.1.1 no").domain("far.example")]).await?;
    let mut client = Client::greeted(world.relays[0].smtp()).await?;
    client.say("MAIL FROM:<jürgen@sender.example> SMTPUTF8", 250).await?;
    client.say("RCPT TO:<用户@far.example>", 250).await?;
    client.say("DATA", 354).await?;
    client.send("Subject: Grüße\r\n\r\n你好\r\n.\r\n".as_bytes()).await?;
    client.expect(250).await?;
    let message = filed(&postfix, "multipart/report").await?;
    let text = String::from_utf8(message)?;
    // Python knows no RFC 6533; it is read as text.
    ensure!(text.contains("Content-Type: message/global-delivery-status"), "{text}");
    ensure!(text.contains("Final-Recipient: utf-8; 用户@far.example"), "RFC 6533 3: {text}");
    ensure!(text.contains("Delivered-To: jürgen@sender.example"), "{text}");
    ensure!(text.contains("Subject: Grüße") && text.contains("Status: 5.1.1"), "{text}");
    Ok(())
}
