//! Where a shard stands: what it may be used for, and what to tell people about it.
//! **Owns:** [`Standing`]. **Never:** finds out (check.rs).

use std::{fmt, time::Duration};

use postrider_mail::PartitionName;

use super::{
    identity::{Identity, Remembered},
    store::State,
};
use crate::{
    preflight::{ClockOffset, Finding, Memory, Version},
    totals::Figures,
};

/// How far a store's clock may be from ours before the pod stops acting on expiry.
pub const CLOCK_AGREEMENT: Duration = Duration::from_secs(5 * 60);

/// Where a shard stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Standing {
    /// Nothing was asked yet.
    #[default]
    Unasked,
    /// It doesn't answer.
    Away {
        /// What the last try said.
        reason: Box<str>,
    },
    /// It answers, but it isn't the queue that should be there.
    Stranger(Identity),
    /// It is the queue, but its server can't keep the promise behind a 250. What is in it is delivered; new mail goes elsewhere.
    Unsafe {
        /// What is wrong.
        findings: Vec<Finding>,
    },
    /// It is what it should be.
    Good(Good),
}

/// A shard that is what it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Good {
    /// Whether it takes new mail.
    pub state: State,
    /// How full its server is.
    pub memory: Memory,
    /// What is in it.
    pub figures: Figures,
    /// How far its clock is from ours.
    pub clock: ClockOffset,
    /// What serves it.
    pub version: Version,
}

/// A shard's name and standing.
#[derive(Debug, Clone)]
pub struct ShardStatus {
    /// Which.
    pub name: PartitionName,
    /// Where it stands.
    pub standing: Standing,
    /// What it had when last seen.
    pub remembered: Option<Remembered>,
}

impl Standing {
    /// Whether a new message may go there now.
    pub fn takes_mail(&self) -> bool {
        matches!(self, Self::Good(good) if good.state == State::Open && !good.memory.is_tight())
    }

    /// Whether it would take new mail if it had room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Good(good) if good.state == State::Open && good.memory.is_tight())
    }

    /// Whether a 250 from it would hold. A full one keeps its promises too.
    pub const fn keeps_promise(&self) -> bool {
        matches!(self, Self::Good(_))
    }

    /// Whether there is nothing to tell people but what is in it.
    pub fn is_fine(&self) -> bool {
        self.takes_mail() && self.clock_agrees()
    }

    /// Whether expiry may be acted on (`QueueClock`).
    pub fn clock_agrees(&self) -> bool {
        !matches!(self, Self::Good(good) if good.clock.distance() > CLOCK_AGREEMENT)
    }

    /// How many deliveries were lost with the store, if it was (`QueueLost`).
    pub fn lost_deliveries(&self) -> Option<u64> {
        match self {
            Self::Stranger(Identity::Lost { remembered }) => {
                Some(remembered.as_ref().map_or(0, |seen| seen.deliveries))
            }
            Self::Stranger(Identity::Another { remembered, .. }) => {
                Some(remembered.as_ref().map_or(0, |seen| seen.deliveries))
            }
            _ => None,
        }
    }

    /// All words that [`Self::as_str`] has.
    pub const WORDS: [&'static str; 6] = ["Unasked", "Away", "Lost", "Stranger", "Unsafe", "Good"];

    /// The word for metrics and status.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unasked => "Unasked",
            Self::Away { .. } => "Away",
            Self::Stranger(Identity::Lost { .. } | Identity::Another { .. }) => "Lost",
            Self::Stranger(_) => "Stranger",
            Self::Unsafe { .. } => "Unsafe",
            Self::Good(_) => "Good",
        }
    }
}

/// One line for people: what was found, what was expected, what to do. Several findings are joined.
impl fmt::Display for ShardStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.standing {
            Standing::Unasked => write!(f, "shard {name}: not asked yet"),
            Standing::Away { reason } => {
                write!(
                    f,
                    "shard {name}: found no answer ({reason}); expected a server; start it, or correct its URL"
                )
            }
            Standing::Stranger(identity) => write!(f, "shard {name}: {}", identity.describe(name)),
            Standing::Unsafe { findings } => {
                let all: Vec<String> =
                    findings.iter().map(|finding| format!("shard {name}: {finding}")).collect();
                f.write_str(&all.join("\n"))
            }
            Standing::Good(good) if good.memory.is_tight() => write!(
                f,
                "shard {name}: found memory {} % full; expected less than 85 %; deliver or delete mail, or raise maxmemory",
                good.memory.percent().unwrap_or(0)
            ),
            Standing::Good(good) if good.state != State::Open => {
                write!(f, "shard {name}: found state {}; expected Open for new mail", good.state)
            }
            Standing::Good(good) if good.clock.distance() > CLOCK_AGREEMENT => write!(
                f,
                "shard {name}: found clocks {} s apart; expected 300 s at most; set the time on the node or on the server",
                good.clock.distance().as_secs()
            ),
            Standing::Good(good) => {
                write!(f, "shard {name}: {}, {} deliveries", good.version, good.figures.deliveries())
            }
        }
    }
}
