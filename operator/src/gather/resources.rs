//! What users wrote, as watches show it: MailRelays, RoutingRules, Secrets, namespaces.
//! **Owns:** what is kept of a Secret, which rules name which MailRelay. **Never:** judges any of it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1 as api;
use postrider_core::{config, manifests::SecretData};
use postrider_crds::{MailRelay, RoutingRule};

use crate::names::Key;

/// What is kept of a Secret.
pub fn secret_of(secret: api::Secret) -> SecretData {
    let data = secret.data.unwrap_or_default();
    SecretData {
        type_: secret.type_.unwrap_or_else(|| "Opaque".to_owned()),
        data: data.into_iter().map(|(key, value)| (key, config::Secret::new(value.0))).collect(),
    }
}

/// The MailRelays that a rule names.
pub fn parents_of(rule: &RoutingRule) -> BTreeSet<Key> {
    let own = rule.metadata.namespace.as_deref().unwrap_or_default();
    let parents = rule.spec.parent_refs.iter();
    parents.map(|parent| Key::new(parent.namespace.as_deref().unwrap_or(own), parent.name.clone())).collect()
}

/// Whether a MailRelay chooses by labels of namespaces.
pub fn selects_namespaces(relay: &MailRelay) -> bool {
    let routes = relay.spec.allowed_routes.iter().any(|right| right.namespaces.selector.is_some());
    routes
        || relay
            .spec
            .listeners
            .iter()
            .any(|one| one.allowed_clients.as_ref().is_some_and(|allowed| allowed.namespaces.is_some()))
}

/// Whether a MailRelay lets pods in by their labels.
pub fn selects_pods(relay: &MailRelay) -> bool {
    relay.spec.listeners.iter().any(|one| {
        let allowed = one.allowed_clients.as_ref();
        allowed.is_some_and(|allowed| allowed.pods.is_some() || allowed.namespaces.is_some())
    })
}
