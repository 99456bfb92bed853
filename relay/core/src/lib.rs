//! Decisions, pure: the same code in the relay, in the operator and in `explain`.
//!
//! Two halves: from resources to a [`config`] (`compile`), and from a config and facts to what happens with a message
//! (`route`, `mx`, `outcome`, `retry`, `shape`, `bounce`).
//! **Owns:** what is decided. **Never:** I/O, a clock, randomness but a seed passed in.

pub mod bounce;
pub mod compile;
pub mod config;
pub mod dane;
pub mod day;
pub mod dkim;
pub mod egress;
pub mod explain;
pub mod identity;
pub mod limits;
pub mod manifests;
pub mod matcher;
pub mod mta_sts;
pub mod mx;
pub mod outcome;
pub mod policy;
pub mod providers;
pub mod retry;
pub mod route;
pub mod shape;
pub mod tls_policy;
pub mod tls_report;
mod txt;
