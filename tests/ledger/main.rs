//! The books of clients and far sides, compared after relays and Redis were killed: what got a 250 arrives.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "what fails here fails the test; figures are for people"
)]

mod full;
mod isolation;
mod kills;
mod protected;
mod shards;

/// How often a test of chance is run: 1 unless `POSTRIDER_RUNS` says otherwise.
fn runs() -> u32 {
    std::env::var("POSTRIDER_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Whether there is time for the big numbers.
fn is_long() -> bool {
    std::env::var_os("POSTRIDER_LONG").is_some()
}
