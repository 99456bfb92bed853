//! What needs pods that run, on the machine's one node.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::print_stdout, reason = "figures are for people")]

mod away;
mod faults;
mod fleet;
mod narrow;
mod pods;
mod secrets;
mod watched;
mod world;
