//! A shard's state, brought to what the config wants: drained and closed before it goes, opened where it is wanted again.
//! **Owns:** [`Wanted`], who may change a state and when. **Never:** lets mail into a shard that a config with a say drains.
//! Every pod that has the config with the drain keeps the shard draining. Only a pod whose own config ended the drain opens it; one
//! that has just started may have an older config than the others, and waits until it would have got theirs.

use std::time::Duration;

use postrider_mail::Mono;

use super::{Shard, ShardOptions, lock, store};
use crate::{error::Unavailable, preflight::Ask, shards::State};

/// After so long a config is the one that all have: a mounted Secret is renewed within 75 s.
pub(super) const SETTLED: Duration = Duration::from_secs(120);

/// What the config wants of a shard.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The queue that should be there, where the config knows it.
    pub(super) uuid: Option<Box<str>>,
    /// Whether it is to be emptied.
    pub(super) is_draining: bool,
    /// From when on this process opens it again; never once it was found open.
    reopen_from: Option<Mono>,
}

impl Wanted {
    pub(super) fn new(options: &ShardOptions, reopen_from: Mono) -> Self {
        Self {
            uuid: options.uuid.clone(),
            is_draining: options.is_draining,
            reopen_from: Some(reopen_from).filter(|_| !options.is_draining),
        }
    }

    /// Another config says so.
    pub(super) fn change(&mut self, uuid: Option<Box<str>>, is_draining: bool, now: Mono) {
        if self.is_draining && !is_draining {
            self.reopen_from = Some(now);
        } else if is_draining {
            self.reopen_from = None;
        }
        self.uuid = uuid;
        self.is_draining = is_draining;
    }

    /// What the state is to be, if another than was found. `messages` were counted after the state was read: in a shard that drains
    /// there can't be more since.
    fn next(&mut self, found: State, messages: u64, now: Mono) -> Option<State> {
        match (self.is_draining, found) {
            (true, State::Open) => Some(State::Draining),
            (true, State::Draining) => (messages == 0).then_some(State::Closed),
            (true, State::Closed) => None,
            (false, State::Open) => {
                self.reopen_from = None;
                None
            }
            (false, State::Draining | State::Closed) => {
                self.reopen_from.filter(|from| *from <= now).map(|_| State::Open)
            }
        }
    }
}

impl Shard {
    /// Returns the state that the shard has now.
    pub(super) async fn keep_state(
        &self,
        ask: &mut Ask<'_>,
        found: State,
        messages: u64,
        now: Mono,
    ) -> Result<State, Unavailable> {
        let Some(wanted) = lock(&self.known.wanted).next(found, messages, now) else { return Ok(found) };
        let left = store::set_state(ask, self.partition.keys(), wanted).await?;
        if wanted == State::Closed && left > 0 {
            return Ok(found);
        }
        tracing::info!(partition = %self.partition.name(), state = %wanted, before = %found, "a shard of the queue has another state");
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_start(Duration::from_secs(seconds))
    }

    fn wanted(is_draining: bool, from: u64) -> Wanted {
        Wanted { uuid: None, is_draining, reopen_from: (!is_draining).then(|| at(from)) }
    }

    #[test]
    fn a_shard_drains_and_closes_once_it_is_empty() {
        let mut one = wanted(true, 0);
        assert_eq!(one.next(State::Open, 3, at(1)), Some(State::Draining));
        assert_eq!(one.next(State::Draining, 3, at(2)), None);
        assert_eq!(one.next(State::Draining, 0, at(3)), Some(State::Closed));
        assert_eq!(one.next(State::Closed, 0, at(4)), None);
    }

    #[test]
    fn the_end_of_a_drain_opens_it_at_once_and_only_once() {
        let mut one = wanted(true, 0);
        one.change(None, false, at(5));
        assert_eq!(one.next(State::Closed, 0, at(5)), Some(State::Open));
        assert_eq!(one.next(State::Open, 0, at(6)), None);
        // Another pod drains it by a config that this one hasn't got yet.
        assert_eq!(one.next(State::Draining, 1, at(7)), None);
        one.change(None, true, at(8));
        one.change(None, true, at(9));
        assert_eq!(one.next(State::Open, 1, at(9)), Some(State::Draining));
    }

    #[test]
    fn who_starts_opens_nothing_that_the_others_may_have_been_told_to_drain() {
        let mut one = wanted(false, 120);
        assert_eq!(one.next(State::Draining, 1, at(1)), None);
        one.change(Some("u".into()), false, at(2));
        assert_eq!(one.next(State::Draining, 1, at(119)), None);
        assert_eq!(one.next(State::Draining, 1, at(120)), Some(State::Open));
        let mut other = wanted(false, 120);
        assert_eq!(other.next(State::Open, 0, at(1)), None);
        assert_eq!(other.next(State::Closed, 0, at(999)), None, "it was open when this process came");
    }
}
