//! The resources' definitions: those of the types, and kept.
//! **Owns:** the copies in the chart. **Never:** what is in them (postrider-crds).

use postrider_tests::helm::{chart, render, root};
use serde_json::{Value, json};

const FILES: [&str; 2] = ["mailrelays.yaml", "routingrules.yaml"];

fn definition(file: &str) -> Value {
    serde_yaml_ng::from_str(&std::fs::read_to_string(root().join("crds").join(file)).unwrap()).unwrap()
}

#[test]
fn the_charts_copies_are_those_of_the_types() {
    for file in FILES {
        let (original, copy) = (root().join("crds").join(file), chart().join("files").join(file));
        let [original, copy] = [original, copy].map(|path| std::fs::read_to_string(path).unwrap());
        assert!(
            original == copy,
            "charts/postrider/files/{file}: found other text than crds/{file}; run: cargo xtask crds"
        );
    }
}

#[test]
fn definitions_are_whole_and_kept() {
    for (values, is_kept) in [("", true), ("crds: {keep: false}", false)] {
        let rendered = render(values).unwrap();
        let found = rendered.of_kind("CustomResourceDefinition");
        assert_eq!(found.len(), FILES.len());
        for file in FILES {
            let mut expected = definition(file);
            let is_it = |found: &&&Value| found["metadata"]["name"] == expected["metadata"]["name"];
            let found = found.iter().find(is_it).unwrap();
            let policy = &found["metadata"]["annotations"]["helm.sh/resource-policy"];
            assert_eq!(policy == "keep", is_kept, "{policy}");
            expected["metadata"]["labels"] = found["metadata"]["labels"].clone();
            if is_kept {
                expected["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
            }
            assert!(**found == expected, "{file} is changed on its way");
        }
    }
    assert!(render("crds: {create: false}").unwrap().of_kind("CustomResourceDefinition").is_empty());
}
