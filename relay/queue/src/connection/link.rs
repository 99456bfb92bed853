//! One connection: made by whoever needs it first, given up at the first sign that it is broken.
//! **Owns:** connecting, back-off between failed tries. **Never:** a task of its own.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, Value, aio::MultiplexedConnection};
use tokio::time::{Instant, error::Elapsed};

use super::{
    OnConnect, Purpose,
    given_up::{Client as Known, GivenUp},
    target::{Reach, Straight, Way},
};
use crate::error::Unavailable;

pub(super) struct Link {
    reach: Reach,
    purpose: Purpose,
    on_connect: Option<OnConnect>,
    given_up: GivenUp,
    current: Mutex<Option<Current>>,
    /// Round trips, answered or not.
    asked: AtomicU64,
    /// Held while connecting, so that one task does it and the others wait for its result.
    connecting: tokio::sync::Mutex<Failures>,
}

/// A connection, and which one it is: so that an old failure doesn't close a new connection.
#[derive(Clone)]
struct Current {
    connection: MultiplexedConnection,
    number: u64,
    /// Who it is to the server, if it said.
    client: Option<Known>,
}

/// A connection to use, and which one it is.
pub(super) struct Numbered(Current);

struct Failures {
    connections: u64,
    /// Of what was tried last: another one is tried at once.
    version: u64,
    in_a_row: u32,
    not_before: Instant,
    last: Option<Unavailable>,
}

impl Link {
    pub(super) fn new(
        reach: Reach,
        purpose: Purpose,
        on_connect: Option<OnConnect>,
        given_up: GivenUp,
    ) -> Self {
        let failures =
            Failures { connections: 0, version: 0, in_a_row: 0, not_before: Instant::now(), last: None };
        Self {
            reach,
            purpose,
            on_connect,
            given_up,
            current: Mutex::new(None),
            asked: AtomicU64::new(0),
            connecting: tokio::sync::Mutex::new(failures),
        }
    }

    /// The connection, made now if there is none. While the store is away this answers at once with the last failure, until it
    /// is time for another try.
    pub(super) async fn connection(&self) -> Result<Numbered, Unavailable> {
        if let Some(current) = self.current() {
            return Ok(Numbered(current));
        }
        let mut failures = self.connecting.lock().await;
        if let Some(current) = self.current() {
            return Ok(Numbered(current));
        }
        loop {
            let now = self.reach.now();
            let is_too_soon = failures.version == now.version && Instant::now() < failures.not_before;
            if let Some(last) = failures.last.clone().filter(|_| is_too_soon) {
                return Err(last);
            }
            failures.version = now.version;
            let made = self.connect(&now.way).await;
            let made = failures.note(made).inspect(|current| *self.lock() = Some(current.clone()));
            if self.reach.now().version == now.version {
                return made.map(Numbered);
            }
            // It may be to another place than the one that it is now. Whoever changed that closed what was open before or after this.
            self.close();
        }
    }

    /// What an answer, or its absence, says; and whether the connection is still good.
    pub(super) fn judge(
        &self,
        on: &Numbered,
        answer: Result<Result<Value, RedisError>, Elapsed>,
    ) -> Result<Value, Unavailable> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let error = match answer {
            Ok(Ok(value)) => {
                if says_look_again(&value) {
                    self.give_up(on);
                }
                return Ok(value);
            }
            Ok(Err(error)) => error,
            Err(_) => {
                self.give_up(on);
                return Err(Unavailable::Unanswered { reason: "the time limit passed".into() });
            }
        };
        match error.kind() {
            ErrorKind::Server(_) => {
                if error.code().is_some_and(|code| LOOK_AGAIN.contains(&code)) {
                    self.give_up(on);
                }
                Err(Unavailable::Failed { reply: shown(&error) })
            }
            ErrorKind::Extension => Err(Unavailable::Failed { reply: shown(&error) }),
            _ => {
                self.give_up(on);
                Err(Unavailable::Unanswered { reason: shown(&error) })
            }
        }
    }

    /// Round trips so far, those without an answer too.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        self.forget(self.lock().take());
    }

    fn give_up(&self, on: &Numbered) {
        let given_up = self.lock().take_if(|current| current.number == on.0.number);
        self.forget(given_up);
    }

    /// Something on it may be unanswered.
    fn forget(&self, given_up: Option<Current>) {
        if let Some(client) = given_up.and_then(|current| current.client) {
            self.given_up.add(client);
        }
    }

    async fn connect(&self, way: &Way) -> Result<(MultiplexedConnection, Option<Known>), Unavailable> {
        let connection = connect(way).await?;
        if let Some(check) = &self.on_connect {
            check(connection.clone(), self.purpose).await?;
        }
        let client = Known::of(connection.clone()).await;
        Ok((connection, client))
    }

    fn current(&self) -> Option<Current> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failures {
    fn note(
        &mut self,
        made: Result<(MultiplexedConnection, Option<Known>), Unavailable>,
    ) -> Result<Current, Unavailable> {
        match made {
            Ok((connection, client)) => {
                self.connections += 1;
                self.in_a_row = 0;
                self.last = None;
                Ok(Current { connection, number: self.connections, client })
            }
            Err(why) => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.not_before = Instant::now() + back_off(self.in_a_row);
                self.last = Some(why.clone());
                Err(why)
            }
        }
    }
}

/// A connection to the server that this leads to now; nobody has checked it yet.
pub(super) async fn connect(way: &Way) -> Result<MultiplexedConnection, Unavailable> {
    match way {
        Way::Straight(Straight(client)) => open(client).await,
        Way::Seek(seek) => seek.connect().await,
    }
}

pub(super) async fn open(client: &Client) -> Result<MultiplexedConnection, Unavailable> {
    // Limits are given per command; this one only bounds what has none.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_LIMIT))
        .set_response_timeout(Some(RESPONSE_LIMIT))
        .set_pipeline_buffer_size(PIPELINE_BUFFER);
    let made = client.get_multiplexed_async_connection_with_config(&config).await;
    made.map_err(|error| Unavailable::NotConnected { reason: shown(&error) })
}

impl Numbered {
    pub(super) fn handle(&self) -> MultiplexedConnection {
        self.0.connection.clone()
    }
}

/// Whether the answer, or one of several, is such a word.
fn says_look_again(answer: &Value) -> bool {
    match answer {
        Value::ServerError(error) => LOOK_AGAIN.contains(&error.code()),
        Value::Array(answers) => {
            answers.iter().any(|answer| matches!(answer, Value::ServerError(_)) && says_look_again(answer))
        }
        _ => false,
    }
}

/// 50 ms, doubled with each failure up to 2 s, and a jitter of a half, so that a fleet doesn't come back in step.
fn back_off(failures: u32) -> Duration {
    let full = BACK_OFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(BACK_OFF_MAX);
    full.mul_f64(rand::random_range(0.5..1.0))
}

pub(super) fn shown(error: &RedisError) -> Box<str> {
    error.to_string().chars().take(300).collect()
}

/// What a server says that isn't (any longer) the one that takes writes for the partition, or was left by its replicas and so may be
/// the old one, or is still reading its disk. ASK and
/// TRYAGAIN aren't among them: the slot is on its way, and is where it was until it has arrived.
const LOOK_AGAIN: &[&str] = &["READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS", "MOVED", "CLUSTERDOWN"];
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const RESPONSE_LIMIT: Duration = Duration::from_secs(90);
/// Commands that may wait to be written; beyond it whoever sends waits.
const PIPELINE_BUFFER: usize = 1024;
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
