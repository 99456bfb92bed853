//! Lanes: waiting deliveries of one class to one domain by one route, of some senders; and their suspension.
//! **Owns:** [`Lane`], [`RouteName`], suspend.lua. **Never:** when a lane should be suspended (the shell's sites know).

use std::time::Duration;

use postrider_mail::{Class, Domain};

use crate::{
    answer::Fields,
    connection::{CALL_LIMIT, Purpose, millis},
    error::Unavailable,
    flow::Flow,
    limit::Limiter,
    partition::Partition,
    script,
};

/// The longest name of a route: `namespace/name` of a rule.
pub const MAX_ROUTE_NAME_BYTES: usize = 320;

/// What stands before the flow in a lane's name.
const FLOW_MARK: u8 = b'#';

/// The rule that says where a delivery goes, by name, or `default`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteName(Box<str>);

/// Waiting deliveries of one class to one domain by one route: a destination; of the senders of one flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// How soon they are wanted.
    pub class: Class,
    /// Where to.
    pub domain: Domain,
    /// By which rule.
    pub route: RouteName,
    /// Of which senders. `None`: of those whose mail a version took in that knew no flows; or the destination, all its lanes.
    pub flow: Option<Flow>,
}

/// A text that names no lane or no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "found {0:?}; expected CLASS/DOMAIN/ROUTE or CLASS/DOMAIN/ROUTE#FLOW, the route being 1 to 320 printable ASCII characters without \
     spaces and #, the flow a number below 64"
)]
pub struct InvalidLane(String);

/// How a limit lets a lane wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// Which limit.
    pub limiter: Limiter,
    /// For how long.
    pub wait: Duration,
    /// How many are worth a try at a time from then on.
    pub few: u32,
}

/// What a config is called where lanes are suspended under it: a suspension by another config counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConfigTag(Box<str>);

impl RouteName {
    /// Reads a name.
    ///
    /// # Errors
    /// If it has other than printable ASCII characters, a `#`, none, or too many.
    pub fn parse(text: &str) -> Result<Self, InvalidLane> {
        let is_name = (1..=MAX_ROUTE_NAME_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic() && b != FLOW_MARK);
        if is_name { Ok(Self(text.into())) } else { Err(InvalidLane::of(text)) }
    }

    /// The route of mail that no rule routes.
    pub fn default_route() -> Self {
        Self("default".into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RouteName {
    fn default() -> Self {
        Self::default_route()
    }
}

impl Lane {
    /// The destination: what all flows to it share.
    #[must_use]
    pub fn destination(&self) -> Self {
        Self { flow: None, ..self.clone() }
    }

    /// Whether both are of one destination.
    pub fn has_destination_of(&self, other: &Self) -> bool {
        self.class == other.class && self.domain == other.domain && self.route == other.route
    }

    /// The lanes that a destination may have.
    pub fn lanes(&self) -> impl Iterator<Item = Self> {
        let flows = std::iter::once(None).chain(Flow::all().map(Some));
        flows.map(|flow| Self { flow, ..self.clone() })
    }
}

impl ConfigTag {
    /// A tag from a config's hash: its first 32 characters that are letters or digits.
    pub fn new(hash: &str) -> Self {
        Self(hash.chars().filter(char::is_ascii_alphanumeric).take(32).collect())
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl InvalidLane {
    fn of(text: &str) -> Self {
        Self(text.chars().take(80).collect())
    }
}

impl std::fmt::Display for RouteName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.class, self.domain, self.route)?;
        self.flow.map_or(Ok(()), |flow| write!(f, "{}{flow}", char::from(FLOW_MARK)))
    }
}

impl std::str::FromStr for Lane {
    type Err = InvalidLane;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.splitn(3, '/');
            let class = parts.next()?.parse().ok()?;
            let domain = Domain::parse(parts.next()?).ok()?;
            let rest = parts.next()?;
            let (route, flow) = match rest.split_once(char::from(FLOW_MARK)) {
                Some((route, flow)) => (route, Some(Flow::parse(flow)?)),
                None => (rest, None),
            };
            Some(Self { class, domain, route: RouteName::parse(route).ok()?, flow })
        };
        parse().ok_or_else(|| InvalidLane::of(text))
    }
}

impl Partition {
    /// No delivery to the destination of `lane` is claimed for `wait` from now (expired ones and wishes of admins excepted), unless it
    /// is resumed or the config becomes another one than `config`. What a person suspended stays as it is.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn suspend(&self, lane: &Lane, wait: Duration, config: &ConfigTag) -> Result<(), Unavailable> {
        // At least a millisecond: none at all means to resume.
        self.tell_of(&lane.destination(), millis(wait).max(1), config.as_str(), &[]).await
    }

    /// A limit lets `lane` wait: nothing of it is claimed for a time from now, and for a minute after that a few at a time. A
    /// suspension for longer, as nobody answers, stays; and so does a person's.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn limit(&self, lane: &Lane, limited: &Limited, config: &ConfigTag) -> Result<(), Unavailable> {
        let few = limited.few.max(1).to_string();
        self.tell_of(lane, millis(limited.wait), config.as_str(), &[limited.limiter.as_str(), &few]).await
    }

    /// The destination of `lane` is claimed for again, if not a person suspended it.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn resume(&self, lane: &Lane, config: &ConfigTag) -> Result<(), Unavailable> {
        self.tell_of(&lane.destination(), 0, config.as_str(), &[]).await
    }

    /// No delivery to the destination of `lane` is claimed (expired ones and wishes of admins excepted) until
    /// [`Self::resume_by_hand`], whatever the config becomes and the destination answers.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn suspend_by_hand(&self, lane: &Lane) -> Result<(), Unavailable> {
        self.tell_of(&lane.destination(), 1, "", &[]).await
    }

    /// The destination of `lane` is claimed for again, whoever suspended it.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn resume_by_hand(&self, lane: &Lane) -> Result<(), Unavailable> {
        self.tell_of(&lane.destination(), 0, "", &[]).await
    }

    /// Lifts all suspensions that are over, or by configs other than `config`, in slices. For when a process has loaded another
    /// config. Returns how many were lifted.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn resume_other(&self, config: &ConfigTag) -> Result<u64, Unavailable> {
        let (meta, suspended) = (self.keys().named("meta"), self.keys().named("suspended"));
        let mut cursor = "0".to_owned();
        let mut lifted = 0;
        loop {
            let args: [&[u8]; 3] =
                [self.keys().prefix().as_bytes(), config.as_str().as_bytes(), cursor.as_bytes()];
            let answer = self
                .connections()
                .run(Purpose::Delivery, &script::RESUME, &[&meta, &suspended], &args, CALL_LIMIT)
                .await;
            let mut answer = Fields::of(answer?)?;
            cursor = answer.text()?;
            lifted += answer.number()?;
            if cursor == "0" {
                return Ok(lifted);
            }
        }
    }

    async fn tell_of(&self, lane: &Lane, wait: u64, config: &str, limit: &[&str]) -> Result<(), Unavailable> {
        let (meta, suspended) = (self.keys().named("meta"), self.keys().named("suspended"));
        let (lane, wait) = (lane.to_string(), wait.to_string());
        let args = [self.keys().prefix(), &lane, &wait, config];
        let args: Vec<&[u8]> = args.iter().chain(limit).map(|arg| arg.as_bytes()).collect();
        let answer = self
            .connections()
            .run(Purpose::Delivery, &script::SUSPEND, &[&meta, &suspended], &args, CALL_LIMIT)
            .await;
        answer.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_prints_as_it_is_read() {
        for text in [
            "Bulk/far.example/default",
            "Transactional/xn--bcher-kva.example/mail/partners",
            "Normal/far.example/mail/partners#0",
            "Normal/far.example/default#63",
        ] {
            assert_eq!(text.parse::<Lane>().expect(text).to_string(), text);
        }
        for text in [
            "",
            "Bulk",
            "Bulk/far.example",
            "Bulk/far.example/",
            "bulk/far.example/x",
            "Bulk/far.example/a b",
            "Bulk//x",
            "Bulk/far.example/default#",
            "Bulk/far.example/default#64",
            "Bulk/far.example/default#1#2",
            "Bulk/far.example/#1",
        ] {
            assert!(text.parse::<Lane>().is_err(), "{text:?}");
        }
    }
    #[test]
    fn a_destination_has_a_lane_for_each_flow_and_one_without() {
        let lane: Lane = "Bulk/far.example/default#7".parse().expect("a lane");
        assert_eq!(lane.destination().to_string(), "Bulk/far.example/default");
        let lanes: Vec<Lane> = lane.lanes().collect();
        assert_eq!(lanes.len(), 65);
        assert!(lanes.contains(&lane) && lanes.iter().all(|one| one.has_destination_of(&lane)));
        let other: Lane = "Bulk/far.example/other#7".parse().expect("a lane");
        assert!(!other.has_destination_of(&lane));
    }
}
