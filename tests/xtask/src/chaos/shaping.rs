//! What shaped runs have beside the others: limits over the fleet, and a pool of two addresses of which far sides don't know one yet.
//! **Owns:** the limits, the addresses, the plan of the new one; whether far sides saw the addresses and the plan kept to. **Never:** a verdict
//! about mail, or about limits: a relay that is stopped between a limit's yes and the mail sends it later (their own tests have no such).

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use postrider_tests::{World, ledger::Entry, manifests::MailRelay};

/// Messages a second to each far side, by each address: about what comes in.
const PER_SECOND: u32 = 40;
/// Connections to each far side, by each address.
const CONNECTIONS: u32 = 6;
/// Connections opened in a second, the same.
const NEW_CONNECTIONS: u32 = 20;
/// Messages of each day to each far side by the new address. Nine of ten would go by it.
const QUOTA: usize = 150;

/// The addresses of a shaped run.
pub(crate) struct Shaping {
    old: Ipv4Addr,
    new: Ipv4Addr,
    /// The first day of the new one.
    day: Date,
}

impl Shaping {
    /// Those of a world.
    pub(crate) fn of(world: &World) -> Self {
        Self {
            old: world.subnet.address(201),
            new: world.subnet.address(202),
            day: day_in(SignedDuration::ZERO),
        }
    }

    /// The fleet that keeps to limits, and sends by these addresses only.
    pub(crate) fn of_fleet(&self, fleet: MailRelay) -> MailRelay {
        let (old, new, day) = (self.old, self.new, self.day);
        let limits = format!(
            "{{rate: {{messages: {PER_SECOND}, per: 1s}}, connectionRate: {{connections: {NEW_CONNECTIONS}, per: 1s}}, \
             connections: {CONNECTIONS}}}"
        );
        let inner = fleet.defaults.strip_suffix('}').unwrap_or("{");
        let defaults = format!("{inner}, limits: {limits}, egress: {{pool: both}}}}");
        let more = format!(
            "{}\negressPools:\n- name: both\n  sources:\n  - {{name: old, address: {old}}}\n  \
             - {{name: new, weight: 9, address: {new}, warmUp: {{startDate: '{day}', messagesPerDay: [{QUOTA}, {QUOTA}]}}}}\n",
            fleet.more
        );
        MailRelay { defaults, more, ..fleet }
    }

    /// What far sides saw that shouldn't be, if anything. Where a replica may be promoted the count of a day may go back.
    pub(crate) fn fault(&self, entries: &[Entry], is_counted: bool) -> Option<String> {
        let by = |entry: &Entry| entry.client.ip();
        let (old, new) = (IpAddr::from(self.old), IpAddr::from(self.new));
        let elsewhere = entries.iter().filter(|entry| by(entry) != old && by(entry) != new).count();
        if elsewhere > 0 {
            return Some(format!("{elsewhere} messages by no address of the pool"));
        }
        let mut by_new: HashMap<SocketAddr, usize> = HashMap::new();
        for entry in entries.iter().filter(|entry| by(entry) == new) {
            *by_new.entry(entry.at).or_default() += 1;
        }
        if by_new.is_empty() {
            return Some("nothing went by the new address".to_owned());
        }
        // A relay whose clock is an hour wrong may have another day.
        let hour = SignedDuration::from_hours(1);
        let is_one_day = [-hour, SignedDuration::ZERO, hour].map(day_in) == [self.day; 3];
        let most = by_new.values().copied().max().unwrap_or(0);
        (is_counted && is_one_day && most > QUOTA)
            .then(|| format!("{most} messages by the new address to one far side; expected {QUOTA} at most"))
    }
}

/// The day, by UTC, in so long.
fn day_in(time: SignedDuration) -> Date {
    let at = Timestamp::now().saturating_add(time).unwrap_or(Timestamp::MAX);
    at.to_zoned(TimeZone::UTC).date()
}
