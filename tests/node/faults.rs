//! What befalls a fleet while 200 messages a second come in: rolled, scaled, deleted, killed.
//! **Owns:** that no client sees more than a reply to come again, and no message is lost. **Never:** what a mail says.

use std::time::Instant;

use postrider_tests::{
    eventually,
    source::{Load, Source},
};
use serde_json::Value;

use crate::world::{Pod, SYSTEM, WITHIN, World, is_long};

const PER_SECOND: u32 = 200;
const SPEC: &str = "  replicas: 2
  listeners:
  - {name: smtp, port: 25, allowedClients: {cidrs: [10.0.0.0/8]}, limits: {connectionsPerClient: 1000}}
  drain: {delay: 2s, timeout: 20s}
";

/// Whether a message may arrive twice.
#[derive(PartialEq)]
enum Copies {
    /// Nothing died between a dot and its settle.
    None,
    /// A process that died may have sent what nobody settled: RFC 1047's window.
    OfTheDead,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_lost_whatever_befalls_the_fleet() {
    let world = World::start("faults", 3, SPEC).await;
    under_load(&world, "rolling update", Copies::None, roll(&world)).await;
    under_load(&world, "scale 2 to 1 to 4 to 1", Copies::None, scale(&world)).await;
    scaled(&world, 2).await;
    under_load(&world, "a pod deleted with grace 0", Copies::OfTheDead, delete_at_once(&world)).await;
    under_load(&world, "relay processes killed -9", Copies::OfTheDead, kill_relays(&world)).await;
    under_load(&world, "the operator's leader killed -9", Copies::None, kill_leader(&world)).await;
    under_load(&world, "one of three shards killed -9", Copies::OfTheDead, kill_shard(&world)).await;
    world.end().await;
}

/// Mail flows for a while before and after something happens; then the books are compared.
async fn under_load(world: &World, what: &str, copies: Copies, happens: impl Future<Output = ()>) {
    world.ready("mailrelay/outbound").await;
    let ledger = world.sink.ledger();
    ledger.clear();
    let seconds = if is_long() { 60 } else { 15 };
    let mut load = Load::new(
        world.service(25).await,
        40,
        (PER_SECOND * seconds) as usize,
        &format!("ann@{}", world.zone),
    );
    load.per_second = Some(PER_SECOND);
    load.deadline = WITHIN * 2;
    let source = Source::start(load);
    eventually("mail to flow", WITHIN, async || (source.count() > 400).then_some(())).await.unwrap();
    let at = Instant::now();
    happens.await;
    let took = at.elapsed();
    let accepted = source.finish().await.unwrap();
    world.arrivals(accepted.at.len()).await;
    let balance = ledger.balance(&accepted);
    let latencies = ledger.latencies(&accepted);
    let late = |share: usize| latencies[(latencies.len() * share / 1000).min(latencies.len() - 1)];
    println!(
        "{what} ({took:.1?}): {} accepted, {} lost, {} twice, {} sent again by the client, {} retries, {} refused; 250 to far side \
         p50 {:.1?}, p99 {:.1?}, max {:.1?}; longest time without an arrival {:.1?}",
        balance.accepted,
        balance.lost.len(),
        balance.duplicates,
        balance.resent,
        accepted.retries,
        accepted.refused.len(),
        late(500),
        late(990),
        late(999),
        ledger.longest_gap_since(at),
    );
    assert!(balance.lost.is_empty(), "{what}: {:?}", balance.lost);
    assert!(accepted.refused.is_empty(), "{what}: {:?}", accepted.refused);
    assert_eq!(balance.accepted, (PER_SECOND * seconds) as usize, "{what}");
    assert!(copies == Copies::OfTheDead || balance.duplicates == 0, "{what}: {}", balance.duplicates);
}

async fn patch(world: &World, spec: &str) {
    let patch = format!("{{\"spec\":{spec}}}");
    world.run(&["patch", "mailrelay", "outbound", "--type=merge", "-p", &patch]).await;
}

async fn deployment(world: &World, what: &str, look: impl Fn(&Value) -> Option<()>) {
    let object = ["deployment", "outbound", "--namespace", &world.namespace];
    world.kubectl.until(what, WITHIN, &object, look).await.unwrap();
}

async fn roll(world: &World) {
    let before = world.relays().await;
    patch(world, r#"{"pod":{"annotations":{"test/rolled":"once"}}}"#).await;
    deployment(world, "the new template", |one| {
        (one["spec"]["template"]["metadata"]["annotations"]["test/rolled"] == "once").then_some(())
    })
    .await;
    world.run(&["rollout", "status", "deployment/outbound", "--timeout=180s"]).await;
    eventually("the old pods to be gone", WITHIN, async || {
        let now = world.relays().await;
        (!now.iter().any(|pod| before.iter().any(|old| old.name == pod.name))).then_some(())
    })
    .await
    .unwrap();
}

async fn scaled(world: &World, replicas: u64) {
    world.run(&["scale", "mailrelay/outbound", &format!("--replicas={replicas}")]).await;
    deployment(world, "the scale", |one| {
        let status = &one["status"];
        let is_so = one["spec"]["replicas"] == replicas
            && status["readyReplicas"] == replicas
            && status["replicas"] == replicas;
        is_so.then_some(())
    })
    .await;
}

async fn scale(world: &World) {
    for replicas in [1, 4, 1] {
        scaled(world, replicas).await;
    }
}

async fn delete_at_once(world: &World) {
    let pod = &world.relays().await[0].name;
    world.run(&["delete", "pod", pod, "--grace-period=0", "--force"]).await;
}

/// One, and when it is back the other, so that each in its turn reaps what the other had.
async fn kill_relays(world: &World) {
    for pod in world.relays().await {
        kill(world, &pod).await;
    }
}

/// Kills a pod's process, and waits until its container has started again.
async fn kill(world: &World, pod: &Pod) {
    world.node.kill_container(&pod.container).await.unwrap();
    let name = ["pod", &pod.name, "--namespace", &world.namespace];
    let again = |one: &Value| {
        let status = &one["status"]["containerStatuses"][0];
        (status["restartCount"].as_u64()? > pod.restarts && status["ready"] == true).then_some(())
    };
    world.kubectl.until("the container to be back", WITHIN, &name, again).await.unwrap();
}

/// The leader's process; an edit made right after is live all the same, by the other.
async fn kill_leader(world: &World) {
    let lease = ["get", "lease", "-n", SYSTEM];
    let leases = world.kubectl.json(&lease).await.unwrap();
    let holder = leases["items"][0]["spec"]["holderIdentity"].as_str().unwrap().to_owned();
    let pods = world.pods(SYSTEM, "app.kubernetes.io/name=postrider-operator").await;
    let leader = pods.iter().find(|pod| holder.starts_with(&pod.name));
    world
        .node
        .kill_container(&leader.unwrap_or_else(|| panic!("{holder} in {pods:?}")).container)
        .await
        .unwrap();
    let at = Instant::now();
    world.apply(&world.hold("after")).await;
    world.ready("routingrule/after").await;
    println!("an edit while there was no leader: live after {:.1?}", at.elapsed());
    world.run(&["delete", "routingrule", "after"]).await;
}

async fn kill_shard(world: &World) {
    let shards = world.pods(&world.namespace, "app.kubernetes.io/name=postrider-queue").await;
    let shard = shards.iter().find(|pod| pod.name == "outbound-queue-1");
    kill(world, shard.unwrap_or_else(|| panic!("outbound-queue-1 in {shards:?}"))).await;
}
