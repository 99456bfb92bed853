//! A destination that never answers, with a long queue: what it does to the mail of others.
//! **Owns:** that destination and its backlog. **Never:** a busy or slow one (the loads that both carry have those).

use std::time::Duration;

use anyhow::{Result, ensure};
use postrider_tests::{
    sink::{Act, At, Rule},
    wait::until,
};

use super::{
    in_turns,
    seed::{Queue, Seeds},
};
use crate::bench::{
    figures::{Figures, plain, told},
    fleet::Fleet,
    workload::{Far, Workload},
};

const DEAD: &str = "dead.example";
/// Bytes of a message that waits.
const SIZE: usize = 1 << 10;
/// The relay has run into it by then.
const FELT_WITHIN: Duration = Duration::from_secs(60);
/// And has taken what it takes of such mail after this.
const FELT_FOR: Duration = Duration::from_secs(3);

/// With so many waiting, all of them due.
pub(crate) async fn run(
    waiting: usize,
    workload: &Workload,
    rounds: usize,
    figures: &mut Figures,
) -> Result<()> {
    told(&format!(
        "isolation: {} due messages for a far side that accepts connections and never says a word",
        plain(waiting as f64)
    ));
    let workload = Workload { far: Far::Mx(10), ..workload.clone() };
    let alone = Fleet::start(workload.far).await?;
    let mut beside = Fleet::start(workload.far).await?;
    let dead = beside.world.domain(DEAD).await?;
    beside.has_hung_attempts = true;
    beside.world.sinks[dead].behave([Rule::new(At::Banner, Act::Hang)]);
    let queue = Queue::of(beside.redis()?)?;
    let seeds = Seeds::of(waiting, vec![DEAD.to_owned()], SIZE, Duration::ZERO);
    beside.world.relays[0].stop().await?;
    queue.fill_quickly(beside.redis()?, seeds).await?;
    beside.world.relays[0].restart().await?;
    let dead = &beside.world.sinks[dead];
    until("the relay to run into the dead one", FELT_WITHIN, || dead.connections() > 0).await?;
    tokio::time::sleep(FELT_FOR).await;
    let turns = in_turns([&alone, &beside], &workload, rounds).await?;
    let left = queue.partition.figures().await?.deliveries();
    ensure!(left as usize >= waiting, "found {left} in the queue; expected all {waiting} for {DEAD}");
    figures.over("isolation_share", "of the speed alone", &turns.speeds);
    turns.tell("isolation", ["alone", "beside"], figures);
    Ok(())
}
