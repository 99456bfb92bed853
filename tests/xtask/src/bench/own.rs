//! What Postfix has nothing like: a queue that several share, and promises about it.
//! **Owns:** what these parts share: fleets side by side, rounds in turns. **Never:** Postfix.

pub(crate) mod backlog;
pub(crate) mod besides;
pub(crate) mod failover;
pub(crate) mod fairness;
pub(crate) mod idle;
pub(crate) mod isolation;
pub(crate) mod pair;
pub(crate) mod seed;
pub(crate) mod slice;

use anyhow::Result;
use postrider_tests::source::Load;

use super::{
    figures::Figures,
    fleet::Fleet,
    mta::Subject,
    round::{self, Round},
    workload::Workload,
};

/// Messages before anything is measured.
const WARM_UP: usize = 500;

/// What two fleets did in turns, each in the order of its rounds.
#[derive(Default)]
struct Turns {
    /// Messages a second.
    speeds: [Vec<f64>; 2],
    /// CPU a message of relays and Redis, µs: what others on the machine do moves it less than speed.
    cpu: [Vec<f64>; 2],
}

impl Turns {
    /// `PART_end_to_end_NAME` and `PART_cpu_per_message_NAME` of both.
    fn tell(self, part: &str, names: [&str; 2], figures: &mut Figures) {
        for (rounds, name) in self.speeds.into_iter().zip(names) {
            figures.ours(&format!("{part}_end_to_end_{name}"), "msg/s", rounds);
        }
        for (rounds, name) in self.cpu.into_iter().zip(names) {
            figures.ours(&format!("{part}_cpu_per_message_{name}"), "us", rounds);
        }
    }
}

/// The same load through both fleets, in turns; the first one is what the other is compared with.
async fn in_turns(fleets: [&Fleet; 2], workload: &Workload, rounds: usize) -> Result<Turns> {
    let mut turns = Turns::default();
    for number in 0..=rounds {
        for (at, fleet) in fleets.iter().enumerate() {
            let subject = Subject { fleet, postfix: None };
            let load = subject.load(workload);
            let load = if number == 0 { Load { messages: WARM_UP, ..load } } else { load };
            let round: Round = round::run(subject, load).await?;
            if number > 0 {
                turns.speeds[at].extend(round.end_to_end(1.0));
                turns.cpu[at].push(round.each(round.took.mta + round.took.store));
            }
        }
    }
    Ok(turns)
}
