//! Asks the pods what they run and how their queue is.
//! **Owns:** how often, how many at a time, how long for. **Never:** takes no answer for a good one: it is no answer.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio_util::{bytes::Bytes, sync::CancellationToken, task::TaskTracker};

use crate::{
    gather::Caches,
    leader::Leadership,
    names::{ADMIN_PORT, Key},
    publish::Publisher,
    report::{ConfigReport, QueueReport, Report},
};

/// How often it is looked who is to be asked.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How many are asked at a time.
const AT_A_TIME: usize = 64;
/// What an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How large it may be.
const MOST_BYTES: usize = 256 * 1024;
/// Nothing changes: a look now and then.
const CALM: Duration = Duration::from_secs(15);

type Http = Client<HttpConnector, Empty<Bytes>>;

/// Asks pods.
pub struct Reporter {
    http: Http,
    caches: Caches,
    publisher: Publisher,
    leadership: Leadership,
}

impl Reporter {
    /// One that tells the caches.
    pub fn new(caches: Caches, publisher: Publisher, leadership: Leadership) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(ANSWER_WITHIN));
        let http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        Self { http, caches, publisher, leadership }
    }

    /// Asks until `stopped`; tasks are the tracker's.
    pub async fn run(self, tracker: TaskTracker, stopped: CancellationToken) {
        let reporter = Arc::new(self);
        let slots = Arc::new(Semaphore::new(AT_A_TIME));
        let mut asked: HashMap<String, Instant> = HashMap::new();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopped.cancelled() => return,
                _ = looks.tick() => {}
            }
            if !reporter.leadership.is_held() {
                continue;
            }
            let pods = reporter.caches.addresses();
            let there: HashSet<&str> = pods.iter().map(|(_, uid, _)| uid.as_str()).collect();
            asked.retain(|uid, _| there.contains(uid.as_str()));
            reporter.publisher.forget_pods(|uid| there.contains(uid));
            for (relay, uid, address) in pods {
                let is_due = asked.get(&uid).is_none_or(|at| at.elapsed() >= reporter.pause(&relay));
                if !is_due {
                    continue;
                }
                let Ok(slot) = slots.clone().try_acquire_owned() else { break };
                asked.insert(uid.clone(), Instant::now());
                let (reporter, stopped) = (reporter.clone(), stopped.clone());
                tracker.spawn(async move {
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        () = reporter.ask(&relay, &uid, address) => {}
                    }
                    drop(slot);
                });
            }
        }
    }

    /// How long a pod isn't asked again: not long while a configuration is on its way.
    fn pause(&self, relay: &Key) -> Duration {
        match self.publisher.published(relay) {
            Some(published) if !published.is_programmed => match published.since.elapsed().as_secs() {
                0..3 => Duration::from_millis(50),
                3..30 => Duration::from_millis(500),
                30.. => Duration::from_secs(5),
            },
            _ => CALM,
        }
    }

    async fn ask(&self, relay: &Key, uid: &str, address: IpAddr) {
        let Ok(port) = u16::try_from(ADMIN_PORT) else { return };
        let address = SocketAddr::new(address, port);
        let Some(config) = self.get::<ConfigReport>(address, "/v1/config").await else { return };
        let queue = self.get::<QueueReport>(address, "/v1/queue").await;
        self.caches.reported(relay, uid, Report { config, queue });
    }

    async fn get<T: DeserializeOwned>(&self, address: SocketAddr, path: &str) -> Option<T> {
        let uri = format!("http://{address}{path}").parse().ok()?;
        let answered = tokio::time::timeout(ANSWER_WITHIN, async {
            let answer = self.http.get(uri).await.ok()?;
            if !answer.status().is_success() {
                return None;
            }
            let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await.ok()?;
            serde_json::from_slice(&body.to_bytes()).ok()
        });
        answered.await.ok().flatten()
    }
}
