//! How soon the far side has a message when there is little to do.
//! **Owns:** the slow trickle that shows it, the disk's own time beside it. **Never:** a speed.

use anyhow::Result;
use postrider_tests::source::Load;

use super::{
    figures::{Figures, told},
    mta::Mta,
    round::{self, Round},
    stage::{self, Stage},
    workload::{Far, Workload},
};

/// Messages a second.
const RATE: u32 = 20;
/// Messages of a round.
const MESSAGES: usize = 200;

/// So many rounds of both.
pub(crate) async fn run(rounds: usize, figures: &mut Figures) -> Result<()> {
    told(&format!("4k_idle: 4 KiB, {RATE} messages a second, from their 250 to the far side's"));
    let stage = Stage::delivers(Far::Smarthost).await?;
    let sync = stage::sync_time(stage.fleet.world.folder())?.as_secs_f64() * 1e3;
    let workload = Workload {
        name: "4k_idle",
        size: 4 << 10,
        sessions: 4,
        per_connection: 1,
        far: Far::Smarthost,
        messages: [MESSAGES; 2],
        is_main: true,
        is_traced: false,
    };
    let mut found: [Vec<Round>; 2] = Default::default();
    for number in 0..=rounds {
        for mta in [Mta::Postrider, Mta::Postfix] {
            let subject = stage.subject(mta);
            let load = Load { per_second: Some(RATE), ..subject.load(&workload) };
            let load = if number == 0 { Load { messages: RATE as usize, ..load } } else { load };
            let round = round::run(subject, load).await?;
            if number > 0 {
                found[mta as usize].push(round);
            }
        }
    }
    for percent in [50, 99] {
        let [ours, theirs] = [Mta::Postrider, Mta::Postfix].map(|mta| {
            found[mta as usize].iter().filter_map(|round| round.latency(percent)).collect::<Vec<f64>>()
        });
        figures.both(&format!("latency_p{percent}_4k_idle"), "ms", ours, theirs);
    }
    figures.ours("sync_4k", "ms", vec![sync]);
    Ok(())
}
