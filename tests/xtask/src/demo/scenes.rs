//! What is shown, scene by scene.
//! **Owns:** each scene's mail and the proof that it happened. **Never:** starts or ends a part but the relay it kills.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postrider_tests::{
    eventually,
    ledger::Entry,
    relay,
    sink::{At, Sink},
    source::{Load, Source},
};

use super::{stage::Stage, told};

/// How long one scene may take.
const WITHIN: Duration = Duration::from_secs(40);
/// Messages that are under way when a relay is killed.
const IN_FLIGHT: usize = 40;

/// All scenes, in order.
pub(crate) async fn play(stage: &mut Stage) -> Result<()> {
    println!("1. Mail to two domains, by MX");
    two_domains(stage).await?;
    println!("2. A far side that is busy twice");
    busy_twice(stage).await?;
    println!("3. A user that doesn't exist");
    unknown_user(stage).await?;
    println!("4. A rule changed while mail waits");
    changed_rule(stage).await?;
    println!("5. A relay killed in the middle of deliveries");
    killed_relay(stage).await?;
    println!("6. Why does mail go where it goes?");
    explain(stage).await?;
    println!("7. The metrics of relay b");
    metrics(stage).await
}

async fn two_domains(stage: &mut Stage) -> Result<()> {
    let accepted = stage.send(0, "anna@one.example", "first").await?;
    println!("  one.example has mx1 (preference 10) and mx2 (20); relay a said: {accepted}");
    let entry = told("anna's mail arrives", arrival(stage, "anna@one.example", 1)).await?;
    seen_at(stage, &entry, stage.sinks.one_first, "mx1, the lower preference")?;
    stage.send(1, "bert@two.example", "second").await?;
    let entry = told("bert's mail, by relay b, arrives", arrival(stage, "bert@two.example", 1)).await?;
    seen_at(stage, &entry, stage.sinks.two, "mx.two.example")?;
    sink(stage, stage.sinks.one_first)?.stop();
    stage.send(0, "carl@one.example", "third").await?;
    let entry =
        told("mx1 is away; carl's mail arrives all the same", arrival(stage, "carl@one.example", 1)).await?;
    seen_at(stage, &entry, stage.sinks.one_second, "mx2, the next preference")
}

async fn busy_twice(stage: &mut Stage) -> Result<()> {
    let sent = Instant::now();
    stage.send(0, "dora@busy.example", "patience").await?;
    let entry =
        told("dora's mail arrives after two times 451", arrival(stage, "dora@busy.example", 1)).await?;
    let busy = sink(stage, stage.sinks.busy)?.followed(At::Rcpt);
    ensure!(busy == 2, "the far side was busy {busy} times, expected 2");
    println!("  451 twice, delivered {:.1} s after it was accepted", (entry.time - sent).as_secs_f64());
    Ok(())
}

async fn unknown_user(stage: &mut Stage) -> Result<()> {
    stage.send(0, "nobody@two.example", "returned").await?;
    let bounce = told("a bounce arrives at the sender", arrival(stage, "app@sender.example", 1)).await?;
    seen_at(stage, &bounce, stage.sinks.sender, "mx.sender.example")?;
    ensure!(bounce.sender.is_empty(), "a bounce has no sender, found {:?}", bounce.sender);
    let text = bounce.text();
    for line in ["Final-Recipient:", "Action: failed", "Status: 5.1.1"] {
        let found =
            text.lines().find(|other| other.starts_with(line)).with_context(|| format!("no {line} in it"))?;
        println!("  | {found}");
    }
    Ok(())
}

async fn changed_rule(stage: &mut Stage) -> Result<()> {
    let before = stage.relay(0)?.config_hash().await?;
    stage.send(0, "erik@paused.example", "waiting").await?;
    let queue = told("erik's mail waits, as the rule defers it", waiting(stage, "paused.example")).await?;
    queue.lines().filter(|line| line.contains("paused.example")).for_each(|line| println!("  | {line}"));
    ensure!(
        stage.world.ledger.to("erik@paused.example").is_empty(),
        "it was delivered though the rule defers it"
    );
    println!("  editing rule-support.yaml: type: Defer becomes type: MX");
    stage.edit_rule("type: Defer", "type: MX")?;
    told("both relays load it by themselves", async {
        for number in 0..2 {
            let relay = stage.relay(number)?;
            eventually("another config hash", WITHIN, async || {
                relay.config_hash().await.ok().filter(|hash| *hash != before)
            })
            .await?;
        }
        Ok(())
    })
    .await?;
    let entry = told("erik's mail arrives", arrival(stage, "erik@paused.example", 1)).await?;
    seen_at(stage, &entry, stage.sinks.paused, "mx.paused.example")
}

async fn killed_relay(stage: &mut Stage) -> Result<()> {
    let load =
        Load { per_connection: 5, ..Load::new(stage.relay(0)?.smtp(), 8, IN_FLIGHT, "fritz@slow.example") };
    let accepted =
        told("relay a accepts 40 messages for slow.example, which takes 1 s for each dot", async {
            Source::start(load).finish().await
        })
        .await?;
    let arrived = stage.world.ledger.balance(&accepted);
    let relay = stage.world.relays.first_mut().context("relay a")?;
    relay.kill().await?;
    let killed = Instant::now();
    println!("  relay a killed -9 with {} of {IN_FLIGHT} not yet delivered", arrived.lost.len());
    ensure!(!arrived.lost.is_empty(), "nothing was left to take over");
    let last = told("relay b delivers the rest", async {
        eventually("all of them", WITHIN, async || {
            let balance = stage.world.ledger.balance(&accepted);
            balance.lost.is_empty().then(Instant::now)
        })
        .await
    })
    .await?;
    let balance = stage.world.ledger.balance(&accepted);
    println!(
        "  all {} are there, the last {:.1} s after the kill; {} arrived twice (dot sent, end not recorded: RFC 1047)",
        balance.accepted,
        (last - killed).as_secs_f64(),
        balance.duplicates
    );
    Ok(())
}

async fn explain(stage: &mut Stage) -> Result<()> {
    let manifests = stage.world.manifests.folder().display().to_string();
    let dns = stage.world.dns.address().to_string();
    let from = "app@sender.example";
    let words = ["explain", "--manifests", &manifests, "--dns", &dns, "--from", from, "anna@one.example"];
    println!("  $ postrider-relay explain --manifests examples/demo --from {from} anna@one.example");
    let output = relay::command(words).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().for_each(|line| println!("  | {line}"));
    ensure!(output.status.success(), "explain: {}", String::from_utf8_lossy(&output.stderr));
    ensure!(text.contains("mx1.one.example"), "explain doesn't name the MX");
    Ok(())
}

async fn metrics(stage: &mut Stage) -> Result<()> {
    let metrics = stage.relay(1)?.metrics().await?;
    let shown = [
        "postrider_messages_accepted_total",
        "postrider_attempts_total",
        "postrider_reap",
        "postrider_queue",
    ];
    let wanted = |line: &&str| {
        let is_zero = line.ends_with(" 0");
        !is_zero && !line.contains("_bucket") && shown.iter().any(|name| line.starts_with(name))
    };
    metrics.text().lines().filter(wanted).take(24).for_each(|line| println!("  | {line}"));
    let attempts = metrics.sum("postrider_attempts_total", &[]);
    ensure!(attempts > 0.0, "relay b counts no attempts");
    Ok(())
}

fn sink(stage: &Stage, number: usize) -> Result<&Sink> {
    stage.world.sinks.get(number).context("the far side was started")
}

fn seen_at(stage: &Stage, entry: &Entry, number: usize, whose: &str) -> Result<()> {
    let expected = stage.world.address(number);
    ensure!(entry.at == expected, "it arrived at {}, expected {expected} ({whose})", entry.at);
    println!("  it came to {} ({whose})", entry.at);
    Ok(())
}

/// The newest mail to a recipient, once there are so many.
async fn arrival(stage: &Stage, recipient: &str, count: usize) -> Result<Entry> {
    eventually(&format!("mail to {recipient}"), WITHIN, async || {
        let found = stage.world.ledger.to(recipient);
        (found.len() >= count).then(|| found.last().cloned()).flatten()
    })
    .await
}

/// What `ctl list` shows once a domain is in it.
async fn waiting(stage: &Stage, domain: &str) -> Result<String> {
    let relay = stage.relay(0)?;
    eventually("the delivery in the queue", WITHIN, async || {
        relay.ctl(&["list"]).await.ok().filter(|text| text.contains(domain))
    })
    .await
}
