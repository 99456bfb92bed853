//! What the configuration's files gave.
//! **Owns:** the counts of loads. **Never:** loads.

use std::time::SystemTime;

use prometheus::{Gauge, IntCounter};

use super::Register;

/// Loads of the configuration. Cloning shares them.
#[derive(Clone)]
pub struct ConfigMetrics {
    /// Files that couldn't be loaded.
    pub load_errors: IntCounter,
    /// When the files were last loaded, in seconds since 1970.
    pub loaded_at: Gauge,
}

impl ConfigMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            load_errors: register.counter(
                "postrider_config_load_errors_total",
                "Configurations that could not be loaded; the last good one runs: /v1/config says why.",
            )?,
            loaded_at: register.fraction(
                "postrider_config_loaded_timestamp_seconds",
                "When the configuration was last loaded; older than the last edit means that it did not arrive.",
            )?,
        })
    }

    /// A configuration was loaded now.
    pub fn loaded(&self) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.loaded_at.set(since.as_secs_f64());
    }
}
