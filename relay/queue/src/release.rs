//! Gives claims back without an attempt.
//! **Owns:** release.lua. **Never:** counts an attempt or a crash.

use std::time::Duration;

use crate::{
    claim::{Claim, ClaimNumber},
    error::Unavailable,
    incarnation::Incarnation,
    partition::Partition,
    record::DeliveryId,
};

impl Partition {
    /// Gives claims back: to their lanes, due after `wait`. Claims that were lost already are passed over. Returns how many
    /// went back.
    ///
    /// # Errors
    /// If the store gave no answer: asked again, nothing is done twice.
    pub async fn release(&self, claims: &[&Claim], wait: Duration) -> Result<u64, Unavailable> {
        let _ = (claims, wait);
        panic!("being written")
    }

    /// Gives back what the store says `incarnation` has claimed and no attempt knows: a claim's reply was lost.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn release_unknown(
        &self,
        incarnation: Incarnation,
        claims: &[(DeliveryId, ClaimNumber)],
    ) -> Result<u64, Unavailable> {
        let _ = (incarnation, claims);
        panic!("being written")
    }
}
