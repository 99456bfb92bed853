//! The unix socket that `ctl` speaks to: whoever may `exec` into the pod may act on the queue.
//! **Owns:** its protocol: one request a connection, a line of JSON; answers, a line of JSON each; an `end` or `error` line.
//! **Never:** a port in the network; an address or a body that the queue's own lists don't show.

pub mod act;
pub mod view;

use std::{future::Future, path::Path, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

/// The longest request line, in bytes.
const MAX_REQUEST_BYTES: u64 = 64 * 1024;
/// How long a client may take for its request line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one request may run: a walk over a long queue takes its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// Requests at a time; a further one waits for its turn.
const MAX_CONNECTIONS: usize = 16;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "camelCase")]
pub enum Request {
    /// Totals, oldest due, longest lanes.
    Queue,
    /// Deliveries, at most `limit`.
    List {
        /// Of this lane.
        lane: Option<String>,
        /// On hold only.
        held: bool,
        /// How many.
        limit: u32,
    },
    /// One message.
    Inspect {
        /// Its queue ID.
        id: String,
    },
    /// What happened to a message.
    Trace {
        /// Its queue ID.
        id: String,
    },
    /// Do something with deliveries.
    Act {
        /// What.
        action: Action,
        /// With which.
        target: Target,
    },
    /// Don't try a lane.
    Suspend {
        /// Which.
        lane: String,
    },
    /// Try it again.
    Resume {
        /// Which.
        lane: String,
    },
    /// Take a shard's server for the shard, whatever was known of it.
    Adopt {
        /// Which.
        shard: String,
    },
}

/// What can be done with deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Try now.
    Retry,
    /// Put on hold.
    Hold,
    /// Let go what is on hold.
    Release,
    /// Give up, tell the sender.
    Bounce,
    /// Give up, tell nobody.
    Delete,
}

/// Which deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// A message's.
    Id(String),
    /// A lane's.
    Lane(String),
    /// A sender's.
    Sender(String),
    /// Those that a rule routes.
    Rule(String),
}

/// Why a request has no answer. The text is for people.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The request isn't one, or names something that can't be.
    #[error("{0}")]
    Request(String),
    /// The store gave no answer.
    #[error("the queue gave no answer: {0}; look at /readyz, then ask again")]
    Store(#[from] postrider_queue::Unavailable),
    /// The client is gone.
    #[error("the client has gone: {0}")]
    Client(#[from] std::io::Error),
}

/// Binds the socket: an old one of the same path is replaced, only this user may use the new one.
///
/// # Errors
/// The path can't be bound.
pub fn bind(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::remove_file(path) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(err),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until `stopped` resolves.
pub async fn serve(listener: UnixListener, control: act::Control, stopped: impl Future<Output = ()>) {
    let mut open = FuturesUnordered::new();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => return,
            Some(()) = open.next(), if !open.is_empty() => {}
            accepted = listener.accept(), if open.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => open.push(connection(stream, &control)),
                Err(error) => {
                    tracing::warn!(%error, "the control socket can't accept; trying again in a second");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            },
        }
    }
}

async fn connection(stream: UnixStream, control: &act::Control) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(MAX_REQUEST_BYTES));
    match tokio::time::timeout(REQUEST_TIMEOUT, reader.read_line(&mut line)).await {
        Ok(Ok(1..)) => {}
        // Nothing asked: nothing to answer.
        Ok(Ok(0) | Err(_)) | Err(_) => return,
    }
    let answered = match serde_json::from_str::<Request>(&line) {
        Ok(request) => {
            tokio::time::timeout(ANSWER_TIMEOUT, control.answer(request, &mut write)).await.unwrap_or_else(
                |_| Err(Refused::Request("it took longer than 10 min; go on with a narrower target".into())),
            )
        }
        Err(err) => Err(Refused::Request(format!("found a request that can't be read: {err}"))),
    };
    let last = match answered {
        Ok(()) => json!({ "end": true }),
        Err(refused) => json!({ "error": refused.to_string() }),
    };
    // A client that has gone needs no answer.
    let _ = send(&mut write, &last).await;
}

/// Writes one line of an answer.
pub(crate) async fn send(write: &mut (impl AsyncWrite + Unpin), value: &Value) -> std::io::Result<()> {
    let mut line = value.to_string();
    line.push('\n');
    write.write_all(line.as_bytes()).await
}
