//! One order, by one source of its pool after another, until one reaches somebody.
//! **Owns:** that mail of a pool leaves by a source of that pool or waits; what of a source's site holds for the whole lane. **Never:**
//! connects, chooses (core::egress does).

use std::{sync::Arc, time::Duration};

use postrider_core::{egress::Pool, outcome};
use postrider_mail::{EnhancedCode, OutcomeKind, Stage};
use postrider_queue::limit::Limiter;

use super::{
    Attempt, Exit, ForClaim, NotTried, Order, PutOff, Shared,
    attempt::{self, Not, limited::not_tried},
};
use crate::egress::{Choice, NamedSource};

/// 4.4.1: no connection.
const NO_WAY_OUT: EnhancedCode = EnhancedCode::transient(4, 1);
/// What senders read of it in the end: nothing of how we are built.
const NONE_WORKS: &str = "none of the addresses that this mail leaves from can be used at present";
const NONE_REACHES: &str =
    "none of the addresses that this mail leaves from reaches the far side's kind of address";
/// How long mail stays away that nothing stood in the way of. It can't happen: without a source none fails.
const ODD_WAIT: Duration = Duration::from_secs(2);
/// How long a message stays away at least whose source's limit lets it wait alone: its lane goes on, and would bring it back at once.
const ALONE_WAIT: Duration = Duration::from_secs(1);

/// Makes the attempt.
pub(super) async fn run(claim: &ForClaim, order: Order<'_>) -> Result<Attempt, NotTried> {
    match order.exit {
        Exit::Plain => plain(claim, &order).await,
        Exit::Pool(pool) => by_pool(claim, order, pool).await,
        Exit::Missing => Ok(no_way_out(&order, NONE_WORKS)),
    }
}

async fn plain(claim: &ForClaim, order: &Order<'_>) -> Result<Attempt, NotTried> {
    let site = claim.shared.site(order);
    attempt::run(&site, order, claim).await.map_err(|why| match why {
        Not::Tried(why) => why,
        Not::Spent(put_off) => not_tried(&claim.shared, put_off),
        Not::Sent => {
            NotTried { wait: ODD_WAIT, why: "it could not be sent", is_site_down: false, put_off: None }
        }
    })
}

/// Each source comes once at most, so this ends.
async fn by_pool(claim: &ForClaim, mut order: Order<'_>, pool: &Pool) -> Result<Attempt, NotTried> {
    let shared = &claim.shared;
    let queue_id = order.delivery.id.message.to_string();
    let mut tried: Vec<Arc<NamedSource>> = Vec::new();
    let mut spent: Vec<PutOff> = Vec::new();
    loop {
        let choice = shared.sources.choose(pool, &queue_id, |source| order.is_reached_by(source), &tried);
        let source = match choice {
            Choice::By(source) => source,
            Choice::Out => return waits(shared, &order, pool, &spent),
            Choice::Unreachable => return Ok(no_way_out(&order, NONE_REACHES)),
        };
        order.source = Some(source.clone());
        let site = shared.site(&order);
        let ended = attempt::run(&site, &order, claim).await;
        drop(site);
        shared.sources.left(&source);
        match ended {
            Err(Not::Sent) => tried.push(source),
            Err(Not::Spent(put_off)) => {
                shared.metrics.sources.spent(&source.name);
                spent.push(put_off);
                tried.push(source);
            }
            Err(Not::Tried(mut why)) => {
                why.is_site_down &= is_down_by_all(shared, &mut order, pool, &source);
                if why.put_off.is_some() && !waits_by_all(shared, &mut order, pool, &source) {
                    (why.put_off, why.wait) = (None, why.wait.max(ALONE_WAIT));
                }
                return Err(why);
            }
            Ok(mut attempt) => {
                // The others of the lane can go by another source.
                attempt.put_off = attempt.put_off.filter(|one| {
                    one.limited.limiter != Limiter::WarmUp && waits_by_all(shared, &mut order, pool, &source)
                });
                if attempt.suspended.is_some() && !is_down_by_all(shared, &mut order, pool, &source) {
                    attempt.suspended = None;
                }
                return Ok(attempt);
            }
        }
    }
}

/// Whether nobody answers by any other source either: only then the lane, in which mail of all of them waits, is left alone. A far side
/// may refuse one source and take from another.
fn is_down_by_all(shared: &Shared, order: &mut Order<'_>, pool: &Pool, but: &Arc<NamedSource>) -> bool {
    by_all_others(shared, order, pool, but, |order| shared.is_suspended(order) || shared.is_spent(order))
}

/// Whether mail would wait by any other source too: only then the lane, in which mail of all of them waits, is put off.
fn waits_by_all(shared: &Shared, order: &mut Order<'_>, pool: &Pool, but: &Arc<NamedSource>) -> bool {
    by_all_others(shared, order, pool, but, |order| {
        shared.is_suspended(order) || shared.is_spent(order) || shared.is_limited(order)
    })
}

/// Whether something is so by all sources but one that could be used.
fn by_all_others(
    shared: &Shared,
    order: &mut Order<'_>,
    pool: &Pool,
    but: &Arc<NamedSource>,
    is_so: impl Fn(&Order<'_>) -> bool,
) -> bool {
    let well = shared.sources.well(pool, |source| order.is_reached_by(source));
    well.into_iter().filter(|source| source.name != but.name).all(|source| {
        order.source = Some(source);
        is_so(&*order)
    })
}

/// Nothing can leave now. Where all sources have carried what they may, that is so for all mail of the lane; where one fails, this relay
/// may be the only one that can't use it.
fn waits(shared: &Shared, order: &Order<'_>, pool: &Pool, spent: &[PutOff]) -> Result<Attempt, NotTried> {
    let Some(soonest) = spent.iter().min_by_key(|put_off| put_off.limited.wait) else {
        return Ok(no_way_out(order, NONE_WORKS));
    };
    let why = not_tried(shared, *soonest);
    let reaching = pool.sources.iter().filter(|source| order.is_reached_by(source)).count();
    Err(if spent.len() == reaching { why } else { NotTried { put_off: None, ..why } })
}

/// It waits by its schedule, and never leaves otherwise.
fn no_way_out(order: &Order<'_>, why: &str) -> Attempt {
    let outcome = |(number, _): &(u32, _)| {
        outcome::ours(*number, Stage::Connect, OutcomeKind::Deferred, NO_WAY_OUT, why)
    };
    Attempt::without_far_side(order.recipients.iter().map(outcome).collect())
}
