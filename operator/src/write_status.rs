//! Statuses and events, onto the API server.
//! **Owns:** that a status is written only when it says something else, and only of what was applied. **Never:** what it says (plan::status).

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use postrider_crds::{MailRelay, MailRelayStatus, RoutingRule, RoutingRuleStatus};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    apply::REQUEST_WITHIN,
    leader::Leadership,
    metrics::Metrics,
    names::Key,
    plan::events::{self, Told},
};

/// The field manager of statuses.
const STATUS_MANAGER: &str = "postrider-status";
/// Most characters of an event's note; the API server takes 1 kB.
const MOST_CHARACTERS: usize = 900;

/// Why a status wasn't written.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    /// Another operator leads.
    #[error("another operator leads")]
    NotLeading,
    /// The object has changed since it was read, or is gone.
    #[error("it has changed meanwhile")]
    Changed,
    /// The API server refused it or can't be reached.
    #[error("the status can't be written: {0}")]
    Failed(String),
}

/// Writes statuses and events.
#[derive(Clone)]
pub struct StatusWriter {
    client: Client,
    leadership: Leadership,
    metrics: Metrics,
    recorder: Recorder,
}

impl StatusWriter {
    /// One that writes by this client. `identity` is this process's name.
    pub fn new(client: Client, leadership: Leadership, metrics: Metrics, identity: &str) -> Self {
        let reporter =
            Reporter { controller: "postrider-operator".into(), instance: Some(identity.to_owned()) };
        let recorder = Recorder::new(client.clone(), reporter);
        Self { client, leadership, metrics, recorder }
    }

    /// Writes a MailRelay's status, if it says anything else, and tells what changed.
    ///
    /// # Errors
    /// It couldn't be written.
    pub async fn relay(&self, relay: &MailRelay, status: &MailRelayStatus) -> Result<(), NotWritten> {
        let before = relay.status.clone().unwrap_or_default();
        if before == *status {
            return Ok(());
        }
        self.write(relay, "MailRelay", &before, status).await?;
        self.tell(relay, &before.conditions, &status.conditions).await;
        Ok(())
    }

    /// Writes a rule's status, if it says anything else, and tells what changed.
    ///
    /// # Errors
    /// It couldn't be written.
    pub async fn rule(&self, rule: &RoutingRule, status: &RoutingRuleStatus) -> Result<(), NotWritten> {
        let before = rule.status.clone().unwrap_or_default();
        if before == *status {
            return Ok(());
        }
        self.write(rule, "RoutingRule", &before, status).await?;
        self.tell(rule, &before.conditions, &status.conditions).await;
        Ok(())
    }

    async fn write<K, S>(&self, object: &K, kind: &str, before: &S, after: &S) -> Result<(), NotWritten>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
        S: Serialize,
    {
        if !self.leadership.is_held() {
            return Err(NotWritten::NotLeading);
        }
        let key = Key::of(object.meta());
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        // With the version: lists are written whole, and somebody else may have an entry in one.
        let body = json!({
            "metadata": { "resourceVersion": object.meta().resource_version },
            "status": merge_patch(before, after),
        });
        let params = PatchParams { field_manager: Some(STATUS_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(&body);
        let sent = api.patch_status(&key.name, &params, &patch);
        let (result, answer) = match tokio::time::timeout(REQUEST_WITHIN, sent).await {
            Ok(Ok(_)) => ("ok", Ok(())),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                ("conflict", Err(NotWritten::Changed))
            }
            Ok(Err(error)) => ("error", Err(NotWritten::Failed(error.to_string()))),
            Err(_) => ("error", Err(NotWritten::Failed("no answer in time".to_owned()))),
        };
        self.metrics.writes.with_label_values(&[kind, "status", result]).inc();
        answer
    }

    /// Tells of conditions that changed. An event that can't be told is lost: the status has said it.
    async fn tell<K>(&self, object: &K, before: &[Condition], after: &[Condition])
    where
        K: Resource<DynamicType = ()>,
    {
        let reference = object.object_ref(&());
        for told in events::events(before, after) {
            self.metrics.events.with_label_values(&[&told.reason]).inc();
            let event = event(&told);
            let sent =
                tokio::time::timeout(Duration::from_secs(3), self.recorder.publish(&event, &reference));
            if let Ok(Err(error)) = sent.await {
                tracing::debug!(%error, "an event wasn't told");
            }
        }
    }
}

/// What makes `after` of `before` by a JSON merge patch (RFC 7396): what isn't there any more is null.
fn merge_patch(before: &impl Serialize, after: &impl Serialize) -> Value {
    let value = |status: Result<Value, serde_json::Error>| status.expect("a status is JSON");
    let (before, mut after) = (value(serde_json::to_value(before)), value(serde_json::to_value(after)));
    if let (Some(before), Some(after)) = (before.as_object(), after.as_object_mut()) {
        for name in before.keys() {
            after.entry(name.clone()).or_insert(Value::Null);
        }
    }
    after
}

fn event(told: &Told) -> Event {
    let note: String = told.note.chars().take(MOST_CHARACTERS).collect();
    Event {
        type_: if told.is_warning { EventType::Warning } else { EventType::Normal },
        reason: told.reason.clone(),
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: None,
    }
}

/// Whether two statuses of a MailRelay say the same but for the queue's figures, which change all the time.
pub fn is_same_but_figures(a: &MailRelayStatus, b: &MailRelayStatus) -> bool {
    MailRelayStatus { queue: None, ..a.clone() } == MailRelayStatus { queue: None, ..b.clone() }
}

/// Now, to the second, as conditions have it.
pub fn now() -> Time {
    let now = jiff::Timestamp::now();
    Time(jiff::Timestamp::from_second(now.as_second()).unwrap_or(now))
}
