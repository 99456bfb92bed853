//! What Kubernetes, and kinds that others define, say of an object's fields: the OpenAPI of each minor, the schemas of CRDs.
//! **Owns:** fetching them once, strict checks (an unknown field is a mistake). **Never:** CEL, defaults, what admission adds.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::cache;

/// The minors that the chart is for, and the newest patch of each; the file is in the module of the API server's sources.
pub const KUBERNETES: &[&str] = &["1.33.13", "1.34.4", "1.35.4", "1.36.3"];
const KUBERNETES_MODULE: &str = "k8s.io/kubernetes";
const KUBERNETES_FILE: &str = "api/openapi-spec/swagger.json";

/// The kinds of the Prometheus operator.
const MONITORING: &str = "github.com/prometheus-operator/prometheus-operator@v0.85.0";
const MONITORING_FILES: &[&str] = &["servicemonitors", "podmonitors", "prometheusrules"];

const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// The kinds of one version of Kubernetes, and of CRDs.
pub struct Schemas {
    definitions: Value,
    kinds: HashMap<(String, String), Value>,
}

impl Schemas {
    /// Of a version of Kubernetes.
    ///
    /// # Errors
    /// They are in no cache, and Go can't fetch them.
    pub fn of_kubernetes(version: &str) -> Result<Self> {
        let name = format!("kubernetes-{version}.json");
        let path = fetched(&name, &format!("{KUBERNETES_MODULE}@v{version}"), KUBERNETES_FILE)?;
        let mut all: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        let definitions = all["definitions"].take();
        let mut kinds = HashMap::new();
        for (name, schema) in definitions.as_object().context("definitions")? {
            let of = schema["x-kubernetes-group-version-kind"].as_array();
            for kind in of.into_iter().flatten() {
                let key = (
                    api_version(text(&kind["group"]), text(&kind["version"])),
                    text(&kind["kind"]).to_owned(),
                );
                kinds.insert(key, json!({"$ref": format!("#/definitions/{name}")}));
            }
        }
        ensure!(kinds.len() > 100, "Kubernetes {version}: found {} kinds", kinds.len());
        Ok(Self { definitions, kinds })
    }

    /// Adds the kinds of the Prometheus operator.
    ///
    /// # Errors
    /// They are in no cache, and Go can't fetch them.
    pub fn with_monitoring(mut self) -> Result<Self> {
        for path in monitoring_crds()? {
            self.add_crd(&std::fs::read_to_string(path)?)?;
        }
        Ok(self)
    }

    /// Adds the kind that a CustomResourceDefinition defines.
    ///
    /// # Errors
    /// It is none.
    pub fn add_crd(&mut self, yaml: &str) -> Result<()> {
        let crd: Value = serde_yaml_ng::from_str(yaml)?;
        let spec = &crd["spec"];
        for version in spec["versions"].as_array().context("spec.versions")? {
            let mut schema = version["schema"]["openAPIV3Schema"].clone();
            // The API server knows these of every kind.
            schema["properties"]["metadata"] = json!({"$ref": format!("#/definitions/{METADATA}")});
            schema["properties"]["apiVersion"] = json!({"type": "string"});
            schema["properties"]["kind"] = json!({"type": "string"});
            let key = (
                api_version(text(&spec["group"]), text(&version["name"])),
                text(&spec["names"]["kind"]).to_owned(),
            );
            self.kinds.insert(key, schema);
        }
        Ok(())
    }

    /// What is wrong with an object, each with its place; nothing if it is right.
    pub fn check(&self, object: &Value) -> Vec<String> {
        let key = (text(&object["apiVersion"]).to_owned(), text(&object["kind"]).to_owned());
        let Some(schema) = self.kinds.get(&key) else {
            return vec![format!("found kind {}, {}; expected one that is defined", key.1, key.0)];
        };
        let mut walk = Walk { definitions: &self.definitions, wrong: Vec::new() };
        walk.value(schema, object, &mut format!("{} {}", key.1, text(&object["metadata"]["name"])));
        walk.wrong
    }
}

/// What a document of another kind has wrong by a schema of its own.
pub fn wrong(schema: &Value, document: &Value) -> Vec<String> {
    let mut walk = Walk { definitions: &Value::Null, wrong: Vec::new() };
    walk.value(schema, document, &mut "it".to_owned());
    walk.wrong
}

/// The CRDs of the Prometheus operator, as files.
///
/// # Errors
/// They are in no cache, and Go can't fetch them.
pub fn monitoring_crds() -> Result<Vec<PathBuf>> {
    let version = MONITORING.rsplit_once('@').map_or("", |(_, version)| version);
    let file = |kind: &&str| {
        let path = format!("example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml");
        fetched(&format!("monitoring-{version}-{kind}.yaml"), MONITORING, &path)
    };
    MONITORING_FILES.iter().map(file).collect()
}

struct Walk<'s> {
    definitions: &'s Value,
    wrong: Vec<String>,
}

impl<'s> Walk<'s> {
    fn value(&mut self, schema: &'s Value, value: &Value, path: &mut String) {
        let reference = schema["$ref"].as_str().map(|name| name.trim_start_matches("#/definitions/"));
        let schema = reference.map_or(schema, |name| &self.definitions[name]);
        let may_be_number = reference == Some(QUANTITY)
            || schema["format"] == "int-or-string"
            || schema["x-kubernetes-int-or-string"] == true;
        // An absent field and null are the same to the API server.
        if value.is_null() || may_be_number && (value.is_number() || value.is_string()) {
            return;
        }
        match schema["type"].as_str() {
            Some("object") => self.object(schema, value, path),
            Some("array") => self.array(schema, value, path),
            Some(kind) if !is_a(kind, &schema["format"], value) => self.report(path, value, kind),
            _ => {}
        }
        let allowed = schema["enum"].as_array();
        if let Some(allowed) = allowed.filter(|allowed| !allowed.contains(value)) {
            self.report(path, value, &format!("one of {allowed:?}"));
        }
        let measure = value
            .as_f64()
            .map(|number| ("minimum", number))
            .or_else(|| value.as_str().map(|text| ("minLength", text.len() as f64)))
            .or_else(|| value.as_array().map(|items| ("minItems", items.len() as f64)));
        if let Some((bound, measure)) = measure
            && let Some(least) = schema[bound].as_f64().filter(|least| measure < *least)
        {
            self.report(path, value, &format!("{bound} {least}"));
        }
    }

    fn object(&mut self, schema: &'s Value, value: &Value, path: &mut String) {
        let Some(fields) = value.as_object() else { return self.report(path, value, "an object") };
        let (properties, others) = (&schema["properties"], &schema["additionalProperties"]);
        let is_open = schema["x-kubernetes-preserve-unknown-fields"] == true
            || properties.is_null() && others.is_null();
        for (name, field) in fields {
            let length = path.len();
            path.push_str(&format!(".{name}"));
            match (&properties[name], others) {
                (Value::Null, Value::Object(_)) => self.value(others, field, path),
                (Value::Null, _) if !is_open => {
                    self.wrong.push(format!("{path}: found a field that isn't defined"));
                }
                (known, _) => self.value(known, field, path),
            }
            path.truncate(length);
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            if fields.get(text(name)).is_none_or(Value::is_null) {
                self.wrong.push(format!("{path}: found no {}; expected it", text(name)));
            }
        }
    }

    fn array(&mut self, schema: &'s Value, value: &Value, path: &mut String) {
        let Some(items) = value.as_array() else { return self.report(path, value, "a list") };
        for (number, item) in items.iter().enumerate() {
            let length = path.len();
            path.push_str(&format!("[{number}]"));
            self.value(&schema["items"], item, path);
            path.truncate(length);
        }
        // Server-side apply refuses two items of one key.
        let keys: Vec<&str> =
            schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().map(text).collect();
        let mut seen = BTreeSet::new();
        for item in items.iter().filter(|_| !keys.is_empty()) {
            let key = keys.iter().map(|key| item[key].to_string()).collect::<Vec<_>>().join(", ");
            if !seen.insert(key.clone()) {
                self.wrong.push(format!("{path}: found {} {key} twice", keys.join(", ")));
            }
        }
    }

    fn report(&mut self, path: &str, found: &Value, expected: &str) {
        self.wrong.push(format!("{path}: found {found}; expected {expected}"));
    }
}

fn is_a(kind: &str, format: &Value, value: &Value) -> bool {
    match kind {
        "string" if format == "date-time" => is_read::<jiff::Timestamp>(value),
        "string" if format == "ip" => is_read::<std::net::IpAddr>(value),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" if format == "int32" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        "integer" => value.as_i64().is_some(),
        "number" => value.is_number(),
        _ => true,
    }
}

fn is_read<T: std::str::FromStr>(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<T>().is_ok())
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// One file of a Go module, kept in the cache; the module itself isn't, as it is large.
fn fetched(name: &str, module: &str, file: &str) -> Result<PathBuf> {
    let folder = cache().join("schemas");
    let path = folder.join(name);
    if path.exists() {
        return Ok(path);
    }
    std::fs::create_dir_all(&folder)?;
    let scratch = tempfile::tempdir_in(&folder)?;
    let output = Command::new("go")
        .args(["mod", "download", "-json", module])
        .env("GOMODCACHE", scratch.path().join("mod"))
        .env("GOFLAGS", "-modcacherw")
        .current_dir(scratch.path())
        .output()
        .with_context(|| {
            format!("{name}: found no go in the path; expected Go 1.26 or newer to fetch it with")
        })?;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    ensure!(
        output.status.success(),
        "{module}: {}{}",
        text(&told["Error"]),
        String::from_utf8_lossy(&output.stderr)
    );
    // Whole or not at all: another test may look for it now.
    let whole = scratch.path().join("whole");
    std::fs::copy(Path::new(text(&told["Dir"])).join(file), &whole)
        .with_context(|| format!("{module}: {file}"))?;
    std::fs::rename(&whole, &path)?;
    Ok(path)
}
