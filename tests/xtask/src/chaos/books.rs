//! What clients, far sides and relays wrote down in a run, in one form.
//! **Owns:** reading ledgers and logs. **Never:** judges them.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant, SystemTime},
};

use anyhow::Result;
use postrider_tests::{
    World,
    ledger::{Accepted, Entry},
    source::Load,
};
use serde_json::Value;

use super::{plan::DOMAINS, protection, stage::domain};

/// Time in the run.
pub(crate) type At = Duration;

/// One recipient's copy at a far side.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) id: String,
    pub(crate) queue_id: String,
    pub(crate) domain: String,
    pub(crate) at: At,
    /// Kept, and the connection closed in place of a reply.
    pub(crate) is_unanswered: bool,
}

/// One copy of a bounce.
#[derive(Debug, Clone)]
pub(crate) struct Bounce {
    pub(crate) id: String,
    /// Its Message-ID, which names the delivery.
    pub(crate) name: String,
    /// Domains of the recipients that it speaks of.
    pub(crate) domains: Vec<String>,
    pub(crate) at: At,
    /// Kept, and the connection closed in place of a reply.
    pub(crate) is_unanswered: bool,
}

/// A line of a relay's log: an attempt whose settlement the queue has answered.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    /// Whose log it stands in.
    pub(crate) relay: usize,
    /// A message's queue ID, of which a domain has one delivery; of a report the delivery's own.
    pub(crate) delivery: String,
    pub(crate) domain: String,
    pub(crate) end: End,
    pub(crate) at: At,
}

/// How an attempt ended for the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Delivered, and it knows.
    Delivered,
    /// Whatever came of it: another relay has the claim.
    ClaimLost,
    /// Anything else that it knows.
    Other,
}

/// All books of a run.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// By ID: the domains it went to, and when its 250 came.
    pub(crate) accepted: HashMap<String, (Vec<String>, At)>,
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) bounces: Vec<Bounce>,
    pub(crate) settled: Vec<Settled>,
    /// By incarnation: which relay it was, and when it began.
    pub(crate) lives: HashMap<String, (usize, At)>,
    /// By incarnation: when it was reaped.
    pub(crate) reaped: HashMap<String, At>,
    /// IDs that a client sent again, as it got no answer to its dot.
    pub(crate) ambiguous: HashSet<String>,
    /// How many copies, of messages and of bounces, have a signature of each key.
    pub(crate) signed: usize,
    /// IDs of copies that have not; empty for a bounce.
    pub(crate) unsigned: Vec<String>,
    /// IDs of copies whose text came in clear, or to a certificate that wasn't the far side's.
    pub(crate) exposed: Vec<String>,
    /// IDs that a client sent again, as it was told to.
    pub(crate) deferred: HashSet<String>,
    /// When each dot with a 250 went out, and how long that took.
    pub(crate) waits: Vec<(At, Duration)>,
}

/// The beginning of a run by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Began {
    pub(crate) instant: Instant,
    pub(crate) wall: SystemTime,
}

impl Books {
    /// Reads all of them.
    pub(crate) fn read(world: &World, accepted: &Accepted, load: &Load, began: Began) -> Result<Self> {
        let ambiguous = accepted.ambiguous.iter().cloned().collect();
        let deferred = accepted.deferred.iter().cloned().collect();
        let exposed = world.ledger.exposed();
        let since = |(dot, wait): &(Instant, Duration)| (dot.saturating_duration_since(began.instant), *wait);
        let waits = accepted.waits.iter().map(since).collect();
        let mut books = Self { ambiguous, deferred, exposed, waits, ..Self::default() };
        for (id, at) in &accepted.at {
            let number = id.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            let domains = load.recipients_of(number).iter().map(|recipient| of(recipient)).collect();
            books.accepted.insert(id.clone(), (domains, at.saturating_duration_since(began.instant)));
        }
        for entry in world.ledger.entries() {
            books.enter(&entry, began);
        }
        for (number, relay) in world.relays.iter().enumerate() {
            for line in relay.log().lines() {
                // What a process wrote when it was killed may be half a line.
                if let Ok(line) = serde_json::from_str(line) {
                    books.told(number, &line, began);
                }
            }
        }
        Ok(books)
    }

    fn enter(&mut self, entry: &Entry, began: Began) {
        let at = entry.time.saturating_duration_since(began.instant);
        let text = entry.text();
        if protection::is_signed(entry, &text) {
            self.signed += 1;
        } else {
            self.unsigned.push(entry.id.clone());
        }
        let bounce_of = |recipient: &String| {
            let local = recipient.strip_suffix(&format!("@{}", domain(DOMAINS)))?;
            local.strip_prefix("app+").map(str::to_owned)
        };
        for recipient in &entry.recipients {
            if let Some(id) = bounce_of(recipient) {
                let name = field(&text, "Message-ID: ").to_owned();
                let failed = text.lines().filter_map(|line| line.strip_prefix("Final-Recipient: rfc822; "));
                let domains = failed.map(of).collect();
                self.bounces.push(Bounce { id, name, domains, at, is_unanswered: entry.is_unanswered });
            } else {
                self.arrivals.push(Arrival {
                    id: entry.id.clone(),
                    queue_id: received_as(&text).to_owned(),
                    domain: of(recipient),
                    at,
                    is_unanswered: entry.is_unanswered,
                });
            }
        }
    }

    fn told(&mut self, relay: usize, line: &Value, began: Began) {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        let Ok(time) = text("timestamp").parse::<jiff::Timestamp>() else { return };
        // Before the beginning only by a clock that jumped.
        let at = SystemTime::from(time).duration_since(began.wall).unwrap_or_default();
        match text("message") {
            "attempt" => {
                let name = if text("kind") == "Message" { "queue_id" } else { "delivery_id" };
                let end = match (line["claim_lost"].is_null(), text("outcome")) {
                    (false, _) => End::ClaimLost,
                    (true, "Delivered") => End::Delivered,
                    (true, _) => End::Other,
                };
                self.settled.push(Settled {
                    relay,
                    delivery: text(name).to_owned(),
                    domain: text("lane").split('/').nth(1).unwrap_or_default().to_owned(),
                    end,
                    at,
                });
            }
            "registered" => {
                self.lives.insert(text("incarnation").to_owned(), (relay, at));
            }
            message if message.starts_with("reaped a relay") => {
                self.reaped.insert(text("incarnation").to_owned(), at);
            }
            _ => {}
        }
    }
}

fn of(recipient: &str) -> String {
    recipient.rsplit('@').next().unwrap_or_default().trim_end_matches('>').to_owned()
}

/// The value of the first field of a name.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default()
}

/// The queue ID in the newest Received field: `id ID` stands in one of its lines.
fn received_as(text: &str) -> &str {
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let words = head.split_whitespace().skip_while(|word| *word != "Received:");
    words.skip_while(|word| *word != "id").nth(1).map_or("", |word| word.trim_end_matches(';'))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use serde_json::json;

    use super::{Began, Books, End, received_as};

    #[test]
    fn the_ends_of_messages_and_of_reports_are_noted_by_their_names() {
        let mut books = Books::default();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let mut line = json!({
            "timestamp": "1970-01-01T00:16:42Z", "message": "attempt", "kind": "Message", "queue_id": "a-1",
            "delivery_id": "a-1.2", "lane": "Normal/far0.example/-", "outcome": "Delivered",
        });
        let mut tell =
            |line: &serde_json::Value| books.told(1, line, Began { instant: Instant::now(), wall });
        tell(&line);
        line["kind"] = "Bounce".into();
        tell(&line);
        line["claim_lost"] = true.into();
        tell(&line);
        let told: Vec<_> = books.settled.iter().map(|one| (one.delivery.as_str(), one.end)).collect();
        assert_eq!(told, [("a-1", End::Delivered), ("a-1.2", End::Delivered), ("a-1.2", End::ClaimLost)]);
        assert!(books.settled.iter().all(|one| one.domain == "far0.example" && one.at.as_secs() == 2));
    }

    #[test]
    fn the_queue_id_is_that_of_the_newest_received_field() {
        let text = "Received: from a (a [127.0.0.1])\r\n\tby relay.example with ESMTP id a-01;\r\n\tTue\r\n\
                    Received: by old.example id b-02;\r\n\r\nid c-03\r\n";
        assert_eq!(received_as(text), "a-01");
    }
}
