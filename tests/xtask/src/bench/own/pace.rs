//! A far side that says `421 4.7.0` to what comes faster than it wants: how near to that four relays come by themselves.
//! **Owns:** the far side's rate, and that it wants more later. **Never:** a limit that somebody has set.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use postrider_tests::{
    Ledger,
    sink::{Act, At, Rule, Sink},
    source::Source,
};

use crate::bench::{
    figures::{Figures, told},
    fleet::Fleet,
    mta::Subject,
    workload::{Far, Workload},
};

/// Relays that send there.
const RELAYS: usize = 4;
/// Messages a second that it wants at first, and later.
const WANTED: [usize; 2] = [20, 100];
/// Bytes of a message.
const SIZE: usize = 1 << 10;

/// With so long for each rate: the first half to settle, the second one to be counted.
pub(crate) async fn run(each: Duration, figures: &mut Figures) -> Result<()> {
    let [first, later] = WANTED;
    told(&format!(
        "a far side that answers 421 4.7.0 above {first} messages a second, then above {later}, each for {each:?}; {RELAYS} relays"
    ));
    let mut fleet = Fleet::start(Far::Smarthost).await?;
    while fleet.world.relays.len() < RELAYS {
        fleet.world.relay().await?;
    }
    let enough = each.as_secs() as usize * (first + later) + 2_000;
    let workload = Workload {
        name: "pace",
        size: SIZE,
        sessions: RELAYS,
        per_connection: 1_000,
        far: Far::Smarthost,
        messages: [enough; 2],
        is_main: false,
        is_traced: false,
    };
    let load = Subject { fleet: &fleet, postfix: None }.load(&workload);
    let far_side = fleet.world.sinks.first().context("there is a far side")?;
    far_side.behave([wants(first)]);
    let source = Source::start(load);
    for (name, wanted) in [("pace_settled", first), ("pace_recovered", later)] {
        far_side.behave([wants(wanted)]);
        let Seen { taken, refused } = watch(fleet.ledger(), far_side, each).await;
        let seconds = (each / 2).as_secs_f64();
        figures.ours(name, "of what it wants", vec![taken as f64 / seconds / wanted as f64]);
        let asked = (taken + refused).max(1) as f64;
        figures.ours(&format!("{name}_refused"), "of what came", vec![refused as f64 / asked]);
    }
    source.finish().await.map(drop)
}

/// What it says to those that come too fast.
fn wants(per_second: usize) -> Rule {
    let too_fast = Act::ReplyAndClose("421 4.7.0 rate limited, come back later".to_owned());
    Rule::new(At::Mail, too_fast).beyond(per_second)
}

/// What a far side took and refused in the second half of a time.
struct Seen {
    taken: usize,
    refused: usize,
}

async fn watch(ledger: &Ledger, far_side: &Sink, each: Duration) -> Seen {
    tokio::time::sleep(each / 2).await;
    let (taken, refused, began) = (ledger.len(), far_side.followed(At::Mail), Instant::now());
    tokio::time::sleep((each / 2).saturating_sub(began.elapsed())).await;
    let refused = far_side.followed(At::Mail) - refused;
    Seen { taken: ledger.len() - taken, refused: usize::try_from(refused).unwrap_or(usize::MAX) }
}
