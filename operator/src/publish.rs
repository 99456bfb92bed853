//! Brings a configuration to the pods: tells each that its mounted Secret has changed, until it runs it.
//! **Owns:** the nudge (an annotation makes the kubelet look at once), when it is repeated. **Never:** the Secret (apply), what pods answer
//! (reporter).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    apply::REQUEST_WITHIN,
    gather::RelayPod,
    leader::Leadership,
    metrics::Metrics,
    names::{self, Key},
};

/// The kubelet looks at a pod once a second at most.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A pod that hasn't said what it runs within this time is told all the same: maybe it can't be asked.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How many pods are told at a time.
const AT_A_TIME: usize = 16;
/// Says once more what the hash has said already.
const NUDGE: &str = "postrider.dev/nudge";

/// What is being brought to the pods of each MailRelay.
#[derive(Clone)]
pub struct Publisher {
    client: Client,
    leadership: Leadership,
    metrics: Metrics,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By MailRelay: the hash, since when it is published, whether all pods have it.
    published: HashMap<Key, Published>,
    /// By pod UID: when it was told last, and how often.
    nudged: HashMap<String, (Instant, u32)>,
}

/// A configuration on its way.
#[derive(Debug, Clone)]
pub struct Published {
    /// Its hash.
    pub hash: String,
    /// Since when.
    pub since: Instant,
    /// Whether every ready pod has it.
    pub is_programmed: bool,
    /// Whether it was there before this process began.
    is_old: bool,
}

impl Publisher {
    /// One that writes by this client.
    pub fn new(client: Client, leadership: Leadership, metrics: Metrics) -> Self {
        Self { client, leadership, metrics, state: Arc::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is on its way to a MailRelay's pods.
    pub fn published(&self, relay: &Key) -> Option<Published> {
        self.state().published.get(relay).cloned()
    }

    /// A MailRelay is gone.
    pub fn forget(&self, relay: &Key) {
        self.state().published.remove(relay);
    }

    /// A pod is gone.
    pub fn forget_pods(&self, is_there: impl Fn(&str) -> bool) {
        self.state().nudged.retain(|uid, _| is_there(uid));
    }

    /// The Secret holds this configuration now. `is_old` says that it did so before.
    pub fn publish(&self, relay: &Key, hash: &str, is_old: bool) {
        let mut state = self.state();
        let is_same = state.published.get(relay).is_some_and(|known| known.hash == hash);
        if !is_same {
            let published =
                Published { hash: hash.to_owned(), since: Instant::now(), is_programmed: false, is_old };
            state.published.insert(relay.clone(), published);
        }
    }

    /// Notes whether every ready pod has it, and for how long that took.
    pub fn note_programmed(&self, relay: &Key, is_programmed: bool, has_pods: bool) {
        let mut state = self.state();
        let Some(published) = state.published.get_mut(relay) else { return };
        let waited = published.since.elapsed().as_secs_f64();
        if is_programmed && !published.is_programmed && !published.is_old {
            self.metrics.programmed_duration.observe(waited);
        }
        published.is_programmed |= is_programmed;
        let behind = if is_programmed || !has_pods { 0.0 } else { waited };
        let labels = [relay.namespace.as_str(), relay.name.as_str()];
        self.metrics.unprogrammed.with_label_values(&labels).set(behind);
    }

    /// Tells the pods that run something else. Returns when to do so again; none, if nobody has to be told.
    pub async fn nudge(&self, relay: &Key, pods: &[RelayPod], hash: &str) -> Option<Duration> {
        let behind: Vec<&RelayPod> = pods.iter().filter(|pod| self.is_behind(relay, pod, hash)).collect();
        let due: Vec<(String, u32)> = {
            let (mut state, now) = (self.state(), Instant::now());
            let due = behind.iter().filter_map(|pod| {
                let known = state.nudged.get(&pod.uid).copied();
                let is_new = pod.annotated_hash.as_deref() != Some(hash);
                let count = match known {
                    Some((at, _)) if now.duration_since(at) < AGAIN_AFTER && !is_new => return None,
                    Some((_, count)) => count.wrapping_add(1),
                    None => 0,
                };
                state.nudged.insert(pod.uid.clone(), (now, count));
                Some((pod.name.clone(), count))
            });
            due.collect()
        };
        let told = stream::iter(due).map(|(pod, count)| self.tell(relay, pod, hash, count));
        told.buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
        let is_known = pods.iter().all(|pod| pod.is_ending || pod.report.is_some());
        (!behind.is_empty() || !is_known).then_some(AGAIN_AFTER)
    }

    /// Whether a pod has to be told. One that hasn't said what it runs is asked first: it may have started with the newest.
    fn is_behind(&self, relay: &Key, pod: &RelayPod, hash: &str) -> bool {
        if pod.is_ending || pod.address.is_none() {
            return false;
        }
        match &pod.report {
            Some(report) => report.config.hash != hash,
            None => {
                let waited =
                    self.published(relay).map_or(Duration::ZERO, |published| published.since.elapsed());
                pod.is_ready && waited >= ANSWER_WITHIN && pod.annotated_hash.as_deref() != Some(hash)
            }
        }
    }

    async fn tell(&self, relay: &Key, pod: String, hash: &str, count: u32) {
        if !self.leadership.is_held() {
            return;
        }
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &relay.namespace);
        let annotations = json!({ names::CONFIG_HASH: hash, NUDGE: count.to_string() });
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        let params = PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
        let sent = tokio::time::timeout(REQUEST_WITHIN, api.patch_metadata(&pod, &params, &patch)).await;
        let result = match sent {
            Ok(Ok(_)) => "ok",
            // Gone meanwhile: whoever comes in its place has the newest.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => "conflict",
            Ok(Err(error)) => {
                tracing::warn!(%pod, namespace = relay.namespace, %error, "a pod can't be told of its configuration");
                "error"
            }
            Err(_) => "error",
        };
        self.metrics.writes.with_label_values(&["Pod", "patch", result]).inc();
    }
}
