//! How long a take-over took, and how long clients waited while one server of three was away.
//! **Owns:** which of a run's times count for them. **Never:** I/O.

use std::time::Duration;

use super::{Struck, Verdict};
use crate::chaos::books::{At, Books};

/// The intake's patience: after it a client is told to come again.
const PATIENCE: Duration = Duration::from_secs(30);
/// From a server's return to the answer for who waits for it: an asking of 5 s that is lost, a pause of 2 s, a connection's 2 s and the
/// 2 s that a server may be looked at, when all of them come one behind the other.
const BACK_WITHIN: Duration = Duration::from_secs(11);

/// For each kill of a relay while the queue was well: the time until the last partition had its deliveries back.
pub(super) fn takeovers(books: &Books, struck: &[Struck]) -> Vec<Duration> {
    // What keeps survivors from seeing a death, and for how long after it.
    let after = Duration::from_secs(8);
    // Where servers change places, the queue is well again only when a replica is in step.
    let before = |one: &Struck| Duration::from_secs(if one.may_promote { 60 } else { 1 });
    let is_near =
        |kill: &Struck, one: &Struck| one.from < kill.from + after && kill.from < one.to + before(one);
    let is_well = |kill: &&Struck| {
        let disturbs =
            |one: &&Struck| one.is_disruptive && (one.is_of_store || one.is_partition || one.is_pause);
        !struck.iter().filter(disturbs).any(|one| is_near(kill, one))
    };
    let takeover = |kill: &Struck| {
        let of =
            books.lives.iter().filter(|(_, (relay, began))| Some(*relay) == kill.relay && *began < kill.from);
        let reaped = of.filter_map(|(life, _)| books.reaped.get(life)).filter(|at| **at >= kill.from);
        reaped.max().map(|at| *at - kill.from)
    };
    // A relay's log tells the time by the clock that was set.
    if struck.iter().any(|one| one.is_clock) {
        return Vec::new();
    }
    struck.iter().filter(|one| one.is_kill).filter(is_well).filter_map(takeover).collect()
}

/// For each outage of one server of three: from dots to their 250s, where no other fault was by then or lately.
///
/// New mail goes to the other two. Only what was on its way to the one that is away waits for it: whether it is there nobody can tell.
pub(super) fn accept_waits(books: &Books, struck: &[Struck], verdict: &mut Verdict) {
    for (number, outage) in struck.iter().enumerate().filter(|(_, one)| one.is_outage) {
        let others = struck.iter().enumerate().filter(|(other, one)| *other != number && one.is_disruptive);
        let others: Vec<&Struck> = others.map(|(_, one)| one).collect();
        let is_meant = |(dot, wait): &&(At, Duration)| {
            let end = *dot + *wait;
            let disturbs = |one: &&Struck| one.from <= end && *dot <= one.to + BACK_WITHIN;
            *dot <= outage.to && outage.from <= end && !others.iter().any(disturbs)
        };
        let waits: Vec<_> = books.waits.iter().filter(is_meant).collect();
        verdict.accept_waits.extend(waits.iter().map(|(_, wait)| *wait).max());
        let late =
            waits.iter().filter(|(dot, wait)| *dot + *wait > (outage.to + BACK_WITHIN).min(*dot + PATIENCE));
        verdict.overdue.extend(late.map(|(dot, wait)| {
            format!(
                "{wait:?} from {dot:?}, of a server that was away from {:?} to {:?}",
                outage.from, outage.to
            )
        }));
    }
}
