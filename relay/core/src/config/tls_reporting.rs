//! Who reports to domains how TLS with their hosts went.
//! **Owns:** [`TlsReporting`]. **Never:** a report (core::tls_report).

use postrider_mail::{HostName, Mailbox};
use serde::{Deserialize, Serialize};

use crate::tls_report::Submitter;

/// Who reports (RFC 8460).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsReporting {
    /// Where reports come from.
    pub from: Mailbox,
    /// The organization's name.
    pub organization: String,
    /// How to reach a person there.
    pub contact: String,
}

impl TlsReporting {
    /// As reports say it, of a fleet of this name.
    pub fn submitter(&self, hostname: &HostName) -> Submitter {
        Submitter {
            organization: self.organization.as_str().into(),
            contact: self.contact.as_str().into(),
            from: self.from.clone(),
            hostname: hostname.clone(),
        }
    }
}
