//! What the API server takes and what it refuses, and how it says so.
//! **Owns:** the walk over `fixtures/manifests` and `examples`. **Never:** what is wrong with them.

use std::path::{Path, PathBuf};

use postrider_tests::cluster::{ControlPlane, Kubectl};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

async fn dry_run(kubectl: &Kubectl, path: &Path) -> Result<String, anyhow::Error> {
    let path = path.to_str().unwrap();
    kubectl.run(&["apply", "--server-side", "--dry-run=server", "-f", path]).await
}

async fn kubectl() -> Kubectl {
    let kubectl = ControlPlane::shared().await.unwrap().kubectl();
    let namespace = |name| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    kubectl.apply(&["mail", "shop", "stranger"].map(namespace).join("---\n")).await.unwrap();
    kubectl
}

#[tokio::test]
async fn the_examples_are_taken() {
    let kubectl = kubectl().await;
    let mut folders = vec![root().join("examples")];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                dry_run(&kubectl, &path).await.unwrap();
                count += 1;
            }
        }
    }
    assert!(count >= 6, "only {count} examples");
}

/// Beside a manifest, `.refused` has what must be said of it, a line each; one without is taken, as only `compile` and
/// the operator, who see other objects and Secrets, can tell what is wrong.
#[tokio::test]
async fn what_a_schema_or_a_rule_of_it_can_see_is_refused_and_told() {
    let kubectl = kubectl().await;
    let (mut refused, mut taken) = (0, 0);
    for entry in std::fs::read_dir(root().join("tests/fixtures/manifests")).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let answer = dry_run(&kubectl, &path).await;
        match (std::fs::read_to_string(path.with_extension("refused")), answer) {
            (Ok(expected), Err(told)) => {
                let told = format!("{told:#}");
                for line in expected.lines() {
                    assert!(told.contains(line), "{}: found {told}\nexpected {line}", path.display());
                }
                refused += 1;
            }
            (Err(_), Ok(_)) => taken += 1,
            (Ok(expected), Ok(_)) => panic!("{}: it was taken; expected {expected}", path.display()),
            (Err(_), Err(told)) => panic!("{}: expected it to be taken: {told:#}", path.display()),
        }
    }
    assert!(refused >= 17 && taken >= 9, "{refused} refused, {taken} taken");
}
