//! One partition as a plain value: what the scripts must do, said again without Redis. Tests compare the two after each step.
//! **Owns:** the rules of places, claims, wishes and totals. **Never:** I/O, or a clock: a time is a span in which the store ran.
//! What the store may choose (which due deliveries a claim gets, which claims a slice of a reap moves) is checked, not predicted.

mod compare;
mod settle;
mod wish;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use postrider_mail::{Due, QueueId};

pub use compare::Found;
pub use settle::Attempt;

use crate::{
    admin::Wish,
    enqueue::{NewDelivery, Start},
    incarnation::Incarnation,
    lane::Lane,
    record::{DeliveryId, Kind},
};

/// A moment of the store's clock that is known to lie between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Not before.
    pub from: Due,
    /// Not after.
    pub until: Due,
}

/// Where a delivery is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In its lane; at once, whatever is suspended, if a person wants it so.
    Waiting {
        /// When it is tried.
        due: Span,
        /// Whether a claim finds it first.
        first: bool,
    },
    /// On hold.
    Held {
        /// Why.
        reason: String,
    },
    /// An incarnation tries it.
    Claimed {
        /// Which.
        holder: Incarnation,
        /// Whether alone.
        alone: bool,
    },
}

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What it carries.
    pub kind: Kind,
    /// Its lane.
    pub lane: Lane,
    /// When it expires.
    pub expires: Span,
    /// Who is left, or whom a report tells of.
    pub recipients: Vec<u32>,
    /// Where it is.
    pub place: Place,
    /// Claims of it so far.
    pub number: u64,
    /// Incarnations that died trying it, and of these that tried it alone.
    pub crashes: (u32, u32),
    /// What a person wants of it.
    pub wish: Option<Wish>,
    /// Whether a person let it go from hold.
    pub released: bool,
}

/// A message on its way in.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Who takes it in.
    pub by: Option<Incarnation>,
    /// Whether reports can go to anyone.
    pub has_sender: bool,
    /// Recipients that no delivery names.
    pub discarded: u32,
    /// Its deliveries.
    pub deliveries: &'a [NewDelivery],
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who took it in.
    pub acceptor: Option<Incarnation>,
    /// Whether reports can go to anyone.
    pub has_sender: bool,
    /// The number of its next delivery.
    pub next: u32,
    /// Those that haven't ended.
    pub deliveries: BTreeMap<u32, Delivery>,
}

/// Where an incarnation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pod {
    /// It beats.
    Live {
        /// Its beats so far.
        counter: u64,
    },
    /// It is fenced, its claims are on their way back.
    Reaping {
        /// Whether its end counts as a crash of what it tried.
        crashed: bool,
    },
    /// It is fenced and has nothing.
    Ended,
}

/// A partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    /// Messages ever taken in.
    pub accepted: u64,
    /// What is in it.
    pub messages: BTreeMap<QueueId, Message>,
    /// Incarnations.
    pub pods: BTreeMap<Incarnation, Pod>,
    /// Destinations that aren't tried, and until when.
    pub suspended: BTreeMap<Lane, Span>,
    /// What the scripts count.
    pub totals: BTreeMap<String, i64>,
}

impl Span {
    /// The same moment, later by `wait`.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self { from: self.from.after(wait), until: self.until.after(wait) }
    }

    /// Whether this may have come at `now`.
    pub fn may_be_past(self, now: Self) -> bool {
        self.from <= now.until
    }

    /// Whether this has come at `now` for certain.
    pub fn is_past(self, now: Self) -> bool {
        self.until <= now.from
    }

    fn has(self, due: Due) -> bool {
        self.from <= due && due <= self.until
    }
}

impl Model {
    /// A new incarnation.
    pub fn register(&mut self, incarnation: Incarnation) {
        self.pods.insert(incarnation, Pod::Live { counter: 0 });
    }

    /// A beat; false: it is fenced.
    pub fn beat(&mut self, incarnation: Incarnation) -> bool {
        match self.pods.get_mut(&incarnation) {
            Some(Pod::Live { counter }) => {
                *counter += 1;
                true
            }
            Some(Pod::Reaping { .. } | Pod::Ended) | None => false,
        }
    }

    fn is_live(&self, incarnation: Incarnation) -> bool {
        matches!(self.pods.get(&incarnation), Some(Pod::Live { .. }))
    }

    /// A message comes in; the store says which deliveries its acceptor has claimed.
    ///
    /// # Errors
    /// If one is claimed that may not be, or one isn't that must be.
    pub fn enqueue(
        &mut self,
        id: &QueueId,
        new: &Incoming<'_>,
        claimed: &BTreeSet<u32>,
        now: Span,
    ) -> Result<(), String> {
        let Incoming { by, has_sender, discarded, deliveries } = *new;
        self.accepted += 1;
        self.count("discarded", i64::from(discarded));
        let mut message = Message { acceptor: by, has_sender, next: 0, deliveries: BTreeMap::new() };
        let claimer = by.filter(|by| self.is_live(*by));
        for (number, new) in (0..).zip(deliveries) {
            let is_claimed = claimed.contains(&number);
            let wants = new.start == Start::Claimed && claimer.is_some();
            let may = wants && !self.is_suspended(&new.lane, now);
            let must = wants && !self.may_be_suspended(&new.lane, now);
            if is_claimed && !may || must && !is_claimed {
                return Err(format!("{id}.{number}: claimed {is_claimed}, may be {may}, must be {must}"));
            }
            let place = match (&new.start, claimer) {
                (Start::Claimed, Some(holder)) if is_claimed => Place::Claimed { holder, alone: false },
                (Start::Claimed, _) => Place::Waiting { due: now, first: false },
                (Start::After(wait), _) => Place::Waiting { due: now.after(*wait), first: false },
                (Start::Held(reason), _) => Place::Held { reason: reason.to_string() },
            };
            let number = u64::from(matches!(place, Place::Claimed { .. }));
            let expires = now.after(new.expires_in);
            let delivery = Delivery {
                number,
                ..Delivery::new(Kind::Message, &new.lane, expires, &new.recipients, place)
            };
            message.add(delivery);
        }
        self.messages.insert(id.clone(), message);
        self.end_empty_messages();
        Ok(())
    }

    /// The acceptor takes a message back that it has no answer for.
    pub fn abort(&mut self, id: &QueueId) {
        let Some(message) = self.messages.get_mut(id) else { return };
        let acceptor = message.acceptor;
        let before = message.deliveries.len();
        message.deliveries.retain(|_, delivery| match delivery.place {
            Place::Claimed { holder, .. } => !(delivery.number == 1 && Some(holder) == acceptor),
            Place::Waiting { .. } | Place::Held { .. } => delivery.number > 0,
        });
        let has_removed = message.deliveries.len() < before;
        self.count("aborted", i64::from(has_removed));
        self.end_empty_messages();
    }

    /// The store says that `by` has claimed this: whether it may have.
    ///
    /// # Errors
    /// If it may not.
    pub fn claim(&mut self, by: Incarnation, id: &DeliveryId, now: Span) -> Result<&Delivery, String> {
        if !self.is_live(by) {
            return Err(format!("{by} is fenced and claims {id}"));
        }
        let is_suspended = self.find(id).is_some_and(|delivery| self.is_suspended(&delivery.lane, now));
        let delivery = self.find_mut(id).ok_or_else(|| format!("{id} has ended, or never was"))?;
        let is_expired = delivery.expires.may_be_past(now);
        let may = match &delivery.place {
            Place::Waiting { first: true, .. } => true,
            Place::Waiting { due, .. } => is_expired || (due.may_be_past(now) && !is_suspended),
            Place::Held { .. } => is_expired,
            Place::Claimed { .. } => false,
        };
        if !may {
            return Err(format!("{id} is not to be claimed now: {delivery:?}"));
        }
        let ends = is_expired || matches!(delivery.wish, Some(Wish::BounceNow(_)));
        delivery.number += 1;
        delivery.place = Place::Claimed { holder: by, alone: delivery.crashes.0 >= 2 && !ends };
        Ok(delivery)
    }

    /// Whether a claim that asks for one at least must get one: something can be claimed for certain.
    pub fn has_claimable(&self, now: Span) -> bool {
        self.deliveries().any(|(_, delivery)| match &delivery.place {
            Place::Waiting { first: true, .. } => true,
            Place::Waiting { due, .. } => {
                let is_due = due.is_past(now) && !self.may_be_suspended(&delivery.lane, now);
                // One that was given back after it had expired is away until it is due.
                (delivery.expires.is_past(now) && due.is_past(now)) || (is_due && delivery.crashes.0 < 2)
            }
            Place::Held { .. } => delivery.expires.is_past(now),
            Place::Claimed { .. } => false,
        })
    }

    /// A claim is given back; false: it was lost.
    pub fn release(
        &mut self,
        by: Incarnation,
        id: &DeliveryId,
        number: u64,
        wait: Duration,
        now: Span,
    ) -> bool {
        let holds = self.find(id).is_some_and(|delivery| delivery.is_claimed_by(by, number));
        if holds {
            self.put_back(id, now.after(wait), now);
            self.end_empty_messages();
        }
        holds
    }

    /// An incarnation is reaped, or leaves (no counter seen). False: it lives.
    pub fn fence(&mut self, dead: Incarnation, seen: Option<u64>) -> bool {
        match self.pods.get(&dead).copied() {
            Some(Pod::Live { counter }) if seen.is_some_and(|seen| seen != counter) => false,
            Some(Pod::Live { .. }) => {
                self.pods.insert(dead, Pod::Reaping { crashed: seen.is_some() });
                true
            }
            Some(Pod::Reaping { .. } | Pod::Ended) | None => true,
        }
    }

    /// A slice of a reap has moved this claim.
    ///
    /// # Errors
    /// If it was none of that incarnation's.
    pub fn reaped(&mut self, dead: Incarnation, id: &DeliveryId, now: Span) -> Result<(), String> {
        let crashed = matches!(self.pods.get(&dead), Some(Pod::Reaping { crashed: true }));
        let delivery = self.find_mut(id).ok_or_else(|| format!("{id} has ended, or never was"))?;
        let Place::Claimed { holder, alone } = delivery.place else {
            return Err(format!("{id} was moved, but was no claim: {delivery:?}"));
        };
        if holder != dead {
            return Err(format!("{id} was moved, but is {holder}'s"));
        }
        if crashed {
            delivery.crashes = (delivery.crashes.0 + 1, delivery.crashes.1 + u32::from(alone));
        }
        let is_poison = delivery.crashes.1 >= 2 && delivery.wish.is_none() && !delivery.recipients.is_empty();
        if is_poison {
            delivery.place = Place::Held { reason: crate::hold::POISON.to_owned() };
            self.count("poisoned", 1);
        } else {
            self.put_back(id, now, now);
        }
        self.count("reaped", 1);
        self.end_empty_messages();
        Ok(())
    }

    /// The last claim of a reaped incarnation went back.
    pub fn reap_ended(&mut self, dead: Incarnation) {
        if let Some(pod) = self.pods.get_mut(&dead) {
            *pod = Pod::Ended;
        }
    }

    /// The destination of a lane isn't tried for a while.
    pub fn suspend(&mut self, lane: &Lane, wait: Duration, now: Span) {
        self.suspended.insert(lane.destination(), now.after(wait));
    }

    /// It is again.
    pub fn resume(&mut self, lane: &Lane) {
        self.suspended.remove(&lane.destination());
    }

    fn end(&mut self, id: &DeliveryId) {
        if let Some(message) = self.messages.get_mut(&id.message) {
            message.deliveries.remove(&id.number);
        }
    }

    /// At the end of an operation: what it added to a message in place of what it ended is there by then.
    fn end_empty_messages(&mut self) {
        let before = self.messages.len();
        self.messages.retain(|_, message| !message.deliveries.is_empty());
        self.count("ended", (before - self.messages.len()) as i64);
    }

    fn is_suspended(&self, lane: &Lane, now: Span) -> bool {
        self.suspended.get(&lane.destination()).is_some_and(|until| !until.may_be_past(now))
    }

    fn may_be_suspended(&self, lane: &Lane, now: Span) -> bool {
        self.suspended.get(&lane.destination()).is_some_and(|until| !until.is_past(now))
    }

    fn count(&mut self, name: &str, by: i64) {
        *self.totals.entry(name.to_owned()).or_default() += by;
    }

    /// A delivery, if it hasn't ended.
    pub fn find(&self, id: &DeliveryId) -> Option<&Delivery> {
        self.messages.get(&id.message)?.deliveries.get(&id.number)
    }

    fn find_mut(&mut self, id: &DeliveryId) -> Option<&mut Delivery> {
        self.messages.get_mut(&id.message)?.deliveries.get_mut(&id.number)
    }

    /// All deliveries.
    pub fn deliveries(&self) -> impl Iterator<Item = (DeliveryId, &Delivery)> {
        self.messages.iter().flat_map(|(message, of)| {
            let named = |number: u32| DeliveryId { message: message.clone(), number };
            of.deliveries.iter().map(move |(number, delivery)| (named(*number), delivery))
        })
    }
}

impl Message {
    fn add(&mut self, delivery: Delivery) {
        self.deliveries.insert(self.next, delivery);
        self.next += 1;
    }
}

impl Delivery {
    fn new(kind: Kind, lane: &Lane, expires: Span, recipients: &[u32], place: Place) -> Self {
        let (lane, recipients) = (lane.clone(), recipients.to_vec());
        let (number, crashes, wish, released) = (0, (0, 0), None, false);
        Self { kind, lane, expires, recipients, place, number, crashes, wish, released }
    }

    /// Whether an incarnation tries it.
    pub const fn is_claimed(&self) -> bool {
        matches!(self.place, Place::Claimed { .. })
    }

    /// Whether this claim of it is the current one.
    pub fn is_claimed_by(&self, by: Incarnation, number: u64) -> bool {
        matches!(self.place, Place::Claimed { holder, .. } if holder == by) && self.number == number
    }
}
