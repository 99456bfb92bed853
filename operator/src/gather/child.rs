//! An object of ours as the API server has it: as small as comparing allows.
//! **Owns:** what is kept of it, and which fields others have put into its spec. **Never:** what should be there (plan).

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use kube::core::DynamicObject;
use postrider_core::config;
use serde_json::Value;

use crate::{
    names::{self, Key},
    plan::{Kind, digest_of},
};

/// An object of ours, as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// Its namespace and name.
    pub key: Key,
    /// Its identity.
    pub uid: String,
    /// Its version, which guards each change of it.
    pub resource_version: String,
    /// Whose it is: the UID of its controller.
    pub owner: Option<String>,
    /// The name of the MailRelay that it is labelled with.
    pub relay: Option<String>,
    /// The password in it, where it is the Secret of a managed queue.
    pub password: Option<config::Secret<String>>,
    /// Whether it is going.
    pub is_ending: bool,
    /// All of it but status and bookkeeping, as JSON text: a tree would take four times the memory.
    pub body: Box<str>,
    /// Fields of its spec or data that others have added: JSON pointers.
    pub foreign: Vec<String>,
    /// `spec.replicas`, where it has that.
    pub replicas: Option<i32>,
    /// What its controller says, for a Deployment or StatefulSet.
    pub progress: Progress,
}

/// How far a Deployment or StatefulSet has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Whether its controller has seen the spec.
    pub is_seen: bool,
    /// Pods.
    pub replicas: i32,
    /// Pods of the newest template.
    pub updated: i32,
    /// Pods that are ready.
    pub ready: i32,
}

impl Child {
    /// What is kept of an object. Its kind is given: those of a list don't say it.
    pub fn of(kind: Kind, object: DynamicObject) -> Self {
        let metadata = object.metadata;
        let mut body = object.data;
        let progress = progress(&body, metadata.generation);
        let replicas = body.pointer("/spec/replicas").and_then(integer);
        let password = body.pointer("/data/password").and_then(password);
        let foreign = foreign_fields(metadata.managed_fields.as_deref().unwrap_or_default(), &body);
        if let Some(members) = body.as_object_mut() {
            members.remove("status");
            if kind == Kind::Secret {
                members.get_mut("data").map(shorten);
            }
            let mut kept = serde_json::Map::new();
            kept.insert("labels".to_owned(), serde_json::json!(metadata.labels));
            kept.insert("annotations".to_owned(), serde_json::json!(metadata.annotations));
            kept.insert("ownerReferences".to_owned(), serde_json::json!(metadata.owner_references));
            members.insert("metadata".to_owned(), Value::Object(kept));
        }
        let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        Self {
            key: Key::of(&metadata),
            owner: owner.map(|owner| owner.uid.clone()),
            relay: metadata.labels.as_ref().and_then(|labels| labels.get(names::INSTANCE).cloned()),
            password,
            is_ending: metadata.deletion_timestamp.is_some(),
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata.resource_version.unwrap_or_default(),
            body: body.to_string().into_boxed_str(),
            foreign,
            replicas,
            progress,
        }
    }
}

/// Values of Secrets by their digests: enough to compare, and not in memory for longer than needed.
fn shorten(data: &mut Value) {
    for value in data.as_object_mut().into_iter().flat_map(|members| members.values_mut()) {
        if let Some(text) = value.as_str() {
            *value = Value::String(digest_of(text));
        }
    }
}

fn password(value: &Value) -> Option<config::Secret<String>> {
    let bytes = BASE64.decode(value.as_str()?).ok()?;
    String::from_utf8(bytes).ok().map(config::Secret::new)
}

fn integer(value: &Value) -> Option<i32> {
    value.as_i64().and_then(|number| i32::try_from(number).ok())
}

fn progress(body: &Value, generation: Option<i64>) -> Progress {
    let count = |name: &str| body.pointer(&format!("/status/{name}")).and_then(integer).unwrap_or(0);
    let seen = body.pointer("/status/observedGeneration").and_then(Value::as_i64);
    Progress {
        is_seen: seen.is_some() && seen >= generation,
        replicas: count("replicas"),
        updated: count("updatedReplicas"),
        ready: count("readyReplicas"),
    }
}

/// The fields of spec and data that somebody else's change added. What other controllers write by subresources (scale, status)
/// and what people put on a pod template's annotations (`kubectl rollout restart`) stays.
fn foreign_fields(
    managers: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry],
    body: &Value,
) -> Vec<String> {
    let spec = body.get("spec").unwrap_or(&Value::Null);
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for entry in managers.iter().filter(|entry| entry.subresource.is_none()) {
        let Some(fields) = entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:spec")) else {
            continue;
        };
        let is_ours = entry.manager.as_deref() == Some(names::MANAGER);
        leaves(fields, spec, "/spec", if is_ours { &mut ours } else { &mut theirs });
    }
    theirs.retain(|path| !ours.contains(path) && !path.starts_with("/spec/template/metadata/annotations"));
    theirs.sort();
    // What holds others goes with them.
    theirs.dedup_by(|inner, outer| inner == outer || inner.starts_with(&format!("{outer}/")));
    theirs
}

/// Walks a FieldsV1 beside the value that it speaks of: pointers to its leaves, and to what is owned as a whole (`.`).
fn leaves(fields: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let Some(members) = fields.as_object() else { return };
    if members.is_empty() || members.contains_key(".") {
        found.push(path.to_owned());
    }
    for (name, inner) in members {
        let step = match name.split_once(':') {
            Some(("f", field)) => {
                let escaped = field.replace('~', "~0").replace('/', "~1");
                value.get(field).map(|value| (escaped, value))
            }
            Some(("k", keys)) => element(value, keys),
            // Members of sets (`v:`) are left alone: none of our specs has one.
            _ => None,
        };
        if let Some((step, value)) = step {
            leaves(inner, value, &format!("{path}/{step}"), found);
        }
    }
}

/// The element of a list that has these keys, and its index.
fn element<'v>(list: &'v Value, keys: &str) -> Option<(String, &'v Value)> {
    let keys: Value = serde_json::from_str(keys).ok()?;
    let keys = keys.as_object()?;
    let has_keys = |one: &Value| keys.iter().all(|(key, wanted)| one.get(key) == Some(wanted));
    let (index, found) = list.as_array()?.iter().enumerate().find(|(_, one)| has_keys(one))?;
    Some((index.to_string(), found))
}

#[cfg(test)]
mod tests;
