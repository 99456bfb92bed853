//! What befalls a soak: faults in the first part of each period, calm in the rest; and what its mail is like.
//! **Owns:** which of chaos's faults, how dense, whom they spare. **Never:** I/O; a seed gives the same plan everywhere.

use std::{collections::BTreeMap, time::Duration};

use clap::ValueEnum;
use postrider_tests::sink::{Act, At, Rule};
use rand::{SeedableRng, rngs::StdRng};

use crate::chaos::{
    draw::Draw,
    plan::{DOMAINS, Plan, RELAYS, RelayFault, StoreFault, Strike, Topology, When, strikes},
};

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) seed: u64,
    pub(crate) topology: Topology,
    /// Of the load.
    pub(crate) lasts: Duration,
    pub(crate) per_second: u32,
}

/// The relay whose process lives through all of it.
pub(crate) const LONG_LIVED: usize = 0;

/// Bytes of messages, in turn; as many as no number of domains divides.
pub(crate) const SIZES: [usize; 41] = {
    const KIB: [usize; 41] = [
        1, 4, 4, 16, 1, 4, 4, 1, 64, 4, 4, 1, 4, 16, 4, 1, 4, 4, 1, 4, 16, 4, 1, 4, 256, 4, 1, 4, 4, 16, 1,
        4, 4, 1, 4, 64, 4, 1, 16, 4, 1,
    ];
    let (mut sizes, mut at) = (KIB, 0);
    while at < sizes.len() {
        sizes[at] <<= 10;
        at += 1;
    }
    sizes
};

/// No clock jumps: books compare the times of relays and far sides for all of the run.
const OF_RELAYS: [RelayFault; 6] = [
    RelayFault::KillRelay,
    RelayFault::DieAtStep,
    RelayFault::PauseRelay,
    RelayFault::RollRelay,
    RelayFault::Partition,
    RelayFault::Dns,
];
/// No full disk either: files are on a disk that others use.
const OF_STORE: [StoreFault; 9] = [
    StoreFault::KillRedis,
    StoreFault::PauseRedis,
    StoreFault::SlowDisk,
    StoreFault::MemoryFull,
    StoreFault::TornTail,
    StoreFault::ScriptFlush,
    StoreFault::Password,
    StoreFault::Reload,
    StoreFault::FailOver,
];

/// Each begins with faults and ends in calm.
const PERIOD: Duration = Duration::from_secs(300);
/// One in so many recipients of a far side has no answer at all.
const HANGS_ONE_IN: u32 = 1_500;
/// Nothing hangs so long before the end: a client may wait for an answer to RCPT for 5 min (RFC 5321 4.5.3.2.3).
const HANGS_UNTIL: Duration = Duration::from_secs(480);

/// Draws it.
pub(crate) fn plan(wanted: &Wanted) -> Plan {
    let Wanted { seed, topology, lasts, per_second } = wanted.clone();
    let mut draw = Draw(StdRng::seed_from_u64(seed));
    let store_faults: Vec<_> = OF_STORE.into_iter().filter(|fault| fault.fits(topology, false)).collect();
    let period = PERIOD.min(lasts / 2).as_millis() as u64;
    let (mut of_relays, mut of_store) = (Vec::new(), Vec::new());
    for from in (0..lasts.as_millis() as u64).step_by(period as usize) {
        let when = When { count: 2..=4, millis: from + 1_500..=from + period * 3 / 5 };
        of_relays.extend(strikes(&OF_RELAYS, RELAYS, &mut draw, RelayFault::lasts, &when));
        of_store.extend(strikes(&store_faults, topology.servers(), &mut draw, StoreFault::lasts, &when));
    }
    of_relays.iter_mut().for_each(spare);
    Plan {
        seed,
        topology,
        is_protected: false,
        is_shaped: false,
        messages: (lasts.as_secs() * u64::from(per_second)) as usize,
        per_second,
        size: SIZES[0],
        together: 1,
        far_sides: far_sides(hangs(lasts, per_second)),
        of_relays,
        of_store,
    }
}

/// What would end the long-lived relay's process befalls another.
fn spare(strike: &mut Strike<RelayFault>) {
    let ends = matches!(strike.fault, RelayFault::KillRelay | RelayFault::DieAtStep | RelayFault::RollRelay);
    if ends && strike.whom == LONG_LIVED {
        strike.whom = 1 + (strike.chance % (RELAYS as u64 - 1)) as usize;
    }
}

/// How many recipients one far side gives no answer to.
fn hangs(lasts: Duration, per_second: u32) -> u32 {
    let recipients = lasts.saturating_sub(HANGS_UNTIL).as_secs() as u32 * per_second / DOMAINS as u32;
    recipients / HANGS_ONE_IN
}

/// One is well, one puts off, one refuses, one breaks off; the last is the senders'. Of rules for one place the first counts.
fn far_sides(hangs: u32) -> Vec<Vec<Rule>> {
    vec![
        Vec::new(),
        vec![
            Rule::reply(At::Banner, "421 4.3.2 busy").one_in(20),
            Rule::reply(At::Rcpt, "450 4.2.1 try again").one_in(40),
            Rule::new(At::Data, Act::Delay(Duration::from_secs(3))).one_in(100),
            Rule::reply(At::Dot, "451 4.3.0 not now").one_in(60),
        ],
        vec![
            Rule::new(At::Banner, Act::Delay(Duration::from_secs(2))).one_in(10),
            Rule::reply(At::Rcpt, "550 5.1.1 nobody here").one_in(150),
            Rule::reply(At::Dot, "554 5.7.1 not that one").one_in(300),
        ],
        vec![
            Rule::new(At::Rcpt, Act::Hang).one_in(HANGS_ONE_IN).times(hangs),
            Rule::new(At::Data, Act::Close).one_in(300),
            Rule::new(At::Dot, Act::KeepAndClose).one_in(500),
        ],
        vec![
            Rule::new(At::Rcpt, Act::Close).one_in(100),
            Rule::reply(At::Dot, "451 4.3.0 not now").one_in(50),
        ],
    ]
}

/// How often each fault strikes.
pub(crate) fn counts(plan: &Plan) -> BTreeMap<String, usize> {
    fn name<F: ValueEnum>(fault: &F) -> Option<String> {
        Some(fault.to_possible_value()?.get_name().to_owned())
    }
    let of_relays = plan.of_relays.iter().filter_map(|strike| name(&strike.fault));
    let of_store = plan.of_store.iter().filter_map(|strike| name(&strike.fault));
    let mut counts = BTreeMap::new();
    for name in of_relays.chain(of_store) {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(minutes: u64, seed: u64) -> Plan {
        let lasts = Duration::from_secs(minutes * 60);
        plan(&Wanted { seed, topology: Topology::One, lasts, per_second: 120 })
    }

    #[test]
    fn nothing_ends_the_process_of_the_long_lived_relay() {
        for seed in 0..20 {
            for strike in drawn(60, seed).of_relays.iter().filter(|strike| strike.whom == LONG_LIVED) {
                assert!(
                    matches!(strike.fault, RelayFault::PauseRelay | RelayFault::Partition | RelayFault::Dns),
                    "{strike:?}"
                );
            }
        }
    }

    #[test]
    fn each_period_ends_without_a_fault_that_begins() {
        let plan = drawn(60, 3);
        let begins = plan.of_relays.iter().map(|strike| strike.at);
        for at in begins.chain(plan.of_store.iter().map(|strike| strike.at)) {
            assert!(at.as_secs() % 300 <= 180, "{at:?}");
        }
        assert!(plan.of_relays.len() >= 24 && plan.of_store.len() >= 24);
    }

    #[test]
    fn a_far_side_hangs_only_in_what_is_long_enough_to_see_it_end() {
        assert_eq!(hangs(Duration::from_secs(180), 120), 0);
        assert_eq!(hangs(Duration::from_secs(3_600), 120), 62);
    }

    #[test]
    fn each_domain_has_mail_of_each_size() {
        assert_ne!(SIZES.len() % DOMAINS, 0);
        assert_eq!(SIZES.iter().max(), Some(&(256 << 10)));
    }
}
