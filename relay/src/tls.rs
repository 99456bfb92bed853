//! TLS, both ways.
//! **Owns:** handshakes and keys. **Never:** chooses a policy (core's tls_policy.rs does for mail out, a listener's config
//! for mail in).

pub mod accept;
pub mod connect;
pub mod reload;
