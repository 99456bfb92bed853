//! The queue as a whole: its partitions by name, which of them are what they should be, and which one takes the next message.
//! **Owns:** [`Shards`]: choice, states, adoption, what is remembered of each store outside of it. **Never:** an operation on mail.
//! What a partition had when last seen is kept in memory, on the other shards (`meta`, field `seen:NAME`) and wherever the shell
//! puts [`Shards::watch_remembered`]; so a volume that was lost is told from a new one even if all pods restart, as long as one
//! other shard or one pod's file is left. Invariant: loss is never silent.

mod change;
mod check;
mod drain;
mod identity;
mod standing;
mod store;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use postrider_mail::{Mono, PartitionName};
use tokio::sync::{Notify, watch};

pub use change::Changed;
pub use identity::{Identity, Remembered};
pub use standing::{CLOCK_AGREEMENT, Found, ShardStatus, Standing};
pub use store::{AdoptError, State};

use self::drain::Wanted;
use crate::{
    connection::{Target, Topology},
    error::Unavailable,
    incarnation::{Clock, LeaseHandle},
    keys::FleetName,
    partition::{Durability, Partition, PartitionOptions},
};

/// One shard, as the config names it.
#[derive(Debug, Clone)]
pub struct ShardOptions {
    /// The partition's name.
    pub name: PartitionName,
    /// Where it is.
    pub target: Target,
    /// The UUID of the queue that should be there, where the config knows it.
    pub uuid: Option<Box<str>>,
    /// Whether it is to be emptied: it takes no new mail, and is closed once nothing is in it.
    pub is_draining: bool,
}

/// A queue, as the config names it.
#[derive(Debug, Clone)]
pub struct ShardsOptions {
    /// Whose mail.
    pub fleet: FleetName,
    /// The UID of the MailRelay, where there is one: a queue of another MailRelay isn't touched.
    pub relay_uid: Option<Box<str>>,
    /// Its shards; one at least.
    pub shards: Vec<ShardOptions>,
    /// How a 250 is backed.
    pub durability: Durability,
    /// What was last remembered of each, from the shell's file.
    pub remembered: BTreeMap<PartitionName, Remembered>,
    /// The boot-time clock.
    pub clock: Clock,
}

/// All partitions of a queue. Cloning shares.
#[derive(Debug, Clone)]
pub struct Shards(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fleet: FleetName,
    shards: Mutex<List>,
    settings: Arc<Settings>,
    turn: AtomicUsize,
    remembered: watch::Sender<BTreeMap<PartitionName, Remembered>>,
    /// When a shard last became usable, or stopped being so.
    changed: Mutex<Option<Mono>>,
    /// The next look is due now.
    look_now: Notify,
}

/// The shards that the config has, in its order. Changed whole.
type List = Arc<[Arc<Shard>]>;

/// What all shards share.
#[derive(Debug)]
struct Settings {
    relay_uid: Option<Box<str>>,
    durability: Mutex<Durability>,
    clock: Clock,
}

#[derive(Debug)]
struct Shard {
    partition: Partition,
    known: Arc<Known>,
}

/// What is known of one shard; its connections' checks and the rounds of [`Shards::look`] write it.
#[derive(Debug)]
struct Known {
    wanted: Mutex<Wanted>,
    /// As the config had it last.
    target: Mutex<Target>,
    standing: Mutex<Standing>,
    remembered: Mutex<Option<Remembered>>,
    /// Messages that it was found to have forgotten.
    forgotten: Mutex<u64>,
    /// The standing that was logged last.
    told: Mutex<&'static str>,
    /// When the last whole preflight was, and when it was last written down elsewhere.
    times: Mutex<Times>,
    /// Set while nobody has connected by the URL that the config has now, with what the last try said.
    untried: Mutex<Option<Untried>>,
}

#[derive(Debug, Default)]
struct Untried {
    not_before: Option<Mono>,
    said: Option<Box<str>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Times {
    preflight: Option<Mono>,
    written: Option<Mono>,
    /// When a pod came to know it that ran already. The first look of a new process moves no limit.
    added: Option<Mono>,
}

/// Why no partition takes a new message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPartition {
    /// Those that could have no room: `452 4.3.1`.
    #[error("every usable partition of the queue is full")]
    Full,
    /// None can keep the promise behind a 250, or none answers: `451 4.3.0`.
    #[error("no partition of the queue is usable")]
    Unusable,
}

impl Shards {
    /// The partitions. Nothing is asked yet: run [`Self::look`], or [`Self::run`], next.
    ///
    /// # Errors
    /// If a URL or certificate can't be read.
    pub fn new(options: ShardsOptions) -> Result<Self, Unavailable> {
        let settings = Arc::new(Settings {
            relay_uid: options.relay_uid,
            durability: Mutex::new(options.durability),
            clock: options.clock,
        });
        // Whoever starts may have an older config than those who run: they close and open shards meanwhile.
        let reopen_from = settings.clock.now().after(drain::SETTLED);
        let shards = options.shards.into_iter().map(|shard| {
            let remembered = options.remembered.get(&shard.name).cloned();
            Shard::new(&options.fleet, shard, remembered, &settings, reopen_from).map(Arc::new)
        });
        let shards = shards.collect::<Result<List, _>>()?;
        Ok(Self(Arc::new(Inner {
            fleet: options.fleet,
            shards: Mutex::new(shards),
            settings,
            turn: AtomicUsize::new(0),
            remembered: watch::Sender::new(options.remembered),
            changed: Mutex::default(),
            look_now: Notify::new(),
        })))
    }

    /// All partitions, usable or not.
    pub fn partitions(&self) -> Vec<Partition> {
        self.list().iter().map(|shard| shard.partition.clone()).collect()
    }

    /// A partition by its name, as a queue ID has it.
    pub fn get(&self, name: &PartitionName) -> Option<Partition> {
        self.shard(name).map(|shard| shard.partition.clone())
    }

    /// The partition for the next new message. Never waits.
    ///
    /// # Errors
    /// If none takes one.
    pub fn choose(&self) -> Result<Partition, NoPartition> {
        self.choose_other(&[])
    }

    /// The same, but none of these: a message that certainly isn't in one of them may go to another.
    ///
    /// # Errors
    /// If none takes one.
    pub fn choose_other(&self, not: &[PartitionName]) -> Result<Partition, NoPartition> {
        let mut is_full = false;
        let list = self.list();
        let open: Vec<&Arc<Shard>> = list
            .iter()
            .filter(|shard| !not.contains(shard.partition.name()) && !shard.is_draining())
            .filter(|shard| {
                let standing = lock(&shard.known.standing);
                is_full |= standing.is_full();
                standing.takes_mail()
            })
            .collect();
        // In turn; one that lets us wait now is passed over while another doesn't.
        let quick: Vec<&Arc<Shard>> = open.iter().copied().filter(|shard| !shard.is_stalled()).collect();
        let from = if quick.is_empty() { open } else { quick };
        if from.is_empty() {
            return Err(if is_full { NoPartition::Full } else { NoPartition::Unusable });
        }
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        Ok(from[turn % from.len()].partition.clone())
    }

    /// Whether this machine's clock and the partition's are close enough to act on expiry (`QueueClock`). A delivery that was claimed
    /// because it expired is given back otherwise.
    pub fn clock_agrees(&self, name: &PartitionName) -> bool {
        self.shard(name).is_none_or(|shard| lock(&shard.known.standing).clock_agrees())
    }

    /// Where every shard stands: for `/readyz`, the log, the status and the metrics.
    pub fn status(&self) -> Vec<ShardStatus> {
        self.list().iter().map(|shard| shard.status()).collect()
    }

    /// Whether new mail can be taken in now, or soon: one partition at least keeps the promise behind a 250, and isn't to be emptied.
    pub fn is_ready(&self) -> bool {
        self.list().iter().any(|shard| !shard.is_draining() && lock(&shard.known.standing).keeps_promise())
    }

    /// What is wrong with shards: a line for each problem, with what was found, what was expected and what to do. Some may be told
    /// of a queue that is ready: of one shard while others take the mail.
    pub fn problems(&self) -> Vec<String> {
        self.status().iter().flat_map(ShardStatus::problems).collect()
    }

    /// What is remembered of each shard, whenever it changed. The shell writes it to a file of its own and gives it back in
    /// [`ShardsOptions::remembered`].
    pub fn watch_remembered(&self) -> watch::Receiver<BTreeMap<PartitionName, Remembered>> {
        self.0.remembered.subscribe()
    }

    /// Looks at every shard again and again, for as long as the process lives.
    pub async fn run(&self) {
        loop {
            self.look().await;
            let _ = tokio::time::timeout(LOOK_EVERY, self.0.look_now.notified()).await;
        }
    }

    /// The partitions that are what they should be.
    pub fn usable(&self) -> Vec<Partition> {
        let list = self.list();
        let usable = list.iter().filter(|shard| lock(&shard.known.standing).keeps_promise());
        usable.map(|shard| shard.partition.clone()).collect()
    }

    /// For how long these are the usable ones.
    pub(crate) fn changed_for(&self) -> Duration {
        lock(&self.0.changed).map_or(Duration::MAX, |changed| self.0.settings.clock.now().since(changed))
    }

    fn shard(&self, name: &PartitionName) -> Option<Arc<Shard>> {
        self.list().iter().find(|shard| shard.partition.name() == name).cloned()
    }

    fn list(&self) -> List {
        lock(&self.0.shards).clone()
    }
}

impl Shard {
    fn status(&self) -> ShardStatus {
        ShardStatus {
            name: self.partition.name().clone(),
            standing: lock(&self.known.standing).clone(),
            is_draining: self.is_draining(),
            refused_anew: lock(&self.known.untried).as_ref().and_then(|untried| untried.said.clone()),
            remembered: lock(&self.known.remembered).clone(),
        }
    }

    fn new(
        fleet: &FleetName,
        options: ShardOptions,
        remembered: Option<Remembered>,
        settings: &Arc<Settings>,
        reopen_from: Mono,
    ) -> Result<Self, Unavailable> {
        let known = Arc::new(Known {
            wanted: Mutex::new(Wanted::new(&options, reopen_from)),
            target: Mutex::new(options.target.clone()),
            standing: Mutex::new(Standing::Unasked),
            told: Mutex::new(Standing::Unasked.as_str()),
            remembered: Mutex::new(remembered),
            forgotten: Mutex::default(),
            times: Mutex::default(),
            untried: Mutex::default(),
        });
        let lease = LeaseHandle::new(settings.clock.clone());
        let on_connect = check::on_connect(fleet, &options.name, &known, settings, &lease);
        let partition = Partition::new(PartitionOptions {
            fleet: fleet.clone(),
            name: options.name,
            target: options.target,
            durability: settings.durability(),
            lease,
            on_connect: Some(on_connect),
        })?;
        Ok(Self { partition, known })
    }

    fn is_draining(&self) -> bool {
        lock(&self.known.wanted).is_draining
    }

    fn is_stalled(&self) -> bool {
        self.partition.lease().unanswered_for() > STALLED
    }
}

impl Known {
    fn topology(&self) -> Topology {
        lock(&self.target).topology
    }
}

impl Settings {
    fn durability(&self) -> Durability {
        *lock(&self.durability)
    }
}

/// Nothing runs under these mutexes that could panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often every shard is looked at: whether it answers, how full it is, what is in it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A partition that lets a command wait for longer gets no new mail while another doesn't.
const STALLED: Duration = Duration::from_millis(250);
