//! The operator's own life: who leads, what it waits for, what it survives.
//! **Owns:** Lease, outages, missing kinds, objects that can't be read. **Never:** what it makes (children).

use std::time::Duration;

use postrider_tests::{
    cluster::{ControlPlane, Kubectl, Part},
    eventually,
    operator::{Operator, Setup},
};
use serde_json::Value;

use crate::world::{FLEET, SOON, World};

async fn holder(kubectl: &Kubectl, namespace: &str) -> Option<String> {
    let lease = kubectl.json(&["get", "lease", "postrider-operator", "--namespace", namespace]).await.ok()?;
    lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

async fn until_leads(kubectl: &Kubectl, namespace: &str, identity: &str) {
    let what = format!("{identity} to lead");
    eventually(&what, SOON, async || {
        (holder(kubectl, namespace).await.as_deref() == Some(identity)).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_killed_leader_is_followed_and_one_that_stops_is_followed_at_once() {
    let mut world = World::start(ControlPlane::shared().await.unwrap(), "leader").await.unwrap();
    until_leads(&world.kubectl(), &world.namespace, "one").await;
    let second = Setup { identity: "two".to_owned(), ..world.setup.clone() };
    let mut second = Operator::start(&second).await.unwrap();
    world.operator.kill().await.unwrap();
    world.apply(FLEET).await.unwrap();
    until_leads(&world.kubectl(), &world.namespace, "two").await;
    world.condition("mailrelay", "outbound", "Accepted", "True", "Accepted").await.unwrap();
    let third = Setup { identity: "three".to_owned(), ..world.setup.clone() };
    let _third = Operator::start(&third).await.unwrap();
    assert!(second.stop().await.unwrap().success());
    assert_ne!(
        holder(&world.kubectl(), &world.namespace).await.as_deref(),
        Some("two"),
        "it gave the Lease back"
    );
    until_leads(&world.kubectl(), &world.namespace, "three").await;
}

#[tokio::test]
async fn a_frozen_leader_writes_nothing_when_it_wakes() {
    let mut world = World::start(ControlPlane::shared().await.unwrap(), "frozen").await.unwrap();
    until_leads(&world.kubectl(), &world.namespace, "one").await;
    world.operator.process().pause().unwrap();
    let second = Setup { identity: "two".to_owned(), ..world.setup.clone() };
    let _second = Operator::start(&second).await.unwrap();
    until_leads(&world.kubectl(), &world.namespace, "two").await;
    // It has much to do when it wakes, and may do nothing of it.
    world.apply(FLEET).await.unwrap();
    world.operator.process().resume().unwrap();
    let ended = eventually("the one that was frozen to end", SOON, async || world.operator.ended());
    assert!(!ended.await.unwrap().success());
    assert!(
        world.operator.log().contains("could not be renewed")
            || world.operator.log().contains("another one may lead")
    );
    world
        .kubectl()
        .until(
            "the other to do it",
            SOON,
            &["deployment", "outbound", "--namespace", &world.namespace],
            |object: &Value| object["metadata"]["uid"].as_str().map(drop),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn without_its_kinds_it_waits_and_says_so() {
    let control_plane = ControlPlane::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup {
        kubeconfig: control_plane.kubeconfig(),
        identity: "one".to_owned(),
        namespace: "default".to_owned(),
        arguments: Vec::new(),
        folder: folder.path().to_owned(),
    };
    let mut operator = Operator::launch(&setup).await.unwrap();
    let waits = eventually("it to say so", SOON, async || {
        let (status, page) = operator.readyz().await.ok()?;
        (status == 503 && page.contains("MailRelays")).then_some(page)
    });
    waits.await.unwrap();
    let missing = eventually("the metric", SOON, async || {
        let metrics = operator.metrics().await.ok()?;
        let mut series = metrics.series("postrider_operator_crd_present");
        series.any(|(labels, value)| labels.contains("MailRelay") && value == 0.0).then_some(())
    });
    missing.await.unwrap();
    assert!(operator.log().contains("waiting for it: install the chart"), "{}", operator.log());
    control_plane.install_crds().await.unwrap();
    operator.ready().await.unwrap();
}

#[tokio::test]
async fn an_api_server_that_was_away_is_no_end() {
    let control_plane = ControlPlane::start().await.unwrap();
    control_plane.install_crds().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup {
        kubeconfig: control_plane.kubeconfig(),
        identity: "one".to_owned(),
        namespace: "default".to_owned(),
        arguments: vec!["--no-leader-election".to_owned()],
        folder: folder.path().to_owned(),
    };
    let mut operator = Operator::start(&setup).await.unwrap();
    control_plane.kill(Part::ApiServer).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(operator.ended().is_none());
    control_plane.start_again(Part::ApiServer).await.unwrap();
    control_plane.kubectl().run_with(&["apply", "-f", "-"], FLEET).await.unwrap();
    let look = |object: &Value| object["metadata"]["uid"].as_str().map(drop);
    control_plane
        .kubectl()
        .until("its Deployment", SOON * 2, &["deployment", "outbound"], look)
        .await
        .unwrap();
}

#[tokio::test]
async fn one_object_that_cannot_be_read_holds_up_nothing() {
    let control_plane = ControlPlane::start().await.unwrap();
    // A version of the kind that lets anything in.
    let loose = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: NAME.postrider.dev}
spec:
  group: postrider.dev
  scope: Namespaced
  names: {kind: KIND, plural: NAME, singular: SINGULAR}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
";
    let crd = |kind: &str| {
        let singular = kind.to_lowercase();
        loose.replace("NAME", &format!("{singular}s")).replace("KIND", kind).replace("SINGULAR", &singular)
    };
    let kubectl = control_plane.kubectl();
    kubectl.apply(&format!("{}{}", crd("MailRelay"), crd("RoutingRule"))).await.unwrap();
    kubectl.run(&["wait", "--for=condition=Established", "crd", "--all"]).await.unwrap();
    let bad = "apiVersion: postrider.dev/v1alpha1\nkind: MailRelay\nmetadata: {name: bad}\nspec: {hostname: 7}\n---\n";
    kubectl.run_with(&["apply", "-f", "-"], &format!("{bad}{FLEET}")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup {
        kubeconfig: control_plane.kubeconfig(),
        identity: "one".to_owned(),
        namespace: "default".to_owned(),
        arguments: Vec::new(),
        folder: folder.path().to_owned(),
    };
    let operator = Operator::start(&setup).await.unwrap();
    let look = |object: &Value| object["metadata"]["uid"].as_str().map(drop);
    kubectl.until("the good one's Deployment", SOON, &["deployment", "outbound"], look).await.unwrap();
    let metrics = operator.metrics().await.unwrap();
    assert!((metrics.sum("postrider_operator_undecodable_objects", &["MailRelay"]) - 1.0).abs() < 0.1);
    assert!(operator.log().contains("an object can't be read"));
}
