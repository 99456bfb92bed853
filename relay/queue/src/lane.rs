//! Lanes: waiting deliveries of one class to one domain by one route; and their suspension.
//! **Owns:** [`Lane`], [`RouteName`], suspend.lua. **Never:** when a lane should be suspended (the shell's sites know).

use std::time::Duration;

use postrider_mail::{Class, Domain};

use crate::{
    answer::Fields,
    connection::{CALL_LIMIT, Purpose, millis},
    error::Unavailable,
    limit::Limiter,
    partition::Partition,
    script,
};

/// The longest name of a route: `namespace/name` of a rule.
pub const MAX_ROUTE_NAME_BYTES: usize = 320;

/// The rule that says where a delivery goes, by name, or `default`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteName(Box<str>);

/// Waiting deliveries of one class to one domain by one route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// How soon they are wanted.
    pub class: Class,
    /// Where to.
    pub domain: Domain,
    /// By which rule.
    pub route: RouteName,
}

/// A text that names no lane or no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "found {0:?}; expected CLASS/DOMAIN/ROUTE, the route being 1 to 320 printable ASCII characters without spaces"
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
    /// If it has other than printable ASCII characters, none, or too many.
    pub fn parse(text: &str) -> Result<Self, InvalidLane> {
        let is_name =
            (1..=MAX_ROUTE_NAME_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
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
        write!(f, "{}/{}/{}", self.class, self.domain, self.route)
    }
}

impl std::str::FromStr for Lane {
    type Err = InvalidLane;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.splitn(3, '/');
            let class = parts.next()?.parse().ok()?;
            let domain = Domain::parse(parts.next()?).ok()?;
            Some(Self { class, domain, route: RouteName::parse(parts.next()?).ok()? })
        };
        parse().ok_or_else(|| InvalidLane::of(text))
    }
}

impl Partition {
    /// No delivery of `lane` is claimed for `wait` from now (expired ones and wishes of admins excepted), unless it is resumed or
    /// the config becomes another one than `config`. A lane that a person suspended stays as it is.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn suspend(&self, lane: &Lane, wait: Duration, config: &ConfigTag) -> Result<(), Unavailable> {
        // At least a millisecond: none at all means to resume.
        self.tell_of(lane, millis(wait).max(1), config.as_str(), &[]).await
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

    /// `lane` is claimed from again, if not a person suspended it.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn resume(&self, lane: &Lane, config: &ConfigTag) -> Result<(), Unavailable> {
        self.tell_of(lane, 0, config.as_str(), &[]).await
    }

    /// No delivery of `lane` is claimed (expired ones and wishes of admins excepted) until [`Self::resume_by_hand`], whatever the
    /// config becomes and the lane's destination answers.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn suspend_by_hand(&self, lane: &Lane) -> Result<(), Unavailable> {
        self.tell_of(lane, 1, "", &[]).await
    }

    /// `lane` is claimed from again, whoever suspended it.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn resume_by_hand(&self, lane: &Lane) -> Result<(), Unavailable> {
        self.tell_of(lane, 0, "", &[]).await
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
        for text in ["Bulk/far.example/default", "Transactional/xn--bcher-kva.example/mail/partners"] {
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
        ] {
            assert!(text.parse::<Lane>().is_err(), "{text:?}");
        }
    }
}
