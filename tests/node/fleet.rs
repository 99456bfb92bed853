//! Helm, kubectl, real pods, mail by MX through the cluster's DNS.
//! **Owns:** that it works end to end, and how fast an edit is live. **Never:** what a control plane alone can show (`control`).

use std::time::{Duration, Instant};

use postrider_tests::{cluster::images, manifests};

use crate::world::{SYSTEM, World, hashes, helm, install, is_long, live};

const SPEC: &str = "  replicas: 2
  listeners:
  - {name: smtp, port: 25, allowedClients: {namespaces: {matchLabels: {mail: 'yes'}}}}
  drain: {delay: 1s, timeout: 10s}
";

#[tokio::test]
async fn a_fleet_is_installed_and_mail_flows_and_an_edit_is_live_at_once() {
    let world = World::start("fleet", 1, SPEC).await;
    // A pod of another namespace mails by the Service from its first moment: until its address is known it is told to come again.
    let client = world.node.namespace("client").await.unwrap();
    world.kubectl.run(&["label", "namespace", &client, "mail=yes"]).await.unwrap();
    let (to, recipient) = (format!("outbound.{}:25", world.namespace), format!("ann@{}", world.zone));
    let send = ["load", &to, "app@example.com", &recipient, "20", "2"];
    let book = world.node.run_to_end(&client, images::MAIL, &send).await.unwrap();
    assert!(book.contains("\"refused\":{}"), "{book}");
    world.arrivals(20).await;
    edits_are_live(&world).await;
    for arguments in [
        ["get", "mrelay,mroute"].as_slice(),
        &["describe", "mrelay", "outbound"],
        &["describe", "mroute", "edited"],
    ] {
        println!("\n$ kubectl {}\n{}", arguments.join(" "), world.run(arguments).await);
    }
    world.kubectl.run(&["label", "namespace", SYSTEM, "mail=yes", "--overwrite"]).await.unwrap();
    install(&world.node.kubeconfig(), &format!("test: {{relay: {}/outbound}}\n", world.namespace));
    println!(
        "\n$ helm test postrider\n{}",
        helm(&world.node.kubeconfig(), &["test", "postrider", "--logs"], None)
    );
    world.kubectl.run(&["delete", "namespace", &client, "--wait=false"]).await.unwrap();
    world.run(&["delete", "mroute", "edited"]).await;
    world.end().await;
}

/// Edits a rule again and again; tells how long it took until every pod had it. Ten times the target is the most that is taken
/// for good: machines differ.
async fn edits_are_live(world: &World) {
    let rule = |text: &str| {
        let matches = format!("matches: [{{recipientDomains: [no.{}]}}]", world.zone);
        manifests::rule("edited", &format!("{matches}\nroute: {{type: Reject, reject: {{text: '{text}'}}}}"))
    };
    world.apply(&rule("first")).await;
    world.ready("routingrule/edited").await;
    let pods = world.relays().await;
    assert_eq!(pods.len(), 2);
    let edits = if is_long() { 50 } else { 10 };
    let mut took = Vec::new();
    for number in 0..edits {
        tokio::time::sleep(Duration::from_millis(1500 + 137 * (number % 7))).await;
        let before = hashes(&pods).await;
        world.apply(&rule(&format!("edit {number}"))).await;
        took.push(live(&pods, &before, Instant::now()).await);
    }
    took.sort();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    let (p50, p99, max) = (at(50), at(99), took[took.len() - 1]);
    println!("edit to live in all pods, {edits} edits: p50 {p50:?}, p99 {p99:?}, max {max:?}");
    assert!(p50 < Duration::from_secs(5), "ten times the target");
}
