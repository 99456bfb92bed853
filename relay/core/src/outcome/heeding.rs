//! A reply that asks something of all who send to its site, and is heeded.
//! **Owns:** what that changes for its message. **Never:** what is asked (shape/reply.rs), whether the message is deferred: it is, as ever.

use postrider_mail::OutcomeKind;

use super::{Next, Ruling};
use crate::shape::reply::Asked;

impl Ruling {
    /// Whether what its reply asks can be heeded: the message is deferred by it, and nothing else is to be tried first.
    pub fn can_be_heeded(&self) -> bool {
        let ends = match self.next {
            Next::Stop | Next::NextHost => true,
            Next::Again | Next::Helo | Next::GoOnInClear | Next::ReconnectInClear => false,
        };
        ends && self.kind == OutcomeKind::Deferred && !self.is_ambiguous
    }

    /// The same once it is heeded: the site's other hosts aren't asked for the same, and it isn't taken for dead.
    #[must_use]
    pub fn heeding(self, asked: Asked) -> Self {
        let is_soon = match asked {
            Asked::Slower | Asked::FewerConnections => true,
            Asked::Suspend(_) => false,
        };
        Self { next: Next::Stop, feedback: None, is_soon, ..self }
    }
}
