//! Connections to one partition's store: one per purpose, made when needed, replaced when broken.
//! **Owns:** time limits, reconnecting with back-off, the hook that checks each new connection. **Never:** sends a command again by
//! itself: whoever asked decides, for only they know whether it may run twice.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use redis::{Cmd, Value, aio::MultiplexedConnection};

use crate::{error::Unavailable, incarnation::LeaseHandle, script::Script};

/// What a connection is for. Each has its own, so that a large read delays no enqueue and nothing delays a beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Enqueue, and chunks of bodies.
    Enqueue,
    /// Claim, settle, release, suspend.
    Delivery,
    /// Register, beat, reap, epoch.
    Beat,
    /// Lists, inspections, admin, bodies read back.
    Admin,
}

/// Checks a new connection before it serves anyone: preflight, epoch. An `Err` refuses it, with what to do about it.
pub type OnConnect =
    Arc<dyn Fn(MultiplexedConnection, Purpose) -> BoxFuture<'static, Result<(), Unavailable>> + Send + Sync>;

/// How to reach a store.
#[derive(Clone)]
pub struct Target {
    /// `redis://` or `rediss://`, with user and password. Never shown.
    pub url: String,
    /// PEM certificates to trust instead of the public ones.
    pub ca: Option<Vec<u8>>,
}

/// All connections to one partition. Cloning shares.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    target: Target,
}

impl Connections {
    /// Connections that are made when first needed.
    ///
    /// # Errors
    /// If the URL or the certificates can't be read.
    pub fn new(
        target: Target,
        lease: Option<LeaseHandle>,
        on_connect: Option<OnConnect>,
    ) -> Result<Self, Unavailable> {
        let _ = (lease, on_connect);
        Ok(Self(Arc::new(Inner { target })))
    }

    /// Runs a script, and loads it where the store doesn't have it.
    ///
    /// # Errors
    /// If no answer came within `limit`, or the answer is an error.
    pub async fn run(
        &self,
        purpose: Purpose,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
        limit: Duration,
    ) -> Result<Value, Unavailable> {
        let _ = (purpose, script, keys, args, limit, &self.0.target.url);
        panic!("being written")
    }

    /// Runs one command.
    ///
    /// # Errors
    /// If no answer came within `limit`, or the answer is an error.
    pub async fn command(
        &self,
        purpose: Purpose,
        command: &Cmd,
        limit: Duration,
    ) -> Result<Value, Unavailable> {
        let _ = (purpose, command, limit);
        panic!("being written")
    }

    /// Closes the connection of a purpose, so that the next command makes a new one.
    pub fn reconnect(&self, purpose: Purpose) {
        let _ = purpose;
    }
}

/// Shows no password.
impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connections")
    }
}

/// Shows no password.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Target")
    }
}
