//! The steps: every operation of the queue, with and without its answer, by the living and the fenced.
//! **Owns:** what is done and what the model is told. **Never:** compares.

use std::{collections::BTreeSet, time::Duration};

use postrider_mail::{Class, Envelope, Recipient, ReversePath};
use postrider_queue::{
    ClaimRequest, EnqueueError, Kind, NewDelivery, NewMessage, Unavailable,
    admin::Which,
    claim::ClaimError,
    incarnation::Incarnation,
    model::{Incoming, Pod as Standing, Span},
    reap::Beat,
    record::DeliveryId,
    settle::Fact,
};
use rand::{Rng, rngs::StdRng};

use super::{choice, run::Run};
use crate::world;

pub(super) type Step = Result<(), String>;

impl Run {
    pub(super) async fn step(&mut self, rng: &mut StdRng, step: u64) -> Step {
        let pod = rng.random_range(0..self.pods.len());
        let is_lost = rng.random_ratio(1, 6);
        let kind = rng.random_range(0..100);
        self.tell(format!("step {step}: kind {kind}, pod {pod}, answer lost {is_lost}"));
        match kind {
            0..8 => self.revive(pod).await,
            8..12 => self.beat(pod).await,
            12..28 => self.enqueue(rng, pod, is_lost).await,
            28..30 => self.enqueue_many(rng, pod).await,
            30..33 => self.enqueue_unheard(rng, pod).await,
            33 | 34 => self.confirm_aborts(pod).await,
            35..51 => {
                let (max, per_destination, alone) =
                    (rng.random_range(1..=12), rng.random_range(1..=6), rng.random_ratio(3, 4));
                if is_lost {
                    self.claim_unheard(pod, max).await
                } else {
                    self.claim(pod, max, per_destination, alone).await.map(drop)
                }
            }
            51..68 => {
                let is_lost = rng.random_ratio(1, 3);
                self.settle(rng, pod, is_lost).await
            }
            68..73 => self.release(rng, pod, is_lost).await,
            73..76 => self.suspend(rng, pod).await,
            76..81 => self.reap(rng, pod, is_lost).await,
            81 => self.leave(pod).await,
            82..85 => self.tell_facts(rng, pod).await,
            85..93 => self.wish(rng, pod, is_lost).await,
            93..95 => self.reassert(pod).await,
            95..97 => self.release_unknown(pod).await,
            _ => {
                tokio::time::sleep(Duration::from_millis(rng.random_range(1..15))).await;
                Ok(())
            }
        }
    }

    /// A new life, if the pod has none.
    pub(super) async fn revive(&mut self, pod: usize) -> Step {
        if self.pods[pod]
            .life()
            .is_some_and(|life| matches!(self.model.pods.get(&life), Some(Standing::Live { .. })))
        {
            return Ok(());
        }
        let life = Incarnation::random();
        let partition = &self.pods[pod].partition;
        if let Some(former) = partition.lease().incarnation() {
            partition.lease().fenced(former);
        }
        partition.register(life).await.map_err(said("register"))?;
        partition.lease().registered(life, partition.lease().clock().now());
        self.model.register(life);
        // From here on its enqueues know the config that suspensions are made under.
        self.claim(pod, 1, 1, true).await.map(drop)
    }

    async fn beat(&mut self, pod: usize) -> Step {
        let Some(life) = self.pods[pod].life() else { return Ok(()) };
        let beat = self.pods[pod].partition.beat(life).await.map_err(said("beat"))?;
        expect("beat", beat == Beat::Confirmed, self.model.beat(life))
    }

    pub(super) async fn enqueue(&mut self, rng: &mut StdRng, pod: usize, is_lost: bool) -> Step {
        let size = rng.random_range(1..=5);
        let deliveries = choice::deliveries(rng, size);
        if is_lost {
            self.proxy.lose_next();
        }
        self.take_in(pod, size, deliveries, rng.random_ratio(4, 5), Duration::from_secs(20)).await?;
        let _ = self.proxy.has_lost();
        Ok(())
    }

    async fn enqueue_many(&mut self, rng: &mut StdRng, pod: usize) -> Step {
        let deliveries = choice::many(rng, 130);
        self.take_in(pod, 130, deliveries, true, Duration::from_secs(20)).await
    }

    /// The answer is lost, and patience with it: the message is to be taken back, now or later.
    async fn enqueue_unheard(&mut self, rng: &mut StdRng, pod: usize) -> Step {
        let size = rng.random_range(1..=3);
        let deliveries = choice::deliveries(rng, size);
        self.proxy.lose_next();
        self.take_in(pod, size, deliveries, true, Duration::from_millis(30)).await?;
        let _ = self.proxy.has_lost();
        if rng.random() { self.confirm_aborts(pod).await } else { Ok(()) }
    }

    async fn take_in(
        &mut self,
        pod: usize,
        size: u32,
        deliveries: Vec<NewDelivery>,
        has_sender: bool,
        patience: Duration,
    ) -> Step {
        let from = self.now().await;
        let partition = self.pods[pod].partition.clone();
        let id = partition.new_id();
        let mut body = partition.body_writer(&id);
        body.write(b"Subject: model\r\n\r\nhello\r\n").await.map_err(|why| why.to_string())?;
        let named: usize = deliveries.iter().map(|delivery| delivery.recipients.len()).sum();
        let message = NewMessage {
            envelope: envelope(size, has_sender),
            received: world::received(),
            dkim: Default::default(),
            body: body.finish(),
            deliveries: deliveries.clone(),
        };
        let answer = partition.enqueue(message, patience).await;
        let now = self.since(from).await;
        let discarded = size - named as u32;
        let new = Incoming { by: self.pods[pod].life(), has_sender, discarded, deliveries: &deliveries };
        match answer {
            Ok(enqueued) => {
                let claimed = enqueued.claimed.iter().map(|one| one.claim.delivery().number).collect();
                self.pods[pod].hand.extend(enqueued.claimed);
                self.model.enqueue(&id, &new, &claimed, now)
            }
            Err(EnqueueError::Unavailable(Unavailable::Unanswered { .. }))
                if patience < Duration::from_secs(1) =>
            {
                let claimed = self.scan().await.claimed_of(&id);
                self.model.enqueue(&id, &new, &claimed, now)
            }
            Err(why) => Err(format!("enqueue: {why}")),
        }
    }

    async fn confirm_aborts(&mut self, pod: usize) -> Step {
        let partition = self.pods[pod].partition.clone();
        let before = self.scan().await;
        while partition.aborts_pending() > 0 {
            let _ = tokio::time::timeout(Duration::from_millis(30), partition.run_aborts()).await;
        }
        // Which messages those were is the partition's own; what is gone says it, what isn't must have been tried.
        let after = self.scan().await;
        let gone = before.deliveries.keys().filter(|id| !after.deliveries.contains_key(id));
        let messages: BTreeSet<_> = gone.map(|id| id.message.clone()).collect();
        messages.iter().for_each(|id| self.model.abort(id));
        Ok(())
    }

    /// Claims; returns how many it got.
    pub(super) async fn claim(
        &mut self,
        pod: usize,
        max: u32,
        per_destination: u32,
        may_take_alone: bool,
    ) -> Result<usize, String> {
        let Some(life) = self.pods[pod].life() else { return Ok(0) };
        let from = self.now().await;
        let could = self.model.has_claimable(Span { from, until: from });
        let request = ClaimRequest {
            max,
            per_destination,
            least: Class::Bulk,
            may_take_alone,
            rooms: Vec::new(),
            longest_wait: crate::world::LONGEST_WAIT,
            config: self.config.clone(),
        };
        let batch = self.pods[pod].partition.claim(&request).await;
        let now = self.since(from).await;
        let is_live = matches!(self.model.pods.get(&life), Some(Standing::Live { .. }));
        let batch = match batch {
            Ok(batch) => batch,
            Err(ClaimError::Fenced) => return expect("claim: fenced", true, !is_live).map(|()| 0),
            Err(ClaimError::Unavailable(why)) => return Err(format!("claim: {why}")),
        };
        expect("claim: as a living one", true, is_live)?;
        if batch.claimed.is_empty() && could {
            return Err("claim: something can be claimed, and a claim got nothing".to_owned());
        }
        if !batch.unreadable.is_empty() || batch.claimed.len() > max as usize {
            return Err(format!(
                "claim: unreadable {:?}, {} of {max}",
                batch.unreadable,
                batch.claimed.len()
            ));
        }
        let alone = batch.claimed.iter().filter(|one| one.is_alone).count();
        expect("claim: tried alone", true, alone <= usize::from(may_take_alone))?;
        let got = batch.claimed.len();
        for one in batch.claimed {
            let known = self.model.claim(life, one.claim.delivery(), now)?;
            let recipients: Vec<u32> =
                one.delivery.recipients.iter().map(|addressee| addressee.number).collect();
            if one.delivery.kind == Kind::Message {
                expect("claim: recipients", &recipients, &known.recipients)?;
            }
            expect("claim: number", one.claim.number().get(), known.number)?;
            expect("claim: crashes", one.delivery.crashes, known.crashes.0)?;
            self.pods[pod].hand.push(one);
        }
        Ok(got)
    }

    /// A claim whose answer nobody hears: the claims are found by comparison later.
    async fn claim_unheard(&mut self, pod: usize, max: u32) -> Step {
        let Some(life) = self.pods[pod].life() else { return Ok(()) };
        let (from, before) = (self.now().await, self.scan().await.claims_of(&life.to_string()));
        self.proxy.lose_next();
        let request = ClaimRequest {
            max,
            per_destination: 3,
            least: Class::Bulk,
            may_take_alone: true,
            rooms: Vec::new(),
            longest_wait: crate::world::LONGEST_WAIT,
            config: self.config.clone(),
        };
        let answer = self.pods[pod].partition.claim(&request).await;
        if !self.proxy.has_lost() || answer.is_ok() {
            return Err("claim: its answer was not lost".to_owned());
        }
        let (after, now) = (self.scan().await.claims_of(&life.to_string()), self.since(from).await);
        for id in after.difference(&before) {
            self.model.claim(life, id, now)?;
        }
        Ok(())
    }

    async fn tell_facts(&mut self, rng: &mut StdRng, pod: usize) -> Step {
        let Some((delivery, kind)) = choice::any_delivery(rng, &self.model, &self.past) else {
            return Ok(());
        };
        let delivered: Vec<u32> = (0..4).filter(|_| rng.random_ratio(1, 3)).collect();
        let from = self.now().await;
        let is_report = kind != Kind::Message;
        let fact = Fact { delivery: delivery.clone(), delivered: delivered.clone(), is_report };
        self.tell(format!("  fact {fact:?}"));
        self.pods[pod].partition.tell(&[fact]).await.map_err(said("tell"))?;
        let now = self.since(from).await;
        self.model.tell(&delivery, is_report, &delivered, now);
        Ok(())
    }

    async fn wish(&mut self, rng: &mut StdRng, pod: usize, is_lost: bool) -> Step {
        let wish = choice::wish(rng);
        let which = if rng.random() {
            choice::any_message(rng, &self.model).map(Which::Message)
        } else {
            choice::any_delivery(rng, &self.model, &self.past).map(|(id, _)| Which::Delivery(id))
        };
        let Some(which) = which else { return Ok(()) };
        self.tell(format!("  wish {wish:?} of {which:?}"));
        let from = self.now().await;
        if is_lost {
            self.proxy.lose_next();
        }
        let partition = self.pods[pod].partition.clone();
        let which_one = std::slice::from_ref(&which);
        let granted = match partition.wish(&wish, which_one).await {
            Ok(granted) => granted,
            Err(_) => partition.wish(&wish, which_one).await.map_err(said("wish"))?,
        };
        let was_lost = is_lost && self.proxy.has_lost();
        let now = self.since(from).await;
        let expected = self.model.wish(&wish, &which, now);
        if was_lost { Ok(()) } else { expect("wish", granted, expected) }
    }

    /// Nothing was lost by the store, so what is still held is, and what isn't is lost.
    async fn reassert(&mut self, pod: usize) -> Step {
        let Some(life) = self.pods[pod].life() else { return Ok(()) };
        let own = self.pods[pod].hand.iter().map(|one| &one.claim).filter(|claim| claim.holder() == life);
        let claims: Vec<_> = own.map(|claim| (claim.delivery().clone(), claim.number())).collect();
        let is_live = matches!(self.model.pods.get(&life), Some(Standing::Live { .. }));
        let answer = self.pods[pod].partition.reassert(&claims).await;
        match answer {
            Ok(lost) => {
                let is_lost = |id: &DeliveryId, number| {
                    !self.model.find(id).is_some_and(|found| found.is_claimed_by(life, number))
                };
                let expected =
                    claims.iter().filter(|(id, number)| is_lost(id, number.get())).map(|(id, _)| id.clone());
                let (lost, expected): (BTreeSet<_>, BTreeSet<_>) =
                    (lost.into_iter().collect(), expected.collect());
                expect("reassert", lost, expected)
            }
            Err(ClaimError::Fenced) => expect("reassert: fenced", claims.is_empty() || is_live, false),
            Err(ClaimError::Unavailable(why)) => Err(format!("reassert: {why}")),
        }
    }

    /// The minute's comparison.
    async fn release_unknown(&mut self, pod: usize) -> Step {
        let Some(life) = self.pods[pod].life() else { return Ok(()) };
        let partition = self.pods[pod].partition.clone();
        let from = self.now().await;
        let claims = partition.claims_of(life).await.map_err(said("claims_of"))?;
        let hand = &self.pods[pod].hand;
        let is_known =
            |id: &DeliveryId| hand.iter().any(|one| one.claim.holder() == life && one.claim.delivery() == id);
        let unknown: Vec<_> = claims.into_iter().filter(|(id, _)| !is_known(id)).collect();
        let released = partition.release_unknown(life, &unknown).await.map_err(said("release_unknown"))?;
        let now = self.since(from).await;
        let mut expected = 0;
        for (id, number) in &unknown {
            expected += u64::from(self.model.release(life, id, number.get(), Duration::ZERO, now));
        }
        expect("release_unknown", released, expected)
    }
}

fn envelope(size: u32, has_sender: bool) -> Envelope {
    let to = |number| Recipient::new(format!("user{number}@one.example").parse().expect("a mailbox"));
    let sender = "app@near.example".parse().map(ReversePath::Mailbox).expect("a mailbox");
    Envelope {
        sender: if has_sender { sender } else { ReversePath::Null },
        recipients: (0..size).map(to).collect(),
        body: Default::default(),
        smtputf8: false,
        return_content: None,
        envelope_id: None,
        tls: postrider_mail::TlsRequirement::Unsaid,
    }
}

pub(super) fn said(what: &'static str) -> impl Fn(Unavailable) -> String {
    move |why| format!("{what}: {why}")
}

#[expect(clippy::needless_pass_by_value, reason = "both are values made for this")]
pub(super) fn expect<T: PartialEq + std::fmt::Debug>(what: &str, store: T, model: T) -> Step {
    if store == model { Ok(()) } else { Err(format!("{what}: store {store:?}, model {model:?}")) }
}
