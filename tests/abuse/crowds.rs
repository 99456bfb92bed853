//! Connections in thousands.
//! **Owns:** bounds on their number. **Never:** what they say.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use postrider_tests::{client::Client, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{SOON, trial::Trial};

const CROWD: u64 = 5_000;
/// What a relay leaves to the rest of itself, and this test to its other parts.
const RESERVED_FILES: u64 = 1_200;

/// Raises the limit of open files as far as it goes, also for the relays that are started from now on; how many connections
/// that allows to both sides of them.
fn connections() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(65_536).min(65_536);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum })?;
    // A relay takes half of them for sessions, as each may lead to a delivery.
    let allowed = most.saturating_sub(RESERVED_FILES) / 2;
    if allowed < CROWD {
        println!("the limit of open files is {most}: {allowed} connections instead of {CROWD}");
    }
    Ok(allowed.min(CROWD))
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_idle_connections_are_held_and_one_more_is_told_so() -> Result<()> {
    let count = connections()?;
    let listeners = format!(
        "- {{name: smtp, port: 25, protocol: SMTP, allowedClients: {{cidrs: [127.0.0.0/8]}}}}\n\
         - {{name: crowd, port: 26, protocol: SMTP, allowedClients: {{cidrs: [127.0.0.0/8]}}, limits: {{connections: {count}, connectionsPerClient: {count}}}}}"
    );
    let trial = Trial::with(&listeners).await?;
    let crowded = trial.world.relays[0].listener("crowd")?;
    let mut idle = Vec::new();
    for _ in 0..count {
        idle.push(Client::greeted(crowded).await?);
    }
    for _ in 0..10 {
        let mut client = Client::connect(crowded).await?;
        let reply = client.expect(421).await?;
        ensure!(reply.text.starts_with("421 4.7.0 "), "{}", reply.text);
        ensure!(client.is_closed_within(Duration::from_secs(10)).await);
    }
    // Each is a session like any other.
    for at in [0, idle.len() / 2, idle.len() - 1] {
        trial.goes_on(idle.get_mut(at).context("it is there")?, &format!("crowd-{at}")).await?;
    }
    drop(idle);
    let mut client = eventually("a place", SOON, async || Client::greeted(crowded).await.ok()).await?;
    trial.goes_on(&mut client, "after").await?;
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_s_connections_leave_others_their_places() -> Result<()> {
    // 50 of a client, unless said otherwise.
    let trial = Trial::start().await?;
    let greedy = Ipv4Addr::new(127, 6, 6, 6);
    let mut held = Vec::new();
    for _ in 0..50 {
        held.push(Client::connect_from(greedy, trial.smtp()).await?.greet().await?);
    }
    for _ in 0..100 {
        let mut client = Client::connect_from(greedy, trial.smtp()).await?;
        let reply = client.expect(421).await?;
        ensure!(reply.text.starts_with("421 4.7.0 "), "{}", reply.text);
    }
    let mut other = Client::connect_from(Ipv4Addr::new(127, 6, 6, 7), trial.smtp()).await?.greet().await?;
    trial.goes_on(&mut other, "other").await?;
    held.pop();
    let again = eventually("a place", SOON, async || {
        Client::connect_from(greedy, trial.smtp()).await.ok()?.greet().await.ok()
    });
    trial.goes_on(&mut again.await?, "again").await?;
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_come_and_go_leave_nothing() -> Result<()> {
    let trial = Trial::start().await?;
    let relay = trial.smtp();
    let mut crowd = tokio::task::JoinSet::new();
    for number in 0..20_u8 {
        crowd.spawn(async move {
            for round in 0..250 {
                let mut client = Client::connect_from(Ipv4Addr::new(127, 5, 5, number), relay).await?;
                // Some go at once, some with a greeting, some in the middle of a command.
                if round % 3 > 0 {
                    client.reply().await?;
                }
                if round % 3 > 1 {
                    client.send(b"EHLO client.exam").await?;
                }
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(ended) = crowd.join_next().await {
        ended??;
    }
    let open = async || Some(trial.world.relays[0].metrics().await.ok()?.sum("postrider_sessions", &[]));
    // The bystander has one.
    eventually("an end of all sessions", SOON, async || open().await.filter(|open| *open <= 1.0)).await?;
    trial.unharmed().await
}
