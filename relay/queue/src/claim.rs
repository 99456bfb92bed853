//! Claims: what an incarnation may try now.
//! **Owns:** [`Claim`], [`Claimed`], claim.lua: expired deliveries and wishes of admins first, then due lanes fairly.
//! **Never:** routing, DNS, the choice of a site.
//! Invariant: I3: a delivery is in one incarnation's claims at most. Invariant: I6: what expired is found whatever is suspended.
//! Invariant: I10: a record that can't be read goes back for a minute.

use std::{collections::HashMap, sync::Arc, time::Duration};

use postrider_mail::{Class, Due, QueueId};
use redis::Value;
use tokio::time::Instant;

use crate::{
    answer::{self, Fields},
    connection::{CALL_LIMIT, Purpose, millis},
    error::Unavailable,
    incarnation::Incarnation,
    lane::{ConfigTag, Lane},
    partition::Partition,
    record::{
        Delivery, DeliveryId, Message,
        codec::{self, Raw},
    },
    release::member,
    script,
};

/// Lanes whose room counts in one call.
pub const MAX_ROOMS: usize = 64;

/// Grows with each claim of one delivery. With the incarnation it is the fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimNumber(u64);

/// An incarnation's right to try a delivery. Only the store's answer makes one.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Claim {
    delivery: DeliveryId,
    holder: Incarnation,
    number: ClaimNumber,
}

/// A claim, and what is claimed.
#[derive(Debug)]
#[must_use]
pub struct Claimed {
    /// The right.
    pub claim: Claim,
    /// The delivery, with all that an attempt needs but the body.
    pub delivery: Delivery,
    /// Set if it is to be ended, not tried.
    pub ending: Option<Ending>,
    /// Set if it is to be tried alone: others died trying it. [`ClaimRequest::may_take_alone`] is false until it is settled.
    pub is_alone: bool,
    /// Chunks of the body.
    pub body_chunks: u32,
    /// The store's time when it was claimed.
    pub claimed_at: Due,
    since: Instant,
}

/// Why a delivery is to be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Its time is over, by the store's clock.
    Expired,
    /// A person said so, and why.
    Bounce(Box<str>),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Deliveries at most; 64 are claimed at most, whatever is asked.
    pub max: u32,
    /// Of one destination, at most: shared among its flows.
    pub per_destination: u32,
    /// Lanes that there is little room for, and how much: what could not start is not claimed. Those beyond [`MAX_ROOMS`] don't count.
    pub rooms: Vec<(Lane, u32)>,
    /// The least urgent class that is claimed; of those below it only what is ending.
    pub least: Class,
    /// Whether one that has to be tried alone may be among them.
    pub may_take_alone: bool,
    /// The longest wait there is: a due further off comes from a clock that has jumped since, and comes down to it.
    pub longest_wait: Duration,
    /// Under which config: suspensions by another one count for nothing.
    pub config: ConfigTag,
}

/// What a claim gave.
#[derive(Debug)]
pub struct ClaimedBatch {
    /// The deliveries, the most urgent first.
    pub claimed: Vec<Claimed>,
    /// When something is next due, as far as the store can tell now; `None`: when something enters a lane.
    pub next: Option<Due>,
    /// The store's time.
    pub now: Due,
    /// Deliveries that this version can't read; they went back for a minute.
    pub unreadable: Vec<DeliveryId>,
}

/// Why nothing could be claimed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// This process has no incarnation in the partition now, or the store says that it is fenced.
    #[error("this process is not registered in the partition, or was fenced")]
    Fenced,
    /// The store gave no answer. What it may have claimed is found by the minute's comparison.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl ClaimNumber {
    pub(crate) const FIRST: Self = Self(1);

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Claim {
    pub(crate) const fn new(delivery: DeliveryId, holder: Incarnation, number: ClaimNumber) -> Self {
        Self { delivery, holder, number }
    }

    /// What is claimed.
    pub const fn delivery(&self) -> &DeliveryId {
        &self.delivery
    }

    /// Whose claim it is.
    pub const fn holder(&self) -> Incarnation {
        self.holder
    }

    /// Which claim of the delivery it is.
    pub const fn number(&self) -> ClaimNumber {
        self.number
    }
}

impl Claimed {
    /// The store's time now, as far as this process can tell: when it was claimed and how long ago that is.
    pub fn store_now(&self) -> Due {
        self.claimed_at.after(self.since.elapsed())
    }

    pub(crate) fn new(claim: Claim, delivery: Delivery, body_chunks: u32, claimed_at: Due) -> Self {
        Self {
            claim,
            delivery,
            ending: None,
            is_alone: false,
            body_chunks,
            claimed_at,
            since: Instant::now(),
        }
    }
}

impl Partition {
    /// Claims deliveries for this process's current incarnation.
    ///
    /// # Errors
    /// If the incarnation is fenced, or the store gave no answer.
    pub async fn claim(&self, request: &ClaimRequest) -> Result<ClaimedBatch, ClaimError> {
        let holder = self.lease().incarnation().ok_or(ClaimError::Fenced)?;
        self.use_config(&request.config);
        let answer = self.call_claim(holder, request).await?;
        let mut answer = Fields::of(answer)?;
        match answer.text()?.as_str() {
            "ok" => {}
            "fenced" => {
                self.lease().fenced(holder);
                return Err(ClaimError::Fenced);
            }
            other => return Err(Unavailable::unreadable(format_args!("{other:?}"), "ok or fenced").into()),
        }
        let now = Due::from_unix_millis(answer.number()?);
        let next = answer.text()?;
        let next = if next.is_empty() { None } else { Some(Due::from_unix_millis(answer::parsed(&next)?)) };
        let mut batch = ClaimedBatch { claimed: Vec::new(), next, now, unreadable: Vec::new() };
        let mut unreadable = Vec::new();
        let mut messages = HashMap::new();
        for entry in answer::array(answer.value()?)? {
            match Entry::read(entry)?.claimed(holder, now, &mut messages) {
                Ok(claimed) => batch.claimed.push(claimed),
                Err(claim) => unreadable.push(claim),
            }
        }
        // Should this fail, the minute's comparison finds them.
        let _ = self.release(&unreadable.iter().collect::<Vec<_>>(), UNREADABLE_WAIT).await;
        batch.unreadable = unreadable.into_iter().map(|claim| claim.delivery).collect();
        Ok(batch)
    }

    /// What an incarnation has claimed, for the minute's comparison with the attempts that run.
    ///
    /// # Errors
    /// If the store gave no answer.
    pub async fn claims_of(
        &self,
        incarnation: Incarnation,
    ) -> Result<Vec<(DeliveryId, ClaimNumber)>, Unavailable> {
        let command = redis::cmd("HGETALL").arg(self.keys().claims(incarnation)).to_owned();
        let answer = answer::array(self.connections().command(Purpose::Admin, &command, CALL_LIMIT).await?)?;
        let mut values = answer.into_iter();
        let mut claims = Vec::new();
        while let (Some(member), Some(number)) = (values.next(), values.next()) {
            claims.push((answer::parsed(&answer::text(member)?)?, ClaimNumber(answer::number(number)?)));
        }
        Ok(claims)
    }

    /// Re-asserts claims after the store came back as another life, perhaps without its last writes: what lies in its lane
    /// again is taken back under its old number. Returns the claims that are lost.
    ///
    /// # Errors
    /// If the store gave no answer, or the incarnation is fenced.
    pub async fn reassert(
        &self,
        claims: &[(DeliveryId, ClaimNumber)],
    ) -> Result<Vec<DeliveryId>, ClaimError> {
        let holder = self.lease().incarnation().ok_or(ClaimError::Fenced)?;
        let keys = [self.keys().named("meta"), self.keys().named("pods"), self.keys().claims(holder)];
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let holder_text = holder.to_string();
        let mut lost = Vec::new();
        for slice in claims.chunks(MAX_CLAIM as usize) {
            let members: Vec<String> =
                slice.iter().map(|(delivery, number)| member(delivery, *number)).collect();
            let mut args: Vec<&[u8]> = vec![self.keys().prefix().as_bytes(), holder_text.as_bytes()];
            args.extend(members.iter().map(String::as_bytes));
            let answer = self
                .connections()
                .run(Purpose::Delivery, &script::REASSERT, &keys, &args, CALL_LIMIT)
                .await?;
            let mut answer = Fields::of(answer)?;
            if answer.text()? == "fenced" {
                self.lease().fenced(holder);
                return Err(ClaimError::Fenced);
            }
            for member in answer::array(answer.value()?)? {
                lost.push(answer::parsed(&answer::text(member)?)?);
            }
        }
        Ok(lost)
    }

    async fn call_claim(&self, holder: Incarnation, request: &ClaimRequest) -> Result<Value, Unavailable> {
        let names = ["meta", "pods"].map(|name| self.keys().named(name));
        let mut keys = names.to_vec();
        keys.push(self.keys().claims(holder));
        keys.extend(["expiry", "suspended"].map(|name| self.keys().named(name)));
        keys.extend(Class::ALL.map(|class| self.keys().named(&format!("lanes:{class}"))));
        let mut args = vec![
            self.keys().prefix().to_owned(),
            holder.to_string(),
            request.max.clamp(1, MAX_CLAIM).to_string(),
            request.per_destination.max(1).to_string(),
            u8::from(request.may_take_alone).to_string(),
            request.config.as_str().to_owned(),
            millis(request.longest_wait).to_string(),
        ];
        let rooms = request.rooms.iter().take(MAX_ROOMS);
        args.push(rooms.len().to_string());
        args.extend(rooms.flat_map(|(lane, room)| [lane.to_string(), room.to_string()]));
        let weight = |class: Class| if class <= request.least { class.weight() } else { 0 };
        args.extend(Class::ALL.iter().flat_map(|class| [class.to_string(), weight(*class).to_string()]));
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        self.connections().run(Purpose::Delivery, &script::CLAIM, &keys, &args, CALL_LIMIT).await
    }
}

/// One claim as the script answers it.
struct Entry {
    delivery: DeliveryId,
    number: ClaimNumber,
    ending: String,
    is_alone: bool,
    chunks: u32,
    message: Vec<u8>,
    raw: Raw,
    wish: String,
}

impl Entry {
    fn read(value: Value) -> Result<Self, Unavailable> {
        let mut fields = Fields::of(value)?;
        let mut entry = Self {
            delivery: answer::parsed(&fields.text()?)?,
            number: ClaimNumber(fields.number()?),
            ending: fields.text()?,
            is_alone: fields.number()? == 1,
            chunks: answer::parsed(&fields.text()?)?,
            message: fields.bytes()?,
            raw: Raw {
                lane: fields.bytes()?,
                expiry: fields.bytes()?,
                recipients: fields.bytes()?,
                addressees: fields.bytes()?,
                history: fields.bytes()?,
                report: fields.bytes()?,
                crashes: fields.bytes()?,
                released: false,
            },
            wish: fields.text()?,
        };
        entry.raw.released = fields.number()? == 1;
        Ok(entry)
    }

    /// What it is, or the claim of what can't be read.
    fn claimed(
        self,
        holder: Incarnation,
        now: Due,
        messages: &mut HashMap<QueueId, Arc<Message>>,
    ) -> Result<Claimed, Claim> {
        let claim = Claim::new(self.delivery.clone(), holder, self.number);
        let id = self.delivery.message.clone();
        let message = match messages.get(&id) {
            Some(message) => Arc::clone(message),
            None => match codec::decode::<Message>("message", &self.message) {
                Ok(message) => Arc::clone(messages.entry(id).or_insert_with(|| Arc::new(message))),
                Err(_) => return Err(claim),
            },
        };
        let Ok(delivery) = self.raw.read(self.delivery, message) else { return Err(claim) };
        let ending = match self.ending.as_str() {
            "" => None,
            "B" => Some(Ending::Bounce(self.wish.get(2..).unwrap_or_default().into())),
            _ => Some(Ending::Expired),
        };
        let claimed = Claimed::new(claim, delivery, self.chunks, now);
        Ok(Claimed { ending, is_alone: self.is_alone, ..claimed })
    }
}

/// How long a record that can't be read stays away.
pub const UNREADABLE_WAIT: Duration = Duration::from_secs(60);
/// Deliveries claimed in one call, at most.
pub const MAX_CLAIM: u32 = 64;
