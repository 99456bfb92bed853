//! What befalls a run, drawn from its seed.
//! **Owns:** the faults, their chances, their order. **Never:** I/O; a seed gives the same plan everywhere.
//!
//! Two things go wrong at once at most: one with the relays and what is around them, one with the queue's servers.

use std::{ops::RangeInclusive, time::Duration};

use anyhow::{Result, bail};
use clap::ValueEnum;
use postrider_tests::sink::{Act, At, Rule};
use rand::{SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::{draw::Draw, strike::STEPS};

/// How the queue's servers are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Topology {
    /// One server.
    One,
    /// Three servers that don't know each other, a shard each.
    Shards,
    /// A primary, a replica and three sentinels, `Replicated`.
    Sentinel,
    /// Three masters with a replica each, `Replicated`.
    Cluster,
}

/// What goes wrong with the relays, or around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RelayFault {
    /// `kill -9`, and started again a while later.
    KillRelay,
    /// It dies by itself between two named steps.
    DieAtStep,
    /// SIGSTOP for 3 s, 10 s or more than a minute, then SIGCONT.
    PauseRelay,
    /// SIGTERM, and another in its place; the older binary, if there is one, every second time.
    RollRelay,
    /// Its wall clock jumps by an hour, forth or back.
    RelayClock,
    /// Packets between it and one server of the queue are dropped.
    Partition,
    /// The nameserver is silent, slow, refuses or fails.
    Dns,
    /// A far side shows a certificate that isn't its own, in a protected run.
    WrongCertificate,
}

/// What goes wrong with the queue's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreFault {
    /// `kill -9`, and started again a while later.
    KillRedis,
    /// SIGSTOP, then SIGCONT.
    PauseRedis,
    /// Each sync takes longer.
    SlowDisk,
    /// `maxmemory` is reached.
    MemoryFull,
    /// Its volume is full; it ends by itself then.
    DiskFull,
    /// Killed amid a write: its file ends in the beginning of a transaction. Started, killed and started again.
    TornTail,
    /// Its wall clock jumps by an hour, forth or back.
    RedisClock,
    /// It forgets all scripts.
    ScriptFlush,
    /// It wants another password.
    Password,
    /// The relays' configuration changes.
    Reload,
    /// A replica is promoted while the primary lives.
    FailOver,
    /// The relays' configuration has no more of one of the keys that sign, in a protected run.
    KeyGone,
}

/// One fault and when.
#[derive(Debug, Clone)]
pub(crate) struct Strike<F> {
    /// Not before this time of the run, nor before the strike before it is over.
    pub(crate) at: Duration,
    pub(crate) fault: F,
    /// Which relay, or which server.
    pub(crate) whom: usize,
    /// How long it lasts.
    pub(crate) lasts: Duration,
    /// For choices within the fault.
    pub(crate) chance: u64,
}

/// How many strikes, and when each may begin.
#[derive(Debug, Clone)]
pub(crate) struct When {
    pub(crate) count: RangeInclusive<u32>,
    pub(crate) millis: RangeInclusive<u64>,
}

/// A run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) topology: Topology,
    /// Whether the fleet signs, and delivers to the right certificates only.
    pub(crate) is_protected: bool,
    /// Whether the fleet keeps to limits, and sends by a pool of addresses.
    pub(crate) is_shaped: bool,
    pub(crate) messages: usize,
    pub(crate) per_second: u32,
    pub(crate) size: usize,
    /// Recipients of a message, each in a domain of its own.
    pub(crate) together: usize,
    /// What each far side does out of the ordinary; the last is the senders' own, which takes the bounces.
    pub(crate) far_sides: Vec<Vec<Rule>>,
    pub(crate) of_relays: Vec<Strike<RelayFault>>,
    pub(crate) of_store: Vec<Strike<StoreFault>>,
}

/// Relays of a fleet.
pub(crate) const RELAYS: usize = 3;
/// Domains that mail goes to.
pub(crate) const DOMAINS: usize = 4;
/// How long the load lasts.
const LOAD: Duration = Duration::from_secs(24);
/// One run in so many is without signatures and certificates.
const PLAIN_ONE_IN: u64 = 3;
/// So many runs in a row keep to limits, then as many don't.
const SHAPED_TURN: u64 = 4;
/// One run in so many has a relay die at a step, and the next such one at the next step.
const DEATH_ONE_IN: u64 = 4;
/// When something may befall it.
const WHEN: When = When { count: 1..=4, millis: 1_500..=LOAD.as_millis() as u64 - 2_000 };

/// Which faults may be drawn.
#[derive(Debug, Clone)]
pub(crate) struct Allowed {
    pub(crate) of_relays: Vec<RelayFault>,
    pub(crate) of_store: Vec<StoreFault>,
    /// Whether an earlier release may be among the relays: it may not know how to sign, to verify or to keep to limits.
    pub(crate) has_older: bool,
}

impl Allowed {
    /// All, or those of the names.
    ///
    /// # Errors
    /// A name that no fault has.
    pub(crate) fn parse(names: &[String]) -> Result<Self> {
        if names.is_empty() {
            let (of_relays, of_store) = (RelayFault::value_variants(), StoreFault::value_variants());
            let (of_relays, of_store) = (of_relays.to_vec(), of_store.to_vec());
            return Ok(Self { of_relays, of_store, has_older: false });
        }
        let mut allowed = Self { of_relays: Vec::new(), of_store: Vec::new(), has_older: false };
        for name in names {
            match (RelayFault::from_str(name, true), StoreFault::from_str(name, true)) {
                (Ok(fault), _) => allowed.of_relays.push(fault),
                (_, Ok(fault)) => allowed.of_store.push(fault),
                _ => bail!("--faults: found {name}; expected some of {}", all_names().join(", ")),
            }
        }
        Ok(allowed)
    }
}

fn all_names() -> Vec<String> {
    fn names<F: ValueEnum + 'static>() -> impl Iterator<Item = String> {
        F::value_variants().iter().filter_map(|fault| Some(fault.to_possible_value()?.get_name().to_owned()))
    }
    names::<RelayFault>().chain(names::<StoreFault>()).collect()
}

impl Plan {
    /// Draws one.
    pub(crate) fn draw(seed: u64, topologies: &[Topology], allowed: &Allowed) -> Self {
        let mut draw = Draw(StdRng::seed_from_u64(seed));
        // Seeds take the topologies in turn, so that any few of them see all.
        let topology =
            topologies.get(seed as usize % topologies.len().max(1)).copied().unwrap_or(Topology::One);
        // In turn as well: of any twelve, each topology has both.
        let is_protected = !allowed.has_older && !seed.is_multiple_of(PLAIN_ONE_IN);
        let is_shaped = !allowed.has_older && (seed / SHAPED_TURN).is_multiple_of(2);
        let per_second = draw.within(40..=80);
        let relay_faults: Vec<_> =
            allowed.of_relays.iter().copied().filter(|fault| fault.fits(is_protected)).collect();
        let fits = |fault: &StoreFault| fault.fits(topology, is_protected);
        let store_faults: Vec<_> = allowed.of_store.iter().copied().filter(fits).collect();
        let mut of_relays = strikes(&relay_faults, RELAYS, &mut draw, RelayFault::lasts, &WHEN);
        if relay_faults.contains(&RelayFault::DieAtStep) {
            in_turn(seed, &mut of_relays);
        }
        let of_store = strikes(&store_faults, topology.servers(), &mut draw, StoreFault::lasts, &WHEN);
        Self {
            seed,
            topology,
            is_protected,
            is_shaped,
            messages: (LOAD.as_secs() * u64::from(per_second)) as usize,
            per_second,
            size: if draw.one_in(5) { 150_000 } else { 3_000 },
            together: if draw.one_in(3) { 2 } else { 1 },
            far_sides: (0..=DOMAINS).map(|number| far_side(number, is_shaped, &mut draw)).collect(),
            of_relays,
            of_store,
        }
    }

    /// One line.
    pub(crate) fn describe(&self) -> String {
        let relays =
            self.of_relays.iter().map(|strike| format!("{:?}@{:.0}s", strike.fault, strike.at.as_secs_f64()));
        let store =
            self.of_store.iter().map(|strike| format!("{:?}@{:.0}s", strike.fault, strike.at.as_secs_f64()));
        let all: Vec<String> = relays.chain(store).collect();
        let how = match (self.is_protected, self.is_shaped) {
            (true, true) => "signed, verified and shaped",
            (true, false) => "signed and verified",
            (false, true) => "shaped",
            (false, false) => "plain",
        };
        format!(
            "seed {} {:?}, {} messages, {how}: {}",
            self.seed,
            self.topology,
            self.messages,
            all.join(" ")
        )
    }
}

impl Topology {
    /// Servers that hold mail.
    pub(crate) const fn servers(self) -> usize {
        match self {
            Self::One => 1,
            Self::Sentinel => 2,
            Self::Shards => 3,
            Self::Cluster => 6,
        }
    }

    /// Whether mail outlives a server by its replicas.
    pub(crate) const fn is_replicated(self) -> bool {
        matches!(self, Self::Sentinel | Self::Cluster)
    }
}

impl RelayFault {
    /// Only those who verify care for a certificate.
    const fn fits(self, is_protected: bool) -> bool {
        match self {
            Self::WrongCertificate => is_protected,
            Self::KillRelay
            | Self::DieAtStep
            | Self::PauseRelay
            | Self::RollRelay
            | Self::RelayClock
            | Self::Partition
            | Self::Dns => true,
        }
    }

    pub(crate) fn lasts(self, draw: &mut Draw) -> Duration {
        match self {
            Self::PauseRelay if draw.one_in(12) => Duration::from_secs(70),
            Self::PauseRelay => Duration::from_secs(draw.pick(&[3, 10])),
            Self::KillRelay | Self::RelayClock => draw.millis(0..=6_000),
            Self::DieAtStep => Duration::from_secs(8),
            Self::RollRelay => Duration::ZERO,
            Self::Partition => draw.millis(300..=8_000),
            Self::Dns | Self::WrongCertificate => draw.millis(1_000..=6_000),
        }
    }
}

impl StoreFault {
    /// A volume of their own is had by servers that stand alone, only replicas can be promoted, and only who signs has keys.
    pub(crate) const fn fits(self, topology: Topology, is_protected: bool) -> bool {
        match self {
            Self::KeyGone => is_protected,
            Self::FailOver => topology.is_replicated(),
            Self::DiskFull | Self::TornTail | Self::RedisClock | Self::Password => !topology.is_replicated(),
            Self::KillRedis
            | Self::PauseRedis
            | Self::SlowDisk
            | Self::MemoryFull
            | Self::ScriptFlush
            | Self::Reload => true,
        }
    }

    pub(crate) fn lasts(self, draw: &mut Draw) -> Duration {
        match self {
            Self::KillRedis | Self::DiskFull | Self::RedisClock | Self::MemoryFull => draw.millis(0..=5_000),
            Self::PauseRedis => draw.millis(100..=6_000),
            Self::KeyGone => draw.millis(2_000..=6_000),
            Self::SlowDisk => draw.millis(1_000..=4_000),
            Self::TornTail => draw.millis(500..=2_000),
            Self::ScriptFlush | Self::Password | Self::Reload | Self::FailOver => Duration::ZERO,
        }
    }
}

/// Seeds take the steps that a relay dies at in turn, whatever else is drawn: of any 35, each has a death at each. Which seed of a
/// few it is changes, so that the topologies, which are taken in turn too, all have some.
fn in_turn(seed: u64, of_relays: &mut [Strike<RelayFault>]) {
    let turn = seed / DEATH_ONE_IN;
    if let (true, Some(first)) = (seed % DEATH_ONE_IN == turn % DEATH_ONE_IN, of_relays.first_mut()) {
        let steps = STEPS.len() as u64;
        first.fault = RelayFault::DieAtStep;
        first.chance = first.chance / (2 * steps) * steps + turn % steps;
    }
}

/// Some, in their order.
pub(crate) fn strikes<F: Copy>(
    faults: &[F],
    whom: usize,
    draw: &mut Draw,
    lasts: impl Fn(F, &mut Draw) -> Duration,
    when: &When,
) -> Vec<Strike<F>> {
    let mut strikes = Vec::new();
    for _ in 0..draw.within(when.count.clone()) {
        let Some(fault) = faults.choose(&mut draw.0).copied() else { break };
        strikes.push(Strike {
            at: draw.millis(when.millis.clone()),
            fault,
            whom: draw.within(0..=whom as u64 - 1) as usize,
            lasts: lasts(fault, draw),
            chance: draw.within(0..=u64::MAX),
        });
    }
    strikes.sort_by_key(|strike| strike.at);
    strikes
}

/// What one far side does, so and so often. The first is always well.
fn far_side(number: usize, is_shaped: bool, draw: &mut Draw) -> Vec<Rule> {
    let times = draw.within(1..=60_u32);
    let chosen = match draw.within(0..=9_u32) {
        _ if number == 0 => return Vec::new(),
        // Fewer: a pace takes its time to grow again.
        _ if is_shaped && number % 2 == 1 => {
            return vec![Rule::reply(At::Rcpt, "451 4.7.1 rate limited").times(times.div_ceil(6))];
        }
        0 => Rule::reply(At::Dot, "451 4.3.0 not now"),
        1 => Rule::reply(At::Rcpt, "450 4.2.1 try again"),
        // A bounce that is refused for good ends there: nobody could tell that it was sent.
        2 | 3 if number == DOMAINS => Rule::new(At::Rcpt, Act::Close),
        2 => Rule::reply(At::Dot, "554 5.7.1 not that one"),
        3 => Rule::reply(At::Rcpt, "550 5.1.1 nobody here"),
        4 => Rule::new(At::Dot, Act::KeepAndClose),
        5 => Rule::new(At::Dot, Act::Close),
        6 => Rule::new(At::Dot, Act::Delay(draw.millis(100..=4_000))),
        7 => Rule::new(At::Banner, Act::Delay(draw.millis(100..=2_000))),
        8 => Rule::reply(At::Banner, "421 4.3.2 busy"),
        _ => Rule::new(At::Data, Act::Close),
    };
    vec![chosen.times(times)]
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::{Allowed, Plan, RelayFault, STEPS, StoreFault, Topology};

    #[test]
    fn a_seed_gives_the_same_plan_again_and_another_seed_another() {
        let allowed = Allowed::parse(&[]).expect("all");
        let plan = |seed| format!("{:?}", Plan::draw(seed, &[Topology::One, Topology::Shards], &allowed));
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(9));
    }

    #[test]
    fn each_topology_is_run_with_protection_and_without() {
        let (all, mut allowed) = (Topology::value_variants(), Allowed::parse(&[]).expect("all"));
        let mut seen: Vec<_> = (1..=12)
            .map(|seed| Plan::draw(seed, all, &allowed))
            .map(|plan| (plan.topology as u8, plan.is_protected))
            .collect();
        assert_eq!(seen.iter().filter(|(_, is_protected)| *is_protected).count(), 8);
        let shaped = (1..=8).map(|seed| Plan::draw(seed, all, &allowed)).filter(|plan| plan.is_shaped);
        let mut shaped: Vec<_> = shaped.map(|plan| plan.topology as u8).collect();
        shaped.sort_unstable();
        assert_eq!(shaped.len(), 4);
        shaped.dedup();
        assert_eq!(shaped.len(), all.len(), "each topology is run with limits");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 2 * all.len());
        allowed.has_older = true;
        for seed in 1..=200 {
            let plan = Plan::draw(seed, all, &allowed);
            let (of_relays, of_store) = (plan.of_relays.iter(), plan.of_store.iter());
            assert!(!plan.is_protected && !plan.is_shaped);
            assert!(of_relays.map(|strike| strike.fault).all(|fault| fault.fits(false)), "{plan:?}");
            assert!(
                of_store.map(|strike| strike.fault).all(|fault| fault != StoreFault::KeyGone),
                "{plan:?}"
            );
        }
    }

    #[test]
    fn few_seeds_have_a_relay_die_at_each_step() {
        let allowed = Allowed::parse(&["die-at-step".to_owned(), "dns".to_owned()]).expect("two");
        for from in 0..40 {
            let plans = (from..from + 35).map(|seed| Plan::draw(seed, Topology::value_variants(), &allowed));
            let mut steps: Vec<u64> = plans
                .filter_map(|plan| plan.of_relays.first().cloned())
                .filter(|strike| strike.fault == RelayFault::DieAtStep)
                .map(|strike| strike.chance % STEPS.len() as u64)
                .collect();
            steps.sort_unstable();
            steps.dedup();
            assert_eq!(steps.len(), STEPS.len(), "from {from}");
        }
        let without = Allowed::parse(&["dns".to_owned()]).expect("one");
        let plan = Plan::draw(0, &[Topology::One], &without);
        assert!(plan.of_relays.iter().all(|strike| strike.fault == RelayFault::Dns));
    }

    #[test]
    fn a_fault_that_there_is_not_is_named() {
        let told = Allowed::parse(&["kill-relais".to_owned()]).expect_err("no such fault").to_string();
        assert!(
            told.starts_with("--faults: found kill-relais; expected some of kill-relay, die-at-step"),
            "{told}"
        );
    }
}
