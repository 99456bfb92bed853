//! Accept to deliver on real parts: a module per behaviour.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bad_far_sides;
mod check;
mod control;
mod dane;
mod deliver;
mod dkim;
mod dns_cases;
mod harness;
mod limits;
mod mta_sts;
mod pods;
mod pools;
mod preflight;
mod requiretls;
mod rules;
mod send;
mod shards;
mod tls;
mod tls_reports;

use std::time::Duration;

/// How long mail may take that nothing holds up.
const SOON: Duration = Duration::from_secs(15);
/// How long mail may take that must be tried again.
const LATER: Duration = Duration::from_secs(45);
