//! The way in, on real parts: a redis-server, real sockets, real TLS; what was taken is read back from the queue.

mod admission;
mod content;
mod fast_path;
mod hardening;
mod peer;
mod rig;
mod tls;
