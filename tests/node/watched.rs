//! A real Prometheus watches a real run, and the chart's dashboards and alerts ask it.
//! **Owns:** that every query has data, and the pictures of dashboards (`POSTRIDER_PICTURES`: a folder). **Never:** what a metric
//! means in detail (beside the code), which alert fires when (`chart`).

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use postrider_tests::{
    Ledger, certs,
    client::Client,
    cluster::ADDRESS,
    dashboards::{self, Variables},
    dns::Fault,
    draw, eventually, helm, manifests, ports,
    prometheus::{self, Prometheus, Series},
    schemas,
    sink::{At, Rule, Setup, Sink},
    source::{Load, Source},
};
use serde_json::Value;

use crate::world::{SYSTEM, WITHIN, World, install};

const SPEC: &str = "  replicas: 2
  listeners:
  - {name: smtp, port: 25, allowedClients: {cidrs: [10.0.0.0/8]}, tls: {certificateRef: {name: mail-tls}}}
  - {name: submission, port: 587, tls: {mode: Required, certificateRef: {name: mail-tls}}, auth: {usersRef: {name: users}}}
  drain: {delay: 1s, timeout: 10s}
  egressPools: [{name: main, sources: [{name: pod}]}]
  defaults: {retry: {initial: 5s, max: 10s}, egress: {pool: main}}
";
/// Mail of one kind.
struct Kind {
    sender: &'static str,
    /// In front of the zone.
    domain: &'static str,
    per_second: u32,
}

/// All kinds, and what becomes of each.
const KINDS: &[Kind] = &[
    // Delivered.
    Kind { sender: "shop", domain: "", per_second: 40 },
    // Delivered through a gateway, by a rule.
    Kind { sender: "shop", domain: "partner.", per_second: 8 },
    // Of class Bulk, by a rule.
    Kind { sender: "news", domain: "", per_second: 10 },
    // Deferred, again and again.
    Kind { sender: "shop", domain: "busy.", per_second: 3 },
    // Bounced.
    Kind { sender: "shop", domain: "gone.", per_second: 2 },
    // Held, by a rule.
    Kind { sender: "shop", domain: "held.", per_second: 1 },
    // Refused, by a rule.
    Kind { sender: "shop", domain: "refused.", per_second: 1 },
    // Deferred, as its nameserver fails.
    Kind { sender: "shop", domain: "lame.", per_second: 1 },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_of_dashboards_and_alerts_has_data_of_a_real_run() {
    let pictures = std::env::var_os("POSTRIDER_PICTURES");
    let seconds: u32 = if pictures.is_some() { 300 } else { 45 };
    let world = watched_world().await;
    let relays = monitor(&world, "podmonitor", "outbound", &world.namespace).await;
    let operator = monitor(&world, "servicemonitor", "postrider-operator", SYSTEM).await;
    let relays = prometheus::job(&relays, &world.kubectl).await.unwrap();
    let jobs = [relays, prometheus::job(&operator, &world.kubectl).await.unwrap()];
    let rules = world.kubectl.json(&["get", "prometheusrules", "-n", SYSTEM]).await.unwrap();
    let rules = rules["items"].as_array().unwrap().iter();
    let groups: Vec<Value> =
        rules.flat_map(|rule| rule["spec"]["groups"].as_array().unwrap().clone()).collect();
    let prometheus = Prometheus::start(&jobs, &groups).await.unwrap();
    let found = eventually("all pods to be scraped", WITHIN, async || {
        let up = prometheus.query("up == 1").await.ok()?;
        (up.len() == 4).then_some(())
    });
    found.await.unwrap();

    let started = now();
    let (gateway, sources) = mail(&world, seconds).await;
    befall(&world, seconds).await;
    // Looked at while mail flows, as rates are of the last half minute.
    let variables = Variables {
        namespace: &world.namespace,
        relay: "outbound",
        rate: "30s",
        range: &format!("{seconds}s"),
    };
    let all = dashboards::all(&helm::chart()).unwrap();
    let mut empty = Vec::new();
    for dashboard in &all {
        for panel in &dashboard.panels {
            for (query, _) in &panel.targets {
                let found = prometheus.query(&variables.fill(query)).await.unwrap();
                if !has_data(&found) {
                    empty.push(format!("{}: {}: {query}", dashboard.title, panel.title));
                }
            }
        }
    }
    for rule in groups.iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let query = always(rule["expr"].as_str().unwrap());
        if !has_data(&prometheus.query(&query).await.unwrap()) {
            empty.push(format!("{}: {query}", rule["alert"]));
        }
    }
    assert!(empty.is_empty(), "no data:\n{}", empty.join("\n"));
    rules_are_well(&prometheus, groups.len()).await;
    if let Some(folder) = pictures {
        for dashboard in &all {
            draw(&prometheus, dashboard, &variables, started, Path::new(&folder)).await;
        }
    }
    drop((sources, gateway));
    // Its busy and held mail would wait for a long time.
    world.run(&["annotate", "mailrelay", "outbound", "postrider.dev/abandon-queue=true"]).await;
    world.run(&["delete", "mroute", "--all"]).await;
    world.end().await;
}

/// A fleet with a certificate and users, on a cluster that knows monitors.
async fn watched_world() -> World {
    let kubectl = postrider_tests::cluster::Node::shared().await.unwrap().kubectl();
    for crd in schemas::monitoring_crds().unwrap() {
        kubectl.run(&["apply", "--server-side", "-f", crd.to_str().unwrap()]).await.unwrap();
    }
    let world = World::start_with("watched", 2, SPEC, &secrets()).await;
    install(
        &world.node.kubeconfig(),
        "metrics: {serviceMonitor: {enabled: true}}\nalerts: {enabled: true}\n",
    );
    world
}

fn secrets() -> String {
    let certificate = certs::self_signed("mail.example").unwrap();
    let tls = manifests::tls_secret("mail-tls", &certificate);
    [tls, manifests::secret("users", &[("shop", manifests::HASH_OF_PENCIL)])].join("---\n")
}

async fn monitor(world: &World, kind: &str, name: &str, namespace: &str) -> Value {
    let monitor = eventually("the monitor", WITHIN, async || {
        world.kubectl.json(&["get", kind, name, "--namespace", namespace]).await.ok()
    });
    monitor.await.unwrap()
}

/// Rules, far sides that misbehave, and mail of all kinds. The sink is the partner's gateway.
async fn mail(world: &World, seconds: u32) -> (Sink, Vec<Source>) {
    let zone = &world.zone;
    let port = ports::free_at(ADDRESS.into()).unwrap();
    let tls = Some(certs::self_signed(&format!("gw.{zone}")).unwrap().server);
    let gateway = Setup { tls, ..Setup::default() };
    let gateway = Sink::start((ADDRESS, port).into(), Ledger::default(), gateway).await.unwrap();
    for kind in KINDS.iter().filter(|kind| !kind.domain.is_empty()) {
        world.dns.domain(&format!("{}{zone}", kind.domain), ADDRESS.into()).await.unwrap();
    }
    world.dns.a(&format!("gw.{zone}"), ADDRESS).await.unwrap();
    world.dns.fail(&format!("lame.{zone}"), None, Fault::ServFail);
    world.sink.behave([
        Rule::reply(At::Rcpt, "451 4.7.1 come again").domain(&format!("busy.{zone}")),
        Rule::reply(At::Rcpt, "550 5.1.1 nobody of that name").domain(&format!("gone.{zone}")),
    ]);
    let rule = |name: &str, matches: &str, then: &str| {
        manifests::rule(name, &format!("matches: [{{{matches}}}]\n{then}"))
    };
    let to = |domain: &str| format!("recipientDomains: [{domain}.{zone}]");
    let partner =
        format!("route: {{type: Smarthost, smarthost: {{hosts: [{{host: gw.{zone}, port: {port}}}]}}}}");
    let rules = [
        rule("partner", &to("partner"), &partner),
        rule("newsletter", &format!("senders: [news@{zone}]"), "policy: {class: Bulk}"),
        rule("held", &to("held"), "route: {type: Hold}"),
        rule("refused", &to("refused"), "route: {type: Reject, reject: {text: not from here}}"),
    ];
    world.apply(&rules.join("---\n")).await;
    for name in ["partner", "newsletter", "held", "refused"] {
        world.ready(&format!("routingrule/{name}")).await;
    }
    let service = world.service(25).await;
    let source = |kind: &Kind| {
        let recipient = format!("ann@{}{zone}", kind.domain);
        let mut load = Load::new(service, 4, (kind.per_second * seconds * 2) as usize, &recipient);
        load.sender = format!("{}@{zone}", kind.sender);
        load.per_second = Some(kind.per_second);
        load.deadline = WITHIN * 4;
        Source::start(load)
    };
    (gateway, KINDS.iter().map(source).collect())
}

/// What happens in the course of the run.
async fn befall(world: &World, seconds: u32) {
    let third = Duration::from_secs(u64::from(seconds) / 3);
    authenticate(world.service(587).await).await;
    tokio::time::sleep(third).await;
    let pods = world.relays().await;
    world.node.kill_container(&pods[0].container).await.unwrap();
    tokio::time::sleep(third).await;
    world.run(&["annotate", "mroute", "held", "test/edited=once"]).await;
    world.run(&["patch", "mroute", "held", "--type=merge", "-p", r#"{"spec":{"priority":7}}"#]).await;
    authenticate(world.service(587).await).await;
    tokio::time::sleep(third).await;
}

/// One user with the right password, one with a wrong one.
async fn authenticate(submission: SocketAddr) {
    for (password, code) in [("pencil", 235), ("eraser", 535)] {
        let mut client = Client::greeted(submission).await.unwrap().start_tls().await.unwrap();
        client.say("EHLO app.example", 250).await.unwrap();
        let plain =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("\0shop\0{password}"));
        client.say(&format!("AUTH PLAIN {plain}"), code).await.unwrap();
    }
}

/// The alert's query, made so that it gives data whether or not it fires.
fn always(query: &str) -> String {
    let query = match query.trim().strip_prefix("absent(") {
        Some(rest) => rest.trim_end_matches(')').to_owned(),
        None => query.to_owned(),
    };
    let words = query.split_whitespace().map(|word| match word {
        ">" | "<" | "!=" | "==" | ">=" | "<=" => format!("{word} bool"),
        // What is left if there is none of the other: here it has to be there.
        "unless" => "and".to_owned(),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn has_data(series: &[Series]) -> bool {
    series.iter().flat_map(|series| &series.points).any(|(_, value)| !value.is_nan())
}

/// Prometheus itself evaluates every rule without an error.
async fn rules_are_well(prometheus: &Prometheus, groups: usize) {
    let told = prometheus.get("/api/v1/rules").await.unwrap();
    let told = told["groups"].as_array().unwrap();
    assert_eq!(told.len(), groups);
    for rule in told.iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Draws a dashboard from what Prometheus has of the run.
async fn draw(
    prometheus: &Prometheus,
    dashboard: &dashboards::Dashboard,
    variables: &Variables<'_>,
    started: f64,
    folder: &Path,
) {
    let mut data = Vec::new();
    for panel in &dashboard.panels {
        let mut of_panel = Vec::new();
        for (query, _) in &panel.targets {
            let query = variables.fill(query);
            of_panel.push(if panel.kind == "timeseries" {
                prometheus.range(&query, started, now(), 2.0).await.unwrap()
            } else {
                prometheus.query(&query).await.unwrap()
            });
        }
        data.push(of_panel);
    }
    let picture = draw::dashboard(dashboard, &data).unwrap();
    std::fs::write(folder.join(format!("{}.svg", dashboard.name)), picture).unwrap();
}
