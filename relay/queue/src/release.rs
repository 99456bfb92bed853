//! Gives claims back without an attempt.
//! **Owns:** release.lua. **Never:** counts an attempt or a crash.

use std::time::Duration;

use crate::{
    answer,
    claim::{Claim, ClaimNumber},
    connection::{CALL_LIMIT, Purpose, millis},
    error::Unavailable,
    incarnation::Incarnation,
    partition::Partition,
    record::DeliveryId,
    script,
};

impl Partition {
    /// Gives claims back: to their lanes, due after `wait`. Claims that were lost already are passed over. Returns how many
    /// went back.
    ///
    /// # Errors
    /// If the store gave no answer: asked again, nothing is done twice.
    pub async fn release(&self, claims: &[&Claim], wait: Duration) -> Result<u64, Unavailable> {
        let mut released = 0;
        // Claims of an earlier life may be among them.
        let mut holders: Vec<Incarnation> = claims.iter().map(|claim| claim.holder()).collect();
        holders.sort_unstable();
        holders.dedup();
        for holder in holders {
            let of_holder = claims.iter().filter(|claim| claim.holder() == holder);
            let members: Vec<_> = of_holder.map(|claim| member(claim.delivery(), claim.number())).collect();
            released += self.release_members(holder, &members, wait).await?;
        }
        Ok(released)
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
        let members: Vec<_> = claims.iter().map(|(delivery, number)| member(delivery, *number)).collect();
        self.release_members(incarnation, &members, Duration::ZERO).await
    }

    async fn release_members(
        &self,
        holder: Incarnation,
        members: &[String],
        wait: Duration,
    ) -> Result<u64, Unavailable> {
        let (meta, claims) = (self.keys().named("meta"), self.keys().claims(holder));
        let (holder, wait) = (holder.to_string(), millis(wait).to_string());
        let mut released = 0;
        for slice in members.chunks(SLICE) {
            let mut args: Vec<&[u8]> =
                vec![self.keys().prefix().as_bytes(), holder.as_bytes(), wait.as_bytes()];
            args.extend(slice.iter().map(String::as_bytes));
            let answer = self
                .connections()
                .run(Purpose::Delivery, &script::RELEASE, &[&meta, &claims], &args, CALL_LIMIT)
                .await;
            released += answer::number(answer?)?;
        }
        Ok(released)
    }
}

/// A claim as scripts read it.
pub(crate) fn member(delivery: &DeliveryId, number: ClaimNumber) -> String {
    format!("{delivery} {}", number.get())
}

/// Claims given back in one call.
const SLICE: usize = 64;
