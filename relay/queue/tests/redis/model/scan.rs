//! Everything that a partition has, read key by key; and what must hold of it whatever the model says.
//! Invariants: I2 (in one place, totals equal a scan), I3 (in one incarnation's claims), I5 (no report to nobody).

use std::collections::{BTreeMap, BTreeSet};

use postrider_mail::{Due, QueueId};
use postrider_queue::{
    DeliveryId, Kind,
    model::{Found, Place, Span},
};
use redis::aio::MultiplexedConnection;

type Zset = BTreeMap<String, f64>;
type Hash = BTreeMap<String, String>;

/// A partition as its keys have it.
#[derive(Default)]
pub(super) struct Scan {
    messages: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    bodies: BTreeMap<String, i64>,
    lanes: BTreeMap<String, Zset>,
    looks: BTreeMap<String, Zset>,
    claims: BTreeMap<String, Hash>,
    zsets: BTreeMap<String, Zset>,
    hashes: BTreeMap<String, Hash>,
    /// The store's time.
    now: f64,
    pub(super) deliveries: BTreeMap<DeliveryId, Found>,
    pub(super) problems: Vec<String>,
}

impl Scan {
    pub(super) async fn of(connection: &mut MultiplexedConnection, prefix: &str) -> Self {
        let mut scan = Self::default();
        let keys: Vec<String> = ask(connection, &["KEYS", &format!("{}*", prefix.replace('{', "\\{"))]).await;
        for key in &keys {
            let name = key.strip_prefix(prefix).expect("KEYS gives what starts so");
            let (kind, rest) = name.split_once(':').unwrap_or((name, ""));
            match kind {
                "m" => drop(scan.messages.insert(rest.to_owned(), ask(connection, &["HGETALL", key]).await)),
                "b" => drop(scan.bodies.insert(rest.to_owned(), ask(connection, &["PTTL", key]).await)),
                "lane" => drop(scan.lanes.insert(rest.to_owned(), zset(connection, key).await)),
                "lanes" => drop(scan.looks.insert(rest.to_owned(), zset(connection, key).await)),
                "claims" => {
                    drop(scan.claims.insert(rest.to_owned(), ask(connection, &["HGETALL", key]).await));
                }
                "held" | "expiry" | "depth" => {
                    drop(scan.zsets.insert(kind.to_owned(), zset(connection, key).await));
                }
                "meta" | "totals" | "suspended" | "pods" => {
                    drop(scan.hashes.insert(kind.to_owned(), ask(connection, &["HGETALL", key]).await));
                }
                _ => {}
            }
        }
        let (seconds, micros): (u64, u64) = ask(connection, &["TIME"]).await;
        scan.now = (seconds * 1_000 + micros / 1_000) as f64;
        scan.read();
        scan.check();
        scan
    }

    pub(super) fn totals(&self) -> BTreeMap<String, i64> {
        let totals = self.hashes.get("totals").into_iter().flatten();
        totals.map(|(name, value)| (name.clone(), value.parse().expect("a number"))).collect()
    }

    pub(super) fn claims_of(&self, incarnation: &str) -> BTreeSet<DeliveryId> {
        let claims = self.claims.get(incarnation).into_iter().flat_map(BTreeMap::keys);
        claims.map(|member| member.parse().expect("a delivery ID")).collect()
    }

    /// The deliveries of a message that an incarnation has, by number.
    pub(super) fn claimed_of(&self, message: &QueueId) -> BTreeSet<u32> {
        let claimed =
            self.deliveries.iter().filter(|(_, found)| matches!(found.place, Place::Claimed { .. }));
        claimed.filter(|(id, _)| id.message == *message).map(|(id, _)| id.number).collect()
    }

    pub(super) fn pod(&self, incarnation: &str) -> Option<String> {
        self.hashes.get("pods")?.get(incarnation).cloned()
    }

    pub(super) fn accepted(&self) -> u64 {
        self.hashes
            .get("meta")
            .and_then(|meta| meta.get("accepted"))
            .map_or(0, |text| text.parse().expect("a number"))
    }

    fn read(&mut self) {
        for (id, fields) in &self.messages {
            let message: QueueId = id.parse().expect("a queue ID");
            for number in fields.keys().filter_map(|field| field.strip_prefix('p')?.parse::<u32>().ok()) {
                let delivery = DeliveryId { message: message.clone(), number };
                let found = self.delivery(&delivery, fields);
                self.deliveries.insert(delivery, found);
            }
        }
    }

    fn delivery(&self, id: &DeliveryId, fields: &BTreeMap<String, Vec<u8>>) -> Found {
        let text = |field: &str| {
            fields
                .get(&format!("{field}{}", id.number))
                .map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let place = text("p").expect("a place");
        let words: Vec<&str> = place.split(' ').collect();
        let (lane, member) = (text("l").expect("a lane"), id.to_string());
        let place = match words[0] {
            "L" => {
                let due = self.lanes.get(&lane).and_then(|lane| lane.get(&member)).copied().unwrap_or(-1.0);
                let due = Due::from_unix_millis(due as u64);
                let first = self.zset("expiry").get(&member) == Some(&0.0);
                Place::Waiting { due: Span { from: due, until: due }, first }
            }
            "H" => Place::Held { reason: text("h").unwrap_or_default() },
            _ => Place::Claimed {
                holder: words[2].parse().expect("an incarnation"),
                alone: words.get(3) == Some(&"S"),
            },
        };
        let list = text("r").expect("recipients");
        let kind = match list.chars().next() {
            Some('B') => Kind::Bounce,
            Some('W') => Kind::DelayNotice,
            Some('S') => Kind::SuccessNotice,
            _ => Kind::Message,
        };
        let list = list.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let crashes = text("x").unwrap_or_else(|| "0 0".to_owned());
        let (deaths, alone) = crashes.split_once(' ').expect("two numbers");
        Found {
            kind,
            lane,
            expires: Due::from_unix_millis(text("e").and_then(|text| text.parse().ok()).expect("a time")),
            recipients: list
                .split(',')
                .filter(|text| !text.is_empty())
                .map(|text| text.parse().expect("a number"))
                .collect(),
            place,
            number: words[1].parse().expect("a number"),
            crashes: (deaths.parse().expect("a number"), alone.parse().expect("a number")),
            wish: text("w"),
            released: text("f").is_some(),
        }
    }

    fn zset(&self, name: &str) -> &Zset {
        static NONE: Zset = Zset::new();
        self.zsets.get(name).unwrap_or(&NONE)
    }

    fn check(&mut self) {
        let mut problems = Vec::new();
        for (id, found) in &self.deliveries {
            self.check_place(id, found, &mut problems);
        }
        self.check_members(&mut problems);
        self.check_messages(&mut problems);
        self.check_lanes(&mut problems);
        self.problems = problems;
    }

    /// Each delivery is in the one index of its place, and in no other.
    fn check_place(&self, id: &DeliveryId, found: &Found, problems: &mut Vec<String>) {
        let member = id.to_string();
        let lanes: Vec<&String> =
            self.lanes.iter().filter(|(_, lane)| lane.contains_key(&member)).map(|(name, _)| name).collect();
        let is_held = self.zset("held").contains_key(&member);
        let claims: Vec<(&String, &String)> =
            self.claims.iter().filter_map(|(holder, claims)| Some((holder, claims.get(&member)?))).collect();
        let expiry = self.zset("expiry").get(&member).map(|score| *score as u64);
        let (is_in, should_expire) = match &found.place {
            Place::Waiting { .. } => (lanes == [&found.lane] && !is_held && claims.is_empty(), true),
            Place::Held { .. } => (lanes.is_empty() && is_held && claims.is_empty(), true),
            Place::Claimed { holder, .. } => {
                let of = (&holder.to_string(), &found.number.to_string());
                (lanes.is_empty() && !is_held && claims == [of], false)
            }
        };
        if !is_in {
            problems.push(format!(
                "I2/I3 {member}: {:?}; lanes {lanes:?}, held {is_held}, claims {claims:?}",
                found.place
            ));
        }
        let expires = found.expires.unix_millis();
        // One that was given back after it had expired is away until it is due.
        let may_have = |score: u64| {
            let is_away =
                matches!(found.place, Place::Waiting { due, .. } if due.from.unix_millis() == score);
            score == 0 || score == expires || (is_away && score > expires)
        };
        if expiry.is_some() != should_expire || expiry.is_some_and(|score| !may_have(score)) {
            problems.push(format!("I6 {member}: {:?} expires {expires}, expiry has {expiry:?}", found.place));
        }
        if found.recipients.is_empty() && !matches!(found.place, Place::Claimed { .. }) {
            problems.push(format!("I2 {member}: nobody is left, and it hasn't ended"));
        }
    }

    /// No index names what isn't there.
    fn check_members(&self, problems: &mut Vec<String>) {
        let lanes =
            self.lanes.values().chain([self.zset("held"), self.zset("expiry")]).flat_map(BTreeMap::keys);
        for member in lanes.chain(self.claims.values().flat_map(BTreeMap::keys)) {
            if !self.deliveries.contains_key(&member.parse().expect("a delivery ID")) {
                problems.push(format!("I2 {member}: in an index, but not in the queue"));
            }
        }
    }

    fn check_messages(&self, problems: &mut Vec<String>) {
        for (id, fields) in &self.messages {
            let left = fields
                .keys()
                .filter(|field| field.strip_prefix('p').is_some_and(|rest| rest.parse::<u32>().is_ok()))
                .count();
            if fields.get("n").map(|text| String::from_utf8_lossy(text).into_owned())
                != Some(left.to_string())
                || left == 0
            {
                problems.push(format!("I2 {id}: {left} deliveries, n is {:?}", fields.get("n")));
            }
            if self.bodies.get(id) != Some(&-1) {
                problems.push(format!("I1 {id}: its body's TTL is {:?}", self.bodies.get(id)));
            }
        }
        for body in
            self.bodies.keys().filter(|body| !self.messages.contains_key(*body) && self.bodies[*body] == -1)
        {
            problems.push(format!("I2 b:{body}: a body without a message"));
        }
        let ended = self.totals().get("ended").copied().unwrap_or(0) as u64;
        if self.accepted() - ended != self.messages.len() as u64 {
            problems.push(format!(
                "totals: accepted {} - ended {ended} != {} messages",
                self.accepted(),
                self.messages.len()
            ));
        }
    }

    /// What is counted per lane and class is what is there, and every lane with mail is looked at in time.
    fn check_lanes(&self, problems: &mut Vec<String>) {
        let mut classes: BTreeMap<&str, i64> = BTreeMap::new();
        for (lane, members) in &self.lanes {
            let class = lane.split('/').next().expect("a class");
            *classes.entry(class).or_default() += members.len() as i64;
            if self.zset("depth").get(lane).copied() != Some(members.len() as f64) {
                problems.push(format!(
                    "depth of {lane}: {:?}, found {}",
                    self.zset("depth").get(lane),
                    members.len()
                ));
            }
            let first = members.values().copied().fold(f64::INFINITY, f64::min);
            let destination = lane.split('#').next().expect("a destination");
            let suspended =
                self.hashes.get("suspended").and_then(|all| all.get(destination)).map_or(0.0, |value| {
                    value.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0)
                });
            let look = self.looks.get(class).and_then(|looks| looks.get(lane)).copied();
            if look.is_none_or(|look| look > first.max(suspended).max(self.now)) {
                problems.push(format!(
                    "{lane}: looked at {look:?}, first due {first}, suspended until {suspended}"
                ));
            }
        }
        for (name, count) in
            self.totals().iter().filter_map(|(name, count)| Some((name.strip_prefix("waiting:")?, count)))
        {
            if classes.get(name).copied().unwrap_or(0) != *count {
                problems.push(format!("totals waiting:{name}: {count}, found {:?}", classes.get(name)));
            }
        }
        for lane in self.zset("depth").keys().filter(|lane| !self.lanes.contains_key(*lane)) {
            problems.push(format!("depth has {lane}, which is empty"));
        }
    }
}

pub(super) async fn ask<T: redis::FromRedisValue>(
    connection: &mut MultiplexedConnection,
    words: &[&str],
) -> T {
    redis::cmd(words[0]).arg(&words[1..]).query_async(connection).await.expect("an answer")
}

async fn zset(connection: &mut MultiplexedConnection, key: &str) -> Zset {
    let flat: Vec<(String, f64)> = ask(connection, &["ZRANGE", key, "0", "-1", "WITHSCORES"]).await;
    flat.into_iter().collect()
}
