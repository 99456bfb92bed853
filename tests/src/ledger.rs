//! Who got what, and when: the books that sources and sinks keep.
//! **Owns:** entries and the comparison of two books. **Never:** decides what is a failure.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::wait::locked;

/// The header that carries the ID of a test's message.
pub const ID_HEADER: &str = "X-Ledger-Id: ";

/// A message that a far side has said 250 to, once per transaction.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What stood in [`ID_HEADER`]; empty for mail that no source made, such as a bounce.
    pub id: String,
    /// MAIL FROM.
    pub sender: String,
    /// The recipients that were accepted.
    pub recipients: Vec<String>,
    /// The address of the sink.
    pub at: std::net::SocketAddr,
    /// When its 250 was sent, or would have been.
    pub time: Instant,
    /// Whether the connection was closed in place of a 250.
    pub is_unanswered: bool,
    /// Bytes, without dot-stuffing.
    pub size: usize,
    /// The message, where the ledger keeps bodies.
    pub body: Option<Vec<u8>>,
    /// Whether it came over TLS.
    pub is_tls: bool,
    /// Whether MAIL said REQUIRETLS.
    pub requires_tls: bool,
    /// The client's address and port: one connection has one.
    pub client: std::net::SocketAddr,
}

impl Entry {
    /// The body as text.
    pub fn text(&self) -> String {
        self.body.as_deref().map(|body| String::from_utf8_lossy(body).into_owned()).unwrap_or_default()
    }
}

/// The book of one or more sinks.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    entries: Arc<Mutex<Vec<Entry>>>,
    exposed: Arc<Mutex<Vec<String>>>,
    keeps: Keeps,
}

/// What is kept of the messages themselves.
#[derive(Debug, Clone, Copy, Default)]
enum Keeps {
    #[default]
    Nothing,
    Heads,
    Bodies,
}

/// What a source has been told.
#[derive(Debug, Clone, Default)]
pub struct Accepted {
    /// By ID: when its 250 came.
    pub at: HashMap<String, Instant>,
    /// When the dot of each of them went out, and how long its 250 took, in the order of the 250s.
    pub waits: Vec<(Instant, Duration)>,
    /// IDs that ended in a 5xx.
    pub refused: HashMap<String, String>,
    /// IDs whose dot once got no answer and that were sent again: two copies of them are the client's doing.
    pub ambiguous: Vec<String>,
    /// IDs whose dot was once answered by a 4xx.
    pub deferred: Vec<String>,
    /// Replies of 4xx, and connections lost.
    pub retries: u64,
}

/// Two books compared.
#[derive(Debug, Clone, Default)]
pub struct Balance {
    /// Messages with a 250 at the source.
    pub accepted: usize,
    /// Of those, how many the sinks never saw.
    pub lost: Vec<String>,
    /// Messages that arrived more often than once, those that the client itself sent twice left out.
    pub duplicates: usize,
    /// Those that the client itself sent twice, and that arrived twice.
    pub resent: usize,
}

impl Ledger {
    /// One that remembers bodies too.
    pub fn with_bodies() -> Self {
        Self { keeps: Keeps::Bodies, ..Self::default() }
    }

    /// One that remembers the header of what a source made, and all of what a mail server made.
    pub fn with_heads() -> Self {
        Self { keeps: Keeps::Heads, ..Self::default() }
    }

    /// What is kept of the message of an ID.
    pub(crate) fn kept(&self, id: &str, mut body: Vec<u8>) -> Option<Vec<u8>> {
        match self.keeps {
            Keeps::Nothing => return None,
            Keeps::Heads if !id.is_empty() => {
                body.truncate(memchr::memmem::find(&body, b"\r\n\r\n").unwrap_or(body.len()));
                body.shrink_to_fit();
            }
            Keeps::Heads | Keeps::Bodies => {}
        }
        Some(body)
    }

    pub(crate) fn add(&self, entry: Entry) {
        locked(&self.entries).push(entry);
    }

    pub(crate) fn expose(&self, id: String) {
        locked(&self.exposed).push(id);
    }

    /// The IDs of messages whose text came in clear to a far side that offers TLS, or to one that showed a certificate not its own;
    /// whether they were kept or not.
    pub fn exposed(&self) -> Vec<String> {
        locked(&self.exposed).clone()
    }

    /// How many transactions ended in a 250.
    pub fn len(&self) -> usize {
        locked(&self.entries).len()
    }

    /// Whether nothing has come yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries so far.
    pub fn entries(&self) -> Vec<Entry> {
        locked(&self.entries).clone()
    }

    /// Forgets them.
    pub fn clear(&self) {
        locked(&self.entries).clear();
        locked(&self.exposed).clear();
    }

    /// Those that `wanted` says yes to.
    pub fn matching(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        locked(&self.entries).iter().filter(|entry| wanted(entry)).cloned().collect()
    }

    /// Those to a recipient.
    pub fn to(&self, recipient: &str) -> Vec<Entry> {
        self.matching(|entry| entry.recipients.iter().any(|other| other.eq_ignore_ascii_case(recipient)))
    }

    /// How often each ID has come.
    pub fn counts(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for entry in locked(&self.entries).iter().filter(|entry| !entry.id.is_empty()) {
            *counts.entry(entry.id.clone()).or_default() += 1;
        }
        counts
    }

    /// How many different IDs have come.
    pub fn distinct(&self) -> usize {
        self.counts().len()
    }

    /// Compares with what a source was told.
    pub fn balance(&self, accepted: &Accepted) -> Balance {
        let counts = self.counts();
        let mut balance = Balance { accepted: accepted.at.len(), ..Balance::default() };
        for id in accepted.at.keys() {
            match counts.get(id) {
                None => balance.lost.push(id.clone()),
                Some(1) => {}
                Some(_) if accepted.ambiguous.contains(id) => balance.resent += 1,
                Some(_) => balance.duplicates += 1,
            }
        }
        balance
    }

    /// The time from a message's 250 at the source to that of the far side, sorted.
    pub fn latencies(&self, accepted: &Accepted) -> Vec<Duration> {
        let entries = locked(&self.entries);
        let latency =
            |entry: &Entry| Some(entry.time.saturating_duration_since(*accepted.at.get(&entry.id)?));
        let mut latencies: Vec<Duration> = entries.iter().filter_map(latency).collect();
        latencies.sort_unstable();
        latencies
    }

    /// The longest time between two arrivals from `from` on.
    pub fn longest_gap_since(&self, from: Instant) -> Duration {
        let mut times: Vec<Instant> = locked(&self.entries).iter().map(|entry| entry.time).collect();
        times.sort_unstable();
        let mut last = from;
        let mut longest = Duration::ZERO;
        for time in times.into_iter().filter(|time| *time >= from) {
            longest = longest.max(time - last);
            last = time;
        }
        longest
    }
}
