//! Connections that were given up while something on them may have been unanswered.
//! **Owns:** who they are to the server, and the command that ends them there. **Never:** decides that one is given up.
//! Bytes of theirs may lie in a socket's buffer, while packets are lost, and reach the server after what they ask for was asked again,
//! done and forgotten: a message that its acceptor has delivered leaves no tombstone. So whoever asks next has the server end them first.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{Cmd, Value, aio::MultiplexedConnection};
use tokio::time::Instant;

use super::access::USER_TIMEOUT;

/// Those of one partition. Cloning shares.
#[derive(Debug, Clone, Default)]
pub(super) struct GivenUp(Arc<Mutex<VecDeque<(Client, Instant)>>>);

/// What the server calls a connection. Its number alone could be another's after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    id: u64,
    /// Ours, as the server sees it.
    address: Box<str>,
}

impl GivenUp {
    pub(super) fn add(&self, client: Client) {
        let mut all = self.lock();
        if all.len() == MOST {
            all.pop_front();
        }
        all.push_back((client, Instant::now()));
    }

    /// Those that the server may still hear of.
    pub(super) fn all(&self) -> Vec<Client> {
        let mut all = self.lock();
        while all.front().is_some_and(|(_, since)| since.elapsed() > KEPT) {
            all.pop_front();
        }
        all.iter().map(|(client, _)| client.clone()).collect()
    }

    /// The server has ended them, or knows no such clients.
    pub(super) fn ended(&self, clients: &[Client]) {
        self.lock().retain(|(client, _)| !clients.contains(client));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Client, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Who this connection is; nothing where the server's user may not ask.
    pub(super) async fn of(mut connection: MultiplexedConnection) -> Option<Self> {
        let mut info = redis::cmd("CLIENT");
        info.arg("INFO");
        let info = tokio::time::timeout(ASK_LIMIT, connection.send_packed_command(&info)).await.ok()?.ok()?;
        match info {
            Value::BulkString(bytes) => Self::parse(&String::from_utf8_lossy(&bytes)),
            Value::VerbatimString { text, .. } => Self::parse(&text),
            _ => None,
        }
    }

    fn parse(info: &str) -> Option<Self> {
        let field = |name: &str| {
            info.split_ascii_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        Some(Self { id: field("id")?.parse().ok()?, address: field("addr")?.into() })
    }

    /// Ends it there. An error where it has ended already.
    pub(super) fn kill(&self) -> Cmd {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("ID").arg(self.id).arg("ADDR").arg(&*self.address);
        kill
    }
}

/// As long as the kernel tries to get their bytes across, and a margin.
const KEPT: Duration = USER_TIMEOUT.saturating_mul(3);
/// A partition has 13 connections; each may be given up more than once while the server is away.
const MOST: usize = 64;
const ASK_LIMIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "id=7 addr=127.0.0.1:60420 laddr=127.0.0.1:6379 fd=8 name= age=0 idle=0 flags=N db=0 cmd=client|info\n";

    #[test]
    fn a_client_is_its_number_and_its_address() {
        let client = Client::parse(INFO).expect("a client");
        assert_eq!(client, Client { id: 7, address: "127.0.0.1:60420".into() });
        assert_eq!(
            client.kill().get_packed_command(),
            redis::cmd("CLIENT")
                .arg("KILL")
                .arg("ID")
                .arg(7)
                .arg("ADDR")
                .arg("127.0.0.1:60420")
                .get_packed_command()
        );
        assert_eq!(Client::parse("addr=x"), None);
        assert_eq!(Client::parse("id=x addr=y"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_kernel_no_longer_sends_is_forgotten() {
        let given_up = GivenUp::default();
        let client = Client::parse(INFO).expect("a client");
        given_up.add(client.clone());
        assert_eq!(given_up.all(), std::slice::from_ref(&client));
        tokio::time::advance(KEPT + Duration::from_millis(1)).await;
        assert!(given_up.all().is_empty());
        given_up.add(client.clone());
        given_up.ended(&[client]);
        assert!(given_up.all().is_empty());
    }
}
