//! Claims: what an incarnation may try now.
//! **Owns:** [`Claim`], [`Claimed`], claim.lua: expired deliveries and wishes of admins first, then due lanes fairly.
//! **Never:** routing, DNS, the choice of a site.
//! Invariant: I3: a delivery is in one incarnation's claims at most. Invariant: I6: what expired is found whatever is suspended.
//! Invariant: I10: a record that can't be read goes back for a minute.

use std::time::Duration;

use postrider_mail::Due;

use crate::{
    error::Unavailable,
    incarnation::Incarnation,
    lane::ConfigTag,
    partition::Partition,
    record::{Delivery, DeliveryId},
};

/// Grows with each claim of one delivery. With the incarnation it is the fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimNumber(u64);

/// An incarnation's right to try a delivery. Only the store's answer makes one.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Claim {
    delivery: DeliveryId,
    holder: Incarnation,
    number: ClaimNumber,
}

/// A claim, and what is claimed.
#[derive(Debug)]
#[must_use]
pub struct Claimed {
    /// The right.
    pub claim: Claim,
    /// The delivery, with all that an attempt needs but the body.
    pub delivery: Delivery,
    /// Set if it is to be ended, not tried.
    pub ending: Option<Ending>,
    /// Set if it is to be tried alone: others died trying it. [`ClaimRequest::may_take_alone`] is false until it is settled.
    pub is_alone: bool,
    /// Chunks of the body.
    pub body_chunks: u32,
    /// The store's time when it was claimed.
    pub claimed_at: Due,
}

/// Why a delivery is to be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Its time is over, by the store's clock.
    Expired,
    /// A person said so, and why.
    Bounce(Box<str>),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Deliveries at most; 64 are claimed at most, whatever is asked.
    pub max: u32,
    /// Of one lane, at most.
    pub per_lane: u32,
    /// Whether one that has to be tried alone may be among them.
    pub may_take_alone: bool,
    /// Under which config: suspensions by another one count for nothing.
    pub config: ConfigTag,
}

/// What a claim gave.
#[derive(Debug)]
pub struct ClaimedBatch {
    /// The deliveries, the most urgent first.
    pub claimed: Vec<Claimed>,
    /// When something is next due, as far as the store can tell now; `None`: when something enters a lane.
    pub next: Option<Due>,
    /// The store's time.
    pub now: Due,
    /// Deliveries that this version can't read; they went back for a minute.
    pub unreadable: Vec<DeliveryId>,
}

/// Why nothing could be claimed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// This process has no incarnation in the partition now, or the store says that it is fenced.
    #[error("this process is not registered in the partition, or was fenced")]
    Fenced,
    /// The store gave no answer. What it may have claimed is found by the minute's comparison.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl ClaimNumber {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Claim {
    /// What is claimed.
    pub const fn delivery(&self) -> &DeliveryId {
        &self.delivery
    }

    /// Whose claim it is.
    pub const fn holder(&self) -> Incarnation {
        self.holder
    }

    /// Which claim of the delivery it is.
    pub const fn number(&self) -> ClaimNumber {
        self.number
    }
}

impl Claimed {
    /// The store's time now, as far as this process can tell: when it was claimed and how long ago that is.
    pub fn store_now(&self) -> Due {
        panic!("being written")
    }
}

impl Partition {
    /// Claims deliveries for this process's current incarnation.
    ///
    /// # Errors
    /// If the incarnation is fenced, or the store gave no answer.
    pub async fn claim(&self, request: &ClaimRequest) -> Result<ClaimedBatch, ClaimError> {
        let _ = request;
        panic!("being written")
    }

    /// What an incarnation has claimed, for the minute's comparison with the attempts that run.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn claims_of(
        &self,
        incarnation: Incarnation,
    ) -> Result<Vec<(DeliveryId, ClaimNumber)>, Unavailable> {
        let _ = incarnation;
        panic!("being written")
    }

    /// Re-asserts claims after the store came back as another life, perhaps without its last writes: what lies in its lane
    /// again is taken back under its old number. Returns the claims that are lost.
    ///
    /// # Errors
    /// If the store gave no answer, or the incarnation is fenced.
    pub async fn reassert(
        &self,
        claims: &[(DeliveryId, ClaimNumber)],
    ) -> Result<Vec<DeliveryId>, ClaimError> {
        let _ = claims;
        panic!("being written")
    }
}

/// How long a record that can't be read stays away.
pub const UNREADABLE_WAIT: Duration = Duration::from_secs(60);
