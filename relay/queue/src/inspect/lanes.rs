//! The longest lanes, as people speak of them: by destination, its flows added up.
//! **Owns:** [`Partition::top_lanes`]. **Never:** a scan: it reads the front of an index, then what is known of those found there.

use std::collections::HashMap;

use postrider_mail::Due;

use super::{LaneView, Suspension, seen};
use crate::{
    answer,
    connection::{CALL_LIMIT, Purpose},
    error::Unavailable,
    lane::Lane,
    partition::Partition,
};

/// Lanes read for each destination asked for: a destination whose mail is spread over its flows is found by the longest of them.
const LANES_EACH: u32 = 8;
/// Lanes read at most.
const LANES_MAX: u32 = 1_000;

/// A destination, and its lanes that have mail.
struct Found {
    destination: Lane,
    lanes: Vec<Lane>,
    waiting: u64,
}

impl Partition {
    /// The destinations that most mail waits for: those of the longest lanes. A lane of the answer stands for all flows of it.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn top_lanes(&self, count: u32) -> Result<Vec<LaneView>, Unavailable> {
        let count = count.clamp(1, LANES_MAX);
        let destinations = self.longest(count).await?;
        if destinations.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = self.count_flows(destinations).await?;
        found.sort_by(|a, b| b.waiting.cmp(&a.waiting).then_with(|| a.destination.cmp(&b.destination)));
        let mut about = redis::Pipeline::new();
        for one in &found {
            for lane in &one.lanes {
                about.cmd("ZRANGE").arg(self.keys().lane(lane)).arg(0).arg(0).arg("WITHSCORES");
            }
            let suspended = about.cmd("HMGET").arg(self.keys().named("suspended"));
            one.destination.lanes().for_each(|lane| {
                suspended.arg(lane.to_string());
            });
        }
        let mut about = self.connections().pipeline(Purpose::Admin, &about, CALL_LIMIT).await?.into_iter();
        let mut views = Vec::with_capacity(found.len());
        for one in found {
            let mut dues = Vec::new();
            for _ in &one.lanes {
                let first = answer::array(about.next().unwrap_or_default())?;
                dues.extend(first.into_iter().nth(1).map(answer::score).transpose()?);
            }
            let suspended = answer::array(about.next().unwrap_or_default())?.into_iter();
            let suspended =
                suspended.map(answer::optional_bytes).collect::<Result<Vec<Option<Vec<u8>>>, _>>()?;
            views.push(LaneView {
                lane: one.destination,
                waiting: one.waiting,
                first_due: dues.into_iter().min().map(Due::from_unix_millis),
                suspended: suspension(suspended.iter().map(Option::as_deref)),
            });
        }
        Ok(views)
    }

    /// The destinations of the longest lanes, each once.
    async fn longest(&self, count: u32) -> Result<Vec<Lane>, Unavailable> {
        let last = i64::from(count.saturating_mul(LANES_EACH).min(LANES_MAX)) - 1;
        let mut command = redis::cmd("ZREVRANGE");
        command.arg(self.keys().named("depth")).arg(0).arg(last).arg("WITHSCORES");
        let answer = answer::array(self.connections().command(Purpose::Admin, &command, CALL_LIMIT).await?)?;
        let mut sums: HashMap<Lane, u64> = HashMap::new();
        let mut values = answer.into_iter();
        while let (Some(lane), Some(waiting)) = (values.next(), values.next()) {
            let lane: Lane = answer::parsed(&answer::text(lane)?)?;
            *sums.entry(lane.destination()).or_default() += answer::score(waiting)?;
        }
        let mut sums: Vec<(Lane, u64)> = sums.into_iter().collect();
        sums.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Ok(sums.into_iter().take(count as usize).map(|(lane, _)| lane).collect())
    }

    /// Which of their lanes have mail, and how much there is.
    async fn count_flows(&self, destinations: Vec<Lane>) -> Result<Vec<Found>, Unavailable> {
        let mut counts = redis::Pipeline::new();
        for destination in &destinations {
            let scores = counts.cmd("ZMSCORE").arg(self.keys().named("depth"));
            destination.lanes().for_each(|lane| {
                scores.arg(lane.to_string());
            });
        }
        let counts = self.connections().pipeline(Purpose::Admin, &counts, CALL_LIMIT).await?;
        let mut found = Vec::with_capacity(destinations.len());
        for (destination, scores) in destinations.into_iter().zip(counts) {
            let mut one = Found { destination, lanes: Vec::new(), waiting: 0 };
            for (lane, score) in one.destination.lanes().zip(answer::array(scores)?) {
                if score != redis::Value::Nil {
                    one.waiting += answer::score(score)?;
                    one.lanes.push(lane);
                }
            }
            found.push(one);
        }
        Ok(found)
    }
}

/// What lets a destination wait: its own suspension comes first; else the limit that one of its lanes waits for, the one that goes on first.
fn suspension<'a>(mut values: impl Iterator<Item = Option<&'a [u8]>>) -> Option<Suspension> {
    let own = values.next().flatten().and_then(seen::suspension);
    let of_flows = values.flatten().filter_map(seen::suspension);
    match own {
        Some(Suspension::ByHand | Suspension::Until(_)) => own,
        Some(Suspension::Limited { .. }) | None => {
            own.into_iter().chain(of_flows).min_by_key(|one| match one {
                Suspension::Until(until) | Suspension::Limited { until, .. } => *until,
                Suspension::ByHand => Due::from_unix_millis(u64::MAX),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Limiter;

    #[test]
    fn a_destination_waits_for_its_suspension_or_for_the_first_of_its_limits() {
        let of = |values: &[Option<&str>]| suspension(values.iter().map(|value| value.map(str::as_bytes)));
        assert_eq!(of(&[None, None]), None);
        assert_eq!(of(&[Some("by hand"), Some("5 tag message-rate 2")]), Some(Suspension::ByHand));
        let until = Due::from_unix_millis;
        assert_eq!(of(&[Some("9 tag"), Some("5 tag message-rate 2")]), Some(Suspension::Until(until(9))));
        let limited = Suspension::Limited { until: until(5), limiter: Limiter::MessageRate };
        assert_eq!(of(&[None, Some("7 tag message-rate 2"), Some("5 tag message-rate 2")]), Some(limited));
        assert_eq!(of(&[Some("5 tag message-rate 2"), None]), Some(limited));
    }
}
