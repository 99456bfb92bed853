//! One connection: made by whoever needs it first, given up at the first sign that it is broken.
//! **Owns:** connecting, back-off between failed tries. **Never:** a task of its own.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, ServerErrorKind, Value, aio::MultiplexedConnection,
};
use tokio::time::{Instant, error::Elapsed};

use super::{OnConnect, Purpose};
use crate::error::Unavailable;

pub(super) struct Link {
    client: Client,
    purpose: Purpose,
    on_connect: Option<OnConnect>,
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
}

/// A connection to use, and which one it is.
pub(super) struct Numbered(Current);

struct Failures {
    connections: u64,
    in_a_row: u32,
    not_before: Instant,
    last: Option<Unavailable>,
}

impl Link {
    pub(super) fn new(client: Client, purpose: Purpose, on_connect: Option<OnConnect>) -> Self {
        let failures = Failures { connections: 0, in_a_row: 0, not_before: Instant::now(), last: None };
        Self {
            client,
            purpose,
            on_connect,
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
        if let Some(last) = failures.last.clone().filter(|_| Instant::now() < failures.not_before) {
            return Err(last);
        }
        match self.connect().await {
            Ok(connection) => {
                failures.connections += 1;
                failures.in_a_row = 0;
                failures.last = None;
                let current = Current { connection, number: failures.connections };
                *self.lock() = Some(current.clone());
                Ok(Numbered(current))
            }
            Err(why) => {
                failures.in_a_row = failures.in_a_row.saturating_add(1);
                failures.not_before = Instant::now() + back_off(failures.in_a_row);
                failures.last = Some(why.clone());
                Err(why)
            }
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
                if matches!(&value, Value::ServerError(error) if is_no_primary(error.code())) {
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
            ErrorKind::Server(kind) => {
                if matches!(kind, ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) {
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
        *self.lock() = None;
    }

    fn give_up(&self, on: &Numbered) {
        let mut current = self.lock();
        if current.as_ref().is_some_and(|current| current.number == on.0.number) {
            *current = None;
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Unavailable> {
        // Limits are given per command; this one only bounds what has none.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(RESPONSE_LIMIT))
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|error| Unavailable::NotConnected { reason: shown(&error) })?;
        if let Some(check) = &self.on_connect {
            check(connection.clone(), self.purpose).await?;
        }
        Ok(connection)
    }

    fn current(&self) -> Option<Current> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbered {
    pub(super) fn handle(&self) -> MultiplexedConnection {
        self.0.connection.clone()
    }
}

/// The server isn't (any longer) one that takes writes, or is still reading its disk.
fn is_no_primary(code: &str) -> bool {
    matches!(code, "READONLY" | "MASTERDOWN" | "LOADING")
}

/// 50 ms, doubled with each failure up to 2 s, and a jitter of a half, so that a fleet doesn't come back in step.
fn back_off(failures: u32) -> Duration {
    let full = BACK_OFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(BACK_OFF_MAX);
    full.mul_f64(rand::random_range(0.5..1.0))
}

fn shown(error: &RedisError) -> Box<str> {
    error.to_string().chars().take(300).collect()
}

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const RESPONSE_LIMIT: Duration = Duration::from_secs(90);
/// Commands that may wait to be written; beyond it whoever sends waits.
const PIPELINE_BUFFER: usize = 1024;
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
