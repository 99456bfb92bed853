//! The relay: accepts mail over SMTP, keeps it in the shared queue, delivers it.
//!
//! The files follow the way of a message: `listener -> session -> admission -> intake -> (queue) -> delivery -> dns ->
//! site -> client -> (queue)`. `app` builds all of it and is the only spawner.
//! **Owns:** sockets, TLS, DNS, files, tasks. **Never:** a Redis key, a Kubernetes client, a decision about mail.

pub mod admission;
pub mod auth;
pub mod config;
pub mod dispatch;
pub mod dns;
pub mod intake;
pub mod listener;
pub mod metrics;
pub mod session;
pub mod shutdown;
pub mod tls;
