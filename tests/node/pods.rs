//! The node itself: what tests rely on that send mail between pods.
//! **Owns:** the harness's promises. **Never:** Postrider's own.

use std::{net::SocketAddr, time::Duration};

use postrider_tests::{
    Ledger,
    cluster::{ADDRESS, Node, images},
    dns::Dns,
    eventually, ports,
    sink::{Setup, Sink},
};

const WITHIN: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_pod_mails_another_through_its_service() {
    let node = Node::shared().await.unwrap();
    let namespace = node.namespace("mail").await.unwrap();
    let kubectl = node.kubectl();
    node.import_mail().await.unwrap();
    kubectl
        .apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: far, namespace: {namespace}, labels: {{app: far}}}}\nspec:\n  \
             containers:\n  - {{name: far, image: '{}', args: [receive, '0.0.0.0:25'], readinessProbe: {{tcpSocket: \
             {{port: 25}}, periodSeconds: 1}}}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: far, namespace: \
             {namespace}}}\nspec: {{selector: {{app: far}}, ports: [{{port: 25}}]}}\n",
            images::MAIL
        ))
        .await
        .unwrap();
    kubectl
        .run(&["wait", "--for=condition=Ready", "pod/far", "-n", &namespace, "--timeout=120s"])
        .await
        .unwrap();
    let other = node.namespace("app").await.unwrap();
    let to = format!("far.{namespace}:25");
    let send = ["send", to.as_str(), "a@app.example", "b@far.example"];
    // A pod that is ready isn't yet behind its Service on the node: kube-proxy and the DNS hear of it a little later.
    let said = eventually("mail through the Service", WITHIN, async || {
        node.run_to_end(&other, images::MAIL, &send).await.ok()
    });
    let said = said.await.unwrap();
    assert!(said.contains("354") && said.contains("250"), "{said}");
    let log = eventually("the message in the far side's log", WITHIN, async || {
        let log = kubectl.run(&["logs", "far", "-n", &namespace]).await.ok()?;
        log.contains("Hello.").then_some(log)
    });
    assert!(log.await.unwrap().contains("b@far.example"));
    for namespace in [namespace, other] {
        kubectl.run(&["delete", "namespace", &namespace, "--wait=false"]).await.unwrap();
    }
}

#[tokio::test]
async fn a_pod_finds_a_far_side_of_the_test_by_a_zone_of_the_test() {
    let node = Node::shared().await.unwrap();
    let namespace = node.namespace("zone").await.unwrap();
    node.import_mail().await.unwrap();
    let zone = format!("{namespace}.example");
    let port = ports::free_at(ADDRESS.into()).unwrap();
    let dns = Dns::start_at((ADDRESS, port).into()).await.unwrap();
    dns.domain(&zone, ADDRESS.into()).await.unwrap();
    let port = ports::free_at(ADDRESS.into()).unwrap();
    let sink = Sink::start(SocketAddr::new(ADDRESS.into(), port), Ledger::default(), Setup::default());
    let sink = sink.await.unwrap();
    node.forward(&zone, dns.address()).await.unwrap();
    let to = format!("mx.{zone}:{port}");
    node.run_to_end(&namespace, images::MAIL, &["load", &to, "a@app.example", "b@far.example", "20", "2"])
        .await
        .unwrap();
    assert_eq!(sink.ledger().distinct(), 20);
    node.forget(&zone).await.unwrap();
    let gone =
        node.run_to_end(&namespace, images::MAIL, &["send", &to, "a@app.example", "b@far.example"]).await;
    let told = format!("{:#}", gone.unwrap_err());
    assert!(told.contains("looking up"), "{told}");
    node.kubectl().run(&["delete", "namespace", &namespace, "--wait=false"]).await.unwrap();
    dns.stop().await;
}

#[tokio::test]
async fn a_redis_of_this_machine_runs_in_a_pod_that_may_do_little() {
    let node = Node::shared().await.unwrap();
    let namespace = node.namespace("redis").await.unwrap();
    let kubectl = node.kubectl();
    node.import_redis().await.unwrap();
    kubectl
        .run(&["label", "namespace", &namespace, "pod-security.kubernetes.io/enforce=restricted"])
        .await
        .unwrap();
    kubectl
        .apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: redis, namespace: {namespace}}}\nspec:\n  \
             automountServiceAccountToken: false\n  securityContext: {{runAsNonRoot: true, runAsUser: 65532, \
             seccompProfile: {{type: RuntimeDefault}}}}\n  containers:\n  - name: redis\n    image: '{}'\n    \
             command: [redis-server, --dir, /tmp]\n    securityContext: {{allowPrivilegeEscalation: false, \
             capabilities: {{drop: [ALL]}}}}\n",
            images::REDIS
        ))
        .await
        .unwrap();
    let is_running = |pod: &serde_json::Value| (pod["status"]["phase"] == "Running").then_some(());
    let pod = ["pod", "redis", "-n", &namespace];
    kubectl.until("the pod to run", WITHIN, &pod, is_running).await.unwrap();
    let pong = postrider_tests::eventually("Redis to answer", WITHIN, async || {
        kubectl.run(&["exec", "redis", "-n", &namespace, "--", "sh", "-c", "redis-cli PING"]).await.ok()
    });
    assert_eq!(pong.await.unwrap().trim(), "PONG");
    kubectl.run(&["delete", "namespace", &namespace, "--wait=false"]).await.unwrap();
}
