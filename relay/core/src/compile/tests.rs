//! Resources in, configuration and verdicts out.

use std::path::{Path, PathBuf};

use super::*;
use crate::{
    config::Route,
    explain::explain,
    manifests::{Loaded, load},
    route::Facts,
};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn examples() -> Loaded {
    let texts: Vec<(&str, String)> = ["relay.yaml", "rules.yaml", "secrets.yaml"]
        .into_iter()
        .map(|name| (name, std::fs::read_to_string(repository("examples").join(name)).expect(name)))
        .collect();
    load(texts.iter().map(|(name, text)| (*name, text.as_str())))
}

fn golden(name: &str, found: &str) {
    let path = repository("tests/fixtures/compile").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("can be made");
        std::fs::write(&path, found).expect("can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{name}: found\n{found}\nexpected\n{expected}");
}

fn compiled(resources: &Resources) -> Compiled {
    compile(resources, resources.select_relay(None).expect("one"))
}

/// What a key or a hash looks like is of no matter to a golden file.
fn without_secrets(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                if ["key", "chain", "password", "ann"].contains(&name.as_str()) {
                    *member = "(left out)".into();
                }
                without_secrets(member);
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_secrets),
        _ => {}
    }
}

#[test]
fn the_examples_compile_to_this() {
    let config = compiled(&examples().resources).config.expect("a configuration");
    let mut value: serde_json::Value = serde_json::from_slice(&config.to_json()).expect("JSON");
    without_secrets(&mut value);
    golden("examples.json", &format!("{value:#}\n"));
}

#[test]
fn explain_tells_the_walk() {
    let config = compiled(&examples().resources).config.expect("a configuration");
    for (name, sender, recipient) in [
        ("explain-smarthost.txt", "app@news.example.com", "ann@mx.partner.example"),
        ("explain-default.txt", "", "bob@example.org"),
        ("explain-reject.txt", "app@example.com", "bob@host.test"),
    ] {
        let sender = sender.to_owned().try_into().expect("a sender");
        let recipient = recipient.parse().expect("a recipient");
        let client = Some("10.1.2.3".parse().expect("an address"));
        let facts =
            Facts { sender: &sender, recipient: &recipient, listener: Some("smtp"), client, user: None };
        golden(name, &explain(&config, &facts).to_string());
    }
}

#[test]
fn a_rule_whose_secret_is_missing_defers_and_the_others_go_on() {
    let mut resources = examples().resources;
    resources.secrets.remove(&("mail".into(), "partner-gateway".into()));
    let compiled = compiled(&resources);
    let config = compiled.config.expect("a configuration");
    let partner = config.rules.named("partner").expect("is there");
    assert!(partner.broken.is_some() && partner.route.is_none());
    assert!(config.rules.named("newsletter").expect("is there").broken.is_none());
    let verdict = compiled.rules.iter().find(|verdict| verdict.subject.name == "partner").expect("told of");
    assert_eq!(verdict.effect, Effect::Defers);
    assert_eq!(verdict.problems[0].reason, reasons::SECRET_NOT_FOUND);
}

#[test]
fn a_listener_without_its_certificate_stays_closed_and_the_rest_goes_on() {
    let mut resources = examples().resources;
    resources.secrets.remove(&("mail".into(), "mail-tls".into()));
    let compiled = compiled(&resources);
    assert_eq!(compiled.config.expect("a configuration").listeners, []);
    assert_eq!(compiled.relay.problems.len(), 2);
    assert_eq!(compiled.relay.effect, Effect::Applies);
}

#[test]
fn one_bad_hash_locks_out_its_user_only() {
    let mut resources = examples().resources;
    let users = resources.secrets.get_mut(&("mail".into(), "users".into())).expect("is there");
    users.data.insert("bob".into(), crate::config::Secret::new(b"plain text".to_vec()));
    let compiled = compiled(&resources);
    let config = compiled.config.expect("a configuration");
    let auth = config.listener("submission").expect("is open").auth.as_ref().expect("has users");
    assert_eq!(auth.users.keys().collect::<Vec<_>>(), ["ann"]);
    assert!(auth.users["ann"].verify(b"pencil"));
    assert_eq!(compiled.relay.problems[0].reason, reasons::SECRET_INVALID);
}

#[test]
fn a_broken_default_route_defers_where_its_secret_is_missing_only() {
    let mut resources = examples().resources;
    let relay = &mut resources.relays[0];
    relay.spec.default_route.type_ = postrider_crds::RouteType::Smarthost;
    assert!(
        compiled(&resources).config.is_none(),
        "a smarthost without hosts was refused by the schema already"
    );
    let host =
        postrider_crds::SmarthostHost { host: "gw.example".into(), port: 25, protocol: Default::default() };
    let credentials_ref = postrider_crds::SecretRef { name: "not-there".into() };
    resources.relays[0].spec.default_route.smarthost = Some(postrider_crds::Smarthost {
        hosts: vec![host],
        tls: None,
        auth: Some(postrider_crds::SmarthostAuth { credentials_ref }),
    });
    let config = compiled(&resources).config.expect("a configuration");
    assert!(matches!(config.default_route, Route::Defer { .. }));
}

#[test]
fn a_rule_that_is_not_let_in_has_no_effect() {
    let mut resources = examples().resources;
    let rule = &mut resources.rules[0];
    rule.metadata.namespace = Some("stranger".into());
    rule.spec.parent_refs[0].namespace = Some("mail".into());
    let compiled = compiled(&resources);
    assert_eq!(compiled.config.expect("a configuration").rules.as_slice().len(), 2);
    assert_eq!(compiled.rules[0].effect, Effect::None);
    assert_eq!(compiled.rules[0].problems[0].reason, reasons::NOT_ALLOWED);
}

#[test]
fn a_tenants_rule_without_senders_is_kept_within_its_own() {
    let mut resources = examples().resources;
    resources.relays[0].spec.allowed_routes = vec![postrider_crds::AllowedRoutes {
        namespaces: postrider_crds::AllowedNamespaces {
            from: postrider_crds::NamespacesFrom::All,
            selector: None,
        },
        sender_domains: Some(vec!["*.apps.example.com".into()]),
        max_priority: None,
    }];
    let config = compiled(&resources).config.expect("a configuration");
    let partner = config.rules.named("partner").expect("is let in");
    assert!(partner.scope.sender_domains.is_some());
    // It names a sender of its own: let in only if that is within.
    assert!(config.rules.named("newsletter").is_none());
}

#[test]
fn no_secret_is_in_a_verdict() {
    let resources = examples().resources;
    let compiled = compiled(&resources);
    let told = format!("{:?} {:?}", compiled.relay, compiled.rules);
    assert!(!told.contains("PRIVATE KEY") && !told.contains("not-a-real-password"));
}

/// A MailRelay that lets in pods by labels, in a namespace chosen by label.
const BY_WORKLOAD: &str = "
apiVersion: postrider.dev/v1alpha1
kind: MailRelay
metadata: {name: outbound, namespace: mail}
spec:
  hostname: mail.example.com
  listeners:
  - name: smtp
    port: 25
    allowedClients: {cidrs: [10.0.0.0/8], namespaces: {matchLabels: {mail: 'yes'}}, pods: {matchLabels: {app: shop}}}
  - {name: own, port: 26, allowedClients: {pods: {matchLabels: {app: shop}}}}
";

#[test]
fn clients_named_by_labels_are_the_addresses_of_their_pods() {
    let mut resources = load([("relay.yaml", BY_WORKLOAD)]).resources;
    let labels = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    resources.namespaces.insert("shop".into(), labels("mail", "yes"));
    resources.namespaces.insert("other".into(), labels("mail", "no"));
    let pod = |namespace: &str, app: &str, address: &str| crate::manifests::Pod {
        namespace: namespace.into(),
        labels: labels("app", app),
        addresses: vec![address.parse().expect("an address")],
    };
    resources.pods = vec![
        pod("shop", "shop", "192.0.2.2"),
        pod("shop", "shop", "192.0.2.1"),
        pod("shop", "web", "192.0.2.3"),
        pod("other", "shop", "192.0.2.4"),
        pod("mail", "shop", "192.0.2.5"),
    ];
    let allowed = |resources: &Resources, listener: &str| {
        let config = compiled(resources).config.expect("a configuration");
        let nets = &config.listener(listener).expect("it").allowed_clients;
        nets.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(allowed(&resources, "smtp"), ["10.0.0.0/8", "192.0.2.1/32", "192.0.2.2/32"]);
    assert_eq!(allowed(&resources, "own"), ["192.0.2.5/32"], "its own namespace, where none is named");
    let of_pods = compiled(&resources).config.expect("a configuration");
    assert!(of_pods.listener("own").expect("it").allows_pods, "one that is new is told to come again");
    let before = of_pods.hash();
    resources.pods.reverse();
    assert_eq!(compiled(&resources).config.expect("a configuration").hash(), before);
}

#[test]
fn how_a_fleet_runs_is_checked_without_an_api_server() {
    let wrong = BY_WORKLOAD.to_owned()
        + "  replicas: 2
  autoscaling: {minReplicas: 5, maxReplicas: 3}
  service: {externalTrafficPolicy: Local, loadBalancerClass: x}
  queue: {managed: {storage: 1Mi}}
";
    let verdict = compiled(&load([("relay.yaml", wrong.as_str())]).resources).relay;
    let fields: Vec<&str> = verdict.problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.replicas",
            "spec.autoscaling.minReplicas",
            "spec.service.externalTrafficPolicy",
            "spec.service.loadBalancerClass",
            "spec.queue.managed.storage",
        ]
    );
}
