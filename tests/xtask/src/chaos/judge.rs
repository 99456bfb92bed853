//! What the books of a run say: lost, doubled, and whether a double is explained.
//! **Owns:** the verdict. **Never:** I/O.
//!
//! A second copy is explained when the first one's end could not be recorded: a dot was sent, and no settlement of it was confirmed
//! before the second dot (RFC 1047). Anything else is a failure: a copy behind a confirmed settlement, two confirmed settlements, a
//! copy when nothing had gone wrong.

mod times;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    books::{Arrival, At, Books, Bounce, End, Settled},
    hits::Hits,
    plan::DOMAINS,
    stage::domain,
};

/// Between a settlement and its log line, and between a dot that left and the far side's note of it.
const SLACK: Duration = Duration::from_millis(250);
/// A relay that wakes between its last check and its write makes that write at once.
const WOKEN_WITHIN: Duration = Duration::from_millis(200);
/// How long after a fault its doubles may come: a reap, a lease, a retry.
pub(crate) const AFTERMATH: Duration = Duration::from_secs(20);

/// A fault that has happened.
#[derive(Debug, Clone)]
pub(crate) struct Struck {
    pub(crate) from: At,
    pub(crate) to: At,
    /// Whether it can keep a settlement from being confirmed.
    pub(crate) is_disruptive: bool,
    /// Whether a relay was stopped and went on.
    pub(crate) is_pause: bool,
    /// Which relay it befell.
    pub(crate) relay: Option<usize>,
    /// Whether a relay was killed.
    pub(crate) is_kill: bool,
    pub(crate) is_partition: bool,
    /// Whether one server of three was away, for one relay at least.
    pub(crate) is_outage: bool,
    pub(crate) is_of_store: bool,
    /// Whether a replica may be promoted by it.
    pub(crate) may_promote: bool,
    /// Whether relays tell the time right meanwhile.
    pub(crate) is_clock: bool,
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) accepted: usize,
    pub(crate) delivered: usize,
    pub(crate) bounced: usize,
    /// IDs and domains of which nothing came.
    pub(crate) lost: Vec<String>,
    pub(crate) unexplained: Vec<String>,
    pub(crate) explained: usize,
    /// Copies at far sides with a signature of each key.
    pub(crate) signed: usize,
    /// IDs of copies without; in a run that doesn't sign these are all.
    pub(crate) unsigned: Vec<String>,
    /// IDs of copies that anyone could have read, or that somebody else got.
    pub(crate) exposed: Vec<String>,
    /// Copies that the client caused, as it got no answer.
    pub(crate) resent: usize,
    /// Dots of a relay that was stopped between its check and its write: one for each stop at most.
    pub(crate) late_dots: usize,
    /// Which faults came to be.
    pub(crate) hits: Hits,
    /// From a relay's kill to the reap, where the queue was well.
    pub(crate) takeovers: Vec<Duration>,
    /// The longest wait for a 250 while one server of three was away, and nothing else was wrong: of each time.
    pub(crate) accept_waits: Vec<Duration>,
    /// Those waits that nothing explains any more.
    pub(crate) overdue: Vec<String>,
}

/// Judges.
pub(crate) fn judge(books: &Books, struck: &[Struck]) -> Verdict {
    let mut verdict = Verdict {
        accepted: books.accepted.len(),
        takeovers: times::takeovers(books, struck),
        signed: books.signed,
        unsigned: books.unsigned.clone(),
        exposed: books.exposed.clone(),
        ..Verdict::default()
    };
    let copies = copies(books);
    let mut doubles = Doubles::new(books, struck, &mut verdict);
    for (key, same) in &copies {
        doubles.judge(*key, &same.iter().map(|one| (one.at, one.is_unanswered)).collect::<Vec<_>>());
    }
    reports(books, &mut doubles);
    times::accept_waits(books, struck, &mut verdict);
    let (arrived, bounced) = (arrived(&copies), names(&books.bounces));
    for (id, (domains, _)) in &books.accepted {
        for domain in domains {
            let arrived = arrived.get(&(id, domain)).copied().unwrap_or(0);
            let bounced = bounced.get(&(id, domain)).map_or(0, BTreeSet::len);
            match arrived + bounced {
                0 => verdict.lost.push(format!("{id} to {domain}")),
                1 => {}
                more if books.ambiguous.contains(id) || is_resent(books, struck, id) => {
                    verdict.resent += more - 1;
                }
                more if is_both_explained(books, struck, id, domain) => verdict.explained += more - 1,
                _ => verdict
                    .unexplained
                    .push(format!("{id} to {domain}: {arrived} messages, {bounced} bounces")),
            }
            verdict.delivered += arrived.min(1);
            verdict.bounced += bounced.min(1);
        }
    }
    verdict
}

impl Verdict {
    /// What is wrong, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        if !self.lost.is_empty() {
            return Some(format!("{} lost: {}", self.lost.len(), first(&self.lost)));
        }
        if !self.unexplained.is_empty() {
            return Some(format!(
                "{} doubled without a reason: {}",
                self.unexplained.len(),
                first(&self.unexplained)
            ));
        }
        if !self.overdue.is_empty() {
            return Some(format!("{} waited too long: {}", self.overdue.len(), first(&self.overdue)));
        }
        None
    }

    /// What is wrong in a protected run, if anything.
    pub(crate) fn unprotected(&self) -> Option<String> {
        let (unsigned, exposed) = (self.unsigned.len(), self.exposed.len());
        if exposed > 0 {
            return Some(format!("{exposed} in clear or to a wrong certificate: {}", first(&self.exposed)));
        }
        (unsigned > 0).then(|| format!("{unsigned} without both signatures: {}", first(&self.unsigned)))
    }

    /// For the file of results.
    pub(crate) fn json(&self) -> Value {
        let seconds = |all: &[Duration]| all.iter().map(Duration::as_secs_f64).collect::<Vec<_>>();
        json!({
            "accepted": self.accepted, "delivered": self.delivered, "bounced": self.bounced, "lost": self.lost.len(),
            "unexplained": self.unexplained.len(), "explained": self.explained, "resent": self.resent,
            "late_dots": self.late_dots, "takeovers": seconds(&self.takeovers), "accept_waits": seconds(&self.accept_waits),
            "signed": self.signed, "hits": self.hits.json(),
        })
    }
}

/// Whether the client was told that a message isn't taken, which a promoted replica didn't hear of.
fn is_resent(books: &Books, struck: &[Struck], id: &str) -> bool {
    books.deferred.contains(id) && struck.iter().any(|one| one.may_promote)
}

/// Whether a settlement went with a primary that another was promoted beside, and the relay that could have told it again was itself
/// struck before it did.
fn may_be_lost(settled: &Settled, struck: &[Struck], until: At) -> bool {
    let promotes = |one: &&Struck| {
        one.may_promote && one.from <= settled.at + AFTERMATH && settled.at <= one.to + AFTERMATH
    };
    let silences = |one: &&Struck| {
        one.relay == Some(settled.relay) && one.is_disruptive && one.to >= settled.at && one.from <= until
    };
    struck.iter().any(|one| promotes(&one)) && struck.iter().any(|one| silences(&one))
}

/// Delivered, which could not be recorded, and refused when it came again.
fn is_both_explained(books: &Books, struck: &[Struck], id: &str, domain: &str) -> bool {
    let mut copies = books.arrivals.iter().filter(|one| one.id == id && one.domain == domain);
    let is_confirmed = |one: &Arrival| {
        let is_it = |line: &&Settled| {
            line.end == End::Delivered && line.delivery == one.queue_id && line.domain == domain
        };
        books.settled.iter().any(|line| is_it(&line))
    };
    copies.all(|one| !is_confirmed(one) && (one.is_unanswered || has_reason(struck, one.at, Duration::MAX)))
}

/// Whether something happened about the first copy, and before the second, that can keep a settlement from being confirmed.
fn has_reason(struck: &[Struck], first: At, second: At) -> bool {
    struck.iter().any(|one| one.is_disruptive && one.from <= second && first <= one.to + AFTERMATH)
}

fn first(all: &[String]) -> String {
    all.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
}

/// Of a delivery: its queue ID, or a report's name, and its domain. Or of a message and a domain: the ID that its source gave it.
type Key<'b> = (&'b str, &'b str);

/// What arrived of each delivery, the earliest first.
fn copies(books: &Books) -> BTreeMap<Key<'_>, Vec<&Arrival>> {
    let mut copies: BTreeMap<Key<'_>, Vec<&Arrival>> = BTreeMap::new();
    for arrival in &books.arrivals {
        copies.entry((&arrival.queue_id, &arrival.domain)).or_default().push(arrival);
    }
    copies.values_mut().for_each(|same| same.sort_by_key(|arrival| arrival.at));
    copies
}

/// In how many deliveries each message reached a domain.
fn arrived<'b>(copies: &BTreeMap<Key<'b>, Vec<&'b Arrival>>) -> HashMap<Key<'b>, usize> {
    let mut arrived = HashMap::new();
    for ((_, domain), same) in copies {
        let ids: BTreeSet<&str> = same.iter().map(|one| one.id.as_str()).collect();
        for id in ids {
            *arrived.entry((id, *domain)).or_default() += 1;
        }
    }
    arrived
}

/// When a copy came, and whether it was left without an answer.
type Seen = (At, bool);

/// What is known of deliveries that came more often than once.
struct Doubles<'b> {
    struck: &'b [Struck],
    /// Ends of each delivery as delivered that the queue confirmed, or refused as another relay has the claim.
    ends: HashMap<Key<'b>, Vec<&'b Settled>>,
    clocks_are_right: bool,
    /// The relays' stops that a late dot came of: which relay, until when.
    woken: BTreeSet<(usize, At)>,
    verdict: &'b mut Verdict,
}

impl<'b> Doubles<'b> {
    fn new(books: &'b Books, struck: &'b [Struck], verdict: &'b mut Verdict) -> Self {
        let mut ends: HashMap<Key<'_>, Vec<&Settled>> = HashMap::new();
        for line in books.settled.iter().filter(|line| line.end != End::Other) {
            ends.entry((&line.delivery, &line.domain)).or_default().push(line);
        }
        let clocks_are_right = !struck.iter().any(|one| one.is_clock);
        Self { struck, ends, clocks_are_right, woken: BTreeSet::new(), verdict }
    }

    /// All copies of one delivery, the earliest first.
    fn judge(&mut self, (name, domain): Key<'_>, same: &[Seen]) {
        let Some((&(earliest, is_unanswered), later)) = same.split_first() else { return };
        let Some(&(until, _)) = later.last() else { return };
        let ends = self.ends.get(&(name, domain)).cloned().unwrap_or_default();
        let confirmed: Vec<At> = ends
            .iter()
            .filter(|line| line.end == End::Delivered && !may_be_lost(line, self.struck, until))
            .map(|line| line.at)
            .collect();
        for &(copy, _) in later {
            let is_behind = self.clocks_are_right && confirmed.iter().any(|at| copy > *at + SLACK);
            let has_reason = is_unanswered || has_reason(self.struck, earliest, copy);
            if confirmed.len() > 1 || !has_reason {
                self.verdict.unexplained.push(format!("{name} to {domain} at {earliest:?}, {copy:?}"));
            } else if !is_behind {
                self.verdict.explained += 1;
            } else if self.stop_before(copy, &ends).is_some_and(|stop| self.woken.insert(stop)) {
                self.verdict.late_dots += 1;
            } else {
                self.verdict.unexplained.push(format!("{name} to {domain} at {copy:?}, though settled"));
            }
        }
    }

    /// Which relay's stop had just ended when a copy came: of the relay that was told afterwards that its claim is lost, if one was.
    /// One that died before it could be told leaves no line.
    fn stop_before(&self, copy: At, ends: &[&Settled]) -> Option<(usize, At)> {
        let told = ends.iter().filter(|line| line.end == End::ClaimLost && line.at + SLACK >= copy);
        let senders: BTreeSet<usize> = told.map(|line| line.relay).collect();
        self.struck.iter().filter(|one| one.is_pause && copy.abs_diff(one.to) <= WOKEN_WITHIN).find_map(
            |one| {
                let relay = one.relay.filter(|relay| senders.is_empty() || senders.contains(relay))?;
                Some((relay, one.to))
            },
        )
    }
}

/// The bounces of each message that speak of a domain, by name: copies of one bounce have one name.
fn names(bounces: &[Bounce]) -> HashMap<Key<'_>, BTreeSet<&str>> {
    let mut names: HashMap<Key<'_>, BTreeSet<&str>> = HashMap::new();
    for bounce in bounces {
        for domain in &bounce.domains {
            names.entry((&bounce.id, domain)).or_default().insert(&bounce.name);
        }
    }
    names
}

/// A report that comes twice by one name is a double like any other. By two names of one message, it was made twice.
fn reports(books: &Books, doubles: &mut Doubles<'_>) {
    let mut by_name: BTreeMap<&str, Vec<&Bounce>> = BTreeMap::new();
    for bounce in &books.bounces {
        by_name.entry(&bounce.name).or_default().push(bounce);
    }
    let to = domain(DOMAINS);
    for (name, same) in &by_name {
        let mut seen: Vec<Seen> = same.iter().map(|copy| (copy.at, copy.is_unanswered)).collect();
        seen.sort_unstable();
        // `<DELIVERY.report@…>`
        let delivery = name.trim_start_matches('<').split(".report@").next().unwrap_or_default();
        doubles.judge((delivery, &to), &seen);
    }
    // `ID.NUMBER.report@…`: one message ends a recipient once.
    let mut ended: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (name, same) in &by_name {
        let message = name.trim_start_matches('<').split('.').next().unwrap_or_default();
        for domain in same.iter().flat_map(|bounce| &bounce.domains) {
            ended.entry((message, domain)).or_default().push(name);
        }
    }
    for ((message, domain), mut names) in ended {
        names.dedup();
        if names.len() > 1 {
            let told = format!("{message} to {domain} bounced by {}", names.join(" and "));
            doubles.verdict.unexplained.push(told);
        }
    }
}

#[cfg(test)]
mod tests;
