//! May this client relay, and is there room.
//! **Owns:** limits on sessions and memory. **Never:** a socket, the queue.

pub mod budget;
pub mod counts;
