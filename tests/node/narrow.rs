//! The operator of a namespace alone, without any right in the rest of the cluster.
//! **Owns:** that a fleet lives by it. **Never:** each single right (`chart`), what the operator does by them (`control`).

use postrider_tests::source::{self, Load};

use crate::world::{World, install};

const SPEC: &str = "  replicas: 1
  listeners: [{name: smtp, port: 25, allowedClients: {cidrs: [10.0.0.0/8]}}]
  drain: {delay: 1s, timeout: 10s}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_is_served_without_a_right_in_the_rest_of_the_cluster() {
    let world = World::start("narrow", 1, SPEC).await;
    let kubeconfig = world.node.kubeconfig();
    install(&kubeconfig, &format!("watchNamespaces: [{}]\n", world.namespace));
    let ours = "app.kubernetes.io/part-of=postrider";
    let roles = world.kubectl.json(&["get", "clusterroles,clusterrolebindings", "-l", ours]).await.unwrap();
    assert_eq!(roles["items"].as_array().map(Vec::len), Some(0), "{roles}");
    world.apply(&world.hold("narrow")).await;
    world.ready("routingrule/narrow").await;
    let load = Load::new(world.service(25).await, 2, 20, &format!("ann@{}", world.zone));
    let accepted = source::send(load).await.unwrap();
    assert!(accepted.refused.is_empty(), "{:?}", accepted.refused);
    world.arrivals(20).await;
    world.run(&["delete", "mroute", "narrow"]).await;
    world.end().await;
    install(&kubeconfig, "");
}
