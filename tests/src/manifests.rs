//! The YAML that relays of tests run from.
//! **Owns:** a MailRelay with dull defaults, and the folder it lies in. **Never:** a field that a test isn't about.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::certs::Certificate;

/// A folder of manifests; files may be changed while relays run.
#[derive(Debug, Clone)]
pub struct Manifests {
    folder: PathBuf,
}

/// A MailRelay, as text.
#[derive(Debug, Clone)]
pub struct MailRelay {
    /// The lines of `listeners`, without their indentation.
    pub listeners: String,
    /// The value of `queue`, as YAML flow.
    pub queue: String,
    /// What stands in `defaults`, as YAML flow.
    pub defaults: String,
    /// The networks that mail may be delivered to though they are private.
    pub destinations: Vec<String>,
    /// More fields of `spec`, without their indentation.
    pub more: String,
}

impl Default for MailRelay {
    fn default() -> Self {
        Self {
            listeners: "- {name: smtp, port: 25, protocol: SMTP, allowedClients: {cidrs: [127.0.0.0/8]}}"
                .to_owned(),
            queue: "{managed: {shards: 1}}".to_owned(),
            defaults: "{retry: {initial: 1s, max: 4s, maxAge: 10m}}".to_owned(),
            destinations: vec!["127.0.0.0/8".to_owned()],
            more: "drain: {delay: 0s, timeout: 10s}".to_owned(),
        }
    }
}

impl MailRelay {
    /// As YAML.
    pub fn yaml(&self) -> String {
        let mut text = String::from(
            "apiVersion: postrider.dev/v1alpha1\nkind: MailRelay\nmetadata: {name: outbound, namespace: mail}\nspec:\n  \
             hostname: relay.example\n",
        );
        let mut lines = vec!["listeners:".to_owned()];
        lines.extend(self.listeners.lines().map(str::to_owned));
        lines.push(format!("queue: {}", self.queue));
        lines.push(format!("defaults: {}", self.defaults));
        lines.push(format!("allowedDestinations: {{cidrs: [{}]}}", self.destinations.join(", ")));
        lines.extend(self.more.lines().map(str::to_owned));
        for line in lines {
            text.push_str("  ");
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

/// A RoutingRule of a name; `spec` is its lines below `parentRefs`, without indentation.
pub fn rule(name: &str, spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: postrider.dev/v1alpha1\nkind: RoutingRule\nmetadata: {{name: {name}, namespace: mail}}\nspec:\n  \
         parentRefs: [{{name: outbound}}]\n{spec}"
    )
}

/// "pencil" by bcrypt, for Secrets of users.
pub const HASH_OF_PENCIL: &str = "$2b$10$rVHA.vhC/CQrrK8VCDgRhOAhq35n6eKpiAmcI17OQtHY3lHGzsxou";

/// Manifests of the namespace `mail`, in another one.
pub fn in_namespace(manifests: &str, namespace: &str) -> String {
    manifests.replace("namespace: mail", &format!("namespace: {namespace}"))
}

/// A Secret of type kubernetes.io/tls.
pub fn tls_secret(name: &str, certificate: &Certificate) -> String {
    let block = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: mail}}\ntype: kubernetes.io/tls\nstringData:\n  \
         tls.crt: |\n{}  tls.key: |\n{}",
        block(&certificate.certificate),
        block(&certificate.key)
    )
}

/// A Secret of plain values.
pub fn secret(name: &str, values: &[(&str, &str)]) -> String {
    let lines: String = values.iter().map(|(key, value)| format!("  {key}: {value:?}\n")).collect();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: mail}}\ntype: Opaque\nstringData:\n{lines}"
    )
}

impl Manifests {
    /// Makes the folder.
    pub fn new(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file whole, as an editor does: by a rename.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let draft = self.folder.join(format!(".{name}.draft"));
        std::fs::write(&draft, text)?;
        std::fs::rename(&draft, self.folder.join(name)).context("renaming")
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) -> Result<()> {
        std::fs::remove_file(self.folder.join(name)).context("removing")
    }
}
