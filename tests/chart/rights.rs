//! What the operator may do, and what people may.
//! **Owns:** roles, bindings, accounts. **Never:** whether the operator gets by with them (the tests on a cluster).

use std::{collections::BTreeSet, fmt::Write, path::Path};

use postrider_tests::helm::{Release, Rendered, render, render_as};
use serde_json::Value;

use crate::sets;

const CLUSTER_WIDE: &[&str] = &["ClusterRole", "ClusterRoleBinding"];

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn rules(role: &Value) -> impl Iterator<Item = &Value> {
    role["rules"].as_array().into_iter().flatten()
}

fn is_role(object: &&Value) -> bool {
    object["kind"].as_str().is_some_and(|kind| kind.ends_with("Role"))
}

/// Where the operator may do a thing with Secrets: namespaces, or `*`.
fn places_with_secrets(rendered: &Rendered) -> BTreeSet<&str> {
    let has_secrets =
        |role: &&Value| rules(role).any(|rule| texts(&rule["resources"]).any(|name| name == "secrets"));
    let place = |role: &Value| role["metadata"]["namespace"].as_str().unwrap_or("*").to_owned();
    rendered.0.iter().filter(is_role).filter(has_secrets).map(place).map(|p| &*p.leak()).collect()
}

/// Every right, a line each, as people review it.
fn told(rendered: &Rendered) -> String {
    let mut lines = String::new();
    for role in rendered.0.iter().filter(is_role) {
        let metadata = &role["metadata"];
        let place =
            metadata["namespace"].as_str().map_or(String::new(), |namespace| format!(" in {namespace}"));
        let aggregated: Vec<&str> = metadata["labels"]
            .as_object()
            .into_iter()
            .flat_map(|labels| labels.keys())
            .filter_map(|label| label.strip_prefix("rbac.authorization.k8s.io/aggregate-to-"))
            .collect();
        let whom =
            if aggregated.is_empty() { String::new() } else { format!(" for {}", aggregated.join(", ")) };
        writeln!(
            lines,
            "{} {}{place}{whom}",
            role["kind"].as_str().unwrap(),
            metadata["name"].as_str().unwrap()
        )
        .unwrap();
        for rule in rules(role) {
            let verbs = texts(&rule["verbs"]).collect::<Vec<_>>().join(" ");
            let names = texts(&rule["resourceNames"]).collect::<Vec<_>>().join(" ");
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    let whole = format!("{resource}{}{group}", if group.is_empty() { "" } else { "." });
                    let only = if names.is_empty() { String::new() } else { format!("  only {names}") };
                    writeln!(lines, "  {whole:<48} {verbs}{only}").unwrap();
                }
            }
        }
    }
    lines
}

#[test]
fn the_rights_are_those_that_were_reviewed() {
    let sets = [
        ("cluster-wide", ""),
        ("namespaced", "watchNamespaces: [mail, shop]"),
        ("secrets-listed", "secrets: {namespaces: [mail]}"),
    ];
    for (name, values) in sets {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/chart/rights-{name}.txt"));
        let found = told(&render(values).unwrap());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == expected, "{}: found other rights:\n{found}", path.display());
    }
}

#[test]
fn a_namespaced_install_has_no_cluster_role() {
    let rendered = render("watchNamespaces: [mail, shop]").unwrap();
    for kind in CLUSTER_WIDE {
        assert_eq!(rendered.of_kind(kind), Vec::<&Value>::new());
    }
    let places: BTreeSet<&str> =
        rendered.of_kind("Role").iter().filter_map(|role| role["metadata"]["namespace"].as_str()).collect();
    assert_eq!(places, ["mail", "postrider-system", "shop"].into());
    // In its own namespace it may do no more than hold its Lease.
    let own =
        rendered.0.iter().filter(is_role).filter(|role| role["metadata"]["namespace"] == "postrider-system");
    let groups: BTreeSet<&str> = own.flat_map(rules).flat_map(|rule| texts(&rule["apiGroups"])).collect();
    assert_eq!(groups, ["coordination.k8s.io"].into());
}

#[test]
fn secrets_are_read_where_listed_only() {
    for (values, expected) in [
        ("", &["*"][..]),
        ("secrets: {namespaces: [mail]}", &["mail"]),
        ("watchNamespaces: [mail, shop]", &["mail", "shop"]),
        ("{watchNamespaces: [mail, shop], secrets: {namespaces: [shop]}}", &["shop"]),
        ("rbac: {create: false}", &[]),
    ] {
        let rendered = render(values).unwrap();
        assert_eq!(places_with_secrets(&rendered), expected.iter().copied().collect(), "{values}");
        // The operator is told the same, or it would ask where it is refused.
        let told: BTreeSet<String> = arguments(&rendered, "--secret-namespace=");
        let listed = values.contains("secrets");
        assert_eq!(
            told,
            expected.iter().filter(|_| listed).map(|name| (*name).to_owned()).collect(),
            "{values}"
        );
    }
}

fn arguments(rendered: &Rendered, option: &str) -> BTreeSet<String> {
    let deployment = rendered.only("Deployment").unwrap();
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    texts(arguments).filter_map(|argument| argument.strip_prefix(option)).map(str::to_owned).collect()
}

#[test]
fn no_right_lets_it_take_others() {
    const NEVER: &[&str] = &[
        "*",
        "pods/exec",
        "pods/attach",
        "pods/portforward",
        "pods/ephemeralcontainers",
        "serviceaccounts/token",
        "nodes",
        "nodes/proxy",
        "roles",
        "rolebindings",
        "clusterroles",
        "clusterrolebindings",
        "certificatesigningrequests",
        "customresourcedefinitions",
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
    ];
    const VERBS: &[&str] = &["get", "list", "watch", "create", "patch", "update", "delete"];
    for (name, rendered) in sets::rendered() {
        let of_operator = |role: &&Value| {
            !role["metadata"]["labels"]
                .as_object()
                .unwrap()
                .keys()
                .any(|label| label.contains("aggregate-to"))
        };
        for rule in rendered.0.iter().filter(is_role).filter(of_operator).flat_map(rules) {
            let resources: Vec<&str> = texts(&rule["resources"]).collect();
            assert!(!resources.iter().any(|resource| NEVER.contains(resource)), "{name}: {rule}");
            assert!(!texts(&rule["apiGroups"]).any(|group| group == "*"), "{name}: {rule}");
            assert!(rule["nonResourceURLs"].is_null(), "{name}: {rule}");
            assert!(texts(&rule["verbs"]).all(|verb| VERBS.contains(&verb)), "{name}: {rule}");
            let may_update = ["leases", "mailrelays/finalizers"];
            if texts(&rule["verbs"]).any(|verb| verb == "update") {
                assert!(resources.iter().all(|resource| may_update.contains(resource)), "{name}: {rule}");
            }
            let is_ours = texts(&rule["apiGroups"]).any(|group| group == "postrider.dev");
            let removes = texts(&rule["verbs"]).any(|verb| ["create", "delete"].contains(&verb));
            assert!(!(is_ours && removes), "{name}: {rule}");
        }
    }
}

#[test]
fn each_binding_gives_a_role_of_the_chart_to_the_operator_alone() {
    for (name, rendered) in sets::rendered() {
        let deployment = rendered.only("Deployment").unwrap();
        let account = &deployment["spec"]["template"]["spec"]["serviceAccountName"];
        let is_binding = |object: &&Value| object["kind"].as_str().unwrap().ends_with("RoleBinding");
        for binding in rendered.0.iter().filter(is_binding) {
            let (role, metadata) = (&binding["roleRef"], &binding["metadata"]);
            let is_it = |object: &&Value| {
                object["kind"] == role["kind"]
                    && object["metadata"]["name"] == role["name"]
                    && object["metadata"]["namespace"] == metadata["namespace"]
            };
            assert!(rendered.0.iter().any(|object| is_it(&object)), "{name}: {binding}");
            let subjects = binding["subjects"].as_array().unwrap();
            assert_eq!(subjects.len(), 1, "{name}");
            assert_eq!(subjects[0]["kind"], "ServiceAccount", "{name}");
            assert_eq!(&subjects[0]["name"], account, "{name}");
            assert_eq!(subjects[0]["namespace"], "postrider-system", "{name}");
        }
        let roles = rendered
            .0
            .iter()
            .filter(is_role)
            .filter(|role| role["metadata"]["labels"]["app.kubernetes.io/component"] == "operator");
        assert_eq!(
            roles.count(),
            rendered.0.iter().filter(is_binding).count(),
            "{name}: a role that nobody has"
        );
    }
}

#[test]
fn the_lease_that_it_may_hold_is_the_one_that_it_is_told() {
    for name in ["postrider", "mail", "a-release-with-a-name-of-the-most-letters-that-helm-takes"] {
        let name = &name[..name.len().min(53)];
        let release = Release { name: name.to_owned(), ..Release::default() };
        let rendered = render_as(&release, "").unwrap();
        let told = arguments(&rendered, "--lease-name=");
        let named: BTreeSet<String> = rendered
            .of_kind("Role")
            .into_iter()
            .flat_map(rules)
            .flat_map(|rule| texts(&rule["resourceNames"]))
            .map(str::to_owned)
            .collect();
        assert_eq!((told.len(), &told), (1, &named), "{name}");
    }
}

#[test]
fn people_edit_rules_as_editors_and_relays_as_admins() {
    let rendered = render("").unwrap();
    let may = |whom: &str, verb: &str, resource: &str| {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{whom}");
        let roles = rendered
            .of_kind("ClusterRole")
            .into_iter()
            .filter(|role| role["metadata"]["labels"][&label] == "true");
        roles.flat_map(rules).any(|rule| {
            texts(&rule["resources"]).any(|name| name == resource)
                && texts(&rule["verbs"]).any(|name| name == verb)
        })
    };
    for whom in ["view", "edit", "admin"] {
        assert!(may(whom, "get", "mailrelays") && may(whom, "watch", "routingrules"), "{whom}");
        assert!(
            !may(whom, "patch", "mailrelays/status") && !may(whom, "update", "routingrules/status"),
            "{whom}"
        );
    }
    assert!(!may("view", "create", "routingrules") && may("edit", "create", "routingrules"));
    assert!(!may("edit", "create", "mailrelays") && may("admin", "create", "mailrelays"));
    assert!(!may("edit", "patch", "mailrelays/scale") && may("admin", "patch", "mailrelays/scale"));
    let without = render("rbac: {aggregate: false}").unwrap();
    assert_eq!(without.of_kind("ClusterRole").len(), 1);
}

#[test]
fn without_rbac_nothing_of_it_is_made() {
    let rendered = render("rbac: {create: false}").unwrap();
    assert!(!rendered.0.iter().any(|object| object["apiVersion"].as_str().unwrap().starts_with("rbac.")));
}
