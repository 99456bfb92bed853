//! Every key of the queue.
//! **Owns:** their names. **Never:** their values (record.rs and the scripts).
//! All keys of a partition share the hash tag `{FLEET/PARTITION}`, so that they share a slot of a cluster. A limit (`limit:KEY`), the
//! slots of a site (`slots:SITE`), a note (`note:NAME`), a day's counters (`tally:DAY`) and turns (`turn:DAY:DOMAIN`) are a fleet's, but have the tag of the partition that keeps them: its connections lead nowhere else.

use postrider_mail::{Domain, PartitionName, QueueId};

use crate::{incarnation::Incarnation, lane::Lane};

/// The name of a fleet in key names: `namespace/name` of its MailRelay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FleetName(Box<str>);

/// A text that can't name a fleet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found fleet {0:?}; expected 1 to 320 of letters, digits, - . _ /")]
pub struct InvalidFleetName(String);

/// The keys of one partition.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: Box<str>,
}

impl FleetName {
    /// Reads a name.
    ///
    /// # Errors
    /// If it has other characters than a Kubernetes name and a slash.
    pub fn parse(text: &str) -> Result<Self, InvalidFleetName> {
        let is_name = (1..=320).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'/'));
        if is_name { Ok(Self(text.into())) } else { Err(InvalidFleetName(text.chars().take(80).collect())) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Keys {
    /// The keys of a partition.
    pub fn new(fleet: &FleetName, partition: &PartitionName) -> Self {
        Self { prefix: format!("postrider:{{{}/{}}}:", fleet.as_str(), partition.as_str()).into() }
    }

    /// What they all start with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A key by its name within the partition: `meta`, `pods`, `totals`, …
    pub fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// `note:NAME`.
    pub fn note(&self, name: &str) -> String {
        format!("{}note:{name}", self.prefix)
    }

    /// `tally:DAY`: the domains that have counters of a day.
    pub fn tally(&self, day: &str) -> String {
        format!("{}tally:{day}", self.prefix)
    }

    /// `tally:DAY:DOMAIN`: the counters of one.
    pub fn tally_of(&self, day: &str, domain: &Domain) -> String {
        format!("{}tally:{day}:{}", self.prefix, domain.as_str())
    }

    /// `turn:DAY:DOMAIN`: who does with them what is due, or that it is done.
    pub fn turn(&self, day: &str, domain: &Domain) -> String {
        format!("{}turn:{day}:{}", self.prefix, domain.as_str())
    }

    /// `m:ID`.
    pub fn message(&self, id: &QueueId) -> String {
        format!("{}m:{id}", self.prefix)
    }

    /// `b:ID`, and `b:ID:n` from the second chunk on.
    pub fn body(&self, id: &QueueId, chunk: u32) -> String {
        if chunk == 0 { format!("{}b:{id}", self.prefix) } else { format!("{}b:{id}:{chunk}", self.prefix) }
    }

    /// `t:ID`.
    pub fn tombstone(&self, id: &QueueId) -> String {
        format!("{}t:{id}", self.prefix)
    }

    /// `lane:CLASS/DOMAIN/ROUTE`.
    pub fn lane(&self, lane: &Lane) -> String {
        format!("{}lane:{lane}", self.prefix)
    }

    /// `claims:INC`.
    pub fn claims(&self, incarnation: Incarnation) -> String {
        format!("{}claims:{incarnation}", self.prefix)
    }
}
