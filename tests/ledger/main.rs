//! The books of clients and far sides, compared after relays and Redis were killed: what got a 250 arrives.

mod kills;
mod shards;

/// How often a test of chance is run: 1 unless `POSTRIDER_RUNS` says otherwise.
fn runs() -> u32 {
    std::env::var("POSTRIDER_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}
