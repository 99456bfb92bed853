//! The call of enqueue.lua: what goes in, what its answer means.
//! **Owns:** the arguments and answers of that script. **Never:** asks twice (enqueue.rs does).

use std::{collections::HashSet, sync::Arc, time::Duration};

use postrider_mail::{Due, QueueId};
use redis::Value;

use super::{EnqueueError, Enqueued, NewDelivery, NewMessage, Receipt, Start};
use crate::{
    answer::Fields,
    body::CHUNK_TTL,
    claim::{Claim, ClaimNumber, Claimed},
    connection::{self, Ahead, millis},
    error::Unavailable,
    incarnation::Incarnation,
    partition::{Durability, Partition},
    record::{Addressee, Delivery, DeliveryId, History, Kind, Message, Report, codec},
    script,
};

/// A call, ready to be sent as often as it takes.
pub(super) struct Call<'a> {
    partition: &'a Partition,
    id: &'a QueueId,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
    /// The keys of the chunks that go in the same round trip.
    ahead: Vec<String>,
    message: Arc<Message>,
    addressees: Vec<Vec<Addressee>>,
    incarnation: Option<Incarnation>,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        partition: &'a Partition,
        id: &'a QueueId,
        new: &NewMessage,
    ) -> Result<Self, EnqueueError> {
        let keys = partition.keys();
        let incarnation = partition.lease().incarnation();
        let addressees = addressees(new)?;
        let message = Arc::new(Message::of(&new.envelope, new.received.clone(), new.dkim.clone()));
        // With nothing to deliver there is nothing to keep; chunks written before the end of DATA are removed.
        let ahead = if new.deliveries.is_empty() { Vec::new() } else { ahead(partition, id, new) };
        let chunks = if new.deliveries.is_empty() {
            new.body.chunks() - new.body.ahead().count() as u32
        } else {
            new.body.chunks()
        };
        let named = addressees.iter().map(Vec::len).sum::<usize>();
        let mut all_keys = vec![keys.named("meta"), keys.message(id), keys.tombstone(id), keys.named("pods")];
        all_keys.push(incarnation.map_or_else(|| keys.named("meta"), |incarnation| keys.claims(incarnation)));
        all_keys.extend((0..chunks).map(|chunk| keys.body(id, chunk)));
        let mut lanes: Vec<String> =
            new.deliveries.iter().map(|delivery| keys.lane(&delivery.lane)).collect();
        lanes.sort_unstable();
        lanes.dedup();
        all_keys.extend(lanes);
        let mut args: Vec<Vec<u8>> = vec![
            keys.prefix().into(),
            id.to_string().into(),
            incarnation.map(|incarnation| incarnation.to_string()).unwrap_or_default().into(),
            chunks.to_string().into(),
            codec::encode_message(&message),
            partition.config().as_str().into(),
            (new.envelope.recipients.len() - named).to_string().into(),
        ];
        for (delivery, addressees) in new.deliveries.iter().zip(&addressees) {
            args.extend(of_delivery(delivery, addressees));
        }
        Ok(Self { partition, id, keys: all_keys, args, ahead, message, addressees, incarnation })
    }

    /// Asks once.
    pub(super) async fn send(&self, new: &NewMessage, limit: Duration) -> Result<Value, Unavailable> {
        let keys: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        let args: Vec<&[u8]> = self.args.iter().map(Vec::as_slice).collect();
        let chunks = self.ahead.iter().zip(new.body.ahead());
        let ahead: Vec<Ahead<'_>> =
            chunks.map(|(key, (_, value))| Ahead { key, value, ttl: CHUNK_TTL }).collect();
        let replicas = match self.partition.durability() {
            Durability::Synced | Durability::Unchecked => 0,
            Durability::Replicated(replicas) => replicas,
        };
        let call = connection::Call { script: &script::ENQUEUE, keys: &keys, args: &args };
        let connections = self.partition.connections();
        connections.run_durably(&ahead, &call, limit, replicas).await
    }

    /// What the store answered.
    pub(super) fn read(self, answer: Value, new: NewMessage) -> Result<Enqueued, EnqueueError> {
        let mut answer = Fields::of(answer)?;
        let verdict = answer.text()?;
        match verdict.as_str() {
            "ok" | "again" => {}
            "aborted" => return Err(EnqueueError::Aborted),
            "nobody" => return Err(EnqueueError::BodyGone),
            "notopen" => {
                let partition = self.partition.name().as_str().into();
                return Err(EnqueueError::NotOpen { partition, state: answer.text()?.into() });
            }
            other => {
                return Err(
                    Unavailable::unreadable(format_args!("{other:?}"), "an answer of enqueue.lua").into()
                );
            }
        }
        self.partition.lease().saw_accepted(answer.number()?);
        let now = Due::from_unix_millis(answer.number()?);
        let mut claimed = Vec::new();
        let chunks = new.body.chunks();
        for (number, (delivery, addressees)) in (0..).zip(new.deliveries.into_iter().zip(self.addressees)) {
            let (true, Some(holder)) = (answer.number()? == 1, self.incarnation) else { continue };
            let id = DeliveryId { message: self.id.clone(), number };
            let delivery = Delivery {
                id: id.clone(),
                kind: Kind::Message,
                lane: delivery.lane,
                message: Arc::clone(&self.message),
                recipients: addressees,
                report: Report::default(),
                history: History::default(),
                expires: now.after(delivery.expires_in),
                crashes: 0,
            };
            claimed.push(Claimed::new(Claim::new(id, holder, ClaimNumber::FIRST), delivery, chunks, now));
        }
        Ok(Enqueued { receipt: Receipt { id: self.id.clone() }, claimed })
    }
}

/// The addressees of each delivery.
fn addressees(new: &NewMessage) -> Result<Vec<Vec<Addressee>>, EnqueueError> {
    let mut seen = HashSet::new();
    let mut of = |number: u32| {
        let recipient = new.envelope.recipients.get(number as usize).filter(|_| seen.insert(number));
        let recipient = recipient.ok_or(EnqueueError::Recipient(number))?.clone();
        Ok(Addressee { number, recipient })
    };
    new.deliveries
        .iter()
        .map(|delivery| delivery.recipients.iter().map(|number| of(*number)).collect())
        .collect()
}

fn ahead(partition: &Partition, id: &QueueId, new: &NewMessage) -> Vec<String> {
    new.body.ahead().map(|(chunk, _)| partition.keys().body(id, chunk)).collect()
}

fn of_delivery(delivery: &NewDelivery, addressees: &[Addressee]) -> [Vec<u8>; 6] {
    let (start, argument) = match &delivery.start {
        Start::Claimed => ("C", String::new()),
        Start::After(wait) => ("L", millis(*wait).to_string()),
        Start::Held(reason) => ("H", crate::hold::cut(reason).to_owned()),
    };
    [
        start.into(),
        delivery.lane.to_string().into(),
        millis(delivery.expires_in).to_string().into(),
        codec::list(addressees.iter().map(|addressee| addressee.number)).into(),
        codec::encode(&addressees),
        argument.into(),
    ]
}
