//! Keeps what handshakes need in step with the configuration.
//! **Owns:** which `ServerConfig` a listener has now. **Never:** reads a file (the configuration has the PEM), touches a
//! session that is open: it goes on with what it began with.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use postrider_core::config::{Certificate, Listener};
use rustls::ServerConfig;

use super::accept::{self, BadCertificate};

/// What listeners serve now. What didn't change stays, and its session tickets with it.
#[derive(Default)]
pub struct Served {
    listeners: Mutex<HashMap<String, OfListener>>,
}

/// Certificates, and what was made of them.
struct OfListener {
    certificates: Vec<Certificate>,
    config: Arc<ServerConfig>,
    not_after: Option<u64>,
}

impl Served {
    /// What this listener serves; nothing if it has no TLS. Certificates that can't be served leave the last good ones.
    ///
    /// # Errors
    /// There are no last good ones.
    pub fn of(&self, listener: &Listener) -> Result<Option<Arc<ServerConfig>>, BadCertificate> {
        let Some(tls) = &listener.tls else { return Ok(None) };
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let last = listeners.get(&listener.name);
        if let Some(last) = last.filter(|last| last.certificates == tls.certificates) {
            return Ok(Some(last.config.clone()));
        }
        let pairs = tls.certificates.iter().map(|c| (c.chain.as_bytes(), c.key.expose().as_bytes()));
        match (accept::server_config(pairs), last) {
            (Ok(config), _) => {
                let not_after = accept::not_after(tls.certificates.iter().map(|c| c.chain.as_bytes()));
                let certificates = tls.certificates.clone();
                let served = OfListener { certificates, config: config.clone(), not_after };
                listeners.insert(listener.name.clone(), served);
                Ok(Some(config))
            }
            (Err(why), Some(OfListener { config, .. })) => {
                tracing::warn!(listener = listener.name, reason = %why, "a new certificate can't be served; the last good one stays; renew its Secret");
                Ok(Some(config.clone()))
            }
            (Err(why), None) => Err(why),
        }
    }

    /// When the first of the certificates that a listener serves ends, in seconds since 1970.
    pub fn not_after(&self, listener: &Listener) -> Option<u64> {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.get(&listener.name).filter(|_| listener.tls.is_some())?.not_after
    }

    /// Forgets listeners that are no more.
    pub fn keep_only(&self, is_there: impl Fn(&str) -> bool) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| is_there(name));
    }
}
