//! Random operations of several incarnations on a real server, compared with the plain model after each.
//! A failure prints its seed and the steps that are needed for it. `POSTRIDER_MODEL_SEED` replays one, `POSTRIDER_MODEL_STEPS` and
//! `POSTRIDER_MODEL_RUNS` make it longer.

mod choice;
mod ends;
pub(crate) mod proxy;
mod run;
mod scan;
mod steps;

use std::collections::BTreeSet;

use run::Run;

use crate::server::Server;

const STEPS: u64 = 300;
const RUNS: u64 = 4;
/// Runs to find out which steps of a failing one are needed.
const SHRINKING_RUNS: usize = 40;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test]
async fn the_queue_does_what_the_model_does() {
    let server = Server::start_with(&[("appendfsync", "no")]).await;
    let steps = number("POSTRIDER_MODEL_STEPS").unwrap_or(STEPS);
    let seeds: Vec<u64> = match number("POSTRIDER_MODEL_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("POSTRIDER_MODEL_RUNS").unwrap_or(RUNS))
            .map(|_| rand::random::<u32>().into())
            .collect(),
    };
    for seed in seeds {
        let all: BTreeSet<u64> = (0..steps).collect();
        if let Err(first) = Run::play(&server, seed, &all).await {
            let (needed, told) = shrink(&server, seed, all, first).await;
            panic!(
                "seed {seed} (POSTRIDER_MODEL_SEED={seed}), {needed} of {steps} steps are needed:\n{told}"
            );
        }
        println!("seed {seed}: {steps} steps agree");
    }
}

/// Leaves out steps for as long as the run still fails. Each step has its own randomness, so the others stay what they were.
async fn shrink(server: &Server, seed: u64, mut steps: BTreeSet<u64>, mut told: String) -> (usize, String) {
    let mut runs = 0;
    let mut size = steps.len() / 2;
    while size > 0 {
        for part in steps.iter().copied().collect::<Vec<_>>().chunks(size) {
            let fewer: BTreeSet<u64> = steps.iter().copied().filter(|step| !part.contains(step)).collect();
            if runs >= SHRINKING_RUNS {
                return (steps.len(), told);
            }
            runs += 1;
            if let Err(still) = Run::play(server, seed, &fewer).await {
                (steps, told) = (fewer, still);
            }
        }
        size /= 2;
    }
    (steps.len(), told)
}
