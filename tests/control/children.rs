//! What a MailRelay becomes, and that it stays so.
//! **Owns:** children on a real API server. **Never:** pods that run (node).

use std::time::Duration;

use postrider_tests::cluster::ControlPlane;
use serde_json::{Value, json};

use crate::world::{FLEET, SOON, World};

const ALL: &str = "deploy,sts,svc,sa,pdb,netpol,secret,cm,hpa";

async fn world(prefix: &str) -> World {
    World::start(ControlPlane::shared().await.unwrap(), prefix).await.unwrap()
}

/// The names of our objects, by kind.
async fn children(world: &World) -> Vec<String> {
    let list =
        world.run(&["get", ALL, "-l", "app.kubernetes.io/managed-by=postrider", "-o", "name"]).await.unwrap();
    let mut names: Vec<String> = list.lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_mail_relay_becomes_a_fleet_and_goes_with_it() {
    let world = world("fleet").await;
    world.apply(FLEET).await.unwrap();
    world.condition("mailrelay", "outbound", "Accepted", "True", "Accepted").await.unwrap();
    let found = children(&world).await;
    let expected = [
        "configmap/outbound-queue",
        "deployment.apps/outbound",
        "networkpolicy.networking.k8s.io/outbound",
        "networkpolicy.networking.k8s.io/outbound-queue",
        "poddisruptionbudget.policy/outbound",
        "poddisruptionbudget.policy/outbound-queue",
        "secret/outbound-config",
        "secret/outbound-queue",
        "service/outbound",
        "service/outbound-queue",
        "serviceaccount/outbound",
        "serviceaccount/outbound-queue",
        "statefulset.apps/outbound-queue",
    ];
    assert_eq!(found, expected);
    // Nobody tells what is in its queue: it may not go, until somebody gives that up.
    world.run(&["delete", "mailrelay", "outbound", "--wait=false"]).await.unwrap();
    let message = world.condition("mailrelay", "outbound", "Ready", "False", "Deleting").await.unwrap();
    assert!(message.contains("postrider.dev/abandon-queue"), "{message}");
    world.run(&["annotate", "mailrelay", "outbound", "postrider.dev/abandon-queue=true"]).await.unwrap();
    let gone = postrider_tests::eventually("all of it to be gone", SOON, async || {
        children(&world).await.is_empty().then_some(())
    });
    gone.await.unwrap();
}

#[tokio::test]
async fn what_is_changed_by_hand_is_put_back_and_then_nothing_is_written() {
    let world = world("drift").await;
    world.apply(FLEET).await.unwrap();
    world.condition("mailrelay", "outbound", "Accepted", "True", "Accepted").await.unwrap();
    world.settled().await.unwrap();
    let patches = [
        ("deployment", "outbound", json!({ "spec": { "replicas": 7 } })),
        ("deployment", "outbound", json!({ "spec": { "paused": true } })),
        ("deployment", "outbound", json!({ "spec": { "template": { "spec": { "hostNetwork": true } } } })),
        (
            "deployment",
            "outbound",
            json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": null } } }),
        ),
        ("service", "outbound", json!({ "spec": { "selector": { "app": "other" } } })),
        ("service", "outbound-queue", json!({ "spec": { "publishNotReadyAddresses": false } })),
        ("secret", "outbound-config", json!({ "data": { "config.json.gz": "AAAA" } })),
        ("configmap", "outbound-queue", json!({ "data": { "redis.conf": "appendfsync no" } })),
        ("pdb", "outbound", json!({ "spec": { "maxUnavailable": 2 } })),
        ("networkpolicy", "outbound-queue", json!({ "spec": { "ingress": [{}] } })),
        ("serviceaccount", "outbound", json!({ "automountServiceAccountToken": true })),
    ];
    for (kind, name, patch) in &patches {
        let before = object(&world, kind, name).await;
        world.run(&["patch", kind, name, "--type=merge", "-p", &patch.to_string()]).await.unwrap();
        let what = format!("{kind} {name} to be put back after {patch}");
        let back = postrider_tests::eventually(&what, SOON, async || {
            let now = object(&world, kind, name).await;
            (spec_of(&now) == spec_of(&before)).then_some(())
        });
        back.await.unwrap();
    }
    for (kind, name) in [("service", "outbound"), ("deployment", "outbound"), ("secret", "outbound-config")] {
        let uid = object(&world, kind, name).await["metadata"]["uid"].clone();
        world.run(&["delete", kind, name]).await.unwrap();
        let what = format!("{kind} {name} to be made again");
        world.until(&what, kind, name, |now| (now["metadata"]["uid"] != uid).then_some(())).await.unwrap();
    }
    let settled = world.settled().await.unwrap();
    // Anything that touches the objects has them looked at again.
    for round in 0..5 {
        let label = format!("round={round}");
        world.run(&["label", "--overwrite", "mailrelay", "outbound", &label]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(world.settled().await.unwrap(), settled, "looking writes nothing");
}

async fn object(world: &World, kind: &str, name: &str) -> Value {
    let text = world.run(&["get", kind, name, "-o", "json"]).await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What is asked for, without what the cluster itself keeps.
fn spec_of(object: &Value) -> Value {
    let labels = &object["metadata"]["labels"];
    json!([object["spec"], object["data"], object["automountServiceAccountToken"], labels])
}

#[tokio::test]
async fn an_object_of_somebody_else_is_left_alone() {
    let world = world("taken").await;
    let mine = "apiVersion: v1\nkind: Service\nmetadata: {name: outbound}\nspec: {ports: [{port: 80}]}\n";
    world.apply(mine).await.unwrap();
    world.apply(FLEET).await.unwrap();
    let message = world.condition("mailrelay", "outbound", "Accepted", "False", "NameTaken").await.unwrap();
    assert!(message.contains("Service outbound that is not ours"), "{message}");
    assert_eq!(object(&world, "service", "outbound").await["spec"]["ports"][0]["port"], 80);
    world.run(&["delete", "service", "outbound"]).await.unwrap();
    world.condition("mailrelay", "outbound", "Accepted", "True", "Accepted").await.unwrap();
}

#[tokio::test]
async fn scaling_goes_by_the_mail_relay() {
    let world = world("scale").await;
    world.apply(FLEET).await.unwrap();
    let has = |count: i64| move |object: &Value| (object["spec"]["replicas"] == count).then_some(());
    world.until("two pods", "deployment", "outbound", has(2)).await.unwrap();
    world.run(&["scale", "mailrelay", "outbound", "--replicas=5"]).await.unwrap();
    world.until("five pods", "deployment", "outbound", has(5)).await.unwrap();
    // The autoscaler takes over from what is there; what it decides stays.
    let auto = json!({ "spec": { "replicas": null, "autoscaling": { "minReplicas": 2, "maxReplicas": 9 } } });
    world.run(&["patch", "mailrelay", "outbound", "--type=merge", "-p", &auto.to_string()]).await.unwrap();
    let target = |object: &Value| (object["spec"]["maxReplicas"] == 9).then_some(());
    world.until("an autoscaler", "hpa", "outbound", target).await.unwrap();
    world.settled().await.unwrap();
    assert_eq!(object(&world, "deployment", "outbound").await["spec"]["replicas"], 5);
    world.run(&["scale", "deployment", "outbound", "--replicas=7"]).await.unwrap();
    world.settled().await.unwrap();
    assert_eq!(object(&world, "deployment", "outbound").await["spec"]["replicas"], 7);
    let back = json!({ "spec": { "autoscaling": null, "replicas": 3 } });
    world.run(&["patch", "mailrelay", "outbound", "--type=merge", "-p", &back.to_string()]).await.unwrap();
    world.until("three pods", "deployment", "outbound", has(3)).await.unwrap();
    let gone = postrider_tests::eventually("the autoscaler to go", SOON, async || {
        world.run(&["get", "hpa", "outbound"]).await.is_err().then_some(())
    });
    gone.await.unwrap();
}
