//! Postrider as a cluster's administrator gets it, with a fleet, a far side and a zone of the test.
//! **Owns:** installing it, waiting, the volumes, who may be asked. **Never:** what is looked at.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use postrider_tests::{
    Ledger,
    cluster::{ADDRESS, Kubectl, Node, images},
    dns::Dns,
    eventually, helm, http, manifests, ports,
    sink::{Setup, Sink},
};
use serde_json::Value;

/// How long anything may take here.
pub(crate) const WITHIN: Duration = Duration::from_secs(180);
/// The namespace of the operator.
pub(crate) const SYSTEM: &str = "postrider-system";

/// Whether the long forms run.
pub(crate) fn is_long() -> bool {
    std::env::var_os("POSTRIDER_LONG").is_some()
}

/// A fleet in a namespace of its own, and one far side for all mail to its zone.
pub(crate) struct World {
    pub(crate) node: &'static Node,
    pub(crate) kubectl: Kubectl,
    pub(crate) namespace: String,
    /// The far side's domain.
    pub(crate) zone: String,
    pub(crate) dns: Dns,
    pub(crate) sink: Sink,
    _volumes: tempfile::TempDir,
}

impl World {
    /// Installs the chart unless it is there, and brings up the fleet `outbound`: a spec without hostname and destinations,
    /// which are the world's.
    pub(crate) async fn start(prefix: &str, shards: u32, spec: &str) -> Self {
        Self::start_with(prefix, shards, spec, "").await
    }

    /// The same, with other objects in the fleet's namespace before it.
    pub(crate) async fn start_with(prefix: &str, shards: u32, spec: &str, more: &str) -> Self {
        let node = Node::shared().await.unwrap();
        let kubectl = node.kubectl();
        node.import_product().await.unwrap();
        node.import_redis().await.unwrap();
        node.import_mail().await.unwrap();
        install(&node.kubeconfig(), "");
        let namespace = node.namespace(prefix).await.unwrap();
        let restricted = "pod-security.kubernetes.io/enforce=restricted";
        kubectl.run(&["label", "namespace", &namespace, restricted]).await.unwrap();
        let zone = format!("{namespace}.example");
        let dns = Dns::start_at((ADDRESS, ports::free_at(ADDRESS.into()).unwrap()).into()).await.unwrap();
        dns.domain(&zone, ADDRESS.into()).await.unwrap();
        node.forward(&zone, dns.address()).await.unwrap();
        let sink = Sink::start((ADDRESS, 25).into(), Ledger::default(), Setup::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        kubectl.apply(&volumes(&namespace, folder.path(), shards)).await.unwrap();
        let world = Self { node, kubectl, namespace, zone, dns, sink, _volumes: folder };
        let relay = world.relay(shards, spec);
        world.apply(&format!("{more}---\n{relay}")).await;
        world.ready("mailrelay/outbound").await;
        world
    }

    /// The fleet `outbound`, of a spec without hostname, destinations and queue, which are the world's.
    pub(crate) fn relay(&self, shards: u32, spec: &str) -> String {
        format!(
            "apiVersion: postrider.dev/v1alpha1\nkind: MailRelay\nmetadata: {{name: outbound}}\nspec:\n  hostname: mail.{}\n  \
             allowedDestinations: {{cidrs: [10.99.0.0/16]}}\n  queue: {{managed: {{shards: {shards}, memory: 64Mi}}}}\n{spec}",
            self.zone
        )
    }

    /// The rule `name` that holds mail to `no.` and the zone: one without effect on other mail.
    pub(crate) fn hold(&self, name: &str) -> String {
        manifests::rule(
            name,
            &format!("matches: [{{recipientDomains: [no.{}]}}]\nroute: {{type: Hold}}", self.zone),
        )
    }

    /// Deletes the fleet, which waits for its queue, and all that was made for it.
    pub(crate) async fn end(self) {
        self.run(&["delete", "mailrelay", "outbound", "--timeout=120s"]).await;
        self.kubectl.run(&["delete", "namespace", &self.namespace, "--wait=false"]).await.unwrap();
        self.node.forget(&self.zone).await.unwrap();
        self.dns.stop().await;
    }

    /// Applies manifests; the namespace of [`manifests`] is the world's own.
    pub(crate) async fn apply(&self, text: &str) {
        let text = manifests::in_namespace(text, &self.namespace);
        let arguments = ["apply", "--namespace", &self.namespace, "-f", "-"];
        self.kubectl.run_with(&arguments, &text).await.unwrap();
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> String {
        self.kubectl.run(&[arguments, &["--namespace", &self.namespace]].concat()).await.unwrap()
    }

    /// As a person waits for it; if that fails, with all that a person would look at next.
    pub(crate) async fn ready(&self, object: &str) {
        let wait =
            ["wait", "--for=condition=Ready", object, "--timeout=120s", "--namespace", &self.namespace];
        if let Err(error) = self.kubectl.run(&wait).await {
            panic!("{error:#}\n{}", self.told().await);
        }
    }

    /// What there is to see.
    pub(crate) async fn told(&self) -> String {
        let objects = self.run(&["get", "mailrelay,routingrule,pods,events", "-o", "wide"]).await;
        let whole = self.run(&["get", "mailrelay", "-o", "yaml"]).await;
        let log = ["logs", "-n", SYSTEM, "deploy/postrider-operator", "--tail=40"];
        let log = self.kubectl.run(&log).await.unwrap_or_default();
        let relay = ["logs", "deploy/outbound", "--tail=20", "-n", &self.namespace];
        let relay = self.kubectl.run(&relay).await.unwrap_or_default();
        format!("{objects}\n{whole}\n{log}\n{relay}")
    }

    /// The relays' pods.
    pub(crate) async fn relays(&self) -> Vec<Pod> {
        self.pods(&self.namespace, "app.kubernetes.io/name=postrider-relay").await
    }

    /// The pods with a label.
    pub(crate) async fn pods(&self, namespace: &str, label: &str) -> Vec<Pod> {
        let list = self.kubectl.json(&["get", "pods", "-l", label, "-n", namespace]).await.unwrap();
        list["items"].as_array().unwrap().iter().filter_map(Pod::read).collect()
    }

    /// Where a Service takes mail, as a process of the node reaches it.
    pub(crate) async fn service(&self, port: u16) -> SocketAddr {
        let service = ["get", "service", "outbound", "-n", &self.namespace];
        let service = self.kubectl.json(&service).await.unwrap();
        SocketAddr::new(service["spec"]["clusterIP"].as_str().unwrap().parse().unwrap(), port)
    }

    /// Waits until the far side has had this many different messages.
    pub(crate) async fn arrivals(&self, count: usize) {
        let what = format!("{count} messages at the far side");
        let arrived =
            eventually(&what, WITHIN, async || (self.sink.ledger().distinct() >= count).then_some(()));
        if let Err(error) = arrived.await {
            panic!("{error:#}: {}\n{}", self.sink.ledger().distinct(), self.told().await);
        }
    }
}

/// A pod that has an address.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) container: String,
    pub(crate) admin: SocketAddr,
    pub(crate) restarts: u64,
}

impl Pod {
    fn read(pod: &Value) -> Option<Self> {
        let status = &pod["status"];
        let container = &status["containerStatuses"][0];
        Some(Self {
            name: pod["metadata"]["name"].as_str()?.to_owned(),
            container: container["containerID"].as_str()?.to_owned(),
            admin: SocketAddr::new(status["podIP"].as_str()?.parse().ok()?, 9090),
            restarts: container["restartCount"].as_u64()?,
        })
    }

    /// The hash of the configuration that it has.
    pub(crate) async fn hash(&self) -> Option<String> {
        let (_, page) = http::get(self.admin, "/v1/config").await.ok()?;
        let page: Value = serde_json::from_str(&page).ok()?;
        Some(page["hash"].as_str()?.to_owned())
    }
}

/// Waits until each pod has another configuration than before; how long that took.
pub(crate) async fn live(pods: &[Pod], before: &[Option<String>], since: Instant) -> Duration {
    let changed = eventually("the edit to be live", WITHIN, async || {
        for (pod, before) in pods.iter().zip(before) {
            if pod.hash().await.is_none_or(|now| Some(&now) == before.as_ref()) {
                return None;
            }
        }
        Some(since.elapsed())
    });
    changed.await.unwrap()
}

/// The hashes of all pods.
pub(crate) async fn hashes(pods: &[Pod]) -> Vec<Option<String>> {
    let mut all = Vec::new();
    for pod in pods {
        all.push(pod.hash().await);
    }
    all
}

/// Installs or upgrades the chart, with these values on top.
pub(crate) fn install(kubeconfig: &Path, more: &str) {
    let values = format!(
        "image: {{pullPolicy: Never}}\nrelay: {{image: {{pullPolicy: Never}}}}\nqueue: {{image: {{registry: '', repository: {}, tag: \
         '1'}}}}\n{more}",
        images::REDIS.trim_end_matches(":1")
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    std::fs::write(&file, values).unwrap();
    let chart = helm::chart();
    let arguments = ["--create-namespace", "--wait", "--timeout", "3m"];
    helm(
        kubeconfig,
        &[&["upgrade", "--install", "postrider", chart.to_str().unwrap()], &arguments[..]].concat(),
        Some(&file),
    );
}

/// Runs Helm 4 in the operator's namespace; what it said.
pub(crate) fn helm(kubeconfig: &Path, arguments: &[&str], values: Option<&Path>) -> String {
    let [_, helm] = helm::both().unwrap();
    let mut command = helm.command();
    command.args(arguments).args(["--namespace", SYSTEM]).env("KUBECONFIG", kubeconfig);
    if let Some(values) = values {
        command.arg("--values").arg(values);
    }
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    told
}

/// Volumes, as the node has nobody who makes any.
fn volumes(namespace: &str, folder: &Path, count: u32) -> String {
    let open = || std::os::unix::fs::PermissionsExt::from_mode(0o777);
    // The pods are nobody, and the folder is the test's own.
    std::fs::set_permissions(folder, open()).unwrap();
    let one = |number: u32| {
        let path = folder.join(number.to_string());
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, open()).unwrap();
        format!(
            "---\napiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {namespace}-{number}}}\nspec: {{capacity: {{storage: \
             10Gi}}, accessModes: [ReadWriteOnce], claimRef: {{namespace: {namespace}, name: \
             data-outbound-queue-{number}}}, hostPath: {{path: {}}}}}\n",
            path.display()
        )
    };
    (0..count).map(one).collect()
}
