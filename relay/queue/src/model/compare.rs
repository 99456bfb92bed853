//! The model beside what a scan of the store found.
//! **Owns:** [`Found`], the list of differences. **Never:** scans.
//! Times that the model knows only roughly are taken over from the store once they have been found to be possible.

use std::{collections::BTreeMap, time::Duration};

use postrider_mail::Due;

use super::{Delivery, Model, Place, Span};
use crate::{
    admin::Wish,
    record::{DeliveryId, Kind},
};

/// A delivery as a scan found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it carries.
    pub kind: Kind,
    /// Its lane, as written.
    pub lane: String,
    /// When it expires.
    pub expires: Due,
    /// Who is left, or whom a report tells of.
    pub recipients: Vec<u32>,
    /// Where it is; a waiting one is due exactly then.
    pub place: Place,
    /// Claims of it so far.
    pub number: u64,
    /// Deaths, and deaths alone.
    pub crashes: (u32, u32),
    /// The wish, as written: a letter, and the reason behind it.
    pub wish: Option<String>,
    /// Whether a person let it go.
    pub released: bool,
}

/// How far a claim that may not take one that has to be tried alone puts it off.
const ALONE_WAIT: Duration = Duration::from_millis(50);

impl Model {
    /// Compares every delivery; what agrees is known exactly afterwards. Returns the differences.
    pub fn compare(&mut self, found: &BTreeMap<DeliveryId, Found>, now: Span) -> Vec<String> {
        let known: Vec<DeliveryId> = self.deliveries().map(|(id, _)| id).collect();
        let mut differences = Vec::new();
        for id in found.keys().filter(|id| self.find(id).is_none()) {
            differences.push(format!("{id}: in the store, not in the model: {:?}", found.get(id)));
        }
        for id in known {
            match (self.find_mut(&id), found.get(&id)) {
                (Some(delivery), Some(found)) => {
                    let told = delivery.agree(found, now);
                    differences.extend(told.into_iter().map(|what| format!("{id}: {what}")));
                }
                (Some(delivery), None) => {
                    differences.push(format!("{id}: in the model, not in the store: {delivery:?}"));
                }
                (None, _) => {}
            }
        }
        differences
    }

    /// Compares what the scripts count. Returns the differences.
    pub fn compare_totals(&self, found: &BTreeMap<String, i64>) -> Vec<String> {
        let counted = |name: &str| !name.starts_with("waiting:") && name != "again";
        let names = self.totals.keys().chain(found.keys()).filter(|name| counted(name));
        let of = |totals: &BTreeMap<String, i64>, name: &str| totals.get(name).copied().unwrap_or(0);
        let mut differences: Vec<String> = names
            .filter(|name| of(&self.totals, name) != of(found, name))
            .map(|name| format!("totals.{name}: model {}, store {}", of(&self.totals, name), of(found, name)))
            .collect();
        differences.sort();
        differences.dedup();
        differences
    }
}

impl Delivery {
    fn agree(&mut self, found: &Found, now: Span) -> Vec<String> {
        let mut differences = Vec::new();
        let mut same = |what: &str, model: String, store: String| {
            if model != store {
                differences.push(format!("{what}: model {model}, store {store}"));
            }
        };
        same("kind", format!("{:?}", self.kind), format!("{:?}", found.kind));
        same("lane", self.lane.to_string(), found.lane.clone());
        same("recipients", format!("{:?}", self.recipients), format!("{:?}", found.recipients));
        same("claim number", self.number.to_string(), found.number.to_string());
        same("crashes", format!("{:?}", self.crashes), format!("{:?}", found.crashes));
        same("wish", format!("{:?}", self.wish.as_ref().map(written)), format!("{:?}", found.wish));
        same("released", self.released.to_string(), found.released.to_string());
        if self.expires.has(found.expires) {
            self.expires = exactly(found.expires);
        } else {
            differences.push(format!("expires: model {:?}, store {:?}", self.expires, found.expires));
        }
        if !self.takes_place(&found.place, now) {
            differences.push(format!("place: model {:?}, store {:?}", self.place, found.place));
        }
        differences
    }

    fn takes_place(&mut self, found: &Place, now: Span) -> bool {
        match (&mut self.place, found) {
            (Place::Waiting { due, first }, Place::Waiting { due: at, first: found_first })
                if first == found_first =>
            {
                let put_off = self.crashes.0 >= 2 && now.after(ALONE_WAIT).has(at.from);
                let agrees = due.has(at.from) || put_off;
                *due = *at;
                agrees
            }
            (model, found) => model == found,
        }
    }
}

const fn exactly(due: Due) -> Span {
    Span { from: due, until: due }
}

/// As the scripts write a wish down.
fn written(wish: &Wish) -> String {
    match wish {
        Wish::RetryNow => "R".to_owned(),
        Wish::Hold(reason) => format!("H {reason}"),
        Wish::ReleaseHeld => "L".to_owned(),
        Wish::BounceNow(reason) => format!("B {reason}"),
        Wish::Delete => "X".to_owned(),
    }
}
