//! A destination that never answers, with a long queue: what it does to the mail of others. Beside it as many that are tried by nobody,
//! as their time is far off: what they cost is the queue's length alone.
//! **Owns:** that destination and both backlogs. **Never:** a busy or slow one (the loads that both carry have those).

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
/// Far behind the end of the bench.
const LATER: Duration = Duration::from_secs(6 * 3_600);
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
    let queue = fill(&mut beside, waiting, Duration::ZERO).await?;
    let mut later = Fleet::start(workload.far).await?;
    fill(&mut later, waiting, LATER).await?;
    let dead = &beside.world.sinks[dead];
    until("the relay to run into the dead one", FELT_WITHIN, || dead.connections() > 0).await?;
    tokio::time::sleep(FELT_FOR).await;
    let turns = in_turns([&alone, &beside, &later], &workload, rounds).await?;
    let left = queue.partition.figures().await?.deliveries();
    ensure!(left as usize >= waiting, "found {left} in the queue; expected all {waiting} for {DEAD}");
    let [alone, beside, later] = &turns.speeds;
    figures.over("isolation_share", "of the speed alone", [alone, beside]);
    figures.over(
        "isolation_share_later",
        "of the speed alone, with as many that wait for their time",
        [alone, later],
    );
    turns.tell("isolation", ["alone", "beside", "later"], figures);
    Ok(())
}

/// Puts so many for the dead one into its queue while the relay is away.
async fn fill(fleet: &mut Fleet, messages: usize, due_in: Duration) -> Result<Queue> {
    let queue = Queue::of(fleet.redis()?)?;
    fleet.world.relays[0].stop().await?;
    let seeds = Seeds::of(messages, vec![DEAD.to_owned()], SIZE, due_in);
    queue.fill_quickly(fleet.redis()?, seeds).await?;
    fleet.world.relays[0].restart().await?;
    Ok(queue)
}
