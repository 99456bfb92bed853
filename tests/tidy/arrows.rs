//! Which crate may use which, and what none of their trees may hold.
//! **Owns:** the table of arrows. **Never:** versions and licences (cargo-deny's).

use std::{collections::BTreeSet, process::Command};

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::{finding::Finding, sources};

/// A crate, the crates of ours it may use, and what may not be anywhere in its tree.
struct Arrows {
    name: &'static str,
    ours: &'static [&'static str],
    never: &'static [&'static str],
}

const IO: &[&str] = &["tokio", "mio", "rustls", "redis", "hickory-resolver", "kube-client", "hyper", "axum"];

const TABLE: &[Arrows] = &[
    Arrows { name: "postrider-mail", ours: &[], never: IO },
    Arrows { name: "postrider-smtp", ours: &["postrider-mail"], never: IO },
    Arrows { name: "postrider-crds", ours: &[], never: IO },
    Arrows { name: "postrider-core", ours: &["postrider-mail", "postrider-crds"], never: IO },
    Arrows {
        name: "postrider-queue",
        ours: &["postrider-mail"],
        never: &["postrider-smtp", "postrider-core", "kube-client", "hickory-resolver", "axum"],
    },
    Arrows {
        name: "postrider-relay",
        ours: &["postrider-mail", "postrider-smtp", "postrider-core", "postrider-queue"],
        never: &["kube-client", "openssl-sys", "native-tls", "aws-lc-sys"],
    },
    Arrows {
        name: "postrider-operator",
        ours: &["postrider-mail", "postrider-crds", "postrider-core"],
        never: &["redis", "postrider-smtp", "postrider-queue", "openssl-sys", "aws-lc-sys"],
    },
    Arrows {
        name: "kubectl-postrider",
        ours: &["postrider-crds", "postrider-core"],
        never: &["postrider-queue", "postrider-operator"],
    },
];

/// What a crate may not name as its own dependency, though one of ours below it has it.
const NEVER_DIRECT: &[(&str, &[&str])] = &[("postrider-relay", &["redis", "kube"])];

pub(crate) fn check() -> Vec<Finding> {
    let metadata = MetadataCommand::new()
        .manifest_path(sources::root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata reads the workspace");
    let mut findings = Vec::new();
    for package in metadata.packages {
        let name = package.name.to_string();
        let Some(arrows) = TABLE.iter().find(|arrows| arrows.name == name) else {
            // What tests use is free, and nothing may use it.
            if !["postrider-tests", "xtask"].contains(&name.as_str()) {
                findings.push(finding(&name, &name, "give it a row in tests/tidy/arrows.rs"));
            }
            continue;
        };
        let direct: BTreeSet<String> = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
            .map(|dependency| dependency.name.clone())
            .collect();
        for used in direct.iter().filter(|used| is_ours(used) && !arrows.ours.contains(&used.as_str())) {
            findings.push(finding(&name, used, &format!("it may use {:?} of ours", arrows.ours)));
        }
        let never =
            NEVER_DIRECT.iter().find(|(crate_name, _)| *crate_name == name).map_or(&[][..], |row| row.1);
        for used in direct.iter().filter(|used| never.contains(&used.as_str())) {
            findings.push(finding(&name, used, "go through the crate of ours that owns it"));
        }
        let tree = tree(&name);
        for used in arrows.never.iter().filter(|used| tree.contains(**used)) {
            findings.push(finding(
                &name,
                used,
                "keep it out of this crate's tree (cargo tree -i says who brings it)",
            ));
        }
    }
    findings
}

fn is_ours(name: &str) -> bool {
    name.starts_with("postrider-") || name == "kubectl-postrider" || name == "xtask"
}

fn finding(package: &str, found: &str, hint: &str) -> Finding {
    Finding {
        file: package.to_owned(),
        line: 0,
        check: "arrow",
        found: found.to_owned(),
        hint: hint.to_owned(),
    }
}

/// Every crate that ends up in this one, with the features that it alone asks for: `cargo metadata` would mix those of
/// the whole workspace.
fn tree(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-p", package, "-e", "normal", "--prefix", "none", "-f", "{p}"])
        .current_dir(sources::root())
        .output()
        .expect("cargo tree runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}
