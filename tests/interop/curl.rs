//! curl as client.
//! **Owns:** `smtp://`, `--ssl-reqd` and `smtps://`, users, several recipients. **Never:** what other programs do better.

use anyhow::{Context, Result, ensure};
use postrider_tests::World;

use crate::{
    SOON,
    foreign::{self, Ran},
    submission::{self, PASSWORD, USER},
};

const MESSAGE: &[u8] =
    b"From: <a@sender.example>\r\nTo: <b@far.example>\r\nSubject: curl\r\n\r\n.a dot\r\n.\r\n..\r\nend\r\n";

async fn curl(world: &World, scheme: &str, listener: &str, more: &[&str]) -> Result<Ran> {
    let url = format!("{scheme}://127.0.0.1:{}/client.example", submission::port(world, listener)?);
    let authority = submission::authority_path(world).display().to_string();
    let mut arguments = vec!["--disable", "--silent", "--show-error", "--noproxy", "*", "--max-time", "50"];
    arguments.extend(["--cacert", &authority, "--url", &url, "--upload-file", "-"]);
    arguments.extend(["--mail-from", "a@sender.example", "--mail-rcpt", "b@far.example"]);
    arguments.extend(more);
    foreign::run("curl", arguments, MESSAGE).await
}

/// That curl is content and the message arrives as it was; what was put on top of it.
async fn arrives(world: &World, scheme: &str, listener: &str, more: &[&str]) -> Result<String> {
    world.ledger.clear();
    curl(world, scheme, listener, more).await?.is_good()?;
    let body = world.arrival("b@far.example", SOON).await?.body.context("bodies are kept")?;
    let top = body.strip_suffix(MESSAGE).with_context(|| String::from_utf8_lossy(&body).into_owned())?;
    Ok(String::from_utf8_lossy(top).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_clear_by_starttls_and_under_tls() -> Result<()> {
    let world = submission::relay().await?;
    let top = arrives(&world, "smtp", "smtp", &[]).await?;
    ensure!(top.contains("from client.example (") && top.contains("with ESMTP id"), "{top}");
    let top = arrives(&world, "smtp", "smtp", &["--ssl-reqd"]).await?;
    ensure!(top.contains("with ESMTPS id"), "{top}");
    let user = format!("{USER}:{PASSWORD}");
    let top = arrives(&world, "smtps", "smtps", &["--user", &user]).await?;
    ensure!(top.contains("with ESMTPSA id"), "{top}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_user_by_plain_and_login() -> Result<()> {
    let world = submission::relay().await?;
    let user = format!("{USER}:{PASSWORD}");
    for mechanism in ["AUTH=PLAIN", "AUTH=LOGIN"] {
        let more = ["--ssl-reqd", "--user", &user, "--login-options", mechanism];
        let top = arrives(&world, "smtp", "submission", &more).await?;
        ensure!(top.contains("with ESMTPSA id"), "{top}");
        // RFC 4954 4: the first response may come with the command.
        let top = arrives(&world, "smtp", "submission", &[&more[..], &["--sasl-ir"]].concat()).await?;
        ensure!(top.contains("with ESMTPSA id"), "{top}");
    }
    world.ledger.clear();
    let wrong = format!("{USER}:wrong");
    let ran = curl(&world, "smtp", "submission", &["--ssl-reqd", "--user", &wrong]).await?;
    // curl(1), EXIT CODES: 67 is a login denied.
    ensure!(ran.code == Some(67), "{}", ran.text());
    ensure!(world.ledger.is_empty(), "{:?}", world.ledger.entries());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_recipients_of_several_domains() -> Result<()> {
    let mut world = World::new().await?;
    world.domain("far.example").await?;
    world.domain("other.example").await?;
    submission::prepare(&world)?;
    submission::start(&mut world).await?;
    let more = ["--mail-rcpt", "c@far.example", "--mail-rcpt", "d@other.example"];
    curl(&world, "smtp", "smtp", &more).await?.is_good()?;
    ensure!(world.arrival("c@far.example", SOON).await?.recipients == ["b@far.example", "c@far.example"]);
    ensure!(world.arrival("d@other.example", SOON).await?.recipients == ["d@other.example"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_a_curious_client_get_answers() -> Result<()> {
    let world = submission::relay().await?;
    let url = format!("smtp://127.0.0.1:{}", submission::port(&world, "smtp")?);
    let asked = |command: &'static str| {
        let (url, arguments) = (url.clone(), ["--disable", "--silent", "--show-error", "--noproxy", "*"]);
        let arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
        let more = ["--verbose", "--request", command, "--url", &url].map(str::to_owned);
        async move { foreign::run("curl", [arguments, more.to_vec()].concat(), b"").await }
    };
    let ran = asked("HELP").await?;
    ensure!(ran.code == Some(0) && ran.out.contains("214 2.0.0"), "{}", ran.text());
    let ran = asked("EXPN staff").await?;
    ensure!(ran.code != Some(0) && ran.err.contains("502 5.5.1"), "{}", ran.text());
    Ok(())
}
