//! Which Secrets a resource names.
//! **Owns:** every field that names one, listed once. **Never:** what is in a Secret.

use crate::{MailRelaySpec, Route, RoutingRuleSpec};

impl MailRelaySpec {
    /// The names of the Secrets that it needs, all in its own namespace; one may come twice.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let listeners = self.listeners.iter().flat_map(|listener| {
            let certificate = listener.tls.as_ref().map(|tls| tls.certificate_ref.name.as_str());
            let users = listener.auth.as_ref().map(|auth| auth.users_ref.name.as_str());
            certificate.into_iter().chain(users)
        });
        let queue = self.queue.external.iter().flat_map(|external| {
            let urls = external.shards.iter().map(|shard| shard.url_ref.name.as_str());
            urls.chain(external.ca_ref.as_ref().map(|ca| ca.name.as_str()))
        });
        let dkim = self.dkim.iter().flat_map(|entry| &entry.keys);
        let dkim = dkim.map(|key| key.private_key_ref.name.as_str());
        let proxies = self.egress_pools.iter().flat_map(|pool| &pool.sources);
        let proxies = proxies.filter_map(|source| source.socks5.as_ref()?.credentials_ref.as_ref());
        let proxies = proxies.map(|credentials| credentials.name.as_str());
        listeners.chain(queue).chain(dkim).chain(proxies).chain(self.default_route.secrets())
    }
}

impl RoutingRuleSpec {
    /// The names of the Secrets that it needs, all in its own namespace.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.route.iter().flat_map(Route::secrets)
    }
}

impl Route {
    fn secrets(&self) -> impl Iterator<Item = &str> {
        let auth = self.smarthost.as_ref().and_then(|smarthost| smarthost.auth.as_ref());
        auth.map(|auth| auth.credentials_ref.name.as_str()).into_iter()
    }
}
