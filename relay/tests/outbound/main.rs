//! The way out, on real parts: a redis-server, real sockets, real TLS; far sides that keep to a script, good or bad.

#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(clippy::unwrap_used, reason = "a test ends where something isn't as it should be")]

mod bad_far_sides;
mod fairness;
mod far_side;
mod fences;
mod limits;
mod pool_pace;
mod pools;
mod proxy;
mod recipients;
mod reports;
mod rig;
mod sites;
mod slots;
mod tls_reports;
