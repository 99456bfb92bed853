//! `:9090`, for people and machines that look: `/livez`, `/readyz`, `/metrics`, `/v1/config`, `/v1/queue`.
//! **Owns:** that port. **Never:** a secret, anything that changes state (`control` has that).

mod queue;

use std::{future::Future, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::{Encoder, TextEncoder};
use serde::Serialize;
use tokio::net::TcpListener;

pub use queue::QueuePage;

use crate::{
    config::{ConfigSource, LastLoad},
    metrics::Metrics,
};

/// What the port tells, asked anew at each request.
pub trait Facts: Send + Sync + 'static {
    /// Whether this relay can promise that a 250 is durable.
    fn is_ready(&self) -> bool;
    /// What is wrong with the queue, ready or not. One line each: found; expected; do.
    fn problems(&self) -> Vec<String>;
    /// Whether the runtime that delivers has ticked lately.
    fn is_alive(&self) -> bool;
    /// Brings gauges up to date before they are read.
    fn refresh(&self) -> impl Future<Output = ()> + Send;
    /// Where each shard stands, and what is in it.
    fn queue(&self) -> impl Future<Output = QueuePage> + Send;
}

/// What the port shows beside the facts.
pub struct Shown {
    /// The metrics.
    pub metrics: Metrics,
    /// The configuration that runs.
    pub config: ConfigSource,
    /// Why another one doesn't.
    pub last_load: LastLoad,
}

struct Port<F> {
    facts: F,
    shown: Shown,
}

/// Serves until `stopped` resolves.
///
/// # Errors
/// The listener's own.
pub async fn serve<F: Facts>(
    listener: TcpListener,
    facts: F,
    shown: Shown,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let port = Arc::new(Port { facts, shown });
    let router = Router::new()
        .route("/livez", get(livez::<F>))
        .route("/readyz", get(readyz::<F>))
        .route("/metrics", get(metrics_page::<F>))
        .route("/v1/config", get(config_page::<F>))
        .route("/v1/queue", get(queue_page::<F>))
        .with_state(port);
    axum::serve(listener, router).with_graceful_shutdown(stopped).await
}

/// Never asks Redis: a queue that is away is no reason to kill a pod.
async fn livez<F: Facts>(State(port): State<Arc<Port<F>>>) -> Response {
    if port.facts.is_alive() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the delivery runtime has not ticked for seconds\n").into_response()
    }
}

async fn readyz<F: Facts>(State(port): State<Arc<Port<F>>>) -> Response {
    let (status, word) = match port.facts.is_ready() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let mut page = format!("{word}\n");
    for problem in port.facts.problems() {
        page.push_str(&problem);
        page.push('\n');
    }
    (status, page).into_response()
}

async fn metrics_page<F: Facts>(State(port): State<Arc<Port<F>>>) -> Response {
    port.facts.refresh().await;
    let encoder = TextEncoder::new();
    let mut page = Vec::new();
    match encoder.encode(&port.shown.metrics.registry.gather(), &mut page) {
        Ok(()) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], page).into_response(),
        Err(err) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{err}\n")).into_response(),
    }
}

#[derive(Serialize)]
struct ConfigPage {
    hash: String,
    /// Why a newer file couldn't be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

async fn config_page<F: Facts>(State(port): State<Arc<Port<F>>>) -> Response {
    let (hash, error) = (port.shown.config.current().hash().to_string(), port.shown.last_load.error());
    axum::Json(ConfigPage { hash, error }).into_response()
}

async fn queue_page<F: Facts>(State(port): State<Arc<Port<F>>>) -> Response {
    axum::Json(port.facts.queue().await).into_response()
}
