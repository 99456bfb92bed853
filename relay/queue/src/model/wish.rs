//! What people want of deliveries, in the model.
//! **Owns:** when a wish is granted, recorded or passed over, and what it does on the way back to a lane. **Never:** more than
//! admin.lua promises.

use super::{Model, Place, Span};
use crate::{
    admin::{Granted, Which, Wish},
    record::{DeliveryId, Kind},
};

impl Model {
    /// What a person wants.
    pub fn wish(&mut self, wish: &Wish, which: &Which, now: Span) -> Granted {
        let ids: Vec<DeliveryId> = match which {
            Which::Delivery(id) => vec![id.clone()],
            Which::Message(id) => {
                let of = self.messages.get(id).into_iter().flat_map(|message| message.deliveries.keys());
                of.map(|number| DeliveryId { message: id.clone(), number: *number }).collect()
            }
        };
        let mut granted = Granted { passed_over: u64::from(ids.is_empty()), ..Granted::default() };
        for id in ids {
            self.grant(wish, &id, now, &mut granted);
        }
        self.end_empty_messages();
        granted
    }

    fn grant(&mut self, wish: &Wish, id: &DeliveryId, now: Span, granted: &mut Granted) {
        let Some(delivery) = self.find_mut(id) else {
            granted.passed_over += 1;
            return;
        };
        let is_so = match (&delivery.place, wish) {
            (Place::Held { .. }, Wish::Hold(_) | Wish::RetryNow)
            | (Place::Claimed { .. } | Place::Waiting { .. }, Wish::ReleaseHeld) => true,
            (Place::Claimed { .. } | Place::Waiting { .. } | Place::Held { .. }, _) => false,
        };
        if is_so {
            granted.passed_over += 1;
        } else if delivery.is_claimed() {
            delivery.wish = Some(wish.clone());
            granted.recorded += 1;
        } else {
            delivery.wish = Some(wish.clone());
            if *wish == Wish::ReleaseHeld {
                delivery.wish = Some(Wish::RetryNow);
                delivery.crashes = (0, 0);
                delivery.released = true;
            }
            self.put_back(id, now, now);
            granted.done += 1;
        }
    }

    /// Back into its lane; or what a person wanted meanwhile.
    pub(super) fn put_back(&mut self, id: &DeliveryId, due: Span, now: Span) {
        let Some(delivery) = self.find_mut(id) else { return };
        match delivery.wish.clone() {
            Some(Wish::Delete) => {
                let gone = if delivery.kind == Kind::Message { delivery.recipients.len() } else { 1 };
                self.count("deleted", gone as i64);
                self.end(id);
            }
            _ if delivery.recipients.is_empty() => self.end(id),
            Some(Wish::Hold(reason)) => {
                delivery.place = Place::Held { reason: reason.to_string() };
                delivery.wish = None;
            }
            Some(Wish::RetryNow | Wish::ReleaseHeld) => {
                delivery.place = Place::Waiting { due: now, first: true };
                delivery.wish = None;
            }
            Some(Wish::BounceNow(_)) => delivery.place = Place::Waiting { due: now, first: true },
            None => delivery.place = Place::Waiting { due, first: false },
        }
    }
}
