//! Puts the operator together, runs it, ends it.
//! **Owns:** what is built from what, every task. **Never:** logic.

mod watches;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    agenda::{Agenda, Target},
    apply::Applier,
    cli::RunArgs,
    dns::Dns,
    gather::Caches,
    identity::{Checker, Identities},
    leader::{Candidate, Leadership, LeaseLost, Terms},
    metrics::Metrics,
    outcomes::Outcomes,
    publish::Publisher,
    reconcile::{Failed, Reconciler},
    reporter::Reporter,
    serve::{self, Pulse, Told},
    validate::Images,
    write_status::StatusWriter,
};

/// What was changed meanwhile is looked at again.
const AGAIN_SOON: Duration = Duration::from_millis(50);
/// Tasks have that long to end.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Logs: JSON lines, by `RUST_LOG`.
pub fn logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).init();
}

/// Runs the operator until SIGTERM.
///
/// # Errors
/// It can't start, or it lost its Lease.
pub fn run(args: RunArgs) -> Result<()> {
    // One provider for all of the process; a second call would be a bug that does no harm.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(operate(args))
}

async fn operate(args: RunArgs) -> Result<()> {
    let metrics = Metrics::new()?;
    let client = client().await?;
    let agenda = Arc::new(Agenda::default());
    let images = Images {
        relay: args.relay_image.clone(),
        queue: args.queue_image.clone(),
        pull_policy: args.image_pull_policy.clone(),
    };
    let caches = Caches::new(agenda.clone(), images);
    let (tracker, stopped) = (TaskTracker::new(), CancellationToken::new());
    let watches = watches::Watches::new(client.clone(), &args, caches.clone(), metrics.clone());
    let terms = Terms {
        namespace: args.namespace.clone(),
        name: args.lease_name.clone(),
        identity: args.identity.clone(),
    };
    let candidate =
        (!args.no_leader_election).then(|| Candidate::new(client.clone(), terms, metrics.clone()));
    let leadership = candidate.as_ref().map_or_else(Leadership::alone, Candidate::leadership);
    let told = Arc::new(Told {
        pulse: Pulse::default(),
        leadership: leadership.clone(),
        waits: watches.waits(),
        metrics: metrics.clone(),
        agenda: agenda.clone(),
    });
    watches.start(&tracker, &stopped);
    tracker.spawn(tick(told.pulse.clone(), stopped.clone()));
    let served = tokio::spawn(serve::serve(args.health, args.metrics, told.clone(), stopped.clone()));
    let publisher = Publisher::new(client.clone(), leadership.clone(), metrics.clone());
    let reporter = Reporter::new(caches.clone(), publisher.clone(), leadership.clone());
    tracker.spawn(reporter.run(tracker.clone(), stopped.clone()));
    let identities = Identities::new(Duration::from_secs(args.identity_every));
    let checker = Checker {
        identities: identities.clone(),
        dns: dns(&args),
        agenda: agenda.clone(),
        leadership: leadership.clone(),
    };
    tracker.spawn(checker.run(stopped.clone()));
    let reconciler = Arc::new(Reconciler {
        applier: Applier::new(client.clone(), caches.clone(), leadership.clone(), metrics.clone()),
        statuses: StatusWriter::new(client.clone(), leadership.clone(), metrics.clone(), &args.identity),
        namespaces: args.watch_namespaces.clone(),
        outcomes: Outcomes::default(),
        identities,
        figures: std::sync::Mutex::default(),
        client,
        caches,
        publisher,
        agenda,
        leadership,
        metrics,
    });
    for _ in 0..args.concurrency.max(1) {
        tracker.spawn(work(reconciler.clone(), told.clone(), stopped.clone()));
    }
    let ended = until_end(candidate, served, &reconciler, &stopped).await;
    stopped.cancel();
    tracker.close();
    drop(tokio::time::timeout(END_WITHIN, tracker.wait()).await);
    ended
}

/// Who is asked of fleets' names. Without anybody to ask they are unknown, and all else goes on.
fn dns(args: &RunArgs) -> Dns {
    Dns::new(&args.dns).unwrap_or_else(|error| {
        tracing::warn!(%error, "no nameserver: EgressIdentity and DKIMPublished stay unknown");
        Dns::unreachable()
    })
}

async fn client() -> Result<Client> {
    let mut config = Config::infer().await.context(
        "found neither a cluster's service account nor a kubeconfig; expected one; set KUBECONFIG",
    )?;
    // Retries are ours (the agenda, the watches): the client's own would keep a reconcile for minutes.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    Client::try_from(config).context("no client of the API server")
}

/// Waits for the end: a signal, a lost Lease, a port that is gone.
async fn until_end(
    candidate: Option<Candidate>,
    served: tokio::task::JoinHandle<Result<()>>,
    reconciler: &Arc<Reconciler>,
    stopped: &CancellationToken,
) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate()).context("no SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("no SIGINT")?;
    let election_stopped = stopped.child_token();
    let election = {
        let (stopped, reconciler) = (election_stopped.clone(), reconciler.clone());
        async move {
            match candidate {
                Some(candidate) => candidate.run(stopped, || begin_to_lead(&reconciler)).await,
                None => {
                    stopped.cancelled().await;
                    Ok(())
                }
            }
        }
    };
    let mut election = tokio::spawn(election);
    tokio::select! {
        _ = terminated.recv() => tracing::info!("SIGTERM: ends"),
        _ = interrupted.recv() => tracing::info!("SIGINT: ends"),
        lost = &mut election => {
            let lost: Result<(), LeaseLost> = lost.context("the election has panicked")?;
            return Ok(lost?);
        }
        served = served => return served.context("a port's task has panicked")?,
    }
    // Writes in flight end before another operator may begin its own.
    election_stopped.cancel();
    drop(election.await);
    Ok(())
}

/// Everything is looked at: whoever led before may have stopped half-way.
fn begin_to_lead(reconciler: &Reconciler) {
    for (key, _) in reconciler.caches.relays.select(|_, _| true) {
        reconciler.agenda.touch(Target::Relay(key), Duration::ZERO);
    }
    for (key, _) in reconciler.caches.rules.select(|_, _| true) {
        reconciler.agenda.touch(Target::Rule(key), AGAIN_SOON);
    }
}

async fn tick(pulse: Pulse, stopped: CancellationToken) {
    loop {
        pulse.tick();
        tokio::select! {
            () = stopped.cancelled() => return,
            () = tokio::time::sleep(serve::TICK_EVERY) => {}
        }
    }
}

/// One worker: what is due, one after another, while we lead and know everything.
async fn work(reconciler: Arc<Reconciler>, told: Arc<Told>, stopped: CancellationToken) {
    loop {
        while !reconciler.leadership.is_held() || !(told.waits)().is_empty() {
            tokio::select! {
                biased;
                () = stopped.cancelled() => return,
                () = tokio::time::sleep(AGAIN_SOON) => {}
            }
        }
        let target = tokio::select! {
            biased;
            () = stopped.cancelled() => return,
            target = reconciler.agenda.next() => target,
        };
        let started = std::time::Instant::now();
        let done = reconciler.reconcile(&target).await;
        let took = started.elapsed().as_secs_f64();
        reconciler.metrics.reconcile_duration.with_label_values(&[target.kind()]).observe(took);
        let result = if matches!(done, Err(Failed::Later(_))) { "error" } else { "ok" };
        reconciler.metrics.reconciles.with_label_values(&[target.kind(), result]).inc();
        match done {
            Ok(again) => reconciler.agenda.done(&target, again),
            Err(Failed::Changed | Failed::NotLeading) => {
                reconciler.agenda.done(&target, Some(AGAIN_SOON));
            }
            Err(Failed::Later(why)) => {
                let wait = reconciler.agenda.failed(&target);
                tracing::warn!(
                    kind = target.kind(), object = %target.key(), reason = why, wait_ms = wait.as_millis(),
                    "not reconciled; tried again"
                );
            }
        }
    }
}
