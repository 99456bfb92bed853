//! Two relays on one queue beside one alone.
//! **Owns:** that comparison, as it is and with each relay held to a slice of a core. **Never:** more than one Redis.

use std::time::Duration;

use anyhow::Result;

use super::{in_turns, slice::Slice};
use crate::bench::{
    figures::{Figures, told},
    fleet::Fleet,
    usage::Cpu,
    workload::{Far, Workload},
};

/// Of a core, for each relay: so little that two of them leave Redis, source and far side what they need.
const SLICE: f64 = 0.2;

/// As they are, then held.
pub(crate) async fn run(workload: &Workload, rounds: usize, figures: &mut Figures) -> Result<()> {
    told("two relays on one queue beside one alone");
    let one = Fleet::start(Far::Smarthost).await?;
    let mut two = Fleet::start(Far::Smarthost).await?;
    two.world.relay().await?;
    let busy = Busy::since()?;
    let turns = in_turns([&one, &two], workload, rounds).await?;
    figures.ours("cores_busy_two_relays", "of all CPU", vec![busy.share()?]);
    figures.over("two_relays_over_one", "times", turns.speeds.each_ref());
    turns.tell("two_relays", ["one", "two"], figures);
    let mut slices = Vec::new();
    for relay in one.world.relays.iter().chain(&two.world.relays) {
        match Slice::hold(relay.process().pid(), SLICE) {
            Ok(slice) => slices.push(slice),
            Err(why) => {
                figures.note(&format!("two relays: no relay could be held to a slice of a core: {why:#}"));
                return Ok(());
            }
        }
    }
    let workload = Workload { messages: workload.messages.map(|messages| messages / 4), ..workload.clone() };
    let turns = in_turns([&one, &two], &workload, rounds).await?;
    figures.over("two_relays_held_over_one", "times", turns.speeds.each_ref());
    turns.tell("two_relays_held", ["one", "two"], figures);
    Ok(())
}

/// How much of the machine was busy.
struct Busy {
    busy: Duration,
    all: Duration,
}

impl Busy {
    fn since() -> Result<Self> {
        let (busy, all) = Cpu::of_machine()?;
        Ok(Self { busy, all })
    }

    fn share(&self) -> Result<f64> {
        let (busy, all) = Cpu::of_machine()?;
        Ok((busy - self.busy).as_secs_f64() / (all - self.all).as_secs_f64().max(1e-6))
    }
}
