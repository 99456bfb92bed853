//! Makes what is planned so: server-side apply of what differs, and nothing else.
//! **Owns:** the writes of children, their guards (leadership, version, whose it is). **Never:** computes what should be there (plan), how two
//! objects differ (difference).

mod difference;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};

use crate::{
    gather::{Caches, Child, Snapshot},
    leader::Leadership,
    metrics::Metrics,
    names::{self, Key},
    plan::{Kind, Object, Plan, digest_of},
};

pub use difference::differs;

/// What one request may take.
pub const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// How often one object may be put right in a row: beyond, somebody else keeps changing it.
const MOST_IN_A_ROW: f64 = 20.0;
/// How soon one more is allowed.
const ONE_MORE_EVERY: Duration = Duration::from_secs(10);

/// Proof that the children of a plan are as planned: a status may speak of them.
#[derive(Debug)]
pub struct Applied(());

/// Why they aren't.
#[derive(Debug, thiserror::Error)]
pub enum NotApplied {
    /// Another operator leads.
    #[error("another operator leads")]
    NotLeading,
    /// An object of that name is somebody else's.
    #[error("found {kind} {name} that is not ours; expected that name to be free; delete or rename it")]
    NameTaken {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// It has changed since it was read, or is going: looked at again at once.
    #[error("{kind} {name} has changed meanwhile")]
    Changed {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Somebody else keeps changing it.
    #[error("{kind} {name}: found that somebody else keeps changing it; expected to be its only writer")]
    Contended {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The API server refused it.
    #[error("{kind} {name}: {message}")]
    Refused {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What the API server said.
        message: String,
    },
    /// The API server can't be reached, or doesn't answer in time.
    #[error("{kind} {name}: {message}")]
    Unavailable {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What happened.
        message: String,
    },
}

/// How often one object may be put right again.
#[derive(Debug)]
struct Patience {
    left: f64,
    since: Instant,
    /// What was asked for then: to ask for something else is no fight.
    wanted: String,
}

/// Writes children.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    caches: Caches,
    leadership: Leadership,
    metrics: Metrics,
    /// By UID.
    patience: Arc<Mutex<HashMap<String, Patience>>>,
}

impl Applier {
    /// One that writes by this client.
    pub fn new(client: Client, caches: Caches, leadership: Leadership, metrics: Metrics) -> Self {
        Self { client, caches, leadership, metrics, patience: Arc::default() }
    }

    /// Makes the children of a plan so, in its order, and takes away what isn't in it any more.
    ///
    /// # Errors
    /// The first that couldn't be made so. Those before it are.
    pub async fn apply(&self, snapshot: &Snapshot, plan: &Plan) -> Result<Applied, NotApplied> {
        for object in &plan.children {
            let live = snapshot.children.get(&(object.kind, object.key.name.clone()));
            match live {
                None => self.create(object, snapshot).await?,
                Some(live) => self.correct(object, live).await?,
            }
        }
        for ((kind, name), child) in &snapshot.children {
            let is_planned = plan.children.iter().any(|one| one.kind == *kind && one.key.name == *name);
            // What may hold mail goes with its MailRelay only.
            let holds_mail = *kind == Kind::StatefulSet || child.password.is_some();
            if !is_planned && !holds_mail && !child.is_ending {
                self.delete(*kind, child).await?;
            }
        }
        Ok(Applied(()))
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.resource())
    }

    /// An object that no watch has shown: unless somebody else has one of that name, it is made.
    async fn create(&self, object: &Object, snapshot: &Snapshot) -> Result<(), NotApplied> {
        let api = self.api(object.kind, &object.key.namespace);
        let found =
            self.request(object.kind, &object.key, "get", api.get_metadata_opt(&object.key.name)).await?;
        if let Some(found) = found {
            let owners = found.metadata.owner_references.iter().flatten();
            let owner = owners.filter(|owner| owner.controller == Some(true)).map(|owner| &owner.uid).next();
            let is_going = found.metadata.deletion_timestamp.is_some();
            if owner != snapshot.relay.metadata.uid.as_ref() || is_going {
                return Err(taken(object, found.metadata.labels.as_ref()));
            }
        }
        self.write(object, None).await
    }

    /// An object that is there: what differs is put right.
    async fn correct(&self, object: &Object, live: &Child) -> Result<(), NotApplied> {
        if live.is_ending {
            return Err(NotApplied::Changed { kind: object.kind.name(), name: object.key.name.clone() });
        }
        let unwanted = difference::unwanted(object, live);
        if unwanted.is_empty() && !differs(object, live) {
            return Ok(());
        }
        self.check_patience(object, live)?;
        if !unwanted.is_empty() {
            tracing::info!(kind = object.kind.name(), object = %object.key, fields = ?unwanted, "what others added is taken out");
            return self.take_out(object, live, &unwanted).await;
        }
        self.write(object, Some(&live.resource_version)).await
    }

    async fn write(&self, object: &Object, version: Option<&str>) -> Result<(), NotApplied> {
        let api = self.api(object.kind, &object.key.namespace);
        let mut value = object.value.clone();
        if let Some(version) = version {
            value["metadata"]["resourceVersion"] = Value::from(version);
        }
        let params = PatchParams::apply(names::MANAGER).force();
        let patch = Patch::Apply(&value);
        let sent = api.patch(&object.key.name, &params, &patch);
        let written = self.request(object.kind, &object.key, "apply", sent).await?;
        self.seen(object.kind, written);
        tracing::info!(kind = object.kind.name(), object = %object.key, "applied");
        Ok(())
    }

    async fn take_out(&self, object: &Object, live: &Child, unwanted: &[String]) -> Result<(), NotApplied> {
        let mut steps = vec![json!({
            "op": "test", "path": "/metadata/resourceVersion", "value": live.resource_version,
        })];
        // The last first: what is taken out of a list moves what comes behind it.
        steps.extend(unwanted.iter().rev().map(|path| json!({ "op": "remove", "path": path })));
        let patch: Patch<Value> = match serde_json::from_value(Value::Array(steps)) {
            Ok(steps) => Patch::Json(steps),
            Err(error) => {
                return Err(refused(object.kind, &object.key, error.to_string()));
            }
        };
        let api = self.api(object.kind, &object.key.namespace);
        let params = PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
        let sent = api.patch(&object.key.name, &params, &patch);
        let written = self.request(object.kind, &object.key, "patch", sent).await?;
        self.seen(object.kind, written);
        // What was overwritten as well is put right next.
        Err(NotApplied::Changed { kind: object.kind.name(), name: object.key.name.clone() })
    }

    async fn delete(&self, kind: Kind, child: &Child) -> Result<(), NotApplied> {
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(child.uid.clone()), resource_version: None }),
            ..DeleteParams::background()
        };
        let api = self.api(kind, &child.key.namespace);
        match self.request(kind, &child.key, "delete", api.delete(&child.key.name, &params)).await {
            Ok(_) => {
                tracing::info!(kind = kind.name(), object = %child.key, "deleted: it is not asked for any more");
                Ok(())
            }
            Err(NotApplied::Changed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What was just written is known at once, not when the watch tells.
    fn seen(&self, kind: Kind, written: DynamicObject) {
        if let Some(store) = self.caches.children.get(&kind) {
            let child = Child::of(kind, written);
            store.put("", child.key.clone(), child);
        }
    }

    async fn request<T>(
        &self,
        kind: Kind,
        key: &Key,
        verb: &'static str,
        sent: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, NotApplied> {
        let is_write = verb != "get";
        if is_write && !self.leadership.is_held() {
            return Err(NotApplied::NotLeading);
        }
        let answer = tokio::time::timeout(REQUEST_WITHIN, sent).await;
        let (result, answer) = match answer {
            Ok(Ok(value)) => ("ok", Ok(value)),
            Ok(Err(error)) => told(kind, key, error),
            Err(_) => ("error", Err(unavailable(kind, key, "no answer in time".to_owned()))),
        };
        if is_write {
            self.metrics.writes.with_label_values(&[kind.name(), verb, result]).inc();
        }
        answer
    }

    /// A token bucket for each object, so that two writers of one field don't write for ever.
    fn check_patience(&self, object: &Object, live: &Child) -> Result<(), NotApplied> {
        let now = Instant::now();
        let mut all = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = digest_of(&object.value.to_string());
        let fresh = || Patience { left: MOST_IN_A_ROW, since: now, wanted: wanted.clone() };
        let patience = all.entry(live.uid.clone()).or_insert_with(fresh);
        if patience.wanted != wanted {
            patience.wanted = wanted;
            return Ok(());
        }
        let earned = now.duration_since(patience.since).as_secs_f64() / ONE_MORE_EVERY.as_secs_f64();
        patience.left = (patience.left + earned).min(MOST_IN_A_ROW);
        patience.since = now;
        if patience.left < 1.0 {
            return Err(NotApplied::Contended { kind: object.kind.name(), name: object.key.name.clone() });
        }
        patience.left -= 1.0;
        Ok(())
    }
}

/// Whose an object is that isn't ours: another's, or an earlier MailRelay's of the same name that is being cleared away.
fn taken(object: &Object, labels: Option<&BTreeMap<String, String>>) -> NotApplied {
    let (kind, name) = (object.kind.name(), object.key.name.clone());
    let is_managed = labels.and_then(|labels| labels.get(names::MANAGED_BY.0));
    if is_managed.is_some_and(|manager| manager == names::MANAGED_BY.1) {
        let message = "waits for the one of an earlier MailRelay to go".to_owned();
        return NotApplied::Unavailable { kind, name, message };
    }
    NotApplied::NameTaken { kind, name }
}

fn told<T>(kind: Kind, key: &Key, error: kube::Error) -> (&'static str, Result<T, NotApplied>) {
    let changed = || NotApplied::Changed { kind: kind.name(), name: key.name.clone() };
    match error {
        // JSON patch answers 422 to a test that fails; apply answers 409.
        kube::Error::Api(status) if status.code == 409 || status.code == 404 => ("conflict", Err(changed())),
        kube::Error::Api(status) if status.code == 422 && status.message.contains("testing path") => {
            ("conflict", Err(changed()))
        }
        kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => {
            ("error", Err(refused(kind, key, status.message.clone())))
        }
        error => ("error", Err(unavailable(kind, key, error.to_string()))),
    }
}

fn refused(kind: Kind, key: &Key, message: String) -> NotApplied {
    NotApplied::Refused { kind: kind.name(), name: key.name.clone(), message }
}

fn unavailable(kind: Kind, key: &Key, message: String) -> NotApplied {
    NotApplied::Unavailable { kind: kind.name(), name: key.name.clone(), message }
}
