//! The queue that a fleet's relays share: typed operations over Lua scripts in Redis or Valkey.
//!
//! Start at [`Partition`]: one whole queue of its own. `enqueue` gives the [`Receipt`] that a 250 stands for; `claim` gives what
//! may be tried; `settle` ends an attempt. A final dot needs an [`incarnation::DotPermit`].
//! **Owns:** Redis: keys, scripts, durability. **Never:** SMTP, routing, retry policy.

pub mod admin;
mod answer;
pub mod body;
pub mod claim;
pub mod connection;
pub mod enqueue;
pub mod error;
pub mod flow;
pub mod hold;
pub mod incarnation;
pub mod inspect;
pub mod keys;
pub mod lane;
pub mod limit;
pub mod model;
pub mod note;
pub mod partition;
pub mod preflight;
pub mod quota;
pub mod reap;
pub mod record;
pub mod release;
pub mod script;
pub mod settle;
pub mod shards;
pub mod slots;
pub mod tally;
pub mod totals;

pub use body::{Body, BodyWriter, StoredBody};
pub use claim::{Claim, ClaimNumber, ClaimRequest, Claimed, ClaimedBatch, Ending};
pub use enqueue::{EnqueueError, Enqueued, NewDelivery, NewMessage, Receipt, Start};
pub use error::{Fault, Unavailable};
pub use flow::Flow;
pub use lane::{ConfigTag, Lane, RouteName};
pub use partition::{Durability, Partition, PartitionOptions};
pub use record::{Addressee, Delivery, DeliveryId, Dkim, Kind, Message, Received, Report};
pub use settle::{NewNotice, Part, Rest, Settled, Settlement};
