//! How much is in a partition, and what has become of all that was: without a scan.
//! **Owns:** figures.lua and [`Figures`]. **Never:** counts by itself: the scripts keep the totals as they change things.
//! Invariant: I2: these equal what a scan finds.

use std::{collections::BTreeMap, time::Duration};

use postrider_mail::{Class, Due};
use redis::FromRedisValue;

use crate::{
    connection::Purpose,
    error::Unavailable,
    partition::Partition,
    script::{Flags, Script},
};

static FIGURES: Script = Script::new("figures", Flags::ReadOnly, &[include_str!("scripts/figures.lua")]);
const LIMIT: Duration = Duration::from_secs(2);

/// What is in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// Messages ever accepted.
    pub accepted: u64,
    /// Messages that have ended.
    pub ended: u64,
    /// Deliveries in lanes, by class.
    pub waiting: BTreeMap<Class, u64>,
    /// Deliveries on hold.
    pub held: u64,
    /// Deliveries that incarnations have claimed.
    pub claimed: u64,
    /// Lanes with deliveries that wait.
    pub lanes: u64,
    /// Lanes that aren't tried for now, or were not until lately.
    pub suspended: u64,
    /// Everything else that the scripts count, by name.
    pub counters: BTreeMap<String, u64>,
    /// The store's time.
    pub now: Option<Due>,
}

impl Figures {
    /// Deliveries in the partition.
    pub fn deliveries(&self) -> u64 {
        let waiting = self.waiting.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
        waiting.saturating_add(self.held).saturating_add(self.claimed)
    }

    /// Messages in the partition.
    pub const fn messages(&self) -> u64 {
        self.accepted.saturating_sub(self.ended)
    }
}

impl Partition {
    /// What is in the partition.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn figures(&self) -> Result<Figures, Unavailable> {
        let keys =
            ["meta", "totals", "held", "pods", "depth", "suspended"].map(|name| self.keys().named(name));
        let keys = keys.each_ref().map(String::as_str);
        let prefix = self.keys().named("claims:");
        let answer =
            self.connections().run(Purpose::Admin, &FIGURES, &keys, &[prefix.as_bytes()], LIMIT).await?;
        let flat = Vec::<String>::from_redis_value(answer)
            .map_err(|error| Unavailable::unreadable(error, "a list of texts"))?;
        Ok(read(&flat))
    }
}

fn read(flat: &[String]) -> Figures {
    let mut figures = Figures::default();
    for pair in flat.chunks_exact(2) {
        let number = pair[1].parse().unwrap_or(0);
        match pair[0].as_str() {
            "now" => figures.now = Some(Due::from_unix_millis(number)),
            "accepted" => figures.accepted = number,
            "held" => figures.held = number,
            "claimed" => figures.claimed = number,
            "lanes" => figures.lanes = number,
            "suspended" => figures.suspended = number,
            name => match name.strip_prefix("waiting:").and_then(|class| class.parse().ok()) {
                Some(class) => {
                    figures.waiting.insert(class, number);
                }
                None => {
                    figures.counters.insert(name.to_owned(), number);
                }
            },
        }
    }
    figures.ended = figures.counters.get("ended").copied().unwrap_or(0);
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_beyond_all_bounds_add_up_to_the_most() {
        let most = u64::MAX.to_string();
        let read = read(&["waiting:Bulk".into(), most.clone(), "held".into(), most, "x".into()]);
        assert_eq!(read.deliveries(), u64::MAX);
    }
}
