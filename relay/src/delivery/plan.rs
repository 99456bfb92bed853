//! What is to be done with a claimed delivery, before anything is tried: pure.
//! **Owns:** the route decided anew at each attempt, so that mail that waits follows a change of rules. **Never:** I/O.
//! A delivery whose recipients the rules now treat differently is split; one whose lane is another now moves there.

use std::time::Duration;

use postrider_core::{
    config::{Config, Route, Signing},
    outcome,
    policy::Policy,
    route::{self, Action, Decision, Facts, Target},
};
use postrider_mail::{Domain, EnhancedCode, Mailbox, Outcome, OutcomeKind, ReversePath, Stage};
use postrider_queue::{Claimed, Delivery, Dkim, Ending, Flow, Kind, Lane, Part, RouteName};

/// How long mail that was claimed in a paused fleet is left alone.
const PAUSED: Duration = Duration::from_secs(10);

/// What is said of mail that can't be signed.
const KEY_IS_MISSING: &str = "a DKIM key of its domain is missing; it waits to be signed";

/// What to do, and how the mail is treated.
pub struct Planned<'c> {
    /// What to do.
    pub plan: Plan<'c>,
    /// How it is treated.
    pub policy: Policy,
}

/// What to do.
// One at a time, on the stack: a box would cost each attempt an allocation.
#[allow(clippy::large_enum_variant)]
pub enum Plan<'c> {
    /// Try to deliver it.
    Try(Decision<'c>),
    /// Without an attempt, each recipient has its outcome: its time is over, a person or a rule says so.
    End(Vec<Outcome>),
    /// Each part into its lane.
    Move(Vec<Part>),
    /// Keep it for a person.
    Hold(&'c str),
    /// Drop it and tell nobody.
    Discard,
    /// Give it back for now.
    Wait(Duration),
}

/// Decides.
pub fn plan<'c>(claimed: &Claimed, config: &'c Config) -> Planned<'c> {
    let delivery = &claimed.delivery;
    let mut groups = groups(delivery, config);
    let Some(last) = groups.pop() else {
        // Nobody is left: settling ends it.
        return Planned { plan: Plan::Discard, policy: Policy::default() };
    };
    let policy = last.decision.policy;
    if let Some(ending) = &claimed.ending {
        return Planned { plan: Plan::End(ended(delivery, ending)), policy };
    }
    if config.is_paused() {
        return Planned { plan: Plan::Wait(PAUSED), policy };
    }
    // Mail that a version took in that knew no flows stays where it is.
    if !groups.is_empty() || !last.lane.has_destination_of(&delivery.lane) {
        groups.push(last);
        return Planned { plan: Plan::Move(groups.into_iter().map(Group::into_part).collect()), policy };
    }
    let plan = match by_rule(delivery, last.decision, config) {
        Plan::Try(_) if lacks_key(delivery, config) => Plan::End(unsigned(delivery)),
        plan => plan,
    };
    Planned { plan, policy }
}

/// Whose signature is to be made before an attempt; none, if there is one, or if none is needed.
pub fn owed(delivery: &Delivery, config: &Config) -> Option<Domain> {
    match (delivery.kind, &delivery.message.dkim) {
        (Kind::Message, Dkim::Owed(domain)) => Some(domain.clone()),
        (Kind::Message, Dkim::None | Dkim::Signed(_)) => None,
        // Reports are ours: their From has our name.
        (Kind::Bounce | Kind::DelayNotice | Kind::SuccessNotice, _) => config.bounce_domain(),
    }
}

fn lacks_key(delivery: &Delivery, config: &Config) -> bool {
    matches!(config.signing(owed(delivery, config).as_ref()), Signing::Owed)
}

/// It waits by its schedule, as for a rule that is broken.
fn unsigned(delivery: &Delivery) -> Vec<Outcome> {
    all(delivery, Stage::Route, OutcomeKind::Deferred, EnhancedCode::transient(3, 5), KEY_IS_MISSING)
}

/// Recipients that are treated alike.
struct Group<'c> {
    lane: Lane,
    decision: Decision<'c>,
    recipients: Vec<u32>,
}

impl Group<'_> {
    fn into_part(self) -> Part {
        Part { lane: self.lane, recipients: self.recipients, after: Duration::ZERO }
    }
}

fn groups<'c>(delivery: &Delivery, config: &'c Config) -> Vec<Group<'c>> {
    let mut groups: Vec<Group<'c>> = Vec::with_capacity(1);
    for addressee in &delivery.recipients {
        let mailbox = &addressee.recipient.mailbox;
        let facts = facts(delivery, mailbox);
        let decision = route::decide(config, &facts);
        let lane = lane_of(&decision, &facts);
        match groups.iter_mut().find(|group| group.lane == lane && group.decision.policy == decision.policy) {
            Some(group) => group.recipients.push(addressee.number),
            None => groups.push(Group { lane, decision, recipients: vec![addressee.number] }),
        }
    }
    groups
}

/// What a route is decided by. A report is our own mail: it came by no listener and from no client.
pub fn facts<'a>(delivery: &'a Delivery, recipient: &'a Mailbox) -> Facts<'a> {
    let received = &delivery.message.received;
    let is_message = delivery.kind == Kind::Message;
    Facts {
        sender: delivery.sender(),
        recipient,
        listener: is_message.then_some(&*received.listener),
        client: is_message.then_some(received.client),
        user: received.user.as_deref().filter(|_| is_message),
    }
}

/// The lane of a decision for a sender and a recipient.
pub fn lane_of(decision: &Decision<'_>, facts: &Facts<'_>) -> Lane {
    Lane {
        class: decision.policy.class,
        domain: facts.recipient.domain().clone(),
        // Rules are named by Kubernetes, whose names are within a route name's bounds.
        route: RouteName::parse(decision.route_name()).unwrap_or_default(),
        flow: Some(Flow::of(facts.sender)),
    }
}

/// Where a report to the sender of a message waits, and how it is treated; nowhere, if the sender is null.
pub fn report_lane(sender: &ReversePath, config: &Config) -> Option<(Lane, Policy)> {
    let recipient = sender.mailbox()?;
    let facts = Facts { sender: &ReversePath::Null, recipient, listener: None, client: None, user: None };
    let decision = route::decide(config, &facts);
    let lane = lane_of(&decision, &facts);
    Some((lane, decision.policy))
}

fn by_rule<'c>(delivery: &Delivery, decision: Decision<'c>, config: &'c Config) -> Plan<'c> {
    match &decision.action {
        Action::Try(_) => Plan::Try(decision),
        Action::Reject(rejection) => {
            let text = format!("{} {} {}", rejection.code, rejection.enhanced, rejection.text);
            Plan::End(all(delivery, Stage::Route, OutcomeKind::Bounced, rejection.enhanced, &text))
        }
        Action::Discard => Plan::Discard,
        // A person let go what a rule holds: it goes where mail goes that no rule routes.
        Action::Hold { .. } if delivery.history.released => {
            Plan::Try(Decision { action: Action::Try(default_target(config)), ..decision })
        }
        Action::Hold { reason } => Plan::Hold(reason),
        Action::Defer { reason } => {
            let status = EnhancedCode::transient(3, 5);
            Plan::End(all(delivery, Stage::Route, OutcomeKind::Deferred, status, reason))
        }
    }
}

/// Where mail goes that no rule routes; by MX, if that is nowhere.
fn default_target(config: &Config) -> Target<'_> {
    match &config.default_route {
        Route::Smarthost(smarthost) => Target::Smarthost(smarthost),
        Route::Redirect { to } => Target::Redirect(to),
        Route::Mx | Route::Hold { .. } | Route::Reject(_) | Route::Discard | Route::Defer { .. } => {
            Target::Mx
        }
    }
}

fn ended(delivery: &Delivery, ending: &Ending) -> Vec<Outcome> {
    match ending {
        Ending::Expired => delivery
            .recipients
            .iter()
            .map(|addressee| {
                let last = delivery.history.last.iter().find(|last| last.recipient == addressee.number);
                outcome::expired(addressee.number, last)
            })
            .collect(),
        Ending::Bounce(why) => {
            all(delivery, Stage::Admin, OutcomeKind::Bounced, EnhancedCode::permanent(0, 0), why)
        }
    }
}

fn all(
    delivery: &Delivery,
    stage: Stage,
    kind: OutcomeKind,
    status: EnhancedCode,
    text: &str,
) -> Vec<Outcome> {
    let outcome = |number| outcome::ours(number, stage, kind, status, text);
    delivery.recipients.iter().map(|addressee| outcome(addressee.number)).collect()
}
