//! One watch, from the API server into a store.
//! **Owns:** the stream's life: errors, back-off, kinds that aren't there (yet). **Never:** ends because of one object or one error.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kube::{
    Api,
    runtime::{WatchStreamExt, utils::Backoff, watcher},
};
use rand::Rng;
use serde::de::DeserializeOwned;

use super::store::{Change, Store};
use crate::{metrics::Metrics, names::Key};

/// The wait after a first error.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// The longest wait: short, as a watch may fail twice before it goes on (the server is away; it has forgotten our version), and
/// nothing is decided before all of them do.
const LAST_RETRY: Duration = Duration::from_secs(3);
/// The longest wait for a kind that may be missing for good.
const LAST_RETRY_IF_OPTIONAL: Duration = Duration::from_secs(30);

/// What became of an object that was read.
pub enum Shaped<T> {
    /// It is kept.
    Object(T),
    /// It can't be read: found; expected. The last good form stays.
    Unreadable(String),
    /// It is of no interest.
    Nothing,
}

/// One watch.
pub struct Watch<K> {
    /// What is watched, for logs and metrics.
    pub kind: &'static str,
    /// Where.
    pub api: Api<K>,
    /// Which.
    pub config: watcher::Config,
    /// The namespace; empty for all.
    pub scope: String,
    /// Whether the kind may be missing for good.
    pub is_optional: bool,
    /// Counters.
    pub metrics: Metrics,
}

impl<K> Watch<K>
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    /// Follows it for good: each object is shaped and stored, each change is told.
    pub async fn follow<T>(
        self,
        store: Store<T>,
        shape: impl Fn(K) -> Shaped<T> + Send,
        changed: impl Fn(Change<T>) + Send,
    ) where
        T: Send + Sync,
    {
        let mut health = Health::new(self.kind, self.is_optional, self.metrics.clone());
        let last = if self.is_optional { LAST_RETRY_IF_OPTIONAL } else { LAST_RETRY };
        let stream = watcher(self.api, self.config).backoff(Retries { next: FIRST_RETRY, last });
        let mut stream = std::pin::pin!(stream.into_stream());
        while let Some(event) = stream.next().await {
            match event {
                Ok(watcher::Event::Init) => store.begin(&self.scope),
                Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                    let key = Key::of(object.meta());
                    match shape(object) {
                        Shaped::Object(shaped) => {
                            self.metrics.readable(self.kind, &key);
                            changed(store.put(&self.scope, key, shaped));
                        }
                        Shaped::Unreadable(why) => {
                            store.keep(&self.scope, &key);
                            self.metrics.unreadable(self.kind, &key);
                            tracing::warn!(
                                kind = self.kind, object = %key, reason = %why,
                                "an object can't be read; what was known of it stays"
                            );
                        }
                        Shaped::Nothing => store.remove(&key).into_iter().for_each(&changed),
                    }
                }
                Ok(watcher::Event::Delete(object)) => {
                    let key = Key::of(object.meta());
                    self.metrics.readable(self.kind, &key);
                    store.remove(&key).into_iter().for_each(&changed);
                }
                Ok(watcher::Event::InitDone) => {
                    store.end(&self.scope).into_iter().for_each(&changed);
                    health.good();
                }
                Err(error) => {
                    if health.bad(&error) {
                        store.missing(&self.scope).into_iter().for_each(&changed);
                    }
                }
            }
        }
    }
}

/// Waits between errors, each twice the one before, somewhat at random.
struct Retries {
    next: Duration,
    last: Duration,
}

impl Iterator for Retries {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.next;
        self.next = (wait * 2).min(self.last);
        Some(wait.mul_f64(rand::rng().random_range(0.75..1.25)))
    }
}

impl Backoff for Retries {
    fn reset(&mut self) {
        self.next = FIRST_RETRY;
    }
}

/// Whether a watch goes well; told when that changes.
struct Health {
    kind: &'static str,
    is_optional: bool,
    metrics: Metrics,
    told: Option<String>,
}

impl Health {
    fn new(kind: &'static str, is_optional: bool, metrics: Metrics) -> Self {
        // There from the start: a rate over what has never been is no answer.
        metrics.watch_errors.with_label_values(&[kind]).inc_by(0);
        Self { kind, is_optional, metrics, told: None }
    }

    fn good(&mut self) {
        self.metrics.crd_present(self.kind, true);
        if self.told.take().is_some() {
            tracing::info!(kind = self.kind, "the watch goes on");
        }
    }

    /// Notes an error. Returns whether it means that an optional kind isn't there.
    fn bad(&mut self, error: &watcher::Error) -> bool {
        let is_missing = is_missing(error);
        if is_missing {
            self.metrics.crd_present(self.kind, false);
        }
        if is_missing && self.is_optional {
            return true;
        }
        self.metrics.watch_errors.with_label_values(&[self.kind]).inc();
        let said = error.to_string();
        if self.told.as_ref() != Some(&said) {
            if is_missing {
                tracing::warn!(
                    kind = self.kind,
                    "found no such kind in the cluster; expected its CustomResourceDefinition; waiting for it: \
                     install the chart with crds.create, or apply the files in crds/"
                );
            } else {
                tracing::warn!(kind = self.kind, error = %said, "a watch fails; it is tried again");
            }
            self.told = Some(said);
        }
        false
    }
}

fn is_missing(error: &watcher::Error) -> bool {
    let error = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => return status.code == 404,
        watcher::Error::NoResourceVersion => return false,
    };
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_last_and_start_anew_after_a_success() {
        let mut retries = Retries { next: FIRST_RETRY, last: LAST_RETRY };
        let waits: Vec<Duration> = retries.by_ref().take(8).collect();
        assert!(waits[0] < FIRST_RETRY * 2 && waits[7] > LAST_RETRY.mul_f64(0.7), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LAST_RETRY.mul_f64(1.25)), "{waits:?}");
        retries.reset();
        assert!(retries.next().is_some_and(|wait| wait < FIRST_RETRY * 2));
    }
}
