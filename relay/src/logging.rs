//! Logs: JSON lines on standard error, constant texts, values as keys.
//! **Owns:** the subscriber. **Never:** what is logged where; a body, a secret.

use tracing_subscriber::{EnvFilter, fmt::format::FmtSpan};

/// Installs the subscriber for the whole process. `RUST_LOG` says what is shown; `info` of ours and `warn` of others if
/// it doesn't.
pub fn install() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,postrider_relay=info,postrider_queue=info"));
    let lines = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_span_events(FmtSpan::NONE)
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second subscriber in one process (a test) keeps the first.
    let _ = lines.try_init();
}
