//! Chance with a seed.
//! **Owns:** the ways in which a plan draws. **Never:** another source of chance.

use std::{ops::RangeInclusive, time::Duration};

use rand::{Rng, distr::uniform::SampleUniform, rngs::StdRng, seq::IndexedRandom};

/// What a seed gives.
pub(crate) struct Draw(pub(crate) StdRng);

impl Draw {
    pub(crate) fn within<T: SampleUniform + PartialOrd>(&mut self, range: RangeInclusive<T>) -> T {
        self.0.random_range(range)
    }

    pub(crate) fn millis(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    pub(crate) fn one_in(&mut self, count: u32) -> bool {
        self.within(1..=count) == 1
    }

    /// One of some.
    pub(crate) fn pick<T: Copy + Default>(&mut self, from: &[T]) -> T {
        from.choose(&mut self.0).copied().unwrap_or_default()
    }
}
