//! One way to put a command to a server, over a connection that serves nobody yet or over the partition's own.
//! **Owns:** [`Ask`]. **Never:** decides what an answer means, or puts what may not be put twice.

use std::time::Duration;

use redis::{Cmd, Value, aio::MultiplexedConnection};

use crate::{
    connection::{Connections, Purpose},
    error::Unavailable,
};

/// How long a check waits for one answer.
const LIMIT: Duration = Duration::from_secs(3);

/// Puts commands to a server.
#[derive(Clone)]
pub enum Ask<'a> {
    /// Over a connection that is being checked.
    Raw(MultiplexedConnection),
    /// Over the partition's connections for people and checks, which are open to any server.
    Through(&'a Connections),
}

impl Ask<'_> {
    /// The answer to one command.
    ///
    /// # Errors
    /// If none came in 3 s, or it is an error.
    pub async fn ask(&mut self, command: &Cmd) -> Result<Value, Unavailable> {
        match self {
            Self::Through(connections) => match connections.command(Purpose::Admin, command, LIMIT).await {
                // The connections may have been dead for long. All that is asked here may be asked twice.
                Err(Unavailable::Unanswered { .. }) => {
                    connections.reconnect(Purpose::Admin);
                    connections.command(Purpose::Admin, command, LIMIT).await
                }
                answer => answer,
            },
            Self::Raw(connection) => {
                let answer = tokio::time::timeout(LIMIT, connection.send_packed_command(command)).await;
                match answer {
                    Err(_) => Err(Unavailable::Unanswered { reason: "the time limit passed".into() }),
                    Ok(Ok(Value::ServerError(error))) => Err(Unavailable::failed(&error)),
                    Ok(Ok(value)) => Ok(value),
                    Ok(Err(error)) => Err(unanswered(&error)),
                }
            }
        }
    }

    /// The answer, read as `T`.
    ///
    /// # Errors
    /// As [`Self::ask`], or if it is something else.
    pub async fn read<T: redis::FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Unavailable> {
        let value = self.ask(command).await?;
        T::from_redis_value(value).map_err(|error| Unavailable::unreadable(error, "what the command answers"))
    }
}

fn unanswered(error: &redis::RedisError) -> Unavailable {
    let text: Box<str> = error.to_string().chars().take(300).collect();
    match error.code() {
        Some(code) => Unavailable::Failed { reply: format!("{code} {text}").into() },
        None => Unavailable::Unanswered { reason: text },
    }
}
