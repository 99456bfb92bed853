//! Files in, words for people out.

use std::path::{Path, PathBuf};

use super::*;
use crate::compile::report;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository(folder)).expect(folder);
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

fn load_files(files: &[PathBuf]) -> Loaded {
    let texts: Vec<(String, String)> = files
        .iter()
        .map(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            (name, std::fs::read_to_string(path).expect("readable"))
        })
        .collect();
    load(texts.iter().map(|(name, text)| (name.as_str(), text.as_str())))
}

/// Each broken example is told of in exactly these words.
#[test]
fn broken_manifests_are_told_of_in_these_words() {
    let files = yaml_files("tests/fixtures/manifests");
    assert!(files.len() >= 20, "{}", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let found = report(&load_files(std::slice::from_ref(&file))).to_string();
        let golden = file.with_extension("expected");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &found).expect("can be written");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}:\n{found}\nexpected\n{expected}", file.display()));
        }
        let is_warning_only = file.to_string_lossy().contains("26-");
        assert_eq!(found.starts_with("error: "), !is_warning_only, "{found}");
        assert!(!found.contains("canary"), "a secret is shown: {found}");
        assert!(found.contains("found ") && found.contains("expected "), "{found}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_examples_are_good() {
    for folder in ["examples", "examples/demo", "examples/dkim", "examples/egress", "examples/external"] {
        let loaded = load_files(&yaml_files(folder));
        let report = report(&loaded);
        assert!(report.is_good() && report.warnings.is_empty(), "{folder}: {report}");
    }
}

#[test]
fn what_is_read_prints_and_reads_the_same() {
    for relay in load_files(&yaml_files("examples")).resources.relays {
        let text = serde_yaml_ng::to_string(&relay).expect("prints");
        let again = load([("again.yaml", text.as_str())]);
        assert_eq!(again.problems, Vec::new(), "{text}");
        assert_eq!(again.resources.relays, [relay]);
    }
}

#[test]
fn a_list_is_read_item_by_item() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: a, namespace: mail}\n  \
                stringData: {x: y}\n";
    let loaded = load([("list.yaml", text)]);
    assert_eq!(loaded.resources.secrets.len(), 1);
}

#[test]
fn any_text_is_read_without_a_panic() {
    for text in [
        "",
        "---\n---\n",
        "- a\n- b",
        "&a [*a]",
        "a: !tag x",
        "? {a: b}\n: c",
        "\u{0}",
        "[[[[[[",
        "kind: 1\napiVersion: 2",
    ] {
        let loaded = load([("x.yaml", text)]);
        assert!(loaded.resources.relays.is_empty());
    }
}

#[test]
fn the_relay_to_run_is_named_where_there_are_several() {
    let relay = |name: &str| {
        format!(
            "apiVersion: postrider.dev/v1alpha1\nkind: MailRelay\nmetadata: {{name: {name}, namespace: mail}}\nspec: {{hostname: h.example, \
             listeners: [{{name: smtp, port: 25}}]}}\n"
        )
    };
    let text = format!("{}---\n{}", relay("a"), relay("b"));
    let resources = load([("x.yaml", text.as_str())]).resources;
    assert!(resources.select_relay(None).expect_err("two").contains("mail/a, mail/b"));
    assert_eq!(resources.select_relay(Some("mail/b")).map(|relay| name_of(&relay.metadata)), Ok("b"));
    assert!(resources.select_relay(Some("c")).is_err());
}
