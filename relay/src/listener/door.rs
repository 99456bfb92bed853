//! What the sessions of one listener have in common, made anew when the configuration changes.
//! **Owns:** the step from a listener's configuration to smtp's settings. **Never:** a socket.

use std::sync::Arc;

use postrider_core::config::{BareLineEnds, Config, Listener, Protocol, TlsDemand};
use postrider_smtp::{
    server::{self, BareNewlines, Settings},
    timer::Waits,
};
use prometheus::{IntCounter, IntGauge};
use rustls::ServerConfig;

use crate::{
    admission::counts::SessionLimits,
    metrics::Metrics,
    tls::{accept::BadCertificate, reload::Served},
};

/// What the sessions of one listener have in common.
pub struct Door {
    /// The listener.
    pub listener: Listener,
    /// Its name, cheap to hand on.
    pub name: Arc<str>,
    /// How smtp speaks here.
    pub settings: Arc<Settings>,
    /// What handshakes need; absent where there is no TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// How many sessions there may be.
    pub limits: SessionLimits,
    /// Open sessions.
    pub open: IntGauge,
    /// Messages that got their 250.
    pub accepted: IntCounter,
    /// Refusals of the shell with a 4yz.
    pub deferred: IntCounter,
    /// Refusals of the shell with a 5yz.
    pub refused: IntCounter,
    metrics: Metrics,
}

impl Door {
    /// The door of a listener.
    ///
    /// # Errors
    /// Its certificates can't be served, and there are none from before.
    pub fn new(config: &Config, listener: &Listener, shared: &Shared<'_>) -> Result<Self, BadCertificate> {
        let labels = [listener.name.as_str()];
        let metrics = shared.metrics;
        let refused = |class| metrics.messages_refused.with_label_values(&[listener.name.as_str(), class]);
        let tls = shared.served.of(listener)?;
        match shared.served.not_after(listener) {
            Some(at) => metrics.certificate_not_after.with_label_values(&labels).set(at as f64),
            // There may have been one before.
            None => drop(metrics.certificate_not_after.remove_label_values(&labels)),
        }
        Ok(Self {
            name: listener.name.as_str().into(),
            settings: Arc::new(settings(config, listener, shared.waits)),
            tls,
            limits: SessionLimits {
                process: shared.sessions_max,
                listener: listener.limits.connections,
                client: listener.limits.connections_per_client,
            },
            open: metrics.sessions.with_label_values(&labels),
            accepted: metrics.messages_accepted.with_label_values(&labels),
            deferred: refused("4yz"),
            refused: refused("5yz"),
            metrics: metrics.clone(),
            listener: listener.clone(),
        })
    }

    /// Whether TLS begins with the connection.
    pub fn is_implicit_tls(&self) -> bool {
        self.listener.protocol == Protocol::Smtps
    }

    /// Counts a session that ended, by why.
    pub fn count_end(&self, why: &'static str) {
        self.metrics.sessions_ended.with_label_values(&[&*self.name, why]).inc();
    }

    /// Counts an AUTH.
    pub fn count_auth(&self, result: &'static str) {
        self.metrics.authentications.with_label_values(&[&*self.name, result]).inc();
    }
}

/// What doors are made with, whatever the listener.
pub struct Shared<'a> {
    /// What TLS serves.
    pub served: &'a Served,
    /// Where counts go.
    pub metrics: &'a Metrics,
    /// How long waits are.
    pub waits: Waits,
    /// How many sessions the process may have.
    pub sessions_max: u32,
}

fn settings(config: &Config, listener: &Listener, waits: Waits) -> Settings {
    let tls = match &listener.tls {
        // Without TLS from the start there is no session here, so that there is nothing left to offer.
        _ if listener.protocol == Protocol::Smtps => server::Tls::Off,
        None => server::Tls::Off,
        Some(tls) => match tls.demand {
            TlsDemand::Optional => server::Tls::Optional,
            TlsDemand::Required => server::Tls::Required,
        },
    };
    let mut settings = Settings::new(config.hostname.clone());
    settings.tls = tls;
    // Never `Required`: who needs it hears so at RCPT, where networks are asked, too.
    settings.auth = if listener.auth.is_some() { server::Auth::Optional } else { server::Auth::Off };
    settings.bare_newlines = match listener.bare_line_ends {
        BareLineEnds::Reject => BareNewlines::Refuse,
        BareLineEnds::Normalize => BareNewlines::Normalize,
    };
    settings.limits.message_bytes = listener.limits.message_size;
    settings.limits.recipients = listener.limits.recipients;
    settings.waits = waits;
    settings
}
