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
    Unreachable {
        /// What the last try said.
        reason: Box<str>,
    },
    /// It answers, but it isn't the queue that should be there.
    Stranger(Identity),
    /// It is the queue, but its server can't keep the promise behind a 250. What is in it is delivered; new mail goes elsewhere.
    Unusable {
        /// What is wrong.
        findings: Vec<Finding>,
        /// What was found there when last looked at.
        found: Option<Box<Found>>,
    },
    /// It is what it should be.
    InUse(Box<Found>),
}

/// What was found at a shard that is the queue that should be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The queue's UUID.
    pub uuid: Box<str>,
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
    /// Messages that it forgot since it had been seen before: it was restored, or failed over. Since this process began.
    pub forgotten: u64,
}

/// A shard's name and standing.
#[derive(Debug, Clone)]
pub struct ShardStatus {
    /// Which.
    pub name: PartitionName,
    /// Where it stands.
    pub standing: Standing,
    /// Whether the config wants it emptied.
    pub is_draining: bool,
    /// What a try of the URL that the config has now said, if none succeeded since it has it.
    pub refused_anew: Option<Box<str>>,
    /// What it had when last seen.
    pub remembered: Option<Remembered>,
}

impl Standing {
    /// Whether a new message may go there now.
    pub fn takes_mail(&self) -> bool {
        matches!(self, Self::InUse(found) if found.state == State::Open && !found.memory.is_tight())
    }

    /// Whether it would take new mail if it had room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::InUse(found) if found.state == State::Open && found.memory.is_tight())
    }

    /// Whether a 250 from it would hold. A full one keeps its promises too.
    pub const fn keeps_promise(&self) -> bool {
        matches!(self, Self::InUse(_))
    }

    /// Whether expiry may be acted on (`QueueClock`).
    pub fn clock_agrees(&self) -> bool {
        self.found().is_none_or(Found::clock_agrees)
    }

    /// What was found, where it is the queue that should be there.
    pub fn found(&self) -> Option<&Found> {
        match self {
            Self::InUse(found) => Some(found),
            Self::Unusable { found, .. } => found.as_deref(),
            Self::Unasked | Self::Unreachable { .. } | Self::Stranger(_) => None,
        }
    }

    /// The UUID of the queue that was found, whether it should be there or not.
    pub fn uuid(&self) -> Option<&str> {
        match self {
            Self::Stranger(Identity::Another { found, .. }) => Some(found),
            other => other.found().map(|found| &*found.uuid),
        }
    }

    /// Whether the store was lost (`QueueLost`).
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Stranger(Identity::Lost { .. } | Identity::Another { .. }))
    }

    /// How many deliveries were lost with the store, if it was and somebody knows. Of a store that forgot messages, a delivery for
    /// each: how many they had nobody knows.
    pub fn lost_deliveries(&self) -> Option<u64> {
        match self {
            Self::Stranger(Identity::Lost { remembered } | Identity::Another { remembered, .. }) => {
                remembered.as_ref().map(|seen| seen.deliveries)
            }
            other => other.found().map(|found| found.forgotten).filter(|forgotten| *forgotten > 0),
        }
    }

    /// All words that [`Self::as_str`] has.
    pub const WORDS: [&'static str; 6] = ["Unasked", "Unreachable", "Lost", "Stranger", "Unusable", "InUse"];

    /// The word for metrics and status.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unasked => "Unasked",
            Self::Unreachable { .. } => "Unreachable",
            Self::Stranger(Identity::Lost { .. } | Identity::Another { .. }) => "Lost",
            Self::Stranger(_) => "Stranger",
            Self::Unusable { .. } => "Unusable",
            Self::InUse(_) => "InUse",
        }
    }
}

impl Found {
    /// Whether expiry may be acted on (`QueueClock`).
    pub fn clock_agrees(&self) -> bool {
        self.clock.distance() <= CLOCK_AGREEMENT
    }
}

impl ShardStatus {
    /// What is wrong with it: a line for each problem, with what was found, what was expected and what to do.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = Vec::new();
        if !self.is_fine() {
            problems.extend(self.to_string().lines().map(str::to_owned));
        }
        if let Some(said) = self.refused_anew.as_ref().filter(|_| self.standing.found().is_some()) {
            problems.push(format!(
                "shard {}: found that its new URL gives no connection ({said}); expected one; correct the URL: only connections made \
                 before go on",
                self.name
            ));
        }
        problems
    }

    /// Whether there is nothing to tell people but what is in it. One that is wanted empty is fine while it drains.
    fn is_fine(&self) -> bool {
        match &self.standing {
            Standing::InUse(found) if self.is_draining => found.clock_agrees(),
            other => other.takes_mail() && other.clock_agrees(),
        }
    }
}

/// One line for people: what was found, what was expected, what to do. Several findings are joined.
impl fmt::Display for ShardStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.standing {
            Standing::Unasked => write!(f, "shard {name}: not asked yet"),
            Standing::Unreachable { reason } => {
                write!(
                    f,
                    "shard {name}: found no answer ({reason}); expected a server; start it, or correct its URL"
                )
            }
            Standing::Stranger(identity) => write!(f, "shard {name}: {}", identity.describe(name)),
            Standing::Unusable { findings, .. } => {
                let all: Vec<String> =
                    findings.iter().map(|finding| format!("shard {name}: {finding}")).collect();
                f.write_str(&all.join("\n"))
            }
            Standing::InUse(found) if found.memory.is_tight() => write!(
                f,
                "shard {name}: found memory {} % full; expected less than 85 %; deliver or delete mail, or raise maxmemory",
                found.memory.percent().unwrap_or(0)
            ),
            Standing::InUse(found) if found.state != State::Open => {
                write!(f, "shard {name}: found state {}; expected Open for new mail", found.state)
            }
            Standing::InUse(found) if !found.clock_agrees() => write!(
                f,
                "shard {name}: found clocks {} s apart; expected 300 s at most; set the time on the node or on the server",
                found.clock.distance().as_secs()
            ),
            Standing::InUse(found) => {
                write!(f, "shard {name}: {}, {} deliveries", found.version, found.figures.deliveries())
            }
        }
    }
}
