//! What happens to each recipient of a message, and how recipients gather into deliveries.
//! **Owns:** the step from a route's decision to lanes and starts. **Never:** decides a route (core does), asks for slots.
//! A delivery has the recipients of one domain, one rule and one class.

use std::{collections::HashMap, time::Duration};

use postrider_core::{
    config::{Config, Rejection},
    route::{self, Action, Facts},
};
use postrider_queue::{Lane, NewDelivery, Start};

use crate::delivery::plan::lane_of;

/// What happens to a recipient that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It becomes part of a delivery.
    Kept(Plan),
    /// A rule drops its mail.
    Discarded,
}

/// Where a recipient's mail waits, and since when and until when.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The lane.
    pub lane: Lane,
    /// When its time is over.
    pub expires_in: Duration,
    /// When it is first tried.
    pub first: First,
}

/// When a delivery is first tried.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum First {
    /// Now, by this relay if it has room.
    Now,
    /// Not before this.
    After(Duration),
    /// When a person says so.
    Held(Box<str>),
}

/// Recipients that share a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The plan.
    pub plan: Plan,
    /// Their places in the envelope.
    pub recipients: Vec<u32>,
}

impl First {
    /// As the queue has it, where no relay claims the delivery at once.
    pub fn start(self) -> Start {
        match self {
            Self::Now => Start::After(Duration::ZERO),
            Self::After(wait) => Start::After(wait),
            Self::Held(reason) => Start::Held(reason),
        }
    }
}

impl Group {
    /// The delivery that these recipients become.
    pub fn delivery(self, start: Start) -> NewDelivery {
        let Plan { lane, expires_in, .. } = self.plan;
        NewDelivery { lane, recipients: self.recipients, expires_in, start }
    }
}

/// Decides what happens to one recipient.
///
/// # Errors
/// A rule rejects it.
pub fn decide(config: &Config, facts: &Facts<'_>) -> Result<Fate, Rejection> {
    let decision = route::decide(config, facts);
    let first = match decision.action {
        Action::Try(_) => First::Now,
        Action::Hold { reason } => First::Held(reason.into()),
        // It is looked at again by its schedule, as if a first attempt had been deferred.
        Action::Defer { .. } => First::After(decision.policy.retry.initial),
        Action::Discard => return Ok(Fate::Discarded),
        Action::Reject(rejection) => return Err(rejection.clone()),
    };
    let lane = lane_of(&decision, facts);
    Ok(Fate::Kept(Plan { lane, expires_in: decision.policy.retry.max_age, first }))
}

/// Gathers recipients, in the order of the envelope, into groups that become a delivery each.
pub fn gather(fates: Vec<Fate>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<Plan, usize> = HashMap::new();
    for (number, fate) in (0_u32..).zip(fates) {
        let Fate::Kept(plan) = fate else { continue };
        // Most messages have one recipient, or all in one group: the map is for the others.
        if let Some(group) = groups.last_mut().filter(|group| group.plan == plan) {
            group.recipients.push(number);
            continue;
        }
        if groups.is_empty() {
            groups.push(Group { plan, recipients: vec![number] });
            continue;
        }
        if places.is_empty() {
            places.extend(groups.iter().enumerate().map(|(at, group)| (group.plan.clone(), at)));
        }
        match places.get(&plan).and_then(|at| groups.get_mut(*at)) {
            Some(group) => group.recipients.push(number),
            None => {
                places.insert(plan.clone(), groups.len());
                groups.push(Group { plan, recipients: vec![number] });
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use postrider_mail::{Class, Domain};
    use postrider_queue::RouteName;

    use super::*;

    fn plan(domain: &str, first: First) -> Plan {
        let domain = Domain::parse(domain).expect("a domain");
        let lane = Lane { class: Class::Normal, domain, route: RouteName::default(), flow: None };
        Plan { lane, expires_in: Duration::from_secs(60), first }
    }

    #[test]
    fn recipients_of_one_plan_become_one_delivery_in_the_envelopes_order() {
        let fates = vec![
            Fate::Kept(plan("a.example", First::Now)),
            Fate::Kept(plan("a.example", First::Now)),
            Fate::Kept(plan("b.example", First::Now)),
            Fate::Discarded,
            Fate::Kept(plan("a.example", First::Now)),
            Fate::Kept(plan("a.example", First::Held("why".into()))),
            Fate::Kept(plan("b.example", First::Now)),
        ];
        let groups: Vec<_> = gather(fates).into_iter().map(|group| group.recipients).collect();
        assert_eq!(groups, [vec![0, 1, 4], vec![2, 6], vec![5]]);
        assert!(gather(vec![Fate::Discarded]).is_empty());
    }
}
