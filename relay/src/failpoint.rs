//! Where tests let a relay die: at the n-th time that mail passes a step.
//! **Owns:** the steps' names and the death. **Never:** there in a build for release, where [`passed`] is empty.
//!
//! `POSTRIDER_DIE_AT=Enqueued:17` ends the process, as `kill -9` would, when a 17th message was enqueued and before its 250.

/// A step on the way of a message; to die there is to die right behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A message is complete, and isn't in the queue.
    Taken,
    /// It is in the queue, and its client doesn't know.
    Enqueued,
    /// Deliveries are claimed, and no attempt has begun.
    Claimed,
    /// All but the dot is sent, and it may be.
    Permitted,
    /// The dot is sent, and not answered.
    DotSent,
    /// The far side has answered, and the queue doesn't know.
    Replied,
    /// The queue knows, and this relay doesn't know that.
    Settled,
    /// A dead relay's claims are moved, or some of them.
    Reaped,
}

/// Mail has passed a step.
#[inline]
pub fn passed(step: Step) {
    #[cfg(debug_assertions)]
    death::at(step);
    #[cfg(not(debug_assertions))]
    let _ = step;
}

#[cfg(debug_assertions)]
mod death {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    use super::Step;

    /// Which step, and how many more times it may be passed.
    static PLANNED: OnceLock<Option<(String, AtomicU32)>> = OnceLock::new();

    pub(super) fn at(step: Step) {
        let planned = PLANNED.get_or_init(|| {
            let text = std::env::var("POSTRIDER_DIE_AT").ok()?;
            let (name, times) = text.split_once(':')?;
            Some((name.to_owned(), AtomicU32::new(times.parse().ok()?)))
        });
        let Some((name, times)) = planned else { return };
        if *name == format!("{step:?}") && times.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::process::abort();
        }
    }
}
