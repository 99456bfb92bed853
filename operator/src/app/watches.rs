//! What is watched, and where.
//! **Owns:** the list of watches, their selectors and scopes. **Never:** what becomes of an object (gather).

use std::time::Duration;

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, Pod, Secret},
};
use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, DynamicObject},
    runtime::watcher,
};
use postrider_crds::{MailRelay, RoutingRule};
use serde::de::DeserializeOwned;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cli::RunArgs,
    gather::{
        Caches, Child, RelayPod,
        pods::client_of,
        resources::secret_of,
        watch::{Shaped, Watch},
    },
    metrics::Metrics,
    names::{self, Key},
    plan::Kind,
};

/// Types of Secrets that nothing of ours names, and that can be many and large.
const OTHER_SECRETS: &str =
    "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,type!=kubernetes.io/dockerconfigjson";
/// How often it is looked whether pods matter as clients.
const LOOK_FOR_CLIENTS: Duration = Duration::from_secs(1);
/// How often single namespaces are read, where they can't be watched.
const READ_NAMESPACES: Duration = Duration::from_secs(30);

/// All watches.
#[derive(Clone)]
pub(super) struct Watches {
    client: Client,
    caches: Caches,
    metrics: Metrics,
    /// Namespaces of everything; one empty name for all.
    scopes: Vec<String>,
    /// Namespaces of Secrets.
    secret_scopes: Vec<String>,
}

impl Watches {
    /// As the command line says.
    pub(super) fn new(client: Client, args: &RunArgs, caches: Caches, metrics: Metrics) -> Self {
        let or_all = |names: &[String]| if names.is_empty() { vec![String::new()] } else { names.to_vec() };
        let scopes = or_all(&args.watch_namespaces);
        let secret_scopes =
            if args.secret_namespaces.is_empty() { scopes.clone() } else { args.secret_namespaces.clone() };
        Self { client, caches, metrics, scopes, secret_scopes }
    }

    /// What tells which lists aren't there yet: before that, nothing may be decided.
    pub(super) fn waits(&self) -> Box<dyn Fn() -> Vec<String> + Send + Sync> {
        let (caches, all, secrets) = (self.caches.clone(), self.scopes.len(), self.secret_scopes.len());
        Box::new(move || {
            let mut lists = vec![
                ("MailRelays".to_owned(), caches.relays.synced() >= all),
                ("RoutingRules".to_owned(), caches.rules.synced() >= all),
                ("Secrets".to_owned(), caches.secrets.synced() >= secrets),
                ("Namespaces".to_owned(), caches.namespaces.synced() > 0),
                ("Pods".to_owned(), caches.pods.synced() >= all),
            ];
            lists.extend(caches.children.iter().map(|(kind, store)| {
                let scopes = if *kind == Kind::Secret { secrets } else { all };
                (format!("{}s", kind.name()), store.synced() >= scopes)
            }));
            if caches.needs_clients() {
                lists.push(("client Pods".to_owned(), caches.clients.synced() >= all));
            }
            lists.into_iter().filter(|(_, is_there)| !is_there).map(|(name, _)| name).collect()
        })
    }

    /// Starts all of them.
    pub(super) fn start(self, tracker: &TaskTracker, stopped: &CancellationToken) {
        let start = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            let stopped = stopped.clone();
            tracker.spawn(async move {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = task => {}
                }
            });
        };
        for scope in &self.scopes {
            start(Box::pin(self.clone().relays(scope.clone())));
            start(Box::pin(self.clone().rules(scope.clone())));
            start(Box::pin(self.clone().pods(scope.clone())));
            start(Box::pin(self.clone().clients(scope.clone())));
            for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Secret) {
                start(Box::pin(self.clone().children(kind, scope.clone())));
            }
        }
        for scope in &self.secret_scopes {
            start(Box::pin(self.clone().secrets(scope.clone())));
            start(Box::pin(self.clone().children(Kind::Secret, scope.clone())));
        }
        start(Box::pin(self.namespaces()));
    }

    fn watch<K>(&self, kind: &'static str, scope: String, config: watcher::Config) -> Watch<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let api = if scope.is_empty() {
            Api::all(self.client.clone())
        } else {
            Api::namespaced(self.client.clone(), &scope)
        };
        Watch { kind, api, config, scope, is_optional: false, metrics: self.metrics.clone() }
    }

    async fn relays(self, scope: String) {
        let watch = self.watch::<DeserializeGuard<MailRelay>>("MailRelay", scope, watcher::Config::default());
        let caches = self.caches.clone();
        watch.follow(self.caches.relays, slim, |change| caches.relay_changed(&change)).await;
    }

    async fn rules(self, scope: String) {
        let watch =
            self.watch::<DeserializeGuard<RoutingRule>>("RoutingRule", scope, watcher::Config::default());
        let caches = self.caches.clone();
        watch.follow(self.caches.rules, slim, |change| caches.rule_changed(change)).await;
    }

    async fn secrets(self, scope: String) {
        let not_ours = format!("{}!={}", names::MANAGED_BY.0, names::MANAGED_BY.1);
        let config = watcher::Config::default().labels(&not_ours).fields(OTHER_SECRETS);
        let watch = self.watch::<Secret>("Secret", scope, config);
        let caches = self.caches.clone();
        let shape = |secret| Shaped::Object(secret_of(secret));
        watch.follow(self.caches.secrets, shape, |change| caches.secret_changed(&change)).await;
    }

    async fn pods(self, scope: String) {
        let relays =
            format!("{}={},{}={}", names::NAME, names::RELAY, names::MANAGED_BY.0, names::MANAGED_BY.1);
        let watch = self.watch::<Pod>("Pod", scope, watcher::Config::default().labels(&relays));
        let caches = self.caches.clone();
        let shape = |pod: Pod| {
            let labels = pod.metadata.labels.as_ref();
            let Some(relay) = labels.and_then(|labels| labels.get(names::INSTANCE)) else {
                return Shaped::Nothing;
            };
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            Shaped::Object((Key::new(namespace, relay.clone()), RelayPod::of(&pod)))
        };
        watch.follow(self.caches.pods, shape, |change| caches.pod_changed(change)).await;
    }

    /// Pods as clients: not before a MailRelay asks for them, as there can be many.
    async fn clients(self, scope: String) {
        while !self.caches.needs_clients() {
            tokio::time::sleep(LOOK_FOR_CLIENTS).await;
        }
        let watch = self.watch::<Pod>("Pod", scope, watcher::Config::default());
        let caches = self.caches.clone();
        let shape = |pod: Pod| client_of(&pod).map_or(Shaped::Nothing, Shaped::Object);
        watch.follow(self.caches.clients, shape, |change| caches.client_changed(&change)).await;
    }

    async fn children(self, kind: Kind, scope: String) {
        let ours = format!("{}={}", names::MANAGED_BY.0, names::MANAGED_BY.1);
        let resource = kind.resource();
        let api: Api<DynamicObject> = if scope.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &scope, &resource)
        };
        let watch = Watch {
            kind: kind.name(),
            api,
            config: watcher::Config::default().labels(&ours),
            scope,
            is_optional: kind == Kind::PodMonitor,
            metrics: self.metrics.clone(),
        };
        let caches = self.caches.clone();
        let Some(store) = self.caches.children.get(&kind).cloned() else { return };
        let shape = |object| Shaped::Object(Child::of(kind, object));
        watch.follow(store, shape, |change| caches.child_changed(change)).await;
    }

    /// Labels of namespaces: watched where all are ours to see, else read one by one.
    async fn namespaces(self) {
        let caches = self.caches.clone();
        if self.scopes.iter().any(String::is_empty) {
            let watch: Watch<Namespace> = Watch {
                kind: "Namespace",
                api: Api::all(self.client.clone()),
                config: watcher::Config::default(),
                scope: String::new(),
                is_optional: false,
                metrics: self.metrics.clone(),
            };
            let shape = |namespace: Namespace| Shaped::Object(namespace.metadata.labels.unwrap_or_default());
            watch.follow(self.caches.namespaces, shape, |change| caches.namespace_changed(&change)).await;
            return;
        }
        let api: Api<Namespace> = Api::all(self.client.clone());
        loop {
            for name in &self.scopes {
                let read = tokio::time::timeout(crate::apply::REQUEST_WITHIN, api.get(name)).await;
                // Without the right to, a namespace is known by its name alone.
                let labels = match read {
                    Ok(Ok(namespace)) => namespace.metadata.labels.unwrap_or_default(),
                    Ok(Err(_)) | Err(_) => continue,
                };
                let change = caches.namespaces.put("", Key::new("", name.clone()), labels);
                caches.namespace_changed(&change);
            }
            caches.namespaces.end("");
            tokio::time::sleep(READ_NAMESPACES).await;
        }
    }
}

/// One of our kinds without the bookkeeping that nobody needs.
fn slim<K: Resource<DynamicType = ()> + DeserializeOwned>(object: DeserializeGuard<K>) -> Shaped<K> {
    match object.0 {
        Ok(mut object) => {
            object.meta_mut().managed_fields = None;
            Shaped::Object(object)
        }
        Err(invalid) => Shaped::Unreadable(invalid.error),
    }
}
