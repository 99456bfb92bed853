//! Incarnations in the store: register, beat, look at each other, reap.
//! **Owns:** register.lua, beat.lua, reap.lua and their typed calls. **Never:** decides that somebody is dead (incarnation.rs).
//! Invariant: I3. A reap goes in slices; anyone goes on with a half-done one.

use crate::{
    answer::{self, Fields},
    connection::{CALL_LIMIT, Purpose},
    error::Unavailable,
    incarnation::Incarnation,
    partition::Partition,
    script,
};

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
        let (meta, pods) = (self.keys().named("meta"), self.keys().named("pods"));
        let (incarnation, format) = (incarnation.to_string(), FORMAT.to_string());
        let args: [&[u8]; 3] = [self.keys().prefix().as_bytes(), incarnation.as_bytes(), format.as_bytes()];
        let answer = self
            .connections()
            .run(Purpose::Beat, &script::REGISTER, &[&meta, &pods], &args, CALL_LIMIT)
            .await;
        match answer::number(answer?)? {
            0 => Err(Unavailable::Failed { reply: "the incarnation was registered before".into() }),
            _ => Ok(()),
        }
    }

    /// Says that an incarnation lives.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn beat(&self, incarnation: Incarnation) -> Result<Beat, Unavailable> {
        let (pods, incarnation) = (self.keys().named("pods"), incarnation.to_string());
        let args: [&[u8]; 2] = [self.keys().prefix().as_bytes(), incarnation.as_bytes()];
        let answer = self.connections().run(Purpose::Beat, &script::BEAT, &[&pods], &args, CALL_LIMIT).await;
        match answer::number(answer?)? {
            0 => Ok(Beat::Fenced),
            _ => Ok(Beat::Confirmed),
        }
    }

    /// All incarnations that the store knows.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn pods(&self) -> Result<Vec<(Incarnation, PodState)>, Unavailable> {
        let command = redis::cmd("HGETALL").arg(self.keys().named("pods")).to_owned();
        let answer = answer::array(self.connections().command(Purpose::Beat, &command, CALL_LIMIT).await?)?;
        let mut texts = answer.into_iter().map(answer::text);
        let mut pods = Vec::new();
        while let (Some(incarnation), Some(state)) = (texts.next(), texts.next()) {
            pods.push((answer::parsed(&incarnation?)?, read_state(&state?)?));
        }
        Ok(pods)
    }

    /// Fences `dead` if its counter still is `counter`, and moves a slice of its claims back; goes on if it is fenced already.
    ///
    /// # Errors
    /// If the store gave no answer: asked again, nothing is done twice.
    pub async fn reap(&self, dead: Incarnation, counter: u64) -> Result<Reaped, Unavailable> {
        self.move_claims(dead, &counter.to_string()).await
    }

    /// Leaves: fences `incarnation` itself, its claims (if any are left) go back without a crash being counted.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn leave(&self, incarnation: Incarnation) -> Result<Reaped, Unavailable> {
        self.move_claims(incarnation, "").await
    }

    async fn move_claims(&self, dead: Incarnation, counter: &str) -> Result<Reaped, Unavailable> {
        let (meta, pods, claims) =
            (self.keys().named("meta"), self.keys().named("pods"), self.keys().claims(dead));
        let (dead, slice) = (dead.to_string(), SLICE.to_string());
        let args: [&[u8]; 4] =
            [self.keys().prefix().as_bytes(), dead.as_bytes(), counter.as_bytes(), slice.as_bytes()];
        let answer = self
            .connections()
            .run(Purpose::Beat, &script::REAP, &[&meta, &pods, &claims], &args, CALL_LIMIT)
            .await;
        let mut answer = Fields::of(answer?)?;
        let verdict = answer.text()?;
        let mut moved = || answer.number().map(|moved| u32::try_from(moved).unwrap_or(u32::MAX));
        match verdict.as_str() {
            "alive" => Ok(Reaped::Alive),
            "more" => Ok(Reaped::More { moved: moved()? }),
            "done" => Ok(Reaped::Done { moved: moved()? }),
            other => Err(Unavailable::unreadable(format_args!("{other:?}"), "alive, more or done")),
        }
    }
}

fn read_state(state: &str) -> Result<PodState, Unavailable> {
    let mut words = state.split(' ');
    match words.next() {
        Some("L") => {
            let mut number = || {
                words.next().ok_or_else(|| Unavailable::unreadable("too short a state", "L COUNTER FORMAT"))
            };
            Ok(PodState::Live { counter: answer::parsed(number()?)?, format: answer::parsed(number()?)? })
        }
        Some("R") => Ok(PodState::Reaping),
        Some("E") => Ok(PodState::Ended),
        _ => Err(Unavailable::unreadable(format_args!("state {state:?}"), "L, R or E")),
    }
}

/// Claims that one call moves back.
pub const SLICE: u32 = 100;
