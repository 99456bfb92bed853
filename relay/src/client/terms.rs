//! On which terms a far side is spoken with: where, how, by which right, until when.
//! **Owns:** [`Door`], [`Fence`], [`Over`]. **Never:** a byte.

use std::{net::SocketAddr, sync::Arc};

use postrider_core::tls_policy::Protection;
use postrider_mail::HostName;
use postrider_queue::{claim::Claim, incarnation::LeaseHandle};
use postrider_smtp::client::{Answered, Ended, Settings};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    egress::{
        NamedSource,
        dial::{DialError, SourceFault},
    },
    tls::connect::HandshakeError,
};

/// Where and how to connect.
#[derive(Clone)]
pub struct Door {
    /// The host's name.
    pub host: HostName,
    /// The address.
    pub address: SocketAddr,
    /// By which source; as pods send anyway, without one.
    pub source: Option<Arc<NamedSource>>,
    /// How to speak.
    pub settings: Arc<Settings>,
    /// How it is protected.
    pub protection: Protection,
    /// Whether TLS begins with the connection.
    pub is_implicit_tls: bool,
}

/// Why a connection didn't get as far as its first MAIL.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There was never one.
    #[error("{0}")]
    NoConnection(#[source] std::io::Error),
    /// The far side wasn't asked: the source can't.
    #[error("{0}")]
    Source(#[source] SourceFault),
    /// The handshake failed.
    #[error("{0}")]
    Handshake(#[source] HandshakeError),
    /// It ended before.
    #[error("it ended at {:?}: {:?}", .0.stage, .0.cause)]
    Ended(Ended),
}

impl From<DialError> for OpenError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::FarSide(why) => Self::NoConnection(why),
            DialError::Source(why) => Self::Source(why),
        }
    }
}

/// The right to the dot, and who gives it.
#[derive(Clone, Copy)]
pub struct Fence<'a> {
    /// The lease of the claim's partition.
    pub lease: &'a LeaseHandle,
    /// The claim.
    pub claim: &'a Claim,
    /// What ends the attempt before its time.
    pub over: Over<'a>,
    /// The hard end of the attempt.
    pub until: Instant,
}

/// What ends an attempt before its time: it goes no further than it is, and sends no dot.
#[derive(Clone, Copy)]
pub struct Over<'a> {
    /// Cancelled when the claim is lost.
    pub lost: &'a CancellationToken,
    /// Cancelled when the process has no more time.
    pub stopping: &'a CancellationToken,
}

impl Over<'_> {
    /// Whether it is.
    pub fn is_over(self) -> bool {
        self.lost.is_cancelled() || self.stopping.is_cancelled()
    }

    /// Waits until it is.
    pub async fn wait(self) {
        tokio::select! {
            () = self.lost.cancelled() => {}
            () = self.stopping.cancelled() => {}
        }
    }
}

/// What one transaction gave.
pub struct Spoken {
    /// An answer for each recipient of the transaction, in order.
    pub answers: Vec<Answered>,
    /// Whether the final dot left.
    pub is_dot_sent: bool,
}
