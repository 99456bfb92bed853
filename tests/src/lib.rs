//! The harness: real parts around the real binary, all on loopback, each on a free port, all gone when dropped.
//!
//! **Owns:** starting, breaking and watching Redis, DNS, far sides, clients, Postfix, relays and a Kubernetes. **Never:** a product's
//! crate, so that it can't test itself; a wait without a deadline.
//!
//! Start at [`world::World`]: it puts the parts of one test together.

pub mod bind;
pub mod certs;
pub mod client;
pub mod cluster;
pub mod dashboards;
pub mod dkim;
pub mod dns;
pub mod draw;
pub mod helm;
pub mod http;
mod https;
pub mod ledger;
pub mod manifests;
pub mod metrics;
pub mod mounted;
mod openssl;
pub mod operator;
pub mod policy_host;
pub mod ports;
pub mod postfix;
pub mod process;
pub mod prometheus;
pub mod proxies;
pub mod redis;
pub mod relay;
pub mod report_host;
pub mod resolver;
pub mod schemas;
pub mod sink;
pub mod source;
pub mod wait;
pub mod world;

pub use ledger::Ledger;
pub use wait::eventually;
pub use world::World;
