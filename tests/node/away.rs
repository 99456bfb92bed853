//! The API server is away.
//! **Owns:** that mail flows and processes start without it, and that the operator comes back by itself. **Never:** Postrider's
//! part in a control plane alone (`control`).

use std::time::Duration;

use postrider_tests::{
    cluster::Part,
    eventually, http,
    source::{self, Load},
};

use crate::world::{SYSTEM, WITHIN, World, is_long};

const SPEC: &str = "  replicas: 2
  listeners: [{name: smtp, port: 25, allowedClients: {cidrs: [10.0.0.0/8]}}]
  drain: {delay: 1s, timeout: 10s}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_flows_and_relays_start_while_the_api_server_is_away() {
    let world = World::start("away", 1, SPEC).await;
    let (service, pods) = (world.service(25).await, world.relays().await);
    let recipient = format!("ann@{}", world.zone);
    world.node.stop(Part::ApiServer).await.unwrap();
    let mail = async |messages: usize| {
        let accepted = source::send(Load::new(service, 4, messages, &recipient)).await.unwrap();
        assert_eq!(accepted.at.len(), messages);
        assert!(accepted.refused.is_empty(), "{:?}", accepted.refused);
    };
    mail(200).await;
    // A new process on the node: all that it needs is there already.
    let killed = &pods[0];
    world.node.kill_container(&killed.container).await.unwrap();
    let is_ready = async || http::get(killed.admin, "/readyz").await.is_ok_and(|(status, _)| status == 200);
    eventually("the process to be gone", WITHIN, async || (!is_ready().await).then_some(())).await.unwrap();
    eventually("a new process to be ready", WITHIN, async || is_ready().await.then_some(())).await.unwrap();
    assert_eq!(killed.hash().await, pods[1].hash().await);
    tokio::time::sleep(Duration::from_secs(if is_long() { 300 } else { 20 })).await;
    mail(200).await;
    let arrived =
        eventually("all mail", WITHIN, async || (world.sink.ledger().distinct() == 400).then_some(()));
    arrived.await.unwrap();
    world.node.start_again(Part::ApiServer).await.unwrap();
    world.apply(&world.hold("after")).await;
    world.ready("routingrule/after").await;
    let operators = world.pods(SYSTEM, "app.kubernetes.io/name=postrider-operator").await;
    let restarts: u64 = operators.iter().map(|pod| pod.restarts).sum();
    println!("the operator came back, restarts of its processes: {restarts}");
    world.run(&["delete", "routingrule", "after"]).await;
    world.end().await;
}
