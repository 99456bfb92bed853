//! Mail that goes round and round.
//! **Owns:** Received lines in number, and a relay that is its own next hop. **Never:** redirects by rule (e2e).

use anyhow::{Result, ensure};
use postrider_tests::{World, client::Client, manifests::rule, wait};

use crate::{LATER, trial::Trial};

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_received_lines_are_a_loop() -> Result<()> {
    let trial = Trial::start().await?;
    let mut client = trial.client().await?;
    for (count, name) in [(100, "Received"), (5_000, "received"), (60, "RECEIVED \t")] {
        let hops = format!("{name}: from a.example by b.example; Tue, 1 Sep 2026 12:00:00 +0000\r\n");
        let text = format!("{}Subject: round\r\n\r\nx", hops.repeat(count));
        let reply = client.message("a@sender.example", &["b@far.example"], &text).await?;
        ensure!((500..600).contains(&reply.code), "{count}: {}", reply.text);
        ensure!(count > 1000 || reply.text.starts_with("554 5.4.6 "), "{count}: {}", reply.text);
    }
    ensure!(trial.world.ledger.to("b@far.example").is_empty());
    trial.goes_on(&mut client, "after").await?;
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_its_own_next_hop_sends_a_bounce_in_the_end() -> Result<()> {
    let mut world = World::new().await?;
    world.domain("sender.example").await?;
    world.relay().await?;
    let relay = world.relays[0].smtp();
    // A smarthost isn't looked up, so that nothing tells the relay beforehand that it is itself.
    let spec = format!(
        "matches: [{{recipientDomains: [round.example]}}]\nroute: {{type: Smarthost, smarthost: {{hosts: [{{host: {}, port: {}}}]}}}}",
        relay.ip(),
        relay.port()
    );
    let before = world.relays[0].config_hash().await?;
    world.manifests.write("rule.yaml", &rule("round", &spec))?;
    postrider_tests::eventually("another hash", LATER, async || {
        world.relays[0].config_hash().await.ok().filter(|hash| *hash != before)
    })
    .await?;
    let mut client = Client::greeted(relay).await?;
    let reply = client.message("a@sender.example", &["b@round.example"], "Subject: x\r\n\r\nx").await?;
    ensure!(reply.code == 250, "{}", reply.text);
    wait::until("the bounce", LATER, || !world.ledger.to("a@sender.example").is_empty()).await?;
    let bounce = world.arrival("a@sender.example", LATER).await?;
    ensure!(bounce.text().contains("5.4.6"), "{}", bounce.text());
    ensure!(world.ledger.len() == 1, "{:?}", world.ledger.entries());
    Ok(())
}
