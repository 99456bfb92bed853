//! The schema that the API server gets: structural, bounded, described, and the files up to date.

use super::*;

/// Calls `check` for each schema in a definition, with its path.
fn walk(path: &str, schema: &Value, check: &mut impl FnMut(&str, &Value)) {
    check(path, schema);
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for (name, property) in properties {
            walk(&format!("{path}.{name}"), property, check);
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner_schema @ Value::Object(_)) = schema.get(inner) {
            walk(&format!("{path}[]"), inner_schema, check);
        }
    }
}

fn for_each_schema(mut check: impl FnMut(&str, &Value)) {
    for kind in ["MailRelay", "RoutingRule"] {
        walk(kind, &schema(kind).expect("both kinds are defined"), &mut check);
    }
}

#[test]
fn the_definitions_render() {
    for (name, text) in rendered() {
        assert!(text.contains("kind: CustomResourceDefinition"), "{name}");
        // The last-applied annotation of client-side apply holds 256 KiB.
        assert!(text.len() < 200_000, "{name}: {}", text.len());
    }
}

#[test]
fn the_schemas_are_structural() {
    for_each_schema(|path, schema| {
        let is_int_or_string = schema.get("x-kubernetes-int-or-string").is_some();
        assert!(is_int_or_string || schema.get("type").is_some_and(Value::is_string), "{path}: no type");
        for keyword in ["oneOf", "allOf", "not", "$ref", "nullable", "const"] {
            assert!(schema.get(keyword).is_none(), "{path}: {keyword}");
        }
        assert!(is_int_or_string || schema.get("anyOf").is_none(), "{path}: anyOf");
    });
}

#[test]
fn everything_that_users_write_is_bounded() {
    for_each_schema(|path, schema| {
        // Kubernetes' own types are as it has them; no rule of ours walks them.
        let foreign = ["resources", "tolerations", "topologySpreadConstraints"];
        let is_foreign = foreign.iter().any(|name| path.starts_with(&format!("MailRelay.spec.pod.{name}")));
        let is_spec = path.starts_with("MailRelay.spec") || path.starts_with("RoutingRule.spec");
        if !is_spec || is_foreign {
            return;
        }
        let has = |keyword: &str| schema.get(keyword).is_some();
        match schema.get("type").and_then(Value::as_str) {
            Some("string") => assert!(has("enum") || has("maxLength"), "{path}: no maxLength"),
            Some("integer") => assert!(has("minimum") && has("maximum"), "{path}: no minimum or maximum"),
            Some("array") => assert!(has("maxItems"), "{path}: no maxItems"),
            Some("object") => {
                assert!(
                    has("properties") || has("maxProperties"),
                    "{path}: neither properties nor maxProperties"
                );
            }
            _ => {}
        }
    });
}

#[test]
fn integers_have_a_format_that_the_api_server_knows() {
    for_each_schema(|path, schema| {
        if schema.get("type").and_then(Value::as_str) == Some("integer") {
            let format = schema.get("format").and_then(Value::as_str);
            assert!(matches!(format, None | Some("int32" | "int64")), "{path}: {format:?}");
        }
    });
}

#[test]
fn everything_is_described_and_every_pattern_has_words() {
    for_each_schema(|path, schema| {
        if path.contains(".spec.") && !path.ends_with("[]") {
            assert!(schema.get("description").is_some(), "{path}: no description");
        }
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
            assert!(crate::text::meaning(pattern).is_some(), "{path}: {pattern}");
        }
    });
}

/// `cargo xtask crds` writes them.
#[test]
fn the_files_are_up_to_date() {
    for (name, text) in rendered() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).expect("can be written");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{name} is out of date; run `cargo xtask crds`");
    }
}
