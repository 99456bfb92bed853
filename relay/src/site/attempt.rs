//! One attempt at one site: host after host, until each recipient has an answer.
//! **Owns:** which host is next, and on which connection. **Never:** what an answer means (verdict.rs asks core), SMTP.
//! An attempt never goes to another host once a final dot is without an answer: that would make a second copy (RFC 1047).

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant as Clocked},
};

use postrider_core::{
    egress::SourceName,
    mx::Unresolved,
    outcome::{self, Again, Context, Ended, Failure, Next, Ruling, Tally},
    shape::{Change, Feedback, reply::Asked},
};
use postrider_mail::{FarReply, HostName, Outcome, OutcomeKind, TlsRequirement};
use postrider_queue::{Claimed, limit::Limiter};
use postrider_smtp::client::{Answer, Answered, Transaction};
use tokio::time::Instant;

use super::{
    ForClaim, Order, Shared, Site, Stop,
    connections::{Lease, NoConnection},
    feedback::{Path, Room},
    held::Held,
    limits::{Permit, PutOff, Who},
};
use crate::client::{Connection, Fence, Over};

mod asked;
pub(super) mod limited;
mod opening;
mod verdict;

/// How long a lane is left alone at most whose hosts can't be found: the DNS remembers its failures for about as long.
const UNRESOLVED_WAIT_MAX: Duration = Duration::from_secs(60);
/// The hard end of an attempt: more than all waits of one host and a long body take together.
const ATTEMPT_MAX: Duration = Duration::from_secs(3_600);

/// What an attempt gave.
pub struct Attempt {
    /// For each recipient.
    pub ended: Vec<Ended>,
    /// Recipients whose host has no DSN: nobody but us can tell the sender of a success.
    pub relayed: Vec<u32>,
    /// Whether the message's header says that it went to many. Looked at only where somebody was deferred.
    pub is_bulk: bool,
    /// Whether a far side spoke with us.
    pub is_answered: bool,
    /// Set when the site is suspended now, and for how long.
    pub suspended: Option<Duration>,
    /// Set where its lane waits from now on.
    pub put_off: Option<PutOff>,
    /// For the log.
    pub trace: Trace,
}

/// For the log.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The source that it was tried by.
    pub source: Option<SourceName>,
    /// The last host tried.
    pub host: Option<HostName>,
    /// Its address.
    pub address: Option<SocketAddr>,
    /// How the connection was protected.
    pub tls: Option<&'static str>,
    /// Whether it had been used before.
    pub is_reused: bool,
    /// How long the attempt waited for a connection.
    pub waited: Duration,
    /// How long connecting took.
    pub connected: Duration,
    /// How long the transactions took.
    pub sent: Duration,
}

/// Why nothing was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotTried {
    /// How long to stay away.
    pub wait: Duration,
    /// Why, for logs.
    pub why: &'static str,
    /// Whether nobody answers at the site.
    pub is_site_down: bool,
    /// Set where a limit lets it wait.
    pub put_off: Option<PutOff>,
}

impl Attempt {
    /// An attempt that no far side had a part in.
    pub fn without_far_side(outcomes: Vec<Outcome>) -> Self {
        let ended = |outcome| Ended { outcome, again: Again::OnSchedule, is_ambiguous: false };
        Self {
            ended: outcomes.into_iter().map(ended).collect(),
            relayed: Vec::new(),
            is_bulk: false,
            is_answered: false,
            suspended: None,
            put_off: None,
            trace: Trace::default(),
        }
    }

    /// Whether somebody has to be tried again.
    pub fn has_deferred(&self) -> bool {
        self.ended.iter().any(|one| one.outcome.kind == OutcomeKind::Deferred)
    }

    /// No host was found. Where that may change, the others of the lane needn't ask before `wait` is over; unless it is for what this
    /// message asks of hosts, which says nothing of the others.
    pub fn unresolved(claimed: &Claimed, why: &Unresolved, wait: Duration) -> Self {
        let numbers: Vec<u32> = claimed.delivery.recipients.iter().map(|one| one.number).collect();
        let is_for_all =
            why.kind() == OutcomeKind::Deferred && claimed.delivery.tls() != TlsRequirement::Required;
        let suspended = is_for_all.then_some(wait.min(UNRESOLVED_WAIT_MAX));
        Self { suspended, ..Self::without_far_side(outcome::unresolved(&numbers, why)) }
    }
}

/// Why there is no attempt.
pub(super) enum Not {
    /// Nothing was tried.
    Tried(NotTried),
    /// The source failed before anybody was asked: another one may have the order.
    Sent,
    /// The source has carried what it may today: another one may have the order.
    Spent(PutOff),
}

impl From<NotTried> for Not {
    fn from(why: NotTried) -> Self {
        Self::Tried(why)
    }
}

/// Makes the attempt.
pub(super) async fn run(
    site: &Arc<Site>,
    order: &Order<'_>,
    ForClaim { shared, lost, lease }: &ForClaim,
) -> Result<Attempt, Not> {
    if let Some(gate) = &site.fleet.warm_up {
        gate.look().map_err(Not::Spent)?;
    }
    let over = Over { lost, stopping: &shared.stopping };
    let started = Clocked::now();
    let who = limited::who(order);
    let limited::Place { lease: place, permit } = limited::connection(shared, site, over, who).await?;
    let mut run = Run {
        shared,
        site,
        order,
        fence: Fence { lease, claim: order.claim, over, until: Instant::now() + ATTEMPT_MAX },
        tally: Tally::new(order.recipients.iter().map(|(number, _)| *number)),
        feedback: None,
        relayed: Vec::new(),
        is_tried: false,
        who,
        may_open: !place.is_kept(),
        permit,
        put_off: None,
        is_source_out: false,
        asked: None,
        trace: Trace {
            source: site.source.as_ref().map(|source| source.name.clone()),
            waited: started.elapsed(),
            ..Trace::default()
        },
    };
    run.all_hosts(place).await;
    run.finish()
}

struct Run<'a> {
    shared: &'a Shared,
    site: &'a Arc<Site>,
    order: &'a Order<'a>,
    fence: Fence<'a>,
    tally: Tally,
    feedback: Option<Feedback>,
    relayed: Vec<u32>,
    /// Whether somebody was charged with something.
    is_tried: bool,
    who: Who<'a>,
    /// Whether the fleet lets a connection be opened without being asked: it has been, for the first one.
    may_open: bool,
    /// The fleet's slot for the connection, where it counts them.
    permit: Option<Permit>,
    /// Set once a limit ends the attempt.
    put_off: Option<PutOff>,
    /// Set once the source ends the attempt.
    is_source_out: bool,
    /// Set once a reply has asked something of all mail to the site: that ends the attempt.
    asked: Option<Asked>,
    trace: Trace,
}

/// What became of a connection's turn.
enum Turn {
    /// It can be used for other mail.
    Kept(Box<Connection>),
    /// It is gone, or of no more use.
    Gone,
    /// It was gone before the turn: nothing was sent, nobody is charged.
    Stale,
    /// It is gone, and others of this message could still go to the same host.
    More,
}

impl<'a> Run<'a> {
    async fn all_hosts(&mut self, mut lease: Lease<Held>) {
        let mut done_with = None;
        if let Some(Held { connection: kept, permit }) = lease.kept() {
            let address = kept.address();
            self.permit = permit;
            self.trace.is_reused = true;
            match self.turn(kept, true).await {
                Turn::Kept(connection) if self.is_done() => return self.keep(lease, *connection),
                Turn::Kept(connection) => {
                    self.close(*connection).await;
                    done_with = Some(address);
                }
                Turn::Gone => done_with = Some(address),
                Turn::Stale | Turn::More => self.trace.is_reused = false,
            }
        }
        for (stop, address) in self.doors() {
            if done_with == Some(address) {
                continue;
            }
            if let Some(connection) = self.host(stop, address).await {
                if self.is_done() {
                    return self.keep(lease, *connection);
                }
                self.close(*connection).await;
            }
            if self.is_done() {
                return;
            }
        }
    }

    /// Keeps the connection for whoever comes next, and its slot with it.
    fn keep(&mut self, lease: Lease<Held>, connection: Connection) {
        lease.keep(Held { connection, permit: self.permit.take() });
    }

    /// One address of one host, on as many connections as it wants for this message. Returns one that others can use.
    async fn host(&mut self, stop: &Stop, address: SocketAddr) -> Option<Box<Connection>> {
        while !self.is_done() {
            let connection = self.open(stop, address).await?;
            match self.turn(connection, false).await {
                Turn::Kept(connection) => return Some(connection),
                Turn::Gone | Turn::Stale => return None,
                // Each one ended somebody, so this ends too.
                Turn::More => {}
            }
        }
        None
    }

    /// Whether nobody needs a host any more, or the attempt has to end.
    fn is_done(&self) -> bool {
        self.tally.is_settled()
            || self.put_off.is_some()
            || self.is_source_out
            || self.is_asked()
            || self.fence.over.is_over()
            || Instant::now() >= self.fence.until
    }

    /// The addresses in the order to try them: those that lately didn't work behind the others.
    fn doors(&self) -> Vec<(&'a Stop, SocketAddr)> {
        let order: &'a Order<'a> = self.order;
        let mut doors: Vec<_> = order.doors().collect();
        doors.sort_by_key(|(_, address)| self.shared.health.is_ill(&self.path(*address)));
        doors
    }

    /// An address as the site's source reaches it.
    fn path(&self, address: SocketAddr) -> Path {
        (self.site.source.clone(), address)
    }

    /// Sends the message to everybody who still needs a host, in as many transactions as it takes.
    async fn turn(&mut self, mut connection: Connection, is_kept: bool) -> Turn {
        self.note(&connection);
        let limits = self.site.limits;
        let most = usize::try_from(limits.recipients_per_message).unwrap_or(usize::MAX).max(1);
        let mut todo: VecDeque<u32> = self.tally.pending().into();
        let (mut is_first, mut has_ended_some) = (true, false);
        loop {
            if !self.may_send(has_ended_some).await {
                return Turn::Kept(Box::new(connection));
            }
            let batch: Vec<u32> = todo.drain(..todo.len().min(most)).collect();
            let began = Clocked::now();
            let transaction = self.transaction(&batch);
            let body = self.order.content.body.chunks();
            let spoken = connection.send(transaction, body, self.fence).await;
            self.trace.sent += began.elapsed();
            if is_kept
                && std::mem::take(&mut is_first)
                && !spoken.is_dot_sent
                && verdict::is_stale(&spoken.answers, self.site.provider)
            {
                return Turn::Stale;
            }
            let before = self.tally.pending().len();
            let again = self.judge(&batch, spoken.answers, &connection);
            has_ended_some |= self.tally.pending().len() < before;
            let is_stuck = again.len() == batch.len();
            again.into_iter().rev().for_each(|number| todo.push_front(number));
            let is_usable = connection.is_reusable(limits.messages_per_connection).await;
            match (todo.is_empty() || is_stuck, is_usable) {
                (true, true) => return Turn::Kept(Box::new(connection)),
                (false, true) if !self.fence.over.is_over() => {}
                (is_over, _) => {
                    self.close(connection).await;
                    return if !is_over && has_ended_some { Turn::More } else { Turn::Gone };
                }
            }
        }
    }

    fn note(&mut self, connection: &Connection) {
        self.trace.host = Some(connection.host().clone());
        self.trace.address = Some(connection.address());
        self.trace.tls = Some(connection.tls());
    }

    fn transaction(&self, batch: &[u32]) -> Transaction {
        let order = self.order;
        let recipients = order
            .recipients
            .iter()
            .filter(|(number, _)| batch.contains(number))
            .map(|(_, recipient)| recipient.clone())
            .collect();
        Transaction {
            envelope: order.content.envelope(order.delivery, recipients),
            content_bytes: order.content.size,
            content_is_8bit: order.content.is_8bit,
            header_is_utf8: order.content.has_utf8_header,
        }
    }

    /// Books what a transaction gave. Returns who can be tried again at once.
    fn judge(&mut self, batch: &[u32], answers: Vec<Answered>, connection: &Connection) -> Vec<u32> {
        let host = connection.host().clone();
        let accepted = verdict::accepted(&answers);
        let context = Context { tls: connection.protection().clone(), may_helo: false, accepted };
        let mut again = Vec::new();
        for (number, answered) in batch.iter().zip(answers) {
            let ruling = match answered.answer {
                Answer::Accepted(reply) => {
                    self.delivered(*number, &reply, connection);
                    continue;
                }
                other => self.ruling(verdict::of_answer(answered.stage, other), &context),
            };
            if ruling.next == Next::Again {
                again.push(*number);
            }
            if ruling.scope == outcome::Scope::Host && ruling.feedback == Some(Feedback::Bad) {
                self.shared.health.failed(self.path(connection.address()), false);
            }
            self.charge(&[*number], &ruling, &host);
        }
        again
    }

    fn delivered(&mut self, number: u32, reply: &FarReply, connection: &Connection) {
        self.tally.delivered(&[number], reply, connection.host());
        self.feedback = Some(Feedback::Good);
        self.site.pace.taken();
        if !connection.has_dsn() {
            self.relayed.push(number);
        }
    }

    fn charge_all(&mut self, failure: Failure, stop: &Stop) {
        let ruling = self.ruling(failure, &opening::context(stop));
        self.charge(&self.tally.pending(), &ruling, &stop.host.name);
    }

    fn charge(&mut self, numbers: &[u32], ruling: &Ruling, host: &HostName) {
        self.tally.ruled(numbers, ruling, Some(host));
        // One host that answers is a site that answers.
        if self.feedback != Some(Feedback::Good) && ruling.feedback.is_some() {
            self.feedback = ruling.feedback;
        }
        self.is_tried = true;
    }

    /// Tells the site, closes the account.
    fn finish(self) -> Result<Attempt, Not> {
        let now = self.shared.clock.now();
        let (limit, change) = self.site.pulse.finish(self.feedback, now);
        let suspended = match self.suspended_by_reply().unwrap_or(change) {
            Change::Suspended(wait) => {
                self.site.pool.close().into_iter().for_each(Held::close);
                Some(wait)
            }
            Change::MoreRoom => {
                self.site.pool.admit(limit);
                None
            }
            Change::None => {
                self.site.pool.set_limit(limit);
                None
            }
        };
        if self.fence.over.is_over() && !self.is_tried && self.feedback.is_none() {
            return Err(Not::Tried(NotTried {
                wait: Duration::ZERO,
                why: "this relay's claim is over",
                is_site_down: false,
                put_off: None,
            }));
        }
        if self.is_source_out && !self.is_tried && self.feedback.is_none() {
            return Err(Not::Sent);
        }
        if let Some(put_off) = self.put_off
            && !self.is_tried
            && self.feedback.is_none()
        {
            return Err(match put_off.limited.limiter {
                Limiter::WarmUp => Not::Spent(put_off),
                Limiter::MessageRate | Limiter::ConnectionRate | Limiter::Connections | Limiter::Pace => {
                    limited::not_tried(self.shared, put_off).into()
                }
            });
        }
        let is_answered = self.feedback == Some(Feedback::Good);
        let untried = self.untried();
        Ok(Attempt {
            ended: self.tally.finish(untried),
            relayed: self.relayed,
            is_bulk: false,
            is_answered,
            suspended,
            put_off: self.put_off,
            trace: self.trace,
        })
    }
}
