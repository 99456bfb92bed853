//! **The page to read**: one delivery, from its claim to its settlement.
//!
//! claim -> route -> hosts -> site -> outcome -> settle. Each step is a file of its own; this one only puts them in a row.
//! **Owns:** the order of the steps, and the three ports through which they reach the world. **Never:** a socket, a detail.
//! Invariant: I6, a DNS failure defers, it never bounces. Whatever happens here, the claim ends in `settle` or `release`.

pub mod content;
pub mod ending;
pub mod plan;
pub mod signed;
pub mod told;

use std::{future::Future, time::Duration};

use postrider_core::{config::Config, mx::Unresolved, route::Decision};
use postrider_queue::{Body, Claimed, Lane, Settled, Settlement, body::BodyError};

use crate::{
    failpoint::{self, Step},
    site::{Attempt, NotTried, Order, PutOff, Stop},
};
use content::Content;
use plan::{Plan, Planned};
use told::{End, Told};

/// The queue, as an attempt needs it.
pub trait Store {
    /// The body of a claimed delivery's message.
    fn body(&self, claimed: &Claimed) -> impl Future<Output = Result<Body, BodyError>> + Send;
    /// Ends the attempt. Returns once the queue has answered, however long that takes.
    fn settle(&self, settlement: Settlement) -> impl Future<Output = Settled> + Send;
    /// Gives the claim back, to be tried after `wait`; no attempt is counted.
    fn release(&self, claimed: Claimed, wait: Duration) -> impl Future<Output = ()> + Send;
    /// Nothing of the lane is tried for `wait`: nobody answers there.
    fn suspend(&self, lane: &Lane, wait: Duration) -> impl Future<Output = ()> + Send;
    /// A limit lets the lane wait.
    fn put_off(&self, lane: &Lane, put_off: PutOff) -> impl Future<Output = ()> + Send;
    /// Somebody answers there.
    fn answered(&self, lane: &Lane) -> impl Future<Output = ()> + Send;
}

/// The DNS, as an attempt needs it.
pub trait Hosts {
    /// Where a decision leads, for a domain: the best first.
    fn hosts(
        &self,
        decision: &Decision<'_>,
        claimed: &Claimed,
        config: &Config,
    ) -> impl Future<Output = Result<Vec<Stop>, Unresolved>> + Send;
}

/// The far sides, as an attempt needs them.
pub trait FarSides {
    /// Host after host, until each recipient has an answer or there is no host left.
    fn attempt(&self, order: Order<'_>) -> impl Future<Output = Result<Attempt, NotTried>> + Send;
}

/// What an attempt reaches the world through.
#[derive(Clone)]
pub struct Ports<S, D, F> {
    /// The queue.
    pub store: S,
    /// The DNS.
    pub dns: D,
    /// The far sides.
    pub far_sides: F,
}

/// One delivery from claim to settle. `body` is there when it needn't be read back; `chance` makes retries differ.
pub async fn deliver<S: Store, D: Hosts, F: FarSides>(
    claimed: Claimed,
    body: Option<Body>,
    ports: &Ports<S, D, F>,
    config: &Config,
    chance: u64,
) -> Told {
    let told = Told::new(&claimed);
    let Planned { plan, policy } = plan::plan(&claimed, config);
    let attempt = match plan {
        Plan::Wait(wait) => return give_back(claimed, wait, "the fleet is paused", told, ports).await,
        Plan::Move(parts) => return end(ending::moved(claimed, parts), End::Moved, told, ports).await,
        Plan::Hold(reason) => return end(ending::held(claimed, reason), End::Held, told, ports).await,
        Plan::Discard => return end(ending::discarded(claimed), End::Discarded, told, ports).await,
        Plan::End(outcomes) => Attempt::without_far_side(outcomes),
        Plan::Try(decision) => match try_there(&claimed, body, &decision, ports, config).await {
            Ok(attempt) => attempt,
            Err(Not::Tried(NotTried { wait, why, is_site_down, put_off })) => {
                if is_site_down {
                    ports.store.suspend(&claimed.delivery.lane, wait).await;
                }
                if let Some(put_off) = put_off {
                    ports.store.put_off(&claimed.delivery.lane, put_off).await;
                }
                // What holds the whole lane lets go of all its mail at once, be it sooner than was said: none waits for itself, too.
                // A site that is down may be one of two that the lane leads to: its mail doesn't come back with each answer of the other.
                let wait = match put_off {
                    Some(put_off) if put_off.is_for_all => Duration::ZERO,
                    _ if is_site_down => wait.min(HELD_WITH_ITS_LANE),
                    _ => wait,
                };
                return give_back(claimed, wait, why, told, ports).await;
            }
            Err(Not::Readable(why)) => {
                return end(ending::held(claimed, &why), End::Held, told, ports).await;
            }
        },
    };
    failpoint::passed(Step::Replied);
    tell_lane(&claimed, &attempt, ports).await;
    let told = told.with(&attempt);
    end(ending::of(claimed, attempt, &policy, config, chance), End::Attempted, told, ports).await
}

/// Why an attempt came to nothing before a far side was asked.
enum Not {
    Tried(NotTried),
    Readable(String),
}

/// Finds the hosts and asks them.
async fn try_there<S: Store, D: Hosts, F: FarSides>(
    claimed: &Claimed,
    body: Option<Body>,
    decision: &Decision<'_>,
    ports: &Ports<S, D, F>,
    config: &Config,
) -> Result<Attempt, Not> {
    let stops = match ports.dns.hosts(decision, claimed, config).await {
        Ok(stops) => stops,
        Err(why) => return Ok(Attempt::unresolved(claimed, &why, decision.policy.retry.initial)),
    };
    let body = match body {
        Some(body) => body,
        None => ports.store.body(claimed).await.map_err(|why| unreadable(&why))?,
    };
    let content = Content::of(&claimed.delivery, body, &config.hostname);
    let content = signed::signed(content, claimed, config).await.map_err(|_| Not::Tried(NOT_SIGNED))?;
    let order = Order::new(claimed, decision, stops, &content, config);
    let mut attempt = ports.far_sides.attempt(order).await.map_err(Not::Tried)?;
    attempt.is_bulk = attempt.has_deferred() && content::is_bulk(&content.body);
    Ok(attempt)
}

/// A queue that doesn't answer is asked again later; a body that isn't there needs a person.
fn unreadable(why: &BodyError) -> Not {
    match why {
        BodyError::Unavailable(_) | BodyError::Full => {
            Not::Tried(not_tried(QUEUE_AWAY, "the queue did not answer"))
        }
        BodyError::Missing { .. } | BodyError::Unreadable { .. } => Not::Readable(why.to_string()),
    }
}

/// How long mail at most waits by itself whose lane is left alone.
const HELD_WITH_ITS_LANE: Duration = Duration::from_secs(2);
/// How long mail waits whose body couldn't be read because the queue was away.
const QUEUE_AWAY: Duration = Duration::from_secs(5);

/// A key that is there and doesn't sign may do so later.
const NOT_SIGNED: NotTried = not_tried(Duration::from_secs(60), "the message could not be signed");

const fn not_tried(wait: Duration, why: &'static str) -> NotTried {
    NotTried { wait, why, is_site_down: false, put_off: None }
}

/// What the attempt says of its lane: that nobody answers, or that somebody does; and how fast mail is wanted.
async fn tell_lane<S: Store, D, F>(claimed: &Claimed, attempt: &Attempt, ports: &Ports<S, D, F>) {
    let lane = &claimed.delivery.lane;
    if let Some(wait) = attempt.suspended {
        ports.store.suspend(lane, wait).await;
    } else if attempt.is_answered {
        ports.store.answered(lane).await;
    }
    if let Some(put_off) = attempt.put_off {
        ports.store.put_off(lane, put_off).await;
    }
}

async fn give_back<S: Store, D, F>(
    claimed: Claimed,
    wait: Duration,
    why: &'static str,
    told: Told,
    ports: &Ports<S, D, F>,
) -> Told {
    ports.store.release(claimed, wait).await;
    told.released(why)
}

async fn end<S: Store, D, F>(settlement: Settlement, how: End, told: Told, ports: &Ports<S, D, F>) -> Told {
    let told = told.ended(how, &settlement);
    let settled = ports.store.settle(settlement).await;
    told.settled(settled)
}
