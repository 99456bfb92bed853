//! TLS reporting: what a domain is told of the sessions that this fleet had with its hosts.
//! **Owns:** who wants reports (the record), what is counted of a session, the report as JSON and as mail. **Never:** a look-up, a
//! store, a clock, when a report leaves.
//! Invariant: what is kept of one domain and day is bounded, whatever its hosts and records do; what doesn't fit is still in the sums.
//! RFC 8460.

mod counts;
mod kind;
mod mail;
mod policy;
mod record;
mod report;
mod schedule;
mod url;

pub use counts::{Counts, Detail, Increment, MAX_DETAILS, MAX_POLICIES, Observed, Session};
pub use kind::{Flaw, ResultType, of_unresolved};
pub use mail::{Letter, pack, render};
pub use policy::{PolicyKey, PolicyType};
pub use record::{MAX_DESTINATIONS, Recipients, Record};
pub use report::{Report, Submitter};
pub use schedule::leaves;
pub use url::ReportUrl;

#[cfg(test)]
mod tests;
