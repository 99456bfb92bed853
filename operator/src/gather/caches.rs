//! All that the watches have shown, and what it says of one MailRelay.
//! **Owns:** the stores, whom a change concerns, [`Snapshot`]s. **Never:** talks to the API server.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use postrider_core::manifests::{self, Resources, SecretData};
use postrider_crds::{MailRelay, RoutingRule};
use rand::RngCore;

use super::{
    Child, RelayPod, Snapshot,
    index::Index,
    resources::parents_of,
    store::{Change, Store},
};
use crate::{
    agenda::{Agenda, Target},
    names::{self, Key},
    plan::Kind,
    report::Report,
    validate::Images,
};

/// How long changes are gathered before a MailRelay is reconciled: edits come in handfuls, and pods can be nudged once a
/// second.
const GATHER: Duration = Duration::from_millis(100);
/// The same for rules' statuses.
const GATHER_STATUS: Duration = Duration::from_millis(50);

/// Labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// All that is known. Cloning shares.
#[derive(Debug, Clone)]
pub struct Caches {
    /// MailRelays.
    pub relays: Store<MailRelay>,
    /// RoutingRules.
    pub rules: Store<RoutingRule>,
    /// Secrets that aren't ours.
    pub secrets: Store<SecretData>,
    /// Namespaces, under their names with no namespace before it.
    pub namespaces: Store<Labels>,
    /// Pods that may be clients.
    pub clients: Store<manifests::Pod>,
    /// The relays' pods, each with its MailRelay.
    pub pods: Store<(Key, RelayPod)>,
    /// Our objects, by kind.
    pub children: BTreeMap<Kind, Store<Child>>,
    /// What pods told, by their UID.
    reports: Arc<Mutex<BTreeMap<String, Report>>>,
    index: Index,
    agenda: Arc<Agenda>,
    images: Images,
}

impl Caches {
    /// Nothing is known yet.
    pub fn new(agenda: Arc<Agenda>, images: Images) -> Self {
        Self {
            relays: Store::default(),
            rules: Store::default(),
            secrets: Store::default(),
            namespaces: Store::default(),
            clients: Store::default(),
            pods: Store::default(),
            children: Kind::ALL.into_iter().map(|kind| (kind, Store::default())).collect(),
            reports: Arc::default(),
            index: Index::default(),
            agenda,
            images,
        }
    }

    fn touch_relays(&self, relays: impl IntoIterator<Item = Key>) {
        for key in relays {
            self.agenda.touch(Target::Relay(key), GATHER);
        }
    }

    /// A MailRelay has changed.
    pub fn relay_changed(&self, change: &Change<MailRelay>) {
        for rule in self.index.relay_changed(change) {
            self.agenda.touch(Target::Rule(rule), GATHER_STATUS);
        }
        self.touch_relays([change.key.clone()]);
    }

    /// A rule has changed.
    pub fn rule_changed(&self, change: Change<RoutingRule>) {
        let is_same = |a: &RoutingRule, b: &RoutingRule| {
            a.metadata.generation == b.metadata.generation && a.metadata.uid == b.metadata.uid
        };
        let parents = self.index.rule_changed(&change);
        let is_status = matches!((&change.before, &change.after), (Some(a), Some(b)) if is_same(a, b));
        if !is_status {
            self.touch_relays(parents);
        }
        self.agenda.touch(Target::Rule(change.key), GATHER_STATUS);
    }

    /// A Secret has changed.
    pub fn secret_changed(&self, change: &Change<SecretData>) {
        if change.before.as_deref() == change.after.as_deref() {
            return;
        }
        let parents = |rule: &Key| self.rules.find(rule).map(|rule| parents_of(&rule)).unwrap_or_default();
        self.touch_relays(self.index.concerned_by_secret(&change.key, parents));
    }

    /// A namespace has changed.
    pub fn namespace_changed(&self, change: &Change<Labels>) {
        if change.before.as_deref() != change.after.as_deref() {
            self.touch_relays(self.index.choosing_namespaces());
        }
    }

    /// A pod that may be a client has changed.
    pub fn client_changed(&self, change: &Change<manifests::Pod>) {
        if change.before.as_deref() != change.after.as_deref() {
            self.touch_relays(self.index.choosing_pods());
        }
    }

    /// Whether any MailRelay lets pods in by labels, so that pods matter.
    pub fn needs_clients(&self) -> bool {
        !self.index.choosing_pods().is_empty()
    }

    /// A relay's pod has changed.
    pub fn pod_changed(&self, change: Change<(Key, RelayPod)>) {
        if let (None, Some(before)) = (&change.after, &change.before) {
            self.reports().remove(&before.1.uid);
        }
        if change.before.as_deref() != change.after.as_deref() {
            let relays = [change.before, change.after].into_iter().flatten().map(|pod| pod.0.clone());
            self.touch_relays(relays.collect::<BTreeSet<Key>>());
        }
    }

    /// An object of ours has changed.
    pub fn child_changed(&self, change: Change<Child>) {
        // What was written by ourselves is known already.
        if change.before.as_deref() == change.after.as_deref() {
            return;
        }
        let relays = [change.before, change.after].into_iter().flatten();
        let relays =
            relays.filter_map(|child| Some(Key::new(child.key.namespace.clone(), child.relay.clone()?)));
        self.touch_relays(relays.collect::<BTreeSet<Key>>());
    }

    fn reports(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Report>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pod has told something. Its MailRelay is looked at if that is new.
    pub fn reported(&self, relay: &Key, uid: &str, report: Report) {
        let is_new = self.reports().get(uid) != Some(&report);
        self.reports().insert(uid.to_owned(), report);
        if is_new {
            self.agenda.touch(Target::Relay(relay.clone()), Duration::ZERO);
        }
    }

    /// The pods of a MailRelay with what they told.
    pub fn pods_of(&self, relay: &Key) -> Vec<RelayPod> {
        let mut pods: Vec<RelayPod> = self
            .pods
            .select(|key, (owner, _)| key.namespace == relay.namespace && owner == relay)
            .into_iter()
            .map(|(_, pod)| pod.1.clone())
            .collect();
        let reports = self.reports();
        for pod in &mut pods {
            pod.report = reports.get(&pod.uid).cloned();
        }
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        pods
    }

    /// All that is known of a MailRelay; none, if it isn't there.
    pub fn snapshot(&self, key: &Key) -> Option<Snapshot> {
        let relay = self.relays.find(key)?;
        let children = self.children_of(key, relay.metadata.uid.as_deref().unwrap_or_default());
        let queue = children.get(&(Kind::Secret, names::queue(&key.name)));
        Some(Snapshot {
            resources: self.resources(key, &relay),
            pods: self.pods_of(key),
            password: queue.and_then(|secret| secret.password.clone()).map(|secret| secret.expose().clone()),
            fresh_password: fresh_password(),
            has_pod_monitor: self.has_pod_monitor(),
            images: self.images.clone(),
            children,
            relay,
        })
    }

    fn has_pod_monitor(&self) -> bool {
        self.children.get(&Kind::PodMonitor).is_some_and(Store::is_known)
    }

    fn resources(&self, key: &Key, relay: &Arc<MailRelay>) -> Resources {
        let mut resources = Resources { relays: vec![(**relay).clone()], ..Resources::default() };
        let mut wanted: BTreeSet<Key> =
            relay.spec.secrets().map(|name| Key::new(key.namespace.clone(), name)).collect();
        for name in self.index.rules_of(key) {
            let Some(rule) = self.rules.find(&name) else { continue };
            wanted.extend(rule.spec.secrets().map(|secret| Key::new(name.namespace.clone(), secret)));
            resources.rules.push((*rule).clone());
        }
        for secret in wanted {
            if let Some(found) = self.secrets.find(&secret) {
                resources.secrets.insert((secret.namespace, secret.name), (*found).clone());
            }
        }
        if super::resources::selects_namespaces(relay) {
            let all = self.namespaces.select(|_, _| true).into_iter();
            resources.namespaces = all.map(|(key, labels)| (key.name, (*labels).clone())).collect();
        }
        if super::resources::selects_pods(relay) {
            resources.pods =
                self.clients.select(|_, _| true).into_iter().map(|(_, pod)| (*pod).clone()).collect();
        }
        resources
    }

    /// Our objects of that MailRelay: those that its UID owns.
    fn children_of(&self, key: &Key, uid: &str) -> BTreeMap<(Kind, String), Arc<Child>> {
        let names = [key.name.clone(), names::config_secret(&key.name), names::queue(&key.name)];
        let mut children = BTreeMap::new();
        for (kind, store) in &self.children {
            for name in &names {
                let found = store.find(&Key::new(key.namespace.clone(), name.clone()));
                if let Some(child) = found.filter(|child| child.owner.as_deref() == Some(uid)) {
                    children.insert((*kind, name.clone()), child);
                }
            }
        }
        children
    }

    /// Where the ready pods of all MailRelays are: MailRelay, pod, address.
    pub fn addresses(&self) -> Vec<(Key, String, IpAddr)> {
        let pods = self.pods.select(|_, (_, pod)| !pod.is_ending && pod.address.is_some());
        let pods =
            pods.into_iter().filter_map(|(_, pod)| Some((pod.0.clone(), pod.1.uid.clone(), pod.1.address?)));
        pods.collect()
    }
}

/// 128 bits that nobody can guess.
fn fresh_password() -> String {
    let mut bytes = [0; 16];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}
