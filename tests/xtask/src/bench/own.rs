//! What Postfix has nothing like: a queue that several share, and promises about it.
//! **Owns:** what these parts share: fleets side by side, rounds in turns. **Never:** Postfix.

pub(crate) mod backlog;
pub(crate) mod besides;
pub(crate) mod failover;
pub(crate) mod fairness;
pub(crate) mod idle;
pub(crate) mod isolation;
pub(crate) mod limits;
pub(crate) mod pace;
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

/// What fleets did in turns, each in the order of its rounds.
struct Turns<const N: usize> {
    /// Messages a second.
    speeds: [Vec<f64>; N],
    /// CPU a message of relays and Redis, µs: what others on the machine do moves it less than speed.
    cpu: [Vec<f64>; N],
}

impl<const N: usize> Turns<N> {
    /// `PART_end_to_end_NAME` and `PART_cpu_per_message_NAME` of all.
    fn tell(self, part: &str, names: [&str; N], figures: &mut Figures) {
        for (rounds, name) in self.speeds.into_iter().zip(names) {
            figures.ours(&format!("{part}_end_to_end_{name}"), "msg/s", rounds);
        }
        for (rounds, name) in self.cpu.into_iter().zip(names) {
            figures.ours(&format!("{part}_cpu_per_message_{name}"), "us", rounds);
        }
    }
}

/// The same load through all fleets, in turns; the first one is what others are compared with.
async fn in_turns<const N: usize>(
    fleets: [&Fleet; N],
    workload: &Workload,
    rounds: usize,
) -> Result<Turns<N>> {
    let mut turns = Turns { speeds: [const { Vec::new() }; N], cpu: [const { Vec::new() }; N] };
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
