//! Names and labels of what the operator makes.
//! **Owns:** each of them, once. **Never:** what the objects hold (plan).

use std::collections::BTreeMap;

/// The field manager of all that is applied.
pub const MANAGER: &str = "postrider";
/// On a pod and on the config Secret: the hash of the configuration that is published.
pub const CONFIG_HASH: &str = "postrider.dev/config-hash";
/// On the pods of managed queues: the hash of what they were started with.
pub const SERVER_HASH: &str = "postrider.dev/server-hash";
/// On a MailRelay: it may be deleted although its queue holds mail.
pub const ABANDON_QUEUE: &str = "postrider.dev/abandon-queue";
/// On a MailRelay with a managed queue: mail may be in it.
pub const FINALIZER: &str = "postrider.dev/queue";
/// The file in the config Secret.
pub const CONFIG_FILE: &str = "config.json.gz";
/// Where the config Secret is mounted.
pub const CONFIG_FOLDER: &str = "/etc/postrider/config";
/// The relay's port for people and machines.
pub const ADMIN_PORT: i32 = 9090;

/// What says that an object is ours.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "postrider");
/// The MailRelay's name.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// What it is.
pub const NAME: &str = "app.kubernetes.io/name";
/// The pods of relays.
pub const RELAY: &str = "postrider-relay";
/// The pods of managed queues.
pub const QUEUE: &str = "postrider-queue";

/// An object's namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Of an object with this metadata.
    pub fn of(metadata: &kube::core::ObjectMeta) -> Self {
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }

    /// Of these.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The name of a MailRelay's config Secret.
pub fn config_secret(relay: &str) -> String {
    format!("{relay}-config")
}

/// The name of all that belongs to a MailRelay's managed queue.
pub fn queue(relay: &str) -> String {
    format!("{relay}-queue")
}

/// The labels by which pods are found; they never change.
pub fn selector(relay: &str, name: &str) -> BTreeMap<String, String> {
    [(NAME, name), (INSTANCE, relay)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The labels of an object.
pub fn labels(relay: &str, name: &str) -> BTreeMap<String, String> {
    let mut labels = selector(relay, name);
    let component = if name == QUEUE { "queue" } else { "relay" };
    labels.insert("app.kubernetes.io/component".to_owned(), component.to_owned());
    labels.insert("app.kubernetes.io/part-of".to_owned(), "postrider".to_owned());
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    labels
}
