//! What alerts say, and when: by promtool, on the rules as the chart makes them.
//! **Owns:** that each alert is seen to fire and not to. **Never:** what a relay tells (`node`, where the same rules ask a real run).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use postrider_tests::helm::{Release, render_as, root};
use serde_json::{Value, json};

/// The groups of each PrometheusRule, by the last word of its name. Of annotations the description is left: URLs are the values' own.
fn rules() -> BTreeMap<String, Value> {
    let release = Release { namespace: "postrider-system".to_owned(), ..Release::default() };
    let rendered = render_as(&release, "alerts: {enabled: true}").unwrap();
    let mut all = BTreeMap::new();
    for object in rendered.of_kind("PrometheusRule") {
        let mut groups = object["spec"]["groups"].clone();
        for group in groups.as_array_mut().unwrap() {
            for rule in group["rules"].as_array_mut().unwrap() {
                rule["annotations"] = json!({ "description": rule["annotations"]["description"] });
            }
        }
        let name = object["metadata"]["name"].as_str().unwrap().rsplit('-').next().unwrap().to_owned();
        all.insert(name, groups);
    }
    all
}

fn promtool(arguments: &[&str], folder: &Path) {
    let output = Command::new("promtool").args(arguments).current_dir(folder).output().unwrap();
    let told =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "promtool {}: {told}", arguments.join(" "));
}

#[test]
fn each_alert_fires_when_it_should_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let (mut named, mut firing, mut quiet) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (group, rules) in rules() {
        let (file, cases) = (format!("{group}.rules.yaml"), format!("{group}.yaml"));
        std::fs::write(folder.path().join(&file), json!({ "groups": rules }).to_string()).unwrap();
        let text = std::fs::read_to_string(root().join("tests/fixtures/alerts").join(&cases)).unwrap();
        std::fs::write(folder.path().join(&cases), &text).unwrap();
        promtool(&["check", "rules", &file], folder.path());
        promtool(&["test", "rules", &cases], folder.path());
        let of_groups = rules.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
        named.extend(of_groups.map(|rule| rule["alert"].as_str().unwrap().to_owned()));
        let cases: Value = serde_yaml_ng::from_str(&text).unwrap();
        let of_tests = cases["tests"].as_array().unwrap().iter();
        for case in of_tests.flat_map(|test| test["alert_rule_test"].as_array().unwrap()) {
            let alert = case["alertname"].as_str().unwrap().to_owned();
            let fires = !case["exp_alerts"].as_array().unwrap().is_empty();
            if fires {
                firing.insert(alert)
            } else {
                quiet.insert(alert)
            };
        }
    }
    assert!(named.len() > 20, "{named:?}");
    assert_eq!(named, firing, "each is seen to fire");
    assert_eq!(named, quiet, "each is seen not to fire");
}

#[test]
fn each_alert_has_its_runbook() {
    for rules in rules().values() {
        for rule in rules.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
            let alert = rule["alert"].as_str().unwrap();
            let page = root().join("docs/runbooks").join(format!("{alert}.md"));
            assert!(page.is_file(), "{}", page.display());
        }
    }
}
