//! A kept connection, with its slot where the fleet counts them.
//! **Owns:** that both end together. **Never:** speaks over the one, or takes the other.

use tokio::time::Instant;

use super::{connections::Reusable, limits::Permit};
use crate::client::Connection;

/// A connection of a site.
pub(crate) struct Held {
    pub(crate) connection: Connection,
    /// Its slot. After the connection: fields are dropped in order.
    pub(crate) permit: Option<Permit>,
}

impl Held {
    /// Closes the connection without waiting for the far side.
    pub(crate) fn close(self) {
        self.connection.close();
    }
}

impl Reusable for Held {
    fn is_quiet(&mut self) -> bool {
        self.connection.is_quiet()
    }

    fn opened(&self) -> Instant {
        self.connection.opened()
    }

    fn may_go_on(&self, is_urgent: bool) -> bool {
        self.permit.as_ref().is_none_or(|permit| permit.may_go_on(is_urgent))
    }
}
