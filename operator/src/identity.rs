//! What the DNS says of each fleet, looked at again and again beside the reconciles: those never wait for it.
//! **Owns:** when a fleet is looked at, what was found last. **Never:** what fits (core::identity), who is asked (dns), a status.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use postrider_core::{
    identity::{Answers, Judgement, Step, Subject, judge},
    mx::{Answer, DnsFailure},
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    agenda::{Agenda, Target},
    dns::Dns,
    leader::Leadership,
    names::Key,
};

/// How many fleets are looked at at a time.
const AT_A_TIME: usize = 4;
/// After so long a look asks nothing more: what is left is unknown.
const LOOK_WITHIN: Duration = Duration::from_secs(120);
/// What isn't as it should be is looked at so many times as often: people who mend it wait for that.
const SOONER: u32 = 10;
/// Nothing is due: somebody will say when there is.
const CALM: Duration = Duration::from_secs(3600);

/// What is known of all fleets. Cloning shares.
#[derive(Debug, Clone)]
pub struct Identities {
    state: Arc<Mutex<HashMap<Key, Entry>>>,
    changed: Arc<Notify>,
    every: Duration,
}

#[derive(Debug)]
struct Entry {
    subject: Subject,
    due: Instant,
    is_under_way: bool,
    found: Option<Arc<Judgement>>,
}

impl Identities {
    /// Each fleet is looked at so often.
    pub fn new(every: Duration) -> Self {
        Self { state: Arc::default(), changed: Arc::default(), every: every.max(Duration::from_secs(1)) }
    }

    fn state(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found of a fleet; none, if nobody has looked since it is as it is.
    pub fn find(&self, relay: &Key, subject: Subject) -> Option<Arc<Judgement>> {
        let mut state = self.state();
        if let Some(known) = state.get(relay).filter(|known| known.subject == subject) {
            return known.found.clone();
        }
        let entry = Entry { subject, due: Instant::now(), is_under_way: false, found: None };
        state.insert(relay.clone(), entry);
        self.changed.notify_one();
        None
    }

    /// A MailRelay is gone.
    pub fn forget(&self, relay: &Key) {
        self.state().remove(relay);
    }

    /// Who is due first, if anybody is now.
    fn take_due(&self, now: Instant) -> Option<(Key, Subject)> {
        let mut state = self.state();
        let waiting = state.iter_mut().filter(|(_, entry)| !entry.is_under_way && entry.due <= now);
        let (key, entry) = waiting.min_by_key(|(_, entry)| entry.due)?;
        entry.is_under_way = true;
        Some((key.clone(), entry.subject.clone()))
    }

    fn next_due(&self) -> Instant {
        let waiting = self.state();
        let due = waiting.values().filter(|entry| !entry.is_under_way).map(|entry| entry.due).min();
        due.unwrap_or_else(|| Instant::now() + CALM)
    }

    /// What a look has found. Returns whether that is news.
    fn note(&self, relay: &Key, subject: &Subject, found: Judgement) -> bool {
        let mut state = self.state();
        // What was looked at may be another by now: then the look is of no use.
        let Some(entry) = state.get_mut(relay).filter(|entry| entry.subject == *subject) else {
            return false;
        };
        let every = if found.is_good() { self.every } else { self.every / SOONER };
        entry.due = Instant::now() + every.max(Duration::from_secs(1));
        entry.is_under_way = false;
        let is_news = entry.found.as_deref() != Some(&found);
        entry.found = Some(Arc::new(found));
        is_news
    }
}

/// Looks at fleets.
pub struct Checker {
    /// What is known.
    pub identities: Identities,
    /// Who is asked.
    pub dns: Dns,
    /// Who is told when something is new.
    pub agenda: Arc<Agenda>,
    /// Whether anybody needs it.
    pub leadership: Leadership,
}

impl Checker {
    /// Looks until `stopped`.
    pub async fn run(self, stopped: CancellationToken) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let is_free = under_way.len() < AT_A_TIME && self.leadership.is_held();
            if let Some((relay, subject)) =
                is_free.then(|| self.identities.take_due(Instant::now())).flatten()
            {
                under_way.push(self.look(relay, subject));
                continue;
            }
            let due =
                if under_way.len() < AT_A_TIME { self.identities.next_due() } else { Instant::now() + CALM };
            // Something that is due while another leads is looked at again soon.
            let due = due.max(Instant::now() + Duration::from_millis(100));
            tokio::select! {
                biased;
                () = stopped.cancelled() => return,
                Some(relay) = under_way.next(), if !under_way.is_empty() => {
                    if let Some(relay) = relay {
                        self.agenda.touch(Target::Relay(relay), Duration::ZERO);
                    }
                }
                () = self.identities.changed.notified() => {}
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    /// One look. Returns whose reconcile has something new to say.
    async fn look(&self, relay: Key, subject: Subject) -> Option<Key> {
        let found = self.judgement(&subject).await;
        self.identities.note(&relay, &subject, found).then_some(relay)
    }

    async fn judgement(&self, subject: &Subject) -> Judgement {
        let mut answers = Answers::new();
        let end = Instant::now() + LOOK_WITHIN;
        loop {
            match judge(subject, &answers) {
                Step::Done(judgement) => return judgement,
                Step::Ask(questions) if Instant::now() >= end => {
                    let late = |question| (question, Answer::Failed(DnsFailure::Timeout));
                    answers.extend(questions.into_iter().map(late));
                }
                Step::Ask(questions) => answers.extend(self.dns.ask(questions).await),
            }
        }
    }
}
