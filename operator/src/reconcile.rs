//! One reconcile, from what is known to what is so: **the page to read**.
//! gather -> validate -> plan -> apply -> publish -> write_status, each a file of its name.
//! **Owns:** their order, and what a failure of each means. **Never:** how any of them is done.
//! Invariant: a status speaks only of what was applied, or says that it wasn't.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::Client;
use postrider_core::{
    compile,
    identity::{Judgement, Subject},
};
use postrider_crds::{MailRelayStatus, status::reasons};

use crate::{
    agenda::{Agenda, Target},
    apply::{Applied, Applier, NotApplied},
    finalize,
    gather::{Caches, Snapshot},
    identity::Identities,
    leader::Leadership,
    metrics::Metrics,
    names::{self, Key},
    outcomes::Outcomes,
    plan::{
        self, Kind, Plan,
        rollout::{Rollout, rollout},
        status::{
            Facts,
            identity::counts,
            relay_status,
            rule::{Parent, rule_status},
        },
    },
    publish::Publisher,
    validate::{self, Ending, Judged},
    write_status::{NotWritten, StatusWriter, is_same_but_figures, now},
};

/// How often a queue's figures are written, if nothing else has changed.
const FIGURES_EVERY: Duration = Duration::from_secs(30);
/// Everything is looked at now and then, whatever the watches say.
const AGAIN: Duration = Duration::from_secs(600);
/// A mail queue that is to go is looked at that often.
const ENDING_AGAIN: Duration = Duration::from_secs(5);
/// What changed meanwhile is looked at again.
const SOON: Duration = Duration::from_millis(50);

/// All that reconciling takes.
pub struct Reconciler {
    /// The API server.
    pub client: Client,
    /// What is known.
    pub caches: Caches,
    /// Namespaces that are watched; all, if none.
    pub namespaces: Vec<String>,
    /// Writes children.
    pub applier: Applier,
    /// Brings configurations to pods.
    pub publisher: Publisher,
    /// Writes statuses.
    pub statuses: StatusWriter,
    /// What each MailRelay makes of its rules.
    pub outcomes: Outcomes,
    /// What the DNS says of each MailRelay.
    pub identities: Identities,
    /// What is to be done.
    pub agenda: Arc<Agenda>,
    /// Whether we may write.
    pub leadership: Leadership,
    /// Counters.
    pub metrics: Metrics,
    /// When each MailRelay's figures were written last.
    pub figures: Mutex<BTreeMap<Key, Instant>>,
}

/// Why a reconcile didn't come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Something was changed meanwhile: again, at once.
    #[error("something has changed meanwhile")]
    Changed,
    /// Another operator leads.
    #[error("another operator leads")]
    NotLeading,
    /// It is tried again later.
    #[error("{0}")]
    Later(String),
}

impl From<NotWritten> for Failed {
    fn from(error: NotWritten) -> Self {
        match error {
            NotWritten::Changed => Self::Changed,
            NotWritten::NotLeading => Self::NotLeading,
            NotWritten::Failed(_) => Self::Later(error.to_string()),
        }
    }
}

/// What a MailRelay's pods should run by, and how that went.
struct Planned {
    /// None, if it can't be used or doesn't fit.
    plan: Option<Plan>,
    /// Reason and message.
    obstacle: Option<(&'static str, String)>,
    /// Proof that the children are as planned.
    applied: Option<Applied>,
    /// What is tried again later.
    failure: Option<String>,
}

impl Reconciler {
    /// Reconciles one target. Returns when to do so again.
    ///
    /// # Errors
    /// It didn't come to its end.
    pub async fn reconcile(&self, target: &Target) -> Result<Option<Duration>, Failed> {
        match target {
            Target::Relay(key) => self.relay(key).await,
            Target::Rule(key) => self.rule(key).await,
        }
    }

    /// A MailRelay and all that belongs to it.
    async fn relay(&self, key: &Key) -> Result<Option<Duration>, Failed> {
        let Some(snapshot) = self.caches.snapshot(key) else {
            self.forget(key);
            return Ok(None);
        };
        let ending = validate::ending(&snapshot);
        if let Some(finalizers) = validate::finalizer(&snapshot, ending) {
            finalize::write(&self.client, &self.leadership, &snapshot.relay, &finalizers).await?;
            // Its change comes back by the watch.
            return Ok(Some(AGAIN));
        }
        if ending == Ending::MayGo {
            return Ok(None);
        }
        let judged = validate::validate(&snapshot);
        let planned = self.make_so(&snapshot, &judged).await?;
        let (rollout, again) = self.publish(key, &snapshot, planned.plan.as_ref()).await;
        self.tell_rules(key, &judged, &planned, &rollout);
        let identity = self.identity(key, &snapshot, &judged);
        let facts = Facts {
            snapshot: &snapshot,
            judged: &judged,
            obstacle: planned.obstacle,
            hash: planned.applied.as_ref().and(planned.plan.as_ref()).map(|plan| plan.config.hash.as_str()),
            rollout: &rollout,
            wanted: judged.valid.as_ref().map_or(0, plan::wanted_replicas),
            ending,
            identity: identity.as_deref(),
        };
        let status = relay_status(&facts, &now());
        self.measure(key, &status, &facts, planned.plan.as_ref());
        let figures_again = self.write_relay_status(key, &snapshot, &status).await?;
        if let Some(failure) = planned.failure {
            return Err(Failed::Later(failure));
        }
        let ending_again = matches!(ending, Ending::Waits(_)).then_some(ENDING_AGAIN);
        Ok([Some(AGAIN), again, figures_again, ending_again].into_iter().flatten().min())
    }

    /// Plans and applies. What users can mend becomes an obstacle that the status tells; what passes is tried again.
    async fn make_so(&self, snapshot: &Snapshot, judged: &Judged) -> Result<Planned, Failed> {
        let mut planned = Planned { plan: None, obstacle: None, applied: None, failure: None };
        let Some(valid) = &judged.valid else { return Ok(planned) };
        let plan = match plan::plan(valid) {
            Ok(plan) => plan,
            Err(error) => {
                planned.obstacle = Some((reasons::CONFIG_TOO_LARGE, error.to_string()));
                return Ok(planned);
            }
        };
        match self.applier.apply(snapshot, &plan).await {
            Ok(applied) => planned.applied = Some(applied),
            Err(NotApplied::NotLeading) => return Err(Failed::NotLeading),
            Err(NotApplied::Changed { .. }) => return Err(Failed::Changed),
            Err(error @ NotApplied::Unavailable { .. }) => return Err(Failed::Later(error.to_string())),
            Err(error @ NotApplied::NameTaken { .. }) => {
                planned.obstacle = Some((reasons::NAME_TAKEN, error.to_string()));
                planned.failure = Some(error.to_string());
            }
            Err(error @ (NotApplied::Refused { .. } | NotApplied::Contended { .. })) => {
                planned.obstacle = Some((reasons::INVALID, error.to_string()));
                planned.failure = Some(error.to_string());
            }
        }
        planned.plan = Some(plan);
        Ok(planned)
    }

    /// Tells the pods, and how far it has come.
    async fn publish(
        &self,
        key: &Key,
        snapshot: &Snapshot,
        plan: Option<&Plan>,
    ) -> (Rollout, Option<Duration>) {
        let Some(plan) = plan else { return (Rollout::default(), None) };
        let hash = &plan.config.hash;
        let secret = snapshot.children.get(&(Kind::Secret, names::config_secret(&key.name)));
        let was_there = secret.is_some_and(|secret| secret.body.contains(hash.as_str()));
        self.publisher.publish(key, hash, was_there);
        let again = self.publisher.nudge(key, &snapshot.pods, hash).await;
        let rollout = rollout(&snapshot.pods, hash);
        self.publisher.note_programmed(key, rollout.is_programmed(), rollout.ready > 0);
        (rollout, again)
    }

    /// What the DNS says of the fleet, if somebody has looked; else somebody will.
    fn identity(&self, key: &Key, snapshot: &Snapshot, judged: &Judged) -> Option<Arc<Judgement>> {
        let config = &judged.valid.as_ref()?.config;
        self.identities.find(key, Subject::of(config, snapshot.relay.spec.egress.as_ref()))
    }

    /// What the MailRelay makes of its rules, for their statuses.
    fn tell_rules(&self, key: &Key, judged: &Judged, planned: &Planned, rollout: &Rollout) {
        let is_usable = planned.applied.is_some();
        let config = judged.valid.as_ref().filter(|_| is_usable).map(|valid| &valid.config);
        let changed = self.outcomes.note(key, &judged.rules, config, is_usable && rollout.is_programmed());
        for rule in changed {
            self.agenda.touch(Target::Rule(rule), SOON);
        }
    }

    /// Writes the status. Figures of the queue change all the time: they are written now and then. Returns when that will be.
    async fn write_relay_status(
        &self,
        key: &Key,
        snapshot: &Snapshot,
        status: &MailRelayStatus,
    ) -> Result<Option<Duration>, Failed> {
        let before = snapshot.relay.status.clone().unwrap_or_default();
        if before == *status {
            return Ok(None);
        }
        if is_same_but_figures(&before, status) {
            let written = self.figures.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied();
            let wait = written.map_or(Duration::ZERO, |at| FIGURES_EVERY.saturating_sub(at.elapsed()));
            if !wait.is_zero() {
                return Ok(Some(wait));
            }
        }
        self.statuses.relay(&snapshot.relay, status).await?;
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), Instant::now());
        Ok(None)
    }

    fn measure(&self, key: &Key, status: &MailRelayStatus, facts: &Facts<'_>, plan: Option<&Plan>) {
        let labels = [key.namespace.as_str(), key.name.as_str()];
        for condition in &status.conditions {
            let value = match condition.status.as_str() {
                "True" => 1,
                "False" => 0,
                _ => -1,
            };
            let labels = [labels[0], labels[1], condition.type_.as_str()];
            self.metrics.condition.with_label_values(&labels).set(value);
        }
        for (state, count) in [("desired", facts.wanted), ("ready", status.ready_replicas)] {
            let labels = [labels[0], labels[1], state];
            self.metrics.relay_pods.with_label_values(&labels).set(i64::from(count));
        }
        for (kind, count) in facts.identity.into_iter().flat_map(counts) {
            let labels = [labels[0], labels[1], kind.as_str()];
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.metrics.identity_findings.with_label_values(&labels).set(count);
        }
        if let Some(plan) = plan {
            let bytes = i64::try_from(plan.config.file.len()).unwrap_or(i64::MAX);
            self.metrics.config_bytes.with_label_values(&labels).set(bytes);
        }
    }

    fn forget(&self, key: &Key) {
        self.outcomes.forget(key);
        self.publisher.forget(key);
        self.identities.forget(key);
        self.metrics.forget(key);
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// A rule's status: what each of its MailRelays makes of it.
    async fn rule(&self, key: &Key) -> Result<Option<Duration>, Failed> {
        let Some(rule) = self.caches.rules.find(key) else { return Ok(None) };
        if rule.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let parents: BTreeMap<Key, Parent> = crate::gather::resources::parents_of(&rule)
            .into_iter()
            .map(|parent| {
                let told = self.parent(&parent, key, rule.metadata.generation);
                (parent, told)
            })
            .collect();
        // A MailRelay that hasn't looked yet will tell; until then there is nothing new to say.
        if parents.values().any(|parent| *parent == Parent::Pending) {
            return Ok(None);
        }
        let status = rule_status(&rule, &parents, &now());
        self.statuses.rule(&rule, &status).await?;
        Ok(None)
    }

    fn parent(&self, parent: &Key, rule: &Key, generation: Option<i64>) -> Parent {
        if !self.namespaces.is_empty() && !self.namespaces.contains(&parent.namespace) {
            return Parent::NotOurs;
        }
        if self.caches.relays.find(parent).is_none() {
            let known = self.caches.relays.select(|key, _| key.namespace == parent.namespace);
            let known: Vec<String> = known.into_iter().map(|(key, _)| key.name).collect();
            let known = known.iter().map(String::as_str);
            return Parent::Missing(compile::no_such_relay(&parent.namespace, &parent.name, known));
        }
        match self.outcomes.find(parent, rule, generation) {
            Some(outcome) => Parent::Told(Box::new(outcome)),
            None => Parent::Pending,
        }
    }
}
