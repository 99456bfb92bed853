//! Clients and far sides that mean harm, or might as well: each gets a clear answer, and nobody else notices.

#![allow(clippy::print_stdout, reason = "figures are what a run of these is read for")]

mod bodies;
mod commands;
mod crowds;
mod far_sides;
mod lines;
mod loops;
mod recipients;
mod slow;
mod smuggling;
mod starttls;
mod trial;

use std::time::Duration;

/// How long mail may take that nothing holds up, on a machine that is kept busy.
const SOON: Duration = Duration::from_secs(30);
/// How long mail may take that must be tried again.
const LATER: Duration = Duration::from_secs(60);
/// What a relay may take of memory, whatever is done to it. Idle it takes some 40 MiB.
const MEMORY_MIB: u64 = 200;
