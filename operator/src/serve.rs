//! The ports for probes and for Prometheus.
//! **Owns:** `/livez`, `/readyz`, `/metrics`. **Never:** anything that changes state.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{Encoder, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{agenda::Agenda, leader::Leadership, metrics::Metrics};

/// A runtime that hasn't ticked for so long is stuck.
const ALIVE_WITHIN: Duration = Duration::from_secs(30);
/// Between two ticks.
pub const TICK_EVERY: Duration = Duration::from_secs(1);

/// Says whether the runtime goes on. Cloning shares.
#[derive(Debug, Clone)]
pub struct Pulse {
    start: Instant,
    last: Arc<AtomicU64>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { start: Instant::now(), last: Arc::default() }
    }
}

impl Pulse {
    /// It goes on.
    pub fn tick(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn is_alive(&self) -> bool {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
            < ALIVE_WITHIN
    }
}

/// What the ports tell.
pub struct Told {
    /// Whether the runtime goes on.
    pub pulse: Pulse,
    /// Whether this process leads.
    pub leadership: Leadership,
    /// What is still waited for before it can take over; empty, if nothing.
    pub waits: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Counters.
    pub metrics: Metrics,
    /// What is to be done.
    pub agenda: Arc<Agenda>,
}

/// Serves both ports until `stopped`.
///
/// # Errors
/// A port can't be bound.
pub async fn serve(
    health: SocketAddr,
    metrics: SocketAddr,
    told: Arc<Told>,
    stopped: CancellationToken,
) -> Result<()> {
    let probes =
        Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(told.clone());
    let figures = Router::new().route("/metrics", get(page)).with_state(told);
    let bind = async |address: SocketAddr, option: &str| {
        TcpListener::bind(address).await.with_context(|| format!("{option}: {address} can't be bound"))
    };
    let (health, metrics) = (bind(health, "--health").await?, bind(metrics, "--metrics").await?);
    let until = |stopped: CancellationToken| async move { stopped.cancelled().await };
    let served = tokio::join!(
        axum::serve(health, probes).with_graceful_shutdown(until(stopped.clone())),
        axum::serve(metrics, figures).with_graceful_shutdown(until(stopped)),
    );
    served.0?;
    Ok(served.1?)
}

async fn livez(State(told): State<Arc<Told>>) -> Response {
    if told.pulse.is_alive() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the runtime has not ticked for seconds\n").into_response()
    }
}

/// Ready means: could take over. Whether it leads is of no matter.
async fn readyz(State(told): State<Arc<Told>>) -> Response {
    let waits = (told.waits)();
    if waits.is_empty() {
        return "ok\n".into_response();
    }
    let page = format!("not ready: no list yet of {}\n", waits.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, page).into_response()
}

async fn page(State(told): State<Arc<Told>>) -> Response {
    let leads = told.leadership.is_held();
    told.metrics.leader.set(i64::from(leads));
    for kind in ["MailRelay", "RoutingRule"] {
        // Who follows notes what changes and leaves it to the leader.
        let count = if leads { told.agenda.overdue(kind) } else { 0 };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        told.metrics.pending.with_label_values(&[kind]).set(count);
    }
    let (encoder, mut page) = (TextEncoder::new(), Vec::new());
    match encoder.encode(&told.metrics.registry.gather(), &mut page) {
        Ok(()) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
