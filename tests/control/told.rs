//! What is wrong with manifests that the API server takes: the status says it, word for word as `postrider-relay check` does.
//! **Owns:** the walk over `fixtures/manifests` without `.refused`. **Never:** what is wrong with them.

use std::path::PathBuf;

use anyhow::{Context, Result};
use postrider_tests::{
    cluster::{ControlPlane, Kubectl},
    eventually,
    helm::root,
    manifests,
    operator::Operator,
};
use serde_json::Value;

use crate::world::{SOON, cluster_wide};

/// An API server is given objects, not files: of what is twice in a file it sees the last.
const OF_FILES_ALONE: [&str; 2] = ["24-same-key-twice", "25-same-rule-twice"];

/// A manifest in a namespace of its own in the place of `mail`.
struct Broken {
    yaml: String,
    namespace: String,
    /// Kind, namespace, name, and what is said of it.
    expected: Vec<[String; 4]>,
}

impl Broken {
    fn read(path: &PathBuf) -> Option<Self> {
        let stem = path.file_stem()?.to_str()?.to_owned();
        let is_ours = path.extension()? == "yaml"
            && !path.with_extension("refused").exists()
            && !OF_FILES_ALONE.contains(&stem.as_str());
        let namespace = format!("broken-{}", stem.split('-').next()?);
        let own = |text: String| {
            let text = manifests::in_namespace(&text, &namespace);
            text.replace("namespace mail", &format!("namespace {namespace}"))
                .replace(" mail/", &format!(" {namespace}/"))
        };
        let read = |path: &PathBuf| std::fs::read_to_string(path).ok().filter(|_| is_ours).map(own);
        let (yaml, expected) = (read(path)?, read(&path.with_extension("expected"))?);
        Some(Self {
            yaml,
            expected: expected.lines().filter_map(line).collect(),
            namespace: namespace.clone(),
        })
    }
}

/// `error: FILE, document 1: KIND NAMESPACE/NAME: what is said`
fn line(text: &str) -> Option<[String; 4]> {
    let (_, rest) = text.split_once(", document ")?;
    let (_, rest) = rest.split_once(": ")?;
    let (object, said) = rest.split_once(": ")?;
    let (kind, name) = object.split_once(' ')?;
    let (namespace, name) = name.split_once('/')?;
    Some([kind, namespace, name, said].map(str::to_owned))
}

#[tokio::test]
async fn what_the_api_server_takes_and_is_wrong_is_said_by_the_status() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    control_plane.install_crds().await?;
    let (kubectl, folder) = (control_plane.kubectl(), tempfile::tempdir()?);
    let operator = Operator::start(&cluster_wide(&control_plane, folder.path()).await?).await?;
    let files = std::fs::read_dir(root().join("tests/fixtures/manifests"))?;
    let all: Vec<Broken> = files.filter_map(|file| Broken::read(&file.ok()?.path())).collect();
    assert!(all.len() >= 10, "only {}", all.len());
    let named = |broken: &Broken| broken.namespace.clone();
    for namespace in all.iter().map(named).chain(["shop".to_owned(), "stranger".to_owned()]) {
        kubectl.run(&["create", "namespace", &namespace]).await?;
    }
    for broken in &all {
        kubectl.apply(&broken.yaml).await?;
    }
    for expected in all.iter().flat_map(|broken| &broken.expected) {
        said(&kubectl, expected).await.with_context(|| operator.log())?;
    }
    Ok(())
}

/// Waits until a condition of the object says it.
async fn said(kubectl: &Kubectl, [kind, namespace, name, said]: &[String; 4]) -> Result<()> {
    let mut last = Value::Null;
    let what = format!("{kind} {namespace}/{name} to say: {said}");
    let found = eventually(&what, SOON, async || {
        last = kubectl.json(&["get", kind, name, "--namespace", namespace]).await.ok()?["status"].take();
        // Of Secrets that nobody names the operator knows nothing, so it can't guess which one was meant. Both as JSON.
        let said = said.split("; did you mean").next().unwrap_or_default();
        let said = Value::from(said).to_string();
        last.to_string().contains(said.trim_matches('"')).then_some(())
    });
    let found = found.await;
    found.with_context(|| format!("{last:#}"))
}
