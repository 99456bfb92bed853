//! From a file's text to resources: documents, kinds, names, Secrets.
//! **Owns:** which kinds are read and how. **Never:** shows a Secret's value.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use postrider_crds::text;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{DEFAULT_NAMESPACE, LoadProblem, Loaded, MAX_FILE_BYTES, SecretData, schema};
use crate::{
    compile::{Problem, Subject, near_miss, shown},
    config::Secret,
};

const OURS: &str = "postrider.dev/v1alpha1";
const KINDS: [&str; 5] = ["MailRelay", "RoutingRule", "Secret", "Namespace", "List"];

static RELAY_SCHEMA: LazyLock<Value> =
    LazyLock::new(|| postrider_crds::rendered::schema("MailRelay").unwrap_or_default());
static RULE_SCHEMA: LazyLock<Value> =
    LazyLock::new(|| postrider_crds::rendered::schema("RoutingRule").unwrap_or_default());

/// Reads all documents of a file.
pub(super) fn read_file(file: &str, text: &str, loaded: &mut Loaded) {
    if text.len() > MAX_FILE_BYTES {
        let problem =
            Problem::invalid("file", format!("{} bytes", text.len()), format!("at most {MAX_FILE_BYTES}"));
        loaded.problems.push(LoadProblem { place: file.to_owned(), subject: None, problem });
        return;
    }
    for (index, document) in serde_yaml_ng::Deserializer::from_str(text).enumerate() {
        let place = format!("{file}, document {}", index + 1);
        // By way of YAML's own values: those refuse a key that stands twice.
        let value = serde_yaml_ng::Value::deserialize(document).map_err(|err| err.to_string());
        match value.and_then(|value| serde_json::to_value(value).map_err(|err| err.to_string())) {
            Ok(value) => read_object(&place, value, loaded),
            Err(err) => {
                let problem = Problem::invalid("YAML", format!("an error: {err}"), "text keys, each once");
                loaded.problems.push(LoadProblem { place, subject: None, problem });
                // Where a broken document ends isn't known.
                return;
            }
        }
    }
}

fn read_object(place: &str, mut value: Value, loaded: &mut Loaded) {
    if value.is_null() {
        return;
    }
    drop_nulls(&mut value);
    let refuse = |problem| LoadProblem { place: place.to_owned(), subject: None, problem };
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, api_version) = (text("kind"), text("apiVersion"));
    if kind.is_empty() || api_version.is_empty() {
        let field = if kind.is_empty() { "kind" } else { "apiVersion" };
        loaded.problems.push(refuse(Problem::invalid(
            field,
            "nothing",
            "a Kubernetes object with apiVersion and kind",
        )));
        return;
    }
    if kind == "List" {
        let items =
            value.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        for item in items {
            read_object(place, item, loaded);
        }
        return;
    }
    let is_ours = api_version.split('/').next() == Some(postrider_crds::GROUP);
    match (kind.as_str(), is_ours) {
        ("MailRelay" | "RoutingRule", _) if api_version != OURS => {
            let problem = Problem::invalid("apiVersion", shown(&api_version), OURS);
            loaded.problems.push(refuse(problem));
        }
        ("MailRelay", true) => {
            if let Some((subject, relay)) = typed(place, "MailRelay", &RELAY_SCHEMA, value, loaded) {
                add(place, subject, loaded, |resources| resources.relays.push(relay));
            }
        }
        ("RoutingRule", true) => {
            if let Some((subject, rule)) = typed(place, "RoutingRule", &RULE_SCHEMA, value, loaded) {
                add(place, subject, loaded, |resources| resources.rules.push(rule));
            }
        }
        ("Secret", false) if api_version == "v1" => read_secret(place, &value, loaded),
        ("Namespace", false) if api_version == "v1" => read_namespace(place, &value, loaded),
        (_, true) => {
            let problem = Problem::invalid("kind", shown(&kind), "MailRelay or RoutingRule");
            loaded.problems.push(refuse(problem.or_did_you_mean(&kind, ["MailRelay", "RoutingRule"])));
        }
        (_, false) => {
            let hint = near_miss(&kind, KINDS)
                .map(|meant| format!(" (did you mean {meant:?}?)"))
                .unwrap_or_default();
            loaded.notes.push(format!("{place}: left alone: {api_version} {kind} is not read here{hint}"));
        }
    }
}

/// `null` is as if the field weren't there.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Checks an object against its schema, then reads it.
fn typed<T: DeserializeOwned>(
    place: &str,
    kind: &'static str,
    schema: &Value,
    mut value: Value,
    loaded: &mut Loaded,
) -> Option<(Subject, T)> {
    // A status comes with what was read from a cluster; nobody writes one.
    if let Some(members) = value.as_object_mut() {
        members.remove("status");
    }
    let (subject, mut problems) = subject_of(kind, &value);
    problems.extend(check_top(schema, &value));
    if problems.is_empty() {
        match serde_path_to_error::deserialize::<_, T>(value) {
            Ok(object) => return Some((subject, object)),
            Err(err) => problems.push(unread(&err)),
        }
    }
    let refuse = |problem| LoadProblem { place: place.to_owned(), subject: Some(subject.clone()), problem };
    loaded.problems.extend(problems.into_iter().map(refuse));
    None
}

/// The parts of an object; `spec` by its schema.
fn check_top(schema: &Value, value: &Value) -> Vec<Problem> {
    const PARTS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];
    let members = value.as_object();
    let unknown =
        members.into_iter().flat_map(|members| members.keys()).filter(|name| !PARTS.contains(&name.as_str()));
    let mut problems: Vec<Problem> = unknown
        .map(|name| {
            let expected = format!("one of {}", PARTS.join(", "));
            Problem::invalid(name, "an unknown field", expected).or_did_you_mean(name, PARTS)
        })
        .collect();
    match (value.get("spec"), schema.pointer("/properties/spec")) {
        (Some(spec), Some(schema)) => problems.extend(schema::check(schema, "spec", spec)),
        _ => problems.push(Problem::invalid("spec", "nothing", "what the resource is to do")),
    }
    problems
}

/// What serde says where the schema let something through: parsers' own words are already *found; expected*.
fn unread(err: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let said = err.inner().to_string();
    let (found, expected) = match said.strip_prefix("found ").and_then(|said| said.split_once("; expected "))
    {
        Some((found, expected)) => (found.to_owned(), expected.to_owned()),
        None => (said, "what the schema describes".to_owned()),
    };
    Problem::invalid(err.path().to_string(), found, expected)
}

fn subject_of(kind: &'static str, value: &Value) -> (Subject, Vec<Problem>) {
    let text = |name: &str| value.pointer(&format!("/metadata/{name}")).and_then(Value::as_str);
    let namespace = text("namespace").unwrap_or(DEFAULT_NAMESPACE).to_owned();
    let name = text("name").unwrap_or_default().to_owned();
    let is_name = |text: &str| {
        (1..=253).contains(&text.len())
            && regex_lite::Regex::new(text::OBJECT_NAME).is_ok_and(|regex| regex.is_match(text))
    };
    let mut problems = Vec::new();
    if !is_name(&name) {
        let found = if name.is_empty() { "nothing".to_owned() } else { shown(&name) };
        let expected = text::meaning(text::OBJECT_NAME).unwrap_or_default();
        problems.push(Problem::invalid("metadata.name", found, expected));
    }
    if !is_name(&namespace) {
        let expected = "the name of a namespace";
        problems.push(Problem::invalid("metadata.namespace", shown(&namespace), expected));
    }
    (Subject { kind, namespace, name }, problems)
}

/// Keeps an object, unless there is one of that name.
fn add(place: &str, subject: Subject, loaded: &mut Loaded, keep: impl FnOnce(&mut super::Resources)) {
    if let Some(first) = loaded.resources.origins.get(&subject) {
        let problem = Problem::invalid(
            "metadata.name",
            format!("{} a second time", shown(&subject.name)),
            "each name once",
        )
        .advise(format!("the first is in {first}"));
        loaded.problems.push(LoadProblem { place: place.to_owned(), subject: Some(subject), problem });
        return;
    }
    loaded.resources.origins.insert(subject, place.to_owned());
    keep(&mut loaded.resources);
}

fn read_secret(place: &str, value: &Value, loaded: &mut Loaded) {
    let (subject, mut problems) = subject_of("Secret", value);
    let mut secret = SecretData {
        type_: value.get("type").and_then(Value::as_str).unwrap_or("Opaque").to_owned(),
        data: std::collections::BTreeMap::new(),
    };
    let entries = |field: &str| value.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, encoded) in entries("data") {
        let compact = encoded.as_str().map(|text| text.split_whitespace().collect::<String>());
        match compact.and_then(|text| STANDARD.decode(text).ok()) {
            Some(bytes) => drop(secret.data.insert(key, Secret::new(bytes))),
            None => problems.push(
                Problem::invalid(format!("data[{key}]"), "a value that is not base64", "base64")
                    .advise("write plain text under stringData"),
            ),
        }
    }
    for (key, plain) in entries("stringData") {
        match plain.as_str() {
            Some(text) => drop(secret.data.insert(key, Secret::new(text.as_bytes().to_vec()))),
            None => problems.push(
                Problem::invalid(format!("stringData[{key}]"), "a value that is no text", "a text")
                    .advise("put it in quotes"),
            ),
        }
    }
    if !problems.is_empty() {
        let refuse =
            |problem| LoadProblem { place: place.to_owned(), subject: Some(subject.clone()), problem };
        loaded.problems.extend(problems.into_iter().map(refuse));
        return;
    }
    let key = (subject.namespace.clone(), subject.name.clone());
    add(place, subject, loaded, |resources| drop(resources.secrets.insert(key, secret)));
}

fn read_namespace(place: &str, value: &Value, loaded: &mut Loaded) {
    let (subject, problems) = subject_of("Namespace", value);
    if !problems.is_empty() {
        let refuse =
            |problem| LoadProblem { place: place.to_owned(), subject: Some(subject.clone()), problem };
        loaded.problems.extend(problems.into_iter().map(refuse));
        return;
    }
    let labels = value.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
    let labels = labels.into_iter().filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())));
    loaded.resources.namespaces.insert(subject.name, labels.collect());
}
