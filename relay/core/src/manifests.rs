//! Manifests as one would apply them, read without an API server.
//! **Owns:** documents, kinds, the schema's checks (manifests/schema.rs), what the files hold ([`Resources`]). **Never:** opens a file,
//! what resources mean together (compile).
//! Stricter than an API server in one thing: a field that isn't in the schema is an error, not dropped.

mod document;
mod schema;

use std::{collections::BTreeMap, net::IpAddr};

use postrider_crds::{LabelSelector, MailRelay, RoutingRule};

pub use crate::compile::{Problem, Subject};
use crate::config::Secret;

/// The largest file that is read.
pub const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;

/// The namespace of what names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What resources there are.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// MailRelays.
    pub relays: Vec<MailRelay>,
    /// RoutingRules.
    pub rules: Vec<RoutingRule>,
    /// Secrets, by namespace and name.
    pub secrets: BTreeMap<(String, String), SecretData>,
    /// Labels of namespaces.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Pods that may be clients. Manifests have none: a cluster's operator knows them.
    pub pods: Vec<Pod>,
    /// Where each comes from: `FILE, document N`. Empty for those of a cluster.
    pub origins: BTreeMap<Subject, String>,
}

/// A pod with addresses of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A Secret's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretData {
    /// Its type.
    pub type_: String,
    /// Its values, decoded.
    pub data: BTreeMap<String, Secret<Vec<u8>>>,
}

/// What reading manifests gave.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// What could be read.
    pub resources: Resources,
    /// What couldn't, and why. While there are any, nothing should be run by the rest.
    pub problems: Vec<LoadProblem>,
    /// What was left alone: kinds that aren't ours.
    pub notes: Vec<String>,
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadProblem {
    /// `FILE, document N`.
    pub place: String,
    /// The resource, as far as it could be told.
    pub subject: Option<Subject>,
    /// What is wrong.
    pub problem: Problem,
}

impl std::fmt::Display for LoadProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.subject {
            Some(subject) => write!(f, "{}: {subject}: {}", self.place, self.problem),
            None => write!(f, "{}: {}", self.place, self.problem),
        }
    }
}

/// Reads manifests: each file's name and text, in the order in which they should be told of.
pub fn load<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Loaded {
    let mut loaded = Loaded::default();
    for (name, text) in files {
        document::read_file(name, text, &mut loaded);
    }
    loaded
}

impl Resources {
    /// Whether a selector means this namespace.
    pub fn is_namespace(&self, selector: &LabelSelector, namespace: &str) -> bool {
        let mut labels = self.namespaces.get(namespace).cloned().unwrap_or_default();
        // Kubernetes gives each namespace this one.
        labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
        selector.matches(&labels)
    }

    /// The MailRelay that `wanted` (`NAMESPACE/NAME` or `NAME`) names, or the only one.
    ///
    /// # Errors
    /// There is none, or it isn't clear which; says which there are.
    pub fn select_relay(&self, wanted: Option<&str>) -> Result<&MailRelay, String> {
        let full =
            |relay: &MailRelay| format!("{}/{}", namespace_of(&relay.metadata), name_of(&relay.metadata));
        let is_wanted = |relay: &&MailRelay| {
            wanted.is_none_or(|wanted| wanted == full(relay) || wanted == name_of(&relay.metadata))
        };
        let found: Vec<&MailRelay> = self.relays.iter().filter(is_wanted).collect();
        match (found.as_slice(), wanted) {
            ([only], _) => Ok(only),
            ([], None) => {
                Err("found no MailRelay in the manifests; expected one; see examples/relay.yaml".to_owned())
            }
            ([], Some(wanted)) => {
                let all: Vec<String> = self.relays.iter().map(full).collect();
                Err(format!("found no MailRelay {wanted:?}; expected one of: {}", all.join(", ")))
            }
            (several, _) => {
                let all: Vec<String> = several.iter().map(|relay| full(relay)).collect();
                Err(format!(
                    "found {} MailRelays; expected to be told which; say --relay with one of: {}",
                    all.len(),
                    all.join(", ")
                ))
            }
        }
    }
}

/// The namespace of an object.
pub fn namespace_of(metadata: &kube::core::ObjectMeta) -> &str {
    metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
}

/// The name of an object.
pub fn name_of(metadata: &kube::core::ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests;
