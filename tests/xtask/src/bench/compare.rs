//! The loads that both carry, in turns: Postrider, Postfix, Postrider, Postfix, …
//! **Owns:** the order, the warm-up, which figures a load gives. **Never:** a figure that only one of them could have.

use anyhow::{Result, ensure};
use postrider_tests::source::Load;

use super::{
    figures::{Figures, told},
    mta::Mta,
    round::{self, Round},
    stage::Stage,
    system_calls,
    usage::Cpu,
    workload::{Far, Workload},
};

/// Messages before anything is measured: connections, processes and caches are there then.
const WARM_UP: usize = 300;
/// Above this part of all CPU, the load generator is said to be in the way.
const HARNESS_SHARE_MAX: f64 = 0.35;
/// Messages under `strace`: ours, theirs.
const TRACED: [usize; 2] = [1_000, 300];

/// All workloads of one far side, so many rounds each.
pub(crate) async fn run(
    far: Far,
    workloads: &[Workload],
    rounds: usize,
    figures: &mut Figures,
) -> Result<()> {
    let stage = Stage::delivers(far).await?;
    for workload in workloads {
        told(&format!("{}: {}, {rounds} rounds", workload.name, workload.what()));
        warm_up(&stage, workload).await?;
        let mut found: [Vec<Round>; 2] = Default::default();
        for _ in 0..rounds {
            for mta in [Mta::Postrider, Mta::Postfix] {
                let subject = stage.subject(mta);
                let round = round::run(subject, subject.load(workload)).await?;
                ensure!(round.was_tls == (far == Far::Tls), "found mail that came in clear; expected TLS");
                found[mta as usize].push(round);
            }
        }
        tell(workload, &found, figures);
        if workload.is_traced {
            let messages = TRACED.map(|most| most.min(workload.messages[0]));
            system_calls::run(&stage, workload, messages, figures).await?;
        }
    }
    Ok(())
}

/// Both have processes, connections and caches, and nothing to do.
async fn warm_up(stage: &Stage, workload: &Workload) -> Result<()> {
    for mta in [Mta::Postrider, Mta::Postfix] {
        let subject = stage.subject(mta);
        let load = subject.load(workload);
        let messages = load.messages.min(WARM_UP.max(2 * workload.sessions));
        round::run(subject, Load { messages, ..load }).await?;
    }
    Ok(())
}

/// A load's figures.
pub(crate) fn tell(workload: &Workload, rounds: &[Vec<Round>; 2], figures: &mut Figures) {
    let counted = workload.far.counted();
    let name = workload.name;
    let of = |mta: Mta, figure: &dyn Fn(&Round) -> Option<f64>| -> Vec<f64> {
        rounds[mta as usize].iter().filter_map(figure).collect()
    };
    let mut both = |what: &str, unit, figure: &dyn Fn(&Round) -> Option<f64>| {
        let [ours, theirs] = [Mta::Postrider, Mta::Postfix].map(|mta| of(mta, figure));
        figures.both(&format!("{what}_{name}"), unit, ours, theirs);
    };
    both("end_to_end", "msg/s", &|round| round.end_to_end(counted));
    both("accepted", "msg/s", &|round| Some(round.accepted()));
    both("cpu_per_message", "us", &|round| Some(round.each(round.took.mta + round.took.store)));
    both("rss", "MiB", &|round| Some(round.memory.mta as f64 / 1024.0));
    let mut ours = |what: &str, unit, figure: &dyn Fn(&Round) -> Option<f64>| {
        figures.ours(&format!("{what}_{name}"), unit, of(Mta::Postrider, figure));
    };
    ours("cpu_per_message_relay", "us", &|round| Some(round.each(round.took.mta)));
    ours("cpu_per_message_redis", "us", &|round| Some(round.each(round.took.store)));
    ours("rss_redis", "MiB", &|round| Some(round.memory.store as f64 / 1024.0));
    ours("redis_commands_per_message", "commands", &|round| Some(round.share(round.redis.all())));
    ours("redis_scripts_per_message", "scripts", &|round| Some(round.share(round.redis.scripts().0)));
    ours("redis_syncs_per_message", "syncs", &|round| Some(round.share(round.redis.syncs)));
    ours("aof_bytes_per_message", "bytes", &|round| Some(round.share(round.redis.aof_bytes)));
    remarks(name, rounds, figures);
}

fn remarks(name: &str, rounds: &[Vec<Round>; 2], figures: &mut Figures) {
    for (rounds, whose) in rounds.iter().zip(["Postrider", "Postfix"]) {
        let share = rounds.iter().map(Round::harness_share).fold(0.0, f64::max);
        if share > HARNESS_SHARE_MAX {
            figures.note(&format!(
                "{name}: source and far side took up to {:.0} % of the CPU beside {whose}, which could be faster than shown",
                share * 100.0
            ));
        }
        let again: u64 = rounds.iter().map(|round| round.retries).sum();
        let twice: usize = rounds.iter().map(|round| round.duplicates).sum();
        if again + twice as u64 > 0 {
            figures.note(&format!("{name}: {whose} had {again} retries of clients, {twice} duplicates"));
        }
    }
    let each = |rounds: &[Round], of: &dyn Fn(&Round) -> Cpu| -> f64 {
        rounds.iter().map(|round| round.each(of(round))).sum::<f64>() / rounds.len().max(1) as f64
    };
    eprintln!(
        "    source and far side took {:.0} us of CPU a message beside Postrider, {:.0} us beside Postfix",
        each(&rounds[0], &|round| round.harness),
        each(&rounds[1], &|round| round.harness)
    );
}
