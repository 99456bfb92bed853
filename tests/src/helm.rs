//! Helm 3 and Helm 4, and what they make of the chart.
//! **Owns:** where they are, rendering, and that both say the same. **Never:** what should be in the chart.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::{Cluster, cache, scripts};

/// The oldest Kubernetes that the chart is for; where none is asked, Helm assumes one.
const KUBERNETES: &str = "1.33.0";

/// A Helm.
#[derive(Debug, Clone)]
pub struct Helm {
    /// Its major version.
    pub major: u32,
    program: PathBuf,
}

/// Both, the older first; built if they must be.
///
/// # Errors
/// They can't be built.
pub fn both() -> Result<[Helm; 2]> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)?;
    let helm = |major, name| Helm { major, program: cache().join("bin").join(name) };
    Ok([helm(3, "helm"), helm(4, "helm4")])
}

/// Builds both unless they are in the cache.
///
/// # Errors
/// The script says why.
pub fn build() -> Result<()> {
    let script = scripts().join("build.sh");
    let status = Command::new(&script).args(["helm", "helm4"]).status();
    let status = status.with_context(|| script.display().to_string())?;
    ensure!(status.success(), "{} ended with {status}", script.display());
    Ok(())
}

/// The chart's folder.
pub fn chart() -> PathBuf {
    root().join("charts/postrider")
}

/// The workspace's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

impl Helm {
    /// A command of this Helm; nothing of the user's own settings.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Chart, values and a kubeconfig are all that it may depend on.
        for variable in ["KUBECONFIG", "HELM_NAMESPACE", "HELM_KUBECONTEXT", "HELM_DRIVER"] {
            command.env_remove(variable);
        }
        for (variable, folder) in
            [("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data"), ("HELM_CACHE_HOME", "cache")]
        {
            command.env(variable, cache().join("helm-home").join(folder));
        }
        command
    }

    /// Runs it with values on its input.
    ///
    /// # Errors
    /// It can't be run.
    pub fn run(&self, arguments: &[&str], values: &str) -> Result<Output> {
        let mut child = self
            .command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| self.program.display().to_string())?;
        // A Helm that ends before it has read them says why.
        drop(child.stdin.take().context("a pipe")?.write_all(values.as_bytes()));
        Ok(child.wait_with_output()?)
    }

    /// `helm template` of the chart.
    ///
    /// # Errors
    /// What Helm says.
    pub fn template(&self, release: &Release, values: &str) -> Result<String> {
        let (name, namespace, chart) = (&release.name, &release.namespace, chart());
        let chart = chart.to_str().context("a path of UTF-8")?;
        let arguments = [
            "template",
            name,
            chart,
            "--namespace",
            namespace,
            "--kube-version",
            KUBERNETES,
            "--values",
            "-",
        ];
        let output = self.run(&arguments, values)?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// What a release is called, and where it lies.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

impl Default for Release {
    fn default() -> Self {
        Self { name: "postrider".to_owned(), namespace: "postrider-system".to_owned() }
    }
}

/// The objects that values give, by both Helms alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered(pub Vec<Value>);

/// Renders the chart by both Helms.
///
/// # Errors
/// What either says, or that they disagree.
pub fn render(values: &str) -> Result<Rendered> {
    render_as(&Release::default(), values)
}

/// The same for a release of another name.
///
/// # Errors
/// What either says, or that they disagree.
pub fn render_as(release: &Release, values: &str) -> Result<Rendered> {
    let [three, four] = both()?;
    let (three, four) = (three.template(release, values), four.template(release, values));
    let (three, four) = match (three, four) {
        (Ok(three), Ok(four)) => (Rendered::parse(&three)?, Rendered::parse(&four)?),
        (Err(three), Err(four)) => bail!("Helm 3: {three:#}\nHelm 4: {four:#}"),
        (Err(error), Ok(_)) => bail!("only Helm 3 refuses it: {error:#}"),
        (Ok(_), Err(error)) => bail!("only Helm 4 refuses it: {error:#}"),
    };
    ensure!(three.by_place()? == four.by_place()?, "Helm 3 and Helm 4 render different objects");
    Ok(three)
}

/// Gives the operator of a release exactly what the chart gives it, and nothing else of the chart; the kubeconfig of its
/// ServiceAccount.
///
/// # Errors
/// What Helm or the API server says.
pub async fn grant(cluster: &Cluster, release: &Release, values: &str) -> Result<PathBuf> {
    let [_, helm] = both()?;
    let rendered = Rendered::parse(&helm.template(release, values)?)?;
    let account = rendered.only("ServiceAccount")?["metadata"]["name"].as_str().context("a name")?.to_owned();
    let of_rights = ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];
    let is_right = |object: &&Value| object["kind"].as_str().is_some_and(|kind| of_rights.contains(&kind));
    let rights: Vec<&Value> = rendered.0.iter().filter(is_right).collect();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": rights});
    cluster.kubectl().apply(&list.to_string()).await?;
    cluster.kubeconfig_of(&release.namespace, &account).await
}

impl Rendered {
    /// Reads a stream of YAML documents.
    ///
    /// # Errors
    /// It is no YAML.
    pub fn parse(yaml: &str) -> Result<Self> {
        let mut objects = Vec::new();
        for document in serde_yaml_ng::Deserializer::from_str(yaml) {
            let object = Value::deserialize(document)?;
            if !object.is_null() {
                objects.push(object);
            }
        }
        Ok(Self(objects))
    }

    /// Those of a kind.
    pub fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|object| object["kind"] == kind).collect()
    }

    /// The only one of a kind.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn only(&self, kind: &str) -> Result<&Value> {
        let all = self.of_kind(kind);
        ensure!(all.len() == 1, "found {} of kind {kind}; expected one", all.len());
        Ok(all[0])
    }

    fn by_place(&self) -> Result<BTreeMap<String, &Value>> {
        let mut all = BTreeMap::new();
        for object in &self.0 {
            let metadata = &object["metadata"];
            let place = format!("{} {}/{}", object["kind"], metadata["namespace"], metadata["name"]);
            ensure!(all.insert(place.clone(), object).is_none(), "{place} is rendered twice");
        }
        Ok(all)
    }
}
