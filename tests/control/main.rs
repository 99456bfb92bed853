//! The control plane's side of Postrider, on a real API server: what it takes and refuses, and what it answers for.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::print_stdout, reason = "figures are for people")]

mod admit;
mod children;
mod identity;
mod life;
mod parts;
mod rules;
mod scale;
mod told;
mod world;
