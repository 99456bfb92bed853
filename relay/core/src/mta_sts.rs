//! MTA-STS: what a domain publishes of how its mail hosts are to be reached, and for how long that holds.
//! **Owns:** the record, the policy, what is done with a kept one, what it says of a host. **Never:** a look-up or a fetch.
//! RFC 8461.

mod kept;
mod policy;
mod record;

pub use kept::{Kept, Step, next};
pub use policy::{HostPattern, InvalidPolicy, MAX_BYTES, Mode, Policy};
pub use record::{PolicyId, Record};
