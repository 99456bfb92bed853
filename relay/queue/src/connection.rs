//! Connections to one partition's store: a few per purpose, made when needed, replaced when broken.
//! **Owns:** time limits, reconnecting with back-off, the hook that checks each new connection. **Never:** sends a command again by
//! itself: whoever asked decides, for only they know whether it may run twice. (A script that the store doesn't know did not run:
//! that one is loaded and sent again.)

mod access;
mod given_up;
mod hosts;
mod link;
mod seek;
mod target;
mod told;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use redis::{Cmd, Pipeline, Value, aio::MultiplexedConnection};

pub use self::target::{Target, Topology};
use self::{
    given_up::GivenUp,
    link::{Link, Numbered},
    target::Reach,
};
use crate::{error::Unavailable, incarnation::LeaseHandle, keys::Keys, script::Script};

/// What a connection is for. Each purpose has its own, so that a large read delays no enqueue and nothing delays a beat.
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

/// All connections to one partition. Cloning shares.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    lease: Option<LeaseHandle>,
    reach: Reach,
    given_up: GivenUp,
    enqueue: Links,
    delivery: Links,
    beat: Links,
    admin: Links,
}

struct Links {
    links: Vec<Link>,
    next: AtomicUsize,
}

/// A value to set in the same round trip as a script, ahead of it.
#[derive(Debug)]
pub struct Ahead<'a> {
    /// Where.
    pub key: &'a str,
    /// What.
    pub value: &'a [u8],
    /// For how long.
    pub ttl: Duration,
}

/// A script and what it is given.
pub(crate) struct Call<'a> {
    pub(crate) script: &'a Script,
    pub(crate) keys: &'a [&'a str],
    pub(crate) args: &'a [&'a [u8]],
}

/// The connection that an asking uses from its first command to its last.
struct On<'a> {
    link: &'a Link,
    connection: Numbered,
    limit: Duration,
}

impl Connections {
    /// Connections that are made when first needed.
    ///
    /// # Errors
    /// If the URL or the certificates can't be read.
    pub fn new(
        target: &Target,
        keys: &Keys,
        lease: Option<LeaseHandle>,
        on_connect: Option<&OnConnect>,
    ) -> Result<Self, Unavailable> {
        let reach = Reach::new(target, keys)?;
        let given_up = GivenUp::default();
        let links = |purpose: Purpose| Links {
            links: (0..purpose.connections())
                .map(|_| Link::new(reach.clone(), purpose, on_connect.cloned(), given_up.clone()))
                .collect(),
            next: AtomicUsize::new(0),
        };
        Ok(Self(Arc::new(Inner {
            lease,
            enqueue: links(Purpose::Enqueue),
            delivery: links(Purpose::Delivery),
            beat: links(Purpose::Beat),
            admin: links(Purpose::Admin),
            given_up,
            reach,
        })))
    }

    /// New connections are made by another URL or authority. Those that are open go on, unless it is another place: a password may
    /// be changed here before the store knows it, and nobody shall lose a claim to that.
    ///
    /// # Errors
    /// If the URL or the certificates can't be read; nothing is changed then.
    pub fn retarget(&self, target: &Target) -> Result<(), Unavailable> {
        if self.0.reach.change(target)? {
            Purpose::ALL.into_iter().for_each(|purpose| self.reconnect(purpose));
        }
        Ok(())
    }

    /// Whether a new connection can be made now. It is closed at once.
    ///
    /// # Errors
    /// If not, with what the try said.
    pub async fn try_anew(&self) -> Result<(), Unavailable> {
        link::connect(&self.0.reach.now().way).await.map(drop)
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
        let link = self.links(purpose).choose();
        let on = On { link, connection: link.connection().await?, limit };
        self.run_on(&on, &[], &Call { script, keys, args }).await
    }

    /// Sets values and runs a script, in one round trip. Where a value can't be set, the script's own checks find it missing; the
    /// store's reason is the error then. With `replicas`, waits until that many have it on disk as well.
    ///
    /// # Errors
    /// If no answer came within `limit`, or the answer is an error.
    pub(crate) async fn run_durably(
        &self,
        ahead: &[Ahead<'_>],
        call: &Call<'_>,
        limit: Duration,
        replicas: u32,
    ) -> Result<Value, Unavailable> {
        let link = self.links(Purpose::Enqueue).choose();
        let on = On { link, connection: link.connection().await?, limit };
        let answer = self.run_on(&on, ahead, call).await?;
        if replicas > 0 {
            // The script has run, so whatever this says, it is not that nothing happened.
            replicated(&on, replicas).await.map_err(|why| match why {
                Unavailable::Unanswered { .. } => why,
                other => Unavailable::Unanswered { reason: other.to_string().into() },
            })?;
        }
        Ok(answer)
    }

    async fn run_on(&self, on: &On<'_>, ahead: &[Ahead<'_>], call: &Call<'_>) -> Result<Value, Unavailable> {
        // In the same round trip, ahead of all: what was asked there before may be asked again here.
        let given_up = self.0.given_up.all();
        let answer = if ahead.is_empty() && given_up.is_empty() {
            self.ask(on, &invocation(call)).await?
        } else {
            let mut pipeline = Pipeline::with_capacity(given_up.len() + ahead.len() + 1);
            for client in &given_up {
                pipeline.add_command(client.kill());
            }
            for set in ahead {
                pipeline.add_command(setting(set));
            }
            pipeline.add_command(invocation(call));
            let mut answers = self.ask_all(on, &pipeline).await?;
            answers.drain(..given_up.len().min(answers.len()));
            self.0.given_up.ended(&given_up);
            let last = last_of(&mut answers)?;
            answers.into_iter().find(|answer| matches!(answer, Value::ServerError(_))).unwrap_or(last)
        };
        if !is_noscript(&answer) {
            return ok(answer);
        }
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("SCRIPT").arg("LOAD").arg(call.script.text());
        pipeline.add_command(invocation(call));
        ok(last_of(&mut self.ask_all(on, &pipeline).await?)?)
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
        let link = self.links(purpose).choose();
        ok(self.ask(&On { link, connection: link.connection().await?, limit }, command).await?)
    }

    /// Runs commands in one round trip, not as a transaction. Errors stand in the answers.
    ///
    /// # Errors
    /// If no answer came within `limit`.
    pub async fn pipeline(
        &self,
        purpose: Purpose,
        commands: &Pipeline,
        limit: Duration,
    ) -> Result<Vec<Value>, Unavailable> {
        let link = self.links(purpose).choose();
        self.ask_all(&On { link, connection: link.connection().await?, limit }, commands).await
    }

    /// How often the store was asked for each purpose: round trips, of one command or of several.
    pub fn round_trips(&self) -> [(Purpose, u64); 4] {
        Purpose::ALL.map(|purpose| (purpose, self.links(purpose).links.iter().map(Link::asked).sum()))
    }

    /// Closes the connections of a purpose, so that the next command makes a new one and checks it.
    pub fn reconnect(&self, purpose: Purpose) {
        self.links(purpose).links.iter().for_each(Link::close);
    }

    fn links(&self, purpose: Purpose) -> &Links {
        match purpose {
            Purpose::Enqueue => &self.0.enqueue,
            Purpose::Delivery => &self.0.delivery,
            Purpose::Beat => &self.0.beat,
            Purpose::Admin => &self.0.admin,
        }
    }

    async fn ask(&self, on: &On<'_>, command: &Cmd) -> Result<Value, Unavailable> {
        let _unanswered = self.0.lease.as_ref().map(LeaseHandle::in_flight);
        let mut handle = on.connection.handle();
        let answer = tokio::time::timeout(on.limit, handle.send_packed_command(command)).await;
        on.link.judge(&on.connection, answer)
    }

    async fn ask_all(&self, on: &On<'_>, commands: &Pipeline) -> Result<Vec<Value>, Unavailable> {
        let _unanswered = self.0.lease.as_ref().map(LeaseHandle::in_flight);
        let mut handle = on.connection.handle();
        let answers = handle.send_packed_commands(commands, 0, commands.len());
        let answers = tokio::time::timeout(on.limit, answers).await;
        match on.link.judge(&on.connection, answers.map(|all| all.map(Value::Array)))? {
            Value::Array(all) => Ok(all),
            other => Ok(vec![other]),
        }
    }
}

/// WAITAOF waits for the last write of *this connection*, so it follows on the same one, and it follows the answers: behind the
/// script in one pipeline, a replica would acknowledge before it has synced that very write (research/queue.md 1.2).
async fn replicated(on: &On<'_>, replicas: u32) -> Result<(), Unavailable> {
    let mut handle = on.connection.handle();
    let mut wait = redis::cmd("WAITAOF");
    wait.arg(1).arg(replicas).arg(millis(REPLICAS_LIMIT));
    let answer = tokio::time::timeout(REPLICAS_LIMIT * 2, handle.send_packed_command(&wait)).await;
    let counts = crate::answer::array(ok(on.link.judge(&on.connection, answer)?)?)?;
    let counts = counts.into_iter().map(crate::answer::number).collect::<Result<Vec<_>, _>>()?;
    match counts[..] {
        [here, there] if here >= 1 && there >= u64::from(replicas) => Ok(()),
        _ => Err(Unavailable::Unanswered {
            reason: format!("{counts:?} of [1, {replicas}] disks have it").into(),
        }),
    }
}

fn last_of(answers: &mut Vec<Value>) -> Result<Value, Unavailable> {
    answers.pop().ok_or_else(|| Unavailable::unreadable("an empty answer", "one for each command"))
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Enqueue, Self::Delivery, Self::Beat, Self::Admin];

    /// Its word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enqueue => "Enqueue",
            Self::Delivery => "Delivery",
            Self::Beat => "Beat",
            Self::Admin => "Admin",
        }
    }

    /// How many connections a purpose has. Redis reads at most 16 KiB from each per pass, and syncs once a pass: several fill a
    /// group commit that one would make small.
    const fn connections(self) -> usize {
        match self {
            Self::Enqueue => 8,
            Self::Delivery | Self::Admin => 2,
            Self::Beat => 1,
        }
    }
}

impl Links {
    fn choose(&self) -> &Link {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.links[turn % self.links.len()]
    }
}

fn setting(set: &Ahead<'_>) -> Cmd {
    let mut command = Cmd::with_capacity(6, set.key.len() + set.value.len() + FIXED_BYTES);
    // NX: a value that is permanent by now (this is asked again, its answer was lost) must not get a TTL.
    command.arg("SET").arg(set.key).arg(set.value).arg("NX").arg("PX").arg(millis(set.ttl));
    command
}

fn invocation(of: &Call<'_>) -> Cmd {
    let bytes = of.keys.iter().map(|key| key.len()).chain(of.args.iter().map(|arg| arg.len())).sum::<usize>();
    let mut call = Cmd::with_capacity(of.keys.len() + of.args.len() + 3, bytes + FIXED_BYTES);
    call.arg("EVALSHA").arg(of.script.sha()).arg(of.keys.len());
    of.keys.iter().for_each(|key| {
        call.arg(*key);
    });
    of.args.iter().for_each(|arg| {
        call.arg(*arg);
    });
    call
}

fn ok(answer: Value) -> Result<Value, Unavailable> {
    match answer {
        Value::ServerError(error) => Err(Unavailable::failed(&error)),
        answer => Ok(answer),
    }
}

fn is_noscript(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == "NOSCRIPT")
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// More than the words take that each call of a kind has alike.
const FIXED_BYTES: usize = 64;
/// How long a script or command may take where nothing else is said.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How long replicas may take; then the enqueue is asked again, and waits again.
const REPLICAS_LIMIT: Duration = Duration::from_millis(1500);

/// Shows no password.
impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connections")
    }
}
