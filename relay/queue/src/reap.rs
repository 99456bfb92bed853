//! Incarnations in the store: register, beat, look at each other, reap.
//! **Owns:** register.lua, beat.lua, reap.lua and their typed calls. **Never:** decides that somebody is dead (incarnation.rs).
//! Invariant: I3. A reap goes in slices; anyone goes on with a half-done one.

use crate::{error::Unavailable, incarnation::Incarnation, partition::Partition};

/// The newest record format that this version reads and writes.
pub const FORMAT: u32 = 1;

/// Where an incarnation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PodState {
    /// It beats, or did when last seen.
    Live {
        /// Its beats so far.
        counter: u64,
        /// The newest record format that it reads.
        format: u32,
    },
    /// It is fenced, and its claims are on their way back.
    Reaping,
    /// It is fenced and has no claims.
    Ended,
}

/// What a beat gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Beat {
    /// It counts.
    Confirmed,
    /// The incarnation is unknown or fenced: all its claims are lost.
    Fenced,
}

/// What a slice of a reap gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reaped {
    /// It beats: the counter moved.
    Alive,
    /// `moved` claims went back, and there are more: go on.
    More {
        /// How many went back.
        moved: u32,
    },
    /// Its last `moved` claims went back (or there was nothing to do).
    Done {
        /// How many went back.
        moved: u32,
    },
}

impl Partition {
    /// Takes a new incarnation in. Also forgets those that ended a day ago.
    ///
    /// # Errors
    /// If the store gave no answer (register another one then: this one may be registered), or refused.
    pub async fn register(&self, incarnation: Incarnation) -> Result<(), Unavailable> {
        let _ = incarnation;
        panic!("being written")
    }

    /// Says that an incarnation lives.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn beat(&self, incarnation: Incarnation) -> Result<Beat, Unavailable> {
        let _ = incarnation;
        panic!("being written")
    }

    /// All incarnations that the store knows.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn pods(&self) -> Result<Vec<(Incarnation, PodState)>, Unavailable> {
        panic!("being written")
    }

    /// Fences `dead` if its counter still is `counter`, and moves a slice of its claims back; goes on if it is fenced already.
    ///
    /// # Errors
    /// If the store gave no answer: asked again, nothing is done twice.
    pub async fn reap(&self, dead: Incarnation, counter: u64) -> Result<Reaped, Unavailable> {
        let _ = (dead, counter);
        panic!("being written")
    }

    /// Leaves: fences `incarnation` itself, its claims (if any are left) go back without a crash being counted.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn leave(&self, incarnation: Incarnation) -> Result<Reaped, Unavailable> {
        let _ = incarnation;
        panic!("being written")
    }
}
