//! Limits of a fleet of real relays, which die, come, and are told of other limits, as the far side counts.
//! **Owns:** one provider behind many domains, limits edited under load. **Never:** how a share is granted (queue), exactness over minutes
//! (the bench).

use std::time::{Duration, Instant};

use postrider_tests::{
    World, eventually,
    ledger::Entry,
    manifests::rule,
    sink::{Act, At, Rule},
    source::{Load, Source},
    wait::until,
};

use crate::LATER;

const RELAYS: usize = 4;
/// Domains of one provider, each with an exchanger of its own.
const DOMAINS: usize = 50;
/// What providers.yaml says that this provider takes at a time.
const OF_PROVIDER: usize = 5;
/// Messages to them.
const MESSAGES: usize = 400;
/// How long all of them may take: a relay's claims are free some seconds after its death.
const ALL_WITHIN: Duration = Duration::from_secs(180);
/// Who waits for a token by a former rule no longer does then.
const CHANGES_WITHIN: Duration = Duration::from_secs(4);
/// A limit that was kept to for so long is in force.
const SETTLES_IN: Duration = Duration::from_secs(2);
/// How long the limits of a rule are watched.
const WATCHED: Duration = Duration::from_secs(8);
/// More than goes in a test.
const ENOUGH: usize = 5_000;
/// What may go at once, by each rule.
const BURST: u32 = 5;

async fn relays(world: &mut World, count: usize) {
    while world.relays.len() < count {
        world.relay().await.unwrap();
    }
}

/// Mail by all relays.
fn load(world: &World, messages: usize, recipients: Vec<String>) -> Load {
    let targets = world.relays.iter().map(|relay| relay.smtp()).collect();
    let load = Load::new(world.relays[0].smtp(), world.relays.len(), messages, "");
    Load { targets, recipients, ..load }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_behind_many_domains_never_sees_more_connections_than_the_fleet_may_have() {
    let mut world = World::new().await.unwrap();
    let far = world.sink(Default::default()).await.unwrap();
    let std::net::IpAddr::V4(address) = world.address(far).ip() else { unreachable!("sinks have IPv4") };
    let domains: Vec<String> = (0..DOMAINS).map(|number| format!("d{number}.tenant.example")).collect();
    for (number, domain) in domains.iter().enumerate() {
        let host = format!("mx{number}.google.com");
        world.dns.mx(domain, 10, &host).await.unwrap();
        world.dns.a(&host, address).await.unwrap();
    }
    world.sinks[far].behave([Rule::new(At::Dot, Act::Delay(Duration::from_millis(50)))]);
    // Each message has a connection of its own, so that they come and go all the time. How many at a time no rule says.
    let each =
        "matches: [{recipientDomains: [\"*.tenant.example\"]}]\npolicy: {limits: {messagesPerConnection: 1}}";
    world.manifests.write("rule.yaml", &rule("each", each)).unwrap();
    relays(&mut world, RELAYS).await;
    let recipients = domains.iter().map(|domain| format!("b@{domain}")).collect();
    let source = Source::start(load(&world, MESSAGES, recipients));
    let some = MESSAGES / 10;
    until("some have come", ALL_WITHIN, || world.ledger.distinct() >= some).await.unwrap();
    world.relays[RELAYS - 1].kill().await.unwrap();
    until("more have come", ALL_WITHIN, || world.ledger.distinct() >= 2 * some).await.unwrap();
    world.relay().await.unwrap();
    let accepted = source.finish().await.unwrap();
    assert_eq!(accepted.at.len(), MESSAGES);
    until("all have come", ALL_WITHIN, || world.ledger.balance(&accepted).lost.is_empty()).await.unwrap();
    assert_eq!(world.sinks[far].most_open(), OF_PROVIDER);
}

/// A rule for far.example, which all relays run as this returns.
async fn limit(world: &World, limits: &str) {
    let hash = async |world: &World, relay: usize| world.relays[relay].config_hash().await.unwrap();
    let mut before = Vec::new();
    for relay in 0..world.relays.len() {
        before.push(hash(world, relay).await);
    }
    let spec = format!("matches: [{{recipientDomains: [far.example]}}]\npolicy: {{limits: {{{limits}}}}}");
    world.manifests.write("rule.yaml", &rule("far", &spec)).unwrap();
    for (relay, before) in before.iter().enumerate() {
        let what = format!("relay {relay} to run {limits}");
        eventually(&what, LATER, async || (hash(world, relay).await != *before).then_some(())).await.unwrap();
    }
}

fn connections(most: usize) -> String {
    format!("connections: {most}, messagesPerConnection: 5")
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_lowered_and_raised_under_load_are_never_more_than_the_rule_allows() {
    let (high, low) = (8, 3);
    let mut world = World::new().await.unwrap();
    let far = world.domain("far.example").await.unwrap();
    world.sinks[far].behave([Rule::new(At::Dot, Act::Delay(Duration::from_millis(100)))]);
    relays(&mut world, 2).await;
    limit(&world, &connections(high)).await;
    let _source = Source::start(load(&world, ENOUGH, vec!["b@far.example".to_owned()]));
    let far = &world.sinks[far];
    until("all connections are used", LATER, || far.most_open() >= high).await.unwrap();
    limit(&world, &connections(low)).await;
    // Attempts that had begun before may end as they began.
    let mut most = 0;
    eventually("the lower limit to hold", LATER, async || {
        most = most.max(far.take_most_open());
        tokio::time::sleep(SETTLES_IN).await;
        (far.most_open() <= low).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(most, high, "neither rule lets more be open, nor do both together");
    let came = world.ledger.len();
    tokio::time::sleep(WATCHED).await;
    assert!(far.most_open() <= low, "{} are open, the rule allows {low}", far.most_open());
    until("mail goes on", LATER, || world.ledger.len() >= came + 20).await.unwrap();
    limit(&world, &connections(high)).await;
    until("all are used again", LATER, || far.most_open() >= high).await.unwrap();
    tokio::time::sleep(WATCHED).await;
    assert_eq!(far.most_open(), high);
}

fn rate(messages: u32) -> String {
    format!("rate: {{messages: {messages}, per: 1s, burst: {BURST}}}")
}

/// No window has more than the rate and its burst let through; a token is used within a second.
fn keeps_to(per_second: u32, entries: &[Entry]) {
    let mut times: Vec<Instant> = entries.iter().map(|entry| entry.time).collect();
    times.sort_unstable();
    for (from, first) in times.iter().enumerate() {
        for (others, last) in times[from..].iter().enumerate() {
            let window = last.duration_since(*first);
            let most = f64::from(per_second) * (window.as_secs_f64() + 1.0) + f64::from(BURST);
            assert!((others + 1) as f64 <= most, "{} within {window:?}; at most {most}", others + 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_lowered_and_raised_under_load_is_kept_to_as_it_is_then() {
    let (high, low) = (40, 5);
    let mut world = World::new().await.unwrap();
    world.domain("far.example").await.unwrap();
    relays(&mut world, 2).await;
    limit(&world, &rate(high)).await;
    let _source = Source::start(load(&world, ENOUGH, vec!["b@far.example".to_owned()]));
    let since = |began: Instant| world.ledger.matching(|entry| entry.time >= began);
    let goes_faster_than_low = async |began: Instant| {
        let by_low = || f64::from(low) * (began.elapsed().as_secs_f64() + 1.0) + f64::from(BURST);
        until("mail goes faster", LATER, || since(began).len() as f64 > 2.0 * by_low()).await.unwrap();
    };
    goes_faster_than_low(Instant::now()).await;
    limit(&world, &rate(low)).await;
    tokio::time::sleep(CHANGES_WITHIN).await;
    let lowered = Instant::now();
    tokio::time::sleep(WATCHED).await;
    keeps_to(low, &since(lowered));
    until("mail goes on", LATER, || since(lowered).len() >= 20).await.unwrap();
    limit(&world, &rate(high)).await;
    goes_faster_than_low(Instant::now()).await;
    keeps_to(high, &world.ledger.entries());
}
