//! A real Prometheus that scrapes pods of the node as the monitors of the cluster say.
//! **Owns:** from monitors to its configuration, asking it. **Never:** a monitor of its own.

use std::{fmt::Write, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{cluster::Kubectl, eventually, http, ports, process::Process};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running Prometheus.
pub struct Prometheus {
    address: SocketAddr,
    process: Process,
    _folder: tempfile::TempDir,
}

/// A series of an answer.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its labels.
    pub labels: serde_json::Map<String, Value>,
    /// Seconds since 1970, and the value; one of an instant.
    pub points: Vec<(f64, f64)>,
}

impl Prometheus {
    /// Starts one that scrapes every second by these jobs ([`job`]) and goes by these rules (`groups`).
    ///
    /// # Errors
    /// It isn't there, or finds a mistake in its configuration.
    pub async fn start(jobs: &[Value], groups: &[Value]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let rules = folder.path().join("rules.yaml");
        std::fs::write(&rules, json!({ "groups": groups }).to_string())?;
        let config = folder.path().join("prometheus.yaml");
        let global = json!({ "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "2s" });
        let all = json!({ "global": global, "rule_files": [rules], "scrape_configs": jobs });
        std::fs::write(&config, all.to_string())?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        let process = Process::start(command, &folder.path().join("log"))?;
        let prometheus = Self { address, process, _folder: folder };
        let ready = eventually("Prometheus to be ready", READY_WITHIN, async || {
            let (status, _) = http::get(address, "/-/ready").await.ok()?;
            (status == 200).then_some(())
        });
        ready.await.with_context(|| prometheus.process.output())?;
        Ok(prometheus)
    }

    /// What a query gives now.
    ///
    /// # Errors
    /// It can't be read.
    pub async fn query(&self, query: &str) -> Result<Vec<Series>> {
        self.series(&format!("/api/v1/query?query={}", encoded(query)))
            .await
            .with_context(|| query.to_owned())
    }

    /// What a query gave between two times, in seconds since 1970.
    ///
    /// # Errors
    /// It can't be read.
    pub async fn range(&self, query: &str, from: f64, to: f64, step: f64) -> Result<Vec<Series>> {
        let path = format!("/api/v1/query_range?query={}&start={from}&end={to}&step={step}", encoded(query));
        self.series(&path).await.with_context(|| query.to_owned())
    }

    /// What stands below `data` in the answer of another part of its API.
    ///
    /// # Errors
    /// It says so.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let (_, text) = http::get(self.address, path).await?;
        let mut answer: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        ensure!(answer["status"] == "success", "{text}");
        Ok(answer["data"].take())
    }

    async fn series(&self, path: &str) -> Result<Vec<Series>> {
        let data = self.get(path).await?;
        let result = data["result"].as_array().context("the answer has a result")?;
        // A scalar is a pair, not a series.
        ensure!(data["resultType"] != "scalar", "found a scalar; expected series");
        Ok(result.iter().filter_map(read).collect())
    }
}

fn read(series: &Value) -> Option<Series> {
    let points = match series.get("values") {
        Some(values) => values.as_array()?.clone(),
        None => vec![series["value"].clone()],
    };
    let point = |pair: &Value| Some((pair[0].as_f64()?, pair[1].as_str()?.parse().ok()?));
    Some(Series {
        labels: series["metric"].as_object()?.clone(),
        points: points.iter().filter_map(point).collect(),
    })
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() {
            all.push(char::from(byte));
        } else {
            // Writing to a string doesn't fail.
            let _ = write!(all, "%{byte:02X}");
        }
        all
    })
}

/// The job that the Prometheus operator makes of a PodMonitor or ServiceMonitor with one endpoint.
///
/// The cluster is asked once, here: the pods are those that run now. (A Prometheus may be built without Kubernetes in it.)
///
/// # Errors
/// It has something that this doesn't know.
pub async fn job(monitor: &Value, kubectl: &Kubectl) -> Result<Value> {
    let (metadata, spec) = (&monitor["metadata"], &monitor["spec"]);
    let namespace = metadata["namespace"].as_str().context("a namespace")?;
    let of_pods = monitor["kind"] == "PodMonitor";
    let (object, port) = if of_pods {
        ("pod", "__meta_kubernetes_pod_container_port_name")
    } else {
        ("service", "__meta_kubernetes_endpoint_port_name")
    };
    let endpoint = &spec[if of_pods { "podMetricsEndpoints" } else { "endpoints" }][0];
    let keep =
        |label: &str, value: &Value| json!({ "action": "keep", "source_labels": [label], "regex": value });
    let set =
        |label: &str, of: &str| json!({ "action": "replace", "source_labels": [of], "target_label": label });
    let mut relabel = vec![keep(port, &endpoint["port"])];
    for (label, value) in spec["selector"]["matchLabels"].as_object().context("matchLabels")? {
        relabel.push(keep(&format!("__meta_kubernetes_{object}_label_{}", meta(label)), value));
    }
    relabel.push(set("namespace", "__meta_kubernetes_namespace"));
    relabel.push(set("pod", "__meta_kubernetes_pod_name"));
    if let Some(label) = spec["jobLabel"].as_str() {
        relabel.push(set("job", &format!("__meta_kubernetes_{object}_label_{}", meta(label))));
    }
    for relabeling in endpoint["relabelings"].as_array().into_iter().flatten() {
        relabel.push(json!({
            "action": relabeling["action"],
            "source_labels": relabeling["sourceLabels"],
            "target_label": relabeling["targetLabel"],
        }));
    }
    Ok(json!({
        "job_name": format!("{namespace}/{}", metadata["name"]),
        "honor_labels": endpoint["honorLabels"].as_bool().unwrap_or(false),
        "metrics_path": endpoint["path"].as_str().unwrap_or("/metrics"),
        "relabel_configs": relabel,
        "static_configs": if of_pods { pods(kubectl, namespace).await? } else { endpoints(kubectl, namespace).await? },
    }))
}

/// What Prometheus finds by the role `pod`: a target for each port.
async fn pods(kubectl: &Kubectl, namespace: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for pod in items(kubectl, "pods", namespace).await? {
        let ports = pod["spec"]["containers"].as_array().into_iter().flatten();
        for port in ports.flat_map(|container| container["ports"].as_array().cloned().unwrap_or_default()) {
            let mut labels = labels_of(&pod, "pod");
            labels.insert("__meta_kubernetes_pod_container_port_name".to_owned(), port["name"].clone());
            all.push(target(&pod, &port["containerPort"], &labels));
        }
    }
    Ok(all)
}

/// What it finds by the role `endpoints`, of Services with selectors and ports by name.
async fn endpoints(kubectl: &Kubectl, namespace: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    let pods = items(kubectl, "pods", namespace).await?;
    for service in items(kubectl, "services", namespace).await? {
        let Some(selector) = service["spec"]["selector"].as_object() else { continue };
        let is_selected =
            |pod: &&Value| selector.iter().all(|(label, value)| pod["metadata"]["labels"][label] == *value);
        for pod in pods.iter().filter(is_selected) {
            for port in service["spec"]["ports"].as_array().into_iter().flatten() {
                let of_pod = pod["spec"]["containers"][0]["ports"].as_array();
                let named = of_pod.into_iter().flatten().find(|one| one["name"] == port["targetPort"]);
                let mut labels = labels_of(&service, "service");
                labels.insert("__meta_kubernetes_endpoint_port_name".to_owned(), port["name"].clone());
                labels.insert("__meta_kubernetes_pod_name".to_owned(), pod["metadata"]["name"].clone());
                let number = named.map_or(&port["targetPort"], |one| &one["containerPort"]);
                all.push(target(pod, number, &labels));
            }
        }
    }
    Ok(all)
}

async fn items(kubectl: &Kubectl, what: &str, namespace: &str) -> Result<Vec<Value>> {
    let list = kubectl.json(&["get", what, "--namespace", namespace]).await?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn labels_of(object: &Value, role: &str) -> serde_json::Map<String, Value> {
    let metadata = &object["metadata"];
    let mut all = serde_json::Map::new();
    all.insert("__meta_kubernetes_namespace".to_owned(), metadata["namespace"].clone());
    all.insert(format!("__meta_kubernetes_{role}_name"), metadata["name"].clone());
    for (label, value) in metadata["labels"].as_object().into_iter().flatten() {
        all.insert(format!("__meta_kubernetes_{role}_label_{}", meta(label)), value.clone());
    }
    all
}

fn target(pod: &Value, port: &Value, labels: &serde_json::Map<String, Value>) -> Value {
    let address = format!("{}:{port}", pod["status"]["podIP"].as_str().unwrap_or_default());
    json!({ "targets": [address], "labels": labels })
}

/// A label's name in what Prometheus finds.
fn meta(label: &str) -> String {
    label.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_")
}
