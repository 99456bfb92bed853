//! Python's smtplib as client.
//! **Owns:** TLS that is verified, AUTH, SMTPUTF8, 8BITMIME, DSN as it asks for them. **Never:** how a bounce looks (`bounces`).

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use postrider_tests::{
    World,
    manifests::rule,
    sink::{self, At, Rule},
};
use serde_json::{Value, json};

use crate::{
    SOON, foreign,
    submission::{self, PASSWORD, USER},
};

const MESSAGE: &[u8] =
    b"From: <a@sender.example>\r\nTo: <b@far.example>\r\nSubject: smtplib\r\n\r\n.a dot\r\n.\r\nend\r\n";

/// An order for `submit.py`; `more` is laid over it.
fn order(world: &World, listener: &str, tls: &str, more: Value) -> Result<Value> {
    let mut order = json!({
        "port": submission::port(world, listener)?,
        "authority": submission::authority_path(world),
        "tls": tls,
        "sender": "a@sender.example",
        "recipients": ["b@far.example"],
        "message": BASE64_STANDARD.encode(MESSAGE),
    });
    let (Some(order_fields), Value::Object(more)) = (order.as_object_mut(), more) else {
        anyhow::bail!("both are objects");
    };
    order_fields.extend(more);
    Ok(order)
}

fn user(password: &str) -> Value {
    json!({"user": USER, "password": password})
}

#[tokio::test(flavor = "multi_thread")]
async fn by_starttls_as_a_user_with_a_certificate_that_holds() -> Result<()> {
    let world = submission::relay().await?;
    for (listener, tls) in [("submission", "starttls"), ("smtps", "implicit")] {
        for mechanism in ["PLAIN", "LOGIN"] {
            world.ledger.clear();
            let more = json!({"user": USER, "password": PASSWORD, "mechanism": mechanism});
            let told = foreign::python("submit.py", &order(&world, listener, tls, more)?).await?;
            ensure!(told["refused"] == json!({}), "{told}");
            let entry = world.arrival("b@far.example", SOON).await?;
            let body = entry.body.as_deref().context("bodies are kept")?;
            let received = String::from_utf8_lossy(body.strip_suffix(MESSAGE).context("as it was")?);
            // The relay gives what is submitted a Date and a Message-ID where it has none (RFC 6409 8).
            ensure!(received.contains("with ESMTPSA id"), "{received}");
            ensure!(received.contains("\r\nDate: ") && received.contains("\r\nMessage-ID: <"), "{received}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_what_python_raises() -> Result<()> {
    let world = submission::relay().await?;
    let told = foreign::python("submit.py", &order(&world, "submission", "starttls", user("wrong"))?).await?;
    ensure!(told["error"] == "SMTPAuthenticationError" && told["code"] == 535, "{told}");
    let told = foreign::python("submit.py", &order(&world, "submission", "no", user(PASSWORD))?).await?;
    ensure!(told["error"] == "SMTPNotSupportedError", "no AUTH in clear: {told}");
    let told = foreign::python("submit.py", &order(&world, "submission", "starttls", json!({}))?).await?;
    ensure!(told["error"] == "SMTPRecipientsRefused", "{told}");
    ensure!(told["refused"] == json!({"b@far.example": 550}), "a stranger: {told}");
    ensure!(world.ledger.is_empty(), "{:?}", world.ledger.entries());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn some_recipients_refused_leaves_the_others_theirs() -> Result<()> {
    let mut world = World::new().await?;
    world.domain("far.example").await?;
    submission::prepare(&world)?;
    let spec = "matches: [{recipientDomains: [no.example]}]\nroute: {type: Reject, reject: {code: 554, enhanced: 5.7.1, text: no}}";
    world.manifests.write("rule.yaml", &rule("no", spec))?;
    submission::start(&mut world).await?;
    let more = json!({"recipients": ["x@no.example", "b@far.example"]});
    let told = foreign::python("submit.py", &order(&world, "smtp", "no", more)?).await?;
    ensure!(told["refused"] == json!({"x@no.example": 554}), "{told}");
    ensure!(world.arrival("b@far.example", SOON).await?.recipients == ["b@far.example"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_and_subjects_in_utf8() -> Result<()> {
    let world = submission::relay().await?;
    let order = json!({
        "port": submission::port(&world, "smtp")?,
        "utf8": true,
        "from": "Jürgen <jürgen@sender.example>",
        "to": "用户@far.example",
        "subject": "Grüße 你好",
        "text": "schöne Grüße\n",
        "mail_options": [],
    });
    let told = foreign::python("compose.py", &order).await?;
    ensure!(told["refused"] == json!([]), "{told}");
    let entry = world.arrival("用户@far.example", SOON).await?;
    ensure!(entry.sender == "jürgen@sender.example", "{entry:?}");
    let text = entry.text();
    ensure!(text.contains("with UTF8SMTP id"), "RFC 6531 4.3: {text}");
    ensure!(text.contains("Subject: Grüße 你好\r\n") && text.contains("schöne Grüße\r\n"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_8bit_body_stays_8bit() -> Result<()> {
    let world = submission::relay().await?;
    let order = json!({
        "port": submission::port(&world, "smtp")?,
        "utf8": false,
        "from": "a@sender.example",
        "to": "b@far.example",
        "subject": "Grüße",
        "text": "schöne Grüße\n",
        "mail_options": ["BODY=8BITMIME"],
    });
    let told = foreign::python("compose.py", &order).await?;
    ensure!(told["refused"] == json!([]), "{told}");
    let text = world.arrival("b@far.example", SOON).await?.text();
    ensure!(text.contains("Content-Transfer-Encoding: 8bit"), "{text}");
    ensure!(text.ends_with("schöne Grüße\r\n") && text.contains("with ESMTP id"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_and_dsn_options_are_taken() -> Result<()> {
    let mut world = World::new().await?;
    let mut without = sink::Setup::default();
    without.extensions.retain(|extension| extension != "DSN");
    let far = world.domain_with("far.example", without).await?;
    world.domain("sender.example").await?;
    submission::prepare(&world)?;
    submission::start(&mut world).await?;
    world.sinks[far].behave([Rule::reply(At::Rcpt, "550 5.1.1 no").recipient("nobody@far.example")]);
    let more = json!({
        "recipients": ["b@far.example", "nobody@far.example"],
        "mail_options": ["RET=HDRS", "ENVID=order+2B42"],
        "rcpt_options": ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;first@home.example"],
    });
    let told = foreign::python("submit.py", &order(&world, "smtp", "no", more)?).await?;
    ensure!(told["refused"] == json!({}), "{told}");
    let offers = told["offers"].to_string();
    for offer in ["\"8bitmime\"", "\"chunking\"", "\"dsn\"", "\"pipelining\"", "\"size\"", "\"smtputf8\""] {
        ensure!(offers.contains(offer), "{offer} in {offers}");
    }
    world.arrival("b@far.example", SOON).await?;
    postrider_tests::wait::until("word of both", SOON, || {
        let told: String = world.ledger.to("a@sender.example").iter().map(|entry| entry.text()).collect();
        told.contains("Action: relayed") && told.contains("Action: failed")
    })
    .await?;
    for entry in world.ledger.to("a@sender.example") {
        ensure!(entry.text().contains("Original-Envelope-Id: order+42"), "{}", entry.text());
        ensure!(!entry.text().contains(".a dot"), "RET=HDRS: {}", entry.text());
    }
    // smtplib says the SIZE itself; one beyond the limit is refused before a byte of it is sent.
    let more = json!({"message": BASE64_STANDARD.encode(vec![b'x'; 26 << 20])});
    let told = foreign::python("submit.py", &order(&world, "smtp", "no", more)?).await?;
    ensure!(told["error"] == "SMTPSenderRefused" && told["code"] == 552, "{told}");
    Ok(())
}
