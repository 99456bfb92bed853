//! The chart on a real API server: installed, upgraded, uninstalled by Helm 3 and Helm 4.
//! **Owns:** what only an API server can say: who may do what, what stays, what fits. **Never:** pods: none run here.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use postrider_tests::{
    cluster::{ControlPlane, Kubectl},
    helm::{Helm, Rendered, both, chart},
    schemas::monitoring_crds,
};
use serde_json::Value;

use crate::sets;

const NAMESPACE: &str = "postrider-system";
/// Of what Helm keeps of a release; the API server takes 1 MiB in a Secret.
const RELEASE_MAX_BYTES: usize = 600 << 10;

/// A control plane, and who installs on it.
struct Installer {
    cluster: ControlPlane,
}

impl Installer {
    async fn new() -> Self {
        Self::on(ControlPlane::start().await.unwrap()).await
    }

    async fn on(cluster: ControlPlane) -> Self {
        for namespace in [NAMESPACE, "mail", "shop", "other"] {
            cluster.kubectl().run(&["create", "namespace", namespace]).await.unwrap();
        }
        // Pod Security refuses other pods, and warns of what would make them.
        let restricted =
            ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
        let label = ["label", "namespace", NAMESPACE, &restricted[0], &restricted[1]];
        cluster.kubectl().run(&label).await.unwrap();
        Self { cluster }
    }

    fn kubectl(&self) -> Kubectl {
        self.cluster.kubectl()
    }

    /// Runs a Helm; what it printed.
    fn helm(&self, helm: &Helm, arguments: &[&str], values: &str) -> Result<String> {
        let kubeconfig = self.cluster.kubeconfig();
        let kubeconfig = kubeconfig.to_str().context("a path of UTF-8")?;
        let output =
            helm.run(&[&["--kubeconfig", kubeconfig, "--namespace", NAMESPACE], arguments].concat(), values)?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "Helm {}: {told}", helm.major);
        Ok(String::from_utf8(output.stdout)?)
    }

    fn install(&self, helm: &Helm, name: &str, chart: &Path, values: &str) -> Result<String> {
        self.helm(helm, &["install", name, path(chart), "--values=-"], values)
    }

    /// Kubectl with the token of the operator's pods.
    async fn operator(&self) -> Kubectl {
        Kubectl::new(self.cluster.kubeconfig_of(NAMESPACE, "postrider-operator").await.unwrap())
    }

    async fn has(&self, kind: &str, name: &str) -> bool {
        self.kubectl().run(&["get", kind, name, "--namespace=mail"]).await.is_ok()
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// Whether somebody may; `what` is a resource, perhaps with `--subresource=`.
async fn may(who: &Kubectl, verb: &str, what: &str, place: &str) -> bool {
    let arguments: Vec<&str> =
        ["auth", "can-i", verb].into_iter().chain(what.split(' ')).chain([place]).collect();
    // It exits with 1 where the answer is no.
    let said = String::from_utf8(who.output(&arguments, "").await.unwrap().stdout).unwrap();
    assert!(["yes", "no"].contains(&said.trim()), "{verb} {what}: {said}");
    said.trim() == "yes"
}

const RELAY: &str = "apiVersion: postrider.dev/v1alpha1
kind: MailRelay
metadata: {name: outbound, namespace: mail}
spec: {hostname: mail.example.com, listeners: [{name: smtp, port: 25, allowedClients: {cidrs: [10.0.0.0/8]}}], queue: {managed: {shards: 1}}}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_wide_operator_may_what_it_needs_everywhere() {
    let installer = Installer::new().await;
    let helm = &both().unwrap()[0];
    installer.install(helm, "postrider", &chart(), "").unwrap();
    let operator = installer.operator().await;
    for namespace in ["mail", "other"] {
        let place = &format!("--namespace={namespace}");
        for resource in
            ["secrets", "deployments.apps", "statefulsets.apps", "networkpolicies.networking.k8s.io"]
        {
            for verb in ["get", "list", "watch", "create", "patch", "delete"] {
                assert!(may(&operator, verb, resource, place).await, "{verb} {resource}");
            }
        }
        assert!(may(&operator, "patch", "mailrelays.postrider.dev --subresource=status", place).await);
        assert!(!may(&operator, "create", "mailrelays.postrider.dev", place).await);
        assert!(!may(&operator, "delete", "routingrules.postrider.dev", place).await);
        assert!(!may(&operator, "create", "pods --subresource=exec", place).await);
        assert!(!may(&operator, "create", "roles.rbac.authorization.k8s.io", place).await);
        assert!(!may(&operator, "create", "serviceaccounts --subresource=token", place).await);
        assert!(!may(&operator, "delete", "pods", place).await);
    }
    assert!(may(&operator, "watch", "namespaces", "--all-namespaces").await);
    assert!(!may(&operator, "list", "nodes", "--all-namespaces").await);
    let own = &format!("--namespace={NAMESPACE}");
    assert!(may(&operator, "update", "leases.coordination.k8s.io/postrider-operator", own).await);
    assert!(!may(&operator, "update", "leases.coordination.k8s.io/another", own).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespaced_operator_may_nothing_elsewhere() {
    let installer = Installer::new().await;
    let helm = &both().unwrap()[1];
    let values = "{watchNamespaces: [mail, shop], secrets: {namespaces: [mail]}}";
    installer.install(helm, "postrider", &chart(), values).unwrap();
    let roles =
        installer.kubectl().run(&["get", "clusterroles,clusterrolebindings", "--output=name"]).await.unwrap();
    assert!(!roles.contains("postrider"), "{roles}");
    let operator = installer.operator().await;
    for (namespace, serves, has_secrets) in
        [("mail", true, true), ("shop", true, false), ("other", false, false), (NAMESPACE, false, false)]
    {
        let place = &format!("--namespace={namespace}");
        assert_eq!(may(&operator, "watch", "mailrelays.postrider.dev", place).await, serves, "{namespace}");
        assert_eq!(may(&operator, "patch", "deployments.apps", place).await, serves, "{namespace}");
        for verb in ["get", "list", "create"] {
            assert_eq!(may(&operator, verb, "secrets", place).await, has_secrets, "{namespace}");
        }
        // Not by what can-i says: a Role that reaches its own namespace's object is a thing to see.
        assert_eq!(operator.run(&["get", "namespace", namespace]).await.is_ok(), serves, "{namespace}");
    }
    assert!(operator.run(&["get", "namespaces"]).await.is_err());
    assert!(operator.run(&["get", "mailrelays", "--all-namespaces"]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn people_have_what_their_roles_say() {
    let installer = Installer::on(ControlPlane::with_controller_manager().await.unwrap()).await;
    installer.install(&both().unwrap()[1], "postrider", &chart(), "").unwrap();
    let kubectl = installer.kubectl();
    let place = "--namespace=mail";
    for role in ["view", "edit", "admin"] {
        let grant = [
            "create",
            "rolebinding",
            role,
            &format!("--clusterrole={role}"),
            &format!("--user={role}"),
            place,
        ];
        kubectl.run(&grant).await.unwrap();
        // The controller manager gathers the rules of aggregated roles when it gets to it.
        let seen = |object: &Value| {
            let mut rules = object["rules"].as_array()?.iter();
            rules.find(|rule| rule.to_string().contains("routingrules")).map(drop)
        };
        kubectl
            .until(
                "the roles to be gathered",
                std::time::Duration::from_secs(60),
                &["clusterrole", role],
                seen,
            )
            .await
            .unwrap();
        let who = Kubectl::new(installer.cluster.kubeconfig_for(role, &[]).await.unwrap());
        assert!(may(&who, "list", "mailrelays.postrider.dev", place).await, "{role}");
        assert_eq!(may(&who, "create", "routingrules.postrider.dev", place).await, role != "view", "{role}");
        assert_eq!(may(&who, "create", "mailrelays.postrider.dev", place).await, role == "admin", "{role}");
        assert!(!may(&who, "patch", "mailrelays.postrider.dev --subresource=status", place).await, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_outlive_the_release_and_the_next_one_takes_them_over() {
    for helm in &both().unwrap() {
        let installer = Installer::new().await;
        installer.install(helm, "postrider", &chart(), "").unwrap();
        installer.kubectl().apply(RELAY).await.unwrap();
        installer.helm(helm, &["uninstall", "postrider"], "").unwrap();
        assert!(installer.has("mailrelay", "outbound").await, "Helm {}", helm.major);
        let refused = installer.install(helm, "again", &chart(), "").unwrap_err().to_string();
        assert!(refused.contains("mailrelays.postrider.dev"), "{refused}");
        installer.helm(helm, &["install", "again", path(&chart()), "--take-ownership"], "").unwrap();
        assert!(installer.has("mailrelay", "outbound").await, "Helm {}", helm.major);
        let values = "crds: {keep: false}";
        installer.helm(helm, &["upgrade", "again", path(&chart()), "--values=-"], values).unwrap();
        installer.helm(helm, &["uninstall", "again", "--wait"], "").unwrap();
        assert!(!installer.has("crd", "mailrelays.postrider.dev").await, "Helm {}", helm.major);
    }
}

/// A copy of the chart whose definition of MailRelays lacks a column: an older one.
fn older(folder: &Path) -> Result<()> {
    let copied = std::process::Command::new("cp").arg("-R").arg(chart()).arg(folder).status()?;
    ensure!(copied.success(), "cp ended with {copied}");
    let file = folder.join("files/mailrelays.yaml");
    let mut definition: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(&file)?)?;
    let columns =
        definition["spec"]["versions"][0]["additionalPrinterColumns"].as_array_mut().context("columns")?;
    columns.truncate(1);
    // The template looks for this line.
    let spec = serde_json::to_string(&definition["spec"])?;
    let text = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: mailrelays.postrider.dev\nspec: {spec}\n"
    );
    Ok(std::fs::write(file, text)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_brings_new_definitions_also_by_the_other_helm() {
    let [three, four] = &both().unwrap();
    for (first, second) in [(three, three), (three, four), (four, four)] {
        let installer = Installer::new().await;
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("postrider");
        older(&old).unwrap();
        installer.install(first, "postrider", &old, "").unwrap();
        installer
            .kubectl()
            .run(&["wait", "--for=condition=Established", "crd/mailrelays.postrider.dev", "--timeout=30s"])
            .await
            .unwrap();
        installer.kubectl().apply(RELAY).await.unwrap();
        let columns = async || {
            let crd = installer.kubectl().json(&["get", "crd", "mailrelays.postrider.dev"]).await.unwrap();
            crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array().unwrap().len()
        };
        assert_eq!(columns().await, 1);
        installer
            .helm(second, &["upgrade", "postrider", path(&chart()), "--values=-"], "replicas: 3")
            .unwrap();
        assert!(columns().await > 1, "Helm {}, then {}", first.major, second.major);
        assert!(installer.has("mailrelay", "outbound").await);
        // Upgraded to what is there, nothing is left that would differ.
        installer
            .helm(second, &["upgrade", "postrider", path(&chart()), "--values=-"], "replicas: 3")
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_with_everything_fits_into_its_secret() {
    for helm in &both().unwrap() {
        let installer = Installer::new().await;
        for crd in monitoring_crds().unwrap() {
            installer.kubectl().run(&["create", "-f", path(&crd)]).await.unwrap();
        }
        installer.install(helm, "postrider", &chart(), sets::EVERYTHING).unwrap();
        let place = format!("--namespace={NAMESPACE}");
        let secret = installer
            .kubectl()
            .json(&["get", "secret", "sh.helm.release.v1.postrider.v1", &place])
            .await
            .unwrap();
        // What counts is the size behind the base64 of the API.
        let bytes = secret["data"]["release"].as_str().unwrap().len() / 4 * 3;
        println!("Helm {}: a release has {bytes} bytes", helm.major);
        assert!(bytes > 10_000 && bytes <= RELEASE_MAX_BYTES, "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_every_object_as_it_stands() {
    let installer = Installer::new().await;
    let kubectl = installer.kubectl();
    for crd in monitoring_crds().unwrap() {
        kubectl.run(&["create", "-f", path(&crd)]).await.unwrap();
    }
    kubectl.run(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]).await.unwrap();
    // Nobody makes a namespace's account here, and without it no pod is taken.
    let account = ["create", "serviceaccount", "default", "--namespace", "postrider-system"];
    kubectl.output(&account, "").await.unwrap();
    for (name, rendered) in sets::rendered() {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": rendered.0});
        let told = kubectl
            .output(&["create", "--dry-run=server", "--validate=strict", "-f", "-"], &list.to_string())
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success() && said.trim().is_empty(), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_notes_say_to_apply_is_taken() {
    for (helm, values) in both().unwrap().iter().zip(["", "watchNamespaces: [shop]"]) {
        let installer = Installer::new().await;
        let notes = installer.install(helm, "postrider", &chart(), values).unwrap();
        let (_, rest) = notes.split_once("<<END\n").expect("a relay to apply");
        let (relay, _) = rest.split_once("  END\n").expect("its end");
        installer.kubectl().run_with(&["create", "--validate=strict", "-f", "-"], relay).await.unwrap();
        let namespace = if values.is_empty() { "mail" } else { "shop" };
        let relay = Rendered::parse(relay).unwrap().0.remove(0);
        assert_eq!(relay["metadata"]["namespace"], namespace);
        assert!(notes.contains(&format!("--set test.relay={namespace}/outbound")), "{notes}");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("relay.yaml"), relay.to_string()).unwrap();
        let checked =
            postrider_tests::relay::command(["check", "--manifests", path(folder.path())]).await.unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    }
}
