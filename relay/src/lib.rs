//! The relay: accepts mail over SMTP, keeps it in the shared queue, delivers it.
//!
//! The files follow the way of a message: `listener -> session -> admission -> intake -> (queue) -> delivery -> dns ->
//! site -> egress -> client -> (queue)`. `app` builds all of it and is the only spawner.
//! **Owns:** sockets, TLS, DNS, files, tasks. **Never:** a Redis key, a Kubernetes client, a decision about mail.

pub mod admin;
pub mod admission;
pub mod app;
pub mod auth;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod control;
pub mod delivery;
pub mod dispatch;
pub mod dns;
pub mod egress;
pub mod failpoint;
pub mod heartbeat;
pub mod https;
pub mod intake;
pub mod listener;
pub mod logging;
pub mod metrics;
pub mod mta_sts;
pub mod remembered;
pub mod session;
pub mod settle;
pub mod shards;
pub mod shutdown;
pub mod signing;
pub mod site;
pub mod tls;
pub mod tls_report;

#[cfg(test)]
mod testkit;
