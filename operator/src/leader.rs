//! Which of several operators writes: a Lease, with client-go's semantics.
//! **Owns:** asking for it, renewing it, giving it back, and [`Leadership`], which every write asks. **Never:** compares clocks of machines.

mod election;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use election::{Election, Record, Step};

/// How long the others wait for a renewal.
const DURATION: Duration = Duration::from_secs(15);
/// For how long a renewal lets us write: well before anybody else may.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks.
const RETRY: Duration = Duration::from_secs(2);
/// What one request may take.
const REQUEST_WITHIN: Duration = Duration::from_secs(3);

/// Whether this process may write. Cloning shares.
#[derive(Debug, Clone)]
pub struct Leadership(Arc<Mutex<Held>>);

#[derive(Debug, Clone, Copy)]
enum Held {
    No,
    Until(Instant),
    /// Nobody else is there.
    Always,
}

impl Leadership {
    /// Without a Lease: one process alone.
    pub fn alone() -> Self {
        Self(Arc::new(Mutex::new(Held::Always)))
    }

    fn none() -> Self {
        Self(Arc::new(Mutex::new(Held::No)))
    }

    /// Whether it may write **now**. A process that was frozen finds that it may not.
    pub fn is_held(&self) -> bool {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Held::No => false,
            Held::Until(end) => Instant::now() < end,
            Held::Always => true,
        }
    }

    fn set(&self, held: Held) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }
}

/// Where the Lease is, and who we are.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Our name; no two processes may share one.
    pub identity: String,
}

/// Takes part in the election.
pub struct Candidate {
    api: Api<Lease>,
    terms: Terms,
    leadership: Leadership,
    metrics: Metrics,
}

/// Why the process has to end.
#[derive(Debug, thiserror::Error)]
#[error(
    "found that the Lease {0} could not be renewed for {deadline} s; expected a renewal every {retry} s; this process stops so that \
     another one may lead",
    deadline = RENEW_DEADLINE.as_secs(),
    retry = RETRY.as_secs()
)]
pub struct LeaseLost(String);

impl Candidate {
    /// One that doesn't lead yet.
    pub fn new(client: Client, terms: Terms, metrics: Metrics) -> Self {
        let api = Api::namespaced(client, &terms.namespace);
        Self { api, terms, leadership: Leadership::none(), metrics }
    }

    /// What tells whether it leads.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Takes part until `stopped`, then gives the Lease back. `lead` is called each time that it begins to lead.
    ///
    /// # Errors
    /// It led and couldn't renew: the process has to end.
    pub async fn run(self, stopped: CancellationToken, lead: impl Fn()) -> Result<(), LeaseLost> {
        let mut election = Election::new(&self.terms.identity, DURATION);
        let mut renewed: Option<Instant> = None;
        loop {
            let sent = Instant::now();
            match tokio::time::timeout(REQUEST_WITHIN, self.round(&mut election)).await {
                Ok(Ok(true)) => {
                    self.leadership.set(Held::Until(sent + RENEW_DEADLINE));
                    if renewed.replace(sent).is_none() {
                        tracing::info!(identity = self.terms.identity, "leads");
                        self.metrics.lease_transitions.inc();
                        lead();
                    }
                }
                Ok(Ok(false)) => {
                    if renewed.take().is_some() {
                        return self.lost();
                    }
                }
                Ok(Err(error)) => tracing::warn!(%error, "the Lease can't be read or written"),
                Err(_) => tracing::warn!("no answer about the Lease in time"),
            }
            if renewed.is_some_and(|sent| sent.elapsed() >= RENEW_DEADLINE) {
                return self.lost();
            }
            tokio::select! {
                biased;
                () = stopped.cancelled() => break,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
        self.leadership.set(Held::No);
        if renewed.is_some() {
            self.give_back().await;
        }
        Ok(())
    }

    fn lost(&self) -> Result<(), LeaseLost> {
        self.leadership.set(Held::No);
        Err(LeaseLost(format!("{}/{}", self.terms.namespace, self.terms.name)))
    }

    /// Reads the Lease, and takes or renews it if it may. Returns whether it is ours.
    async fn round(&self, election: &mut Election) -> Result<bool, kube::Error> {
        let lease = self.api.get_opt(&self.terms.name).await?;
        let record = lease.as_ref().map(record);
        match election.step(record.as_ref(), Instant::now()) {
            Step::Follow => Ok(false),
            Step::Take => {
                let transitions = record.as_ref().map_or(0, |record| record.transitions + 1);
                self.write(lease, transitions, &self.terms.identity).await
            }
            Step::Renew => {
                let transitions = record.map_or(0, |record| record.transitions);
                self.write(lease, transitions, &self.terms.identity).await
            }
        }
    }

    /// Writes the Lease if nobody else has meanwhile. Returns whether that was so.
    async fn write(&self, lease: Option<Lease>, transitions: i32, holder: &str) -> Result<bool, kube::Error> {
        let now = MicroTime(jiff::Timestamp::now());
        let before = lease.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let is_new = before.holder_identity.as_deref() != Some(holder);
        let seconds = if holder.is_empty() { 1 } else { DURATION.as_secs() };
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: i32::try_from(seconds).ok(),
            acquire_time: if is_new { Some(now.clone()) } else { before.acquire_time },
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        };
        let written = match lease {
            None => {
                let metadata = ObjectMeta { name: Some(self.terms.name.clone()), ..ObjectMeta::default() };
                self.api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await
            }
            Some(lease) => {
                let lease = Lease { spec: Some(spec), ..lease };
                self.api.replace(&self.terms.name, &PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn give_back(&self) {
        let given = tokio::time::timeout(REQUEST_WITHIN, async {
            let lease = self.api.get_opt(&self.terms.name).await?;
            match lease.as_ref().map(record) {
                Some(record) if record.holder == self.terms.identity => {
                    self.write(lease, record.transitions, "").await.map(drop)
                }
                _ => Ok(()),
            }
        });
        match given.await {
            Ok(Ok(())) => tracing::info!("the Lease is given back"),
            Ok(Err(error)) => tracing::warn!(%error, "the Lease isn't given back; it ends by itself"),
            Err(_) => tracing::warn!("the Lease isn't given back in time; it ends by itself"),
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        duration: seconds.map_or(DURATION, Duration::from_secs),
        transitions: spec.lease_transitions.unwrap_or(0),
    }
}
