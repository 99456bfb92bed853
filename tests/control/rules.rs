//! What rules and Secrets do to a configuration and to statuses.
//! **Owns:** verdicts as users read them. **Never:** what a rule means (core's tests).

use postrider_tests::cluster::ControlPlane;
use serde_json::Value;

use crate::world::{FLEET, World};

async fn world(prefix: &str) -> World {
    let world = World::start(ControlPlane::shared().await.unwrap(), prefix).await.unwrap();
    world.apply(FLEET).await.unwrap();
    world.condition("mailrelay", "outbound", "Accepted", "True", "Accepted").await.unwrap();
    world
}

fn rule(name: &str, relay: &str, route: &str) -> String {
    format!(
        "---\napiVersion: postrider.dev/v1alpha1\nkind: RoutingRule\nmetadata: {{name: {name}}}\nspec:\n  parentRefs: [{{name: \
         {relay}}}]\n  matches: [{{recipientDomains: [{name}.example]}}]\n  route: {route}\n"
    )
}

const SMARTHOST: &str =
    "{type: Smarthost, smarthost: {hosts: [{host: gw.example}], auth: {credentialsRef: {name: gw}}}}";

async fn hash(world: &World) -> String {
    let of = |object: &Value| object["status"]["configHash"].as_str().map(str::to_owned);
    world.until("a hash", "mailrelay", "outbound", of).await.unwrap()
}

#[tokio::test]
async fn a_missing_secret_is_said_and_taken_up_when_it_comes() {
    let world = world("secret").await;
    let before = hash(&world).await;
    world.apply(&rule("partner", "outbound", SMARTHOST)).await.unwrap();
    let message =
        world.condition("routingrule", "partner", "ResolvedRefs", "False", "SecretNotFound").await.unwrap();
    assert!(message.contains("spec.route.smarthost.auth.credentialsRef: found no Secret"), "{message}");
    let during = world.until("another hash", "mailrelay", "outbound", |object| {
        let hash = object["status"]["configHash"].as_str()?;
        (hash != before).then(|| hash.to_owned())
    });
    let during = during.await.unwrap();
    world
        .run(&[
            "create",
            "secret",
            "generic",
            "gw",
            "--from-literal=username=u",
            "--from-literal=password=canary",
        ])
        .await
        .unwrap();
    world.condition("routingrule", "partner", "ResolvedRefs", "True", "ResolvedRefs").await.unwrap();
    assert_ne!(hash(&world).await, during);
    assert!(!world.operator.log().contains("canary"), "no secret is logged");
}

#[tokio::test]
async fn a_rule_for_a_relay_that_is_not_there_says_so_and_is_taken_up_when_it_comes() {
    let world = world("parent").await;
    world.apply(&rule("early", "outbuond", "{type: MX}")).await.unwrap();
    let message =
        world.condition("routingrule", "early", "Accepted", "False", "NoMatchingParent").await.unwrap();
    assert!(message.contains("did you mean \"outbound\"?"), "{message}");
    world.apply(&FLEET.replace("name: outbound", "name: outbuond")).await.unwrap();
    world.condition("routingrule", "early", "Accepted", "True", "Accepted").await.unwrap();
    let attached = |object: &Value| (object["status"]["attachedRules"] == 1).then_some(());
    world.until("an attached rule", "mailrelay", "outbuond", attached).await.unwrap();
}

#[tokio::test]
async fn an_edit_of_one_rule_writes_no_status_of_another() {
    let world = world("quiet").await;
    let rules: String = (0..20).map(|number| rule(&format!("r{number}"), "outbound", "{type: MX}")).collect();
    world.apply(&rules).await.unwrap();
    for number in 0..20 {
        let name = format!("r{number}");
        world.condition("routingrule", &name, "Accepted", "True", "Accepted").await.unwrap();
    }
    world.settled().await.unwrap();
    let versions = async || {
        let text = world.run(&["get", "routingrules", "-o", "json"]).await.unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        let items = list["items"].as_array().unwrap().iter();
        let version = |item: &Value| item["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        items.map(version).collect::<Vec<_>>()
    };
    let before = versions().await;
    world.apply(&rule("r7", "outbound", "{type: Discard}")).await.unwrap();
    world.condition("routingrule", "r7", "Accepted", "True", "Accepted").await.unwrap();
    world.settled().await.unwrap();
    let changed = before.iter().zip(versions().await).filter(|(before, after)| *before != after).count();
    assert_eq!(changed, 1, "only the one that was edited");
}

#[tokio::test]
async fn conditions_that_change_are_told_as_events() {
    let world = world("events").await;
    world.apply(&rule("partner", "outbound", SMARTHOST)).await.unwrap();
    world.condition("routingrule", "partner", "Ready", "False", "SecretNotFound").await.unwrap();
    let told = postrider_tests::eventually("an event", crate::world::SOON, async || {
        let text = world.run(&["get", "events", "-o", "json"]).await.ok()?;
        let list: Value = serde_json::from_str(&text).ok()?;
        let mut items = list["items"].as_array()?.clone().into_iter();
        items.find(|event| event["reason"] == "SecretNotFound" && event["type"] == "Warning")
    });
    let event = told.await.unwrap();
    assert_eq!(event["involvedObject"]["name"], "partner");
}
