//! Deliveries that wait for a person.
//! **Owns:** why a delivery is held, and the list of those. **Never:** holds or releases (settle.rs, admin.rs, reap.rs do).

use postrider_mail::Due;

use crate::record::DeliveryId;

/// A delivery on hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub delivery: DeliveryId,
    /// Since when, by the store's clock.
    pub since: Due,
    /// Why.
    pub reason: Box<str>,
}

/// The reason of deliveries that killed whoever tried them alone.
pub const POISON: &str = "Poison";
/// The longest reason, in bytes.
pub const MAX_REASON_BYTES: usize = 300;

/// As much of a reason as is kept.
pub(crate) fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}
