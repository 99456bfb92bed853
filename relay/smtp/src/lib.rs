//! SMTP as pure state machines and codecs, for both sides of a connection.
//!
//! **Owns:** bytes to events and back, what may come next, how long each wait is. **Never:** whether mail is wanted, a
//! socket, a clock, a task. A shell feeds bytes and time and does what the events say: see [`server`] and [`client`],
//! whose types show the loop. RFC 5321; the extensions stand at [`extension`].

pub mod bdat;
pub mod client;
pub mod command;
pub mod data;
pub mod extension;
pub mod line;
pub mod pipelining;
pub mod proxy_protocol;
pub mod reply_codec;
pub mod sasl;
pub mod server;
pub mod timer;
