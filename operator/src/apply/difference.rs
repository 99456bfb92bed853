//! Whether an object is as it should be: everything that is asked for is there. Pure.
//! **Owns:** how values are compared as the API server keeps them. **Never:** minds what others add outside of a spec.

use serde_json::Value;

use crate::{
    gather::Child,
    plan::{Kind, Object, digest_of},
};

/// What tells the elements of a list apart, the first that an element has.
const KEYS: &[&str] = &["name", "uid", "mountPath", "topologyKey", "containerPort", "port", "key", "type"];
/// Fields whose texts are quantities.
const QUANTITIES: &[&str] = &["requests", "limits", "sizeLimit"];

/// Maps that the API server takes as a whole: one entry more is another map.
const WHOLE: &[&str] = &["selector", "matchLabels", "nodeSelector"];

/// Whether something that is asked for isn't there.
pub fn differs(object: &Object, live: &Child) -> bool {
    let Ok(found) = serde_json::from_str::<Value>(&live.body) else { return true };
    let mut wanted = object.value.clone();
    if object.kind == Kind::Secret {
        for value in
            wanted.get_mut("data").and_then(Value::as_object_mut).into_iter().flat_map(|all| all.values_mut())
        {
            if let Some(text) = value.as_str() {
                *value = Value::String(digest_of(text));
            }
        }
    }
    ["spec", "data", "type", "automountServiceAccountToken"]
        .iter()
        .any(|part| differ(&wanted[*part], &found[*part], false))
        || ["labels", "annotations", "ownerReferences"]
            .iter()
            .any(|part| differ(&wanted["metadata"][*part], &found["metadata"][*part], false))
}

/// The fields that others added to its spec and that aren't asked for.
pub(super) fn unwanted(object: &Object, live: &Child) -> Vec<String> {
    let is_ours_to_say = |path: &&String| match object.kind {
        // The rest of a Service's spec is filled in by load balancers.
        Kind::Service => path.starts_with("/spec/ports") || path.starts_with("/spec/selector"),
        _ => true,
    };
    let is_asked_for = |path: &String| {
        // Indexes of the live list; ours may be elsewhere. What is asked for is told by its value.
        object.value.pointer(path).is_some() && !path.chars().any(|c| c.is_ascii_digit())
    };
    let foreign = live.foreign.iter().filter(is_ours_to_say);
    foreign.filter(|path| !is_asked_for(path) && !is_wanted_element(object, live, path)).cloned().collect()
}

/// Whether a path leads to an element of a list that is asked for, by its key.
fn is_wanted_element(object: &Object, live: &Child, path: &str) -> bool {
    let Ok(found) = serde_json::from_str::<Value>(&live.body) else { return true };
    let (mut wanted, mut found) = (Some(&object.value), Some(&found));
    for step in path.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let next = match found {
            Some(Value::Array(list)) => step.parse::<usize>().ok().and_then(|index| list.get(index)),
            Some(Value::Object(members)) => members.get(&step),
            _ => None,
        };
        wanted = match (wanted, next) {
            (Some(Value::Array(list)), Some(next)) => list.iter().find(|one| is_same_element(one, next)),
            (Some(Value::Object(members)), _) => members.get(&step),
            _ => None,
        };
        found = next;
    }
    wanted.is_some()
}

fn is_same_element(a: &Value, b: &Value) -> bool {
    match KEYS.iter().find(|key| a.get(**key).is_some()) {
        Some(key) => a.get(*key) == b.get(*key),
        None => a == b,
    }
}

fn differ(wanted: &Value, found: &Value, is_quantity: bool) -> bool {
    match (wanted, found) {
        (Value::Null, _) => false,
        (Value::Object(wanted), Value::Null) => wanted.values().any(|one| differ(one, &Value::Null, false)),
        (Value::Array(wanted), Value::Null) => !wanted.is_empty(),
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().any(|(name, value)| {
            let is_quantity = is_quantity || QUANTITIES.contains(&name.as_str());
            let found = found.get(name).unwrap_or(&Value::Null);
            let has_more = WHOLE.contains(&name.as_str()) && entries(found) > entries(value);
            has_more || differ(value, found, is_quantity)
        }),
        (Value::Array(wanted), Value::Array(found)) => lists_differ(wanted, found),
        (Value::String(a), Value::String(b)) if is_quantity => a != b && quantity(a) != quantity(b),
        (wanted, found) => wanted != found,
    }
}

fn entries(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

/// Lists of named things are compared by name, others as they stand. More elements than asked for are others' (see
/// [`unwanted`]).
fn lists_differ(wanted: &[Value], found: &[Value]) -> bool {
    let are_named = wanted.iter().all(|one| KEYS.iter().any(|key| one.get(*key).is_some()));
    if are_named && !wanted.is_empty() {
        return wanted.iter().any(|one| {
            let same = found.iter().find(|other| is_same_element(one, other));
            same.is_none_or(|other| differ(one, other, false))
        });
    }
    wanted.len() != found.len() || wanted.iter().zip(found).any(|(a, b)| differ(a, b, false))
}

/// The value of a quantity, in thousandths: the API server writes `1000m` as `1`.
fn quantity(text: &str) -> Option<i128> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: i128 = match unit {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 9)?;
    let all: i128 = format!("{whole}{fraction}").parse().ok()?;
    all.checked_mul(factor).map(|value| value / 10_i128.pow(digits))
}

#[cfg(test)]
mod tests {
    use kube::core::DynamicObject;
    use serde_json::json;

    use super::*;
    use crate::names::Key;

    fn object(spec: &Value) -> Object {
        let value = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "a", "namespace": "mail", "labels": { "x": "1" } }, "spec": spec });
        Object { kind: Kind::Deployment, key: Key::new("mail", "a"), value }
    }

    fn child(object: &Object, more: &Value) -> Child {
        let mut value = object.value.clone();
        merge(&mut value, more);
        Child::of(Kind::Deployment, serde_json::from_value::<DynamicObject>(value).expect("an object"))
    }

    fn merge(into: &mut Value, more: &Value) {
        match (into, more) {
            (Value::Object(into), Value::Object(more)) => {
                for (name, value) in more {
                    merge(into.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
            (into, more) => *into = more.clone(),
        }
    }

    #[test]
    fn defaults_that_the_server_adds_are_no_difference() {
        let wanted = object(&json!({ "replicas": 2, "template": { "spec": {
            "containers": [{ "name": "relay", "image": "a", "resources": { "requests": { "cpu": "1000m", "memory": "1024Mi" } } }],
            "tolerations": [] } } }));
        let live = child(
            &wanted,
            &json!({ "metadata": { "labels": { "y": "2" } }, "spec": { "revisionHistoryLimit": 10,
            "template": { "spec": { "dnsPolicy": "ClusterFirst", "tolerations": null, "containers": [
                { "name": "injected", "image": "x" },
                { "name": "relay", "image": "a", "terminationMessagePath": "/dev/x",
                  "resources": { "requests": { "cpu": "1", "memory": "1Gi" } } }] } } } }),
        );
        assert!(!differs(&wanted, &live));
    }

    #[test]
    fn what_was_changed_by_hand_is_a_difference() {
        let wanted =
            object(&json!({ "replicas": 2, "args": ["a", "b"], "list": [{ "name": "x", "value": 1 }],
            "selector": { "a": "1" } }));
        for changed in [
            json!({ "spec": { "replicas": 3 } }),
            json!({ "spec": { "args": ["a"] } }),
            json!({ "spec": { "list": [{ "name": "x", "value": 2 }] } }),
            json!({ "spec": { "list": [] } }),
            json!({ "metadata": { "labels": { "x": "2" } } }),
            json!({ "spec": { "selector": { "b": "2" } } }),
        ] {
            assert!(differs(&wanted, &child(&wanted, &changed)), "{changed}");
        }
        assert!(!differs(&wanted, &child(&wanted, &json!({}))));
    }

    #[test]
    fn quantities_are_compared_by_value() {
        assert_eq!(quantity("0.5"), quantity("500m"));
        assert_eq!(quantity("1Gi"), quantity("1024Mi"));
        assert_ne!(quantity("1G"), quantity("1Gi"));
        assert_eq!(quantity("much"), None);
    }

    #[test]
    fn an_element_that_is_asked_for_is_wanted_wherever_it_stands() {
        let wanted = object(&json!({ "containers": [{ "name": "relay" }] }));
        let mut live =
            child(&wanted, &json!({ "spec": { "containers": [{ "name": "spy" }, { "name": "relay" }] } }));
        live.foreign = vec!["/spec/containers/0".into(), "/spec/containers/1".into(), "/spec/paused".into()];
        assert_eq!(unwanted(&wanted, &live), ["/spec/containers/0", "/spec/paused"]);
    }
}
