//! The steps that end attempts and lives: settle, release, suspend, reap, leave.
//! **Owns:** what is done and what the model is told. **Never:** compares.

use std::{collections::BTreeSet, time::Duration};

use postrider_queue::{
    Settled,
    admin::{Which, Wish},
    incarnation::Incarnation,
    model::{Attempt, Pod as Standing},
    reap::Reaped,
    record::DeliveryId,
};
use rand::{Rng, rngs::StdRng};

use super::{
    choice::{self, HOUR},
    run::Run,
    steps::{Step, expect, said},
};

impl Run {
    pub(super) async fn settle(&mut self, rng: &mut StdRng, pod: usize, is_lost: bool) -> Step {
        let count = rng.random_range(1..=6).min(self.pods[pod].hand.len());
        if count == 0 {
            return Ok(());
        }
        let mut batch = Vec::new();
        let mut attempts: Vec<(Incarnation, Attempt)> = Vec::new();
        for _ in 0..count {
            let at = rng.random_range(0..self.pods[pod].hand.len());
            let claimed = self.pods[pod].hand.swap_remove(at);
            let holder = claimed.claim.holder();
            let (settlement, attempt) = choice::settlement(rng, claimed);
            batch.push(settlement);
            attempts.push((holder, attempt));
        }
        let from = self.now().await;
        if is_lost {
            self.proxy.lose_next();
        }
        // Settled until answered, as the relay does.
        let partition = self.pods[pod].partition.clone();
        let settled = loop {
            match partition.settle(batch).await {
                Ok(settled) => break settled,
                Err((back, _)) => batch = back,
            }
        };
        let was_lost = is_lost && self.proxy.has_lost();
        let now = self.since(from).await;
        let mut by_holder: Vec<usize> = (0..attempts.len()).collect();
        by_holder.sort_by_key(|at| attempts[*at].0);
        for at in by_holder {
            let (holder, attempt) = &attempts[at];
            self.tell(format!("  settle {attempt:?} of {holder}: {:?}", settled[at]));
            let applied = self.model.settle(*holder, attempt, now);
            // Asked twice, the second answer may be that the claim is gone; that it changed nothing is seen by comparison.
            if !was_lost {
                expect("settle", settled[at] == Settled::Applied, applied)?;
            }
        }
        Ok(())
    }

    pub(super) async fn release(&mut self, rng: &mut StdRng, pod: usize, is_lost: bool) -> Step {
        let count = rng.random_range(0..=4).min(self.pods[pod].hand.len());
        let given: Vec<_> = self.pods[pod].hand.drain(..count).collect();
        let (wait, from) = (choice::wait(rng), self.now().await);
        let claims: Vec<_> = given.iter().map(|one| &one.claim).collect();
        if is_lost {
            self.proxy.lose_next();
        }
        let partition = self.pods[pod].partition.clone();
        let released = match partition.release(&claims, wait).await {
            Ok(released) => released,
            Err(_) => partition.release(&claims, wait).await.map_err(said("release"))?,
        };
        let was_lost = is_lost && self.proxy.has_lost();
        let now = self.since(from).await;
        let mut expected = 0;
        for claim in claims {
            let number = claim.number().get();
            expected += u64::from(self.model.release(claim.holder(), claim.delivery(), number, wait, now));
        }
        if rng.random_ratio(1, 3) {
            // Whoever released goes on all the same, and settles under a number that is no longer the claim's.
            self.pods[pod].hand.extend(given);
        }
        if was_lost { Ok(()) } else { expect("release", released, expected) }
    }

    pub(super) async fn release_hand(&mut self, pod: usize, wait: Duration) -> Step {
        let from = self.now().await;
        let given: Vec<_> = self.pods[pod].hand.drain(..).collect();
        let claims: Vec<_> = given.iter().map(|one| &one.claim).collect();
        self.pods[pod].partition.release(&claims, wait).await.map_err(said("release"))?;
        let now = self.since(from).await;
        for one in &given {
            self.model.release(one.claim.holder(), one.claim.delivery(), one.claim.number().get(), wait, now);
        }
        // What is to end would come back however long the wait, if a person wants its bounce: it goes, so that the drain ends.
        for one in given.iter().filter(|one| one.ending.is_some()) {
            self.delete(pod, one.claim.delivery()).await?;
        }
        Ok(())
    }

    pub(super) async fn delete(&mut self, pod: usize, delivery: &DeliveryId) -> Step {
        let which = Which::Delivery(delivery.clone());
        let wish = Wish::Delete;
        let from = self.now().await;
        let granted =
            self.pods[pod].partition.wish(&wish, std::slice::from_ref(&which)).await.map_err(said("wish"))?;
        let now = self.since(from).await;
        expect("wish", granted, self.model.wish(&wish, &which, now))
    }

    pub(super) async fn suspend(&mut self, rng: &mut StdRng, pod: usize) -> Step {
        let lane = choice::lane(rng);
        let from = self.now().await;
        let partition = self.pods[pod].partition.clone();
        if rng.random() {
            let wait = *choice::one(rng, &[Duration::from_millis(5), HOUR]);
            partition.suspend(&lane, wait, &self.config).await.map_err(said("suspend"))?;
            let now = self.since(from).await;
            self.model.suspend(&lane, wait, now);
        } else {
            partition.resume(&lane, &self.config).await.map_err(said("resume"))?;
            self.model.resume(&lane);
        }
        Ok(())
    }

    /// One slice of a reap: of one that lives (if the counter is right), or of one that somebody began to reap.
    pub(super) async fn reap(&mut self, rng: &mut StdRng, pod: usize, is_lost: bool) -> Step {
        let known: Vec<(Incarnation, Standing)> = self
            .model
            .pods
            .iter()
            .filter(|(_, standing)| **standing != Standing::Ended)
            .map(|(id, standing)| (*id, *standing))
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        let (dead, standing) = *choice::one(rng, &known);
        let seen = match standing {
            Standing::Live { counter } => counter + u64::from(rng.random_ratio(1, 5)),
            Standing::Reaping { .. } | Standing::Ended => 0,
        };
        self.move_claims(pod, dead, Some(seen), is_lost).await
    }

    pub(super) async fn leave(&mut self, pod: usize) -> Step {
        let Some(life) = self.pods[pod].life() else { return Ok(()) };
        self.move_claims(pod, life, None, false).await
    }

    pub(super) async fn move_claims(
        &mut self,
        pod: usize,
        dead: Incarnation,
        seen: Option<u64>,
        is_lost: bool,
    ) -> Step {
        let (from, before) = (self.now().await, self.scan().await.claims_of(&dead.to_string()));
        if is_lost {
            self.proxy.lose_next();
        }
        let partition = self.pods[pod].partition.clone();
        let call = async || match seen {
            Some(seen) => partition.reap(dead, seen).await,
            None => partition.leave(dead).await,
        };
        let answer = match call().await {
            Ok(answer) => answer,
            Err(_) => call().await.map_err(said("reap"))?,
        };
        let was_lost = is_lost && self.proxy.has_lost();
        let (now, after) = (self.since(from).await, self.scan().await);
        let left = after.claims_of(&dead.to_string());
        let moved: BTreeSet<&DeliveryId> = before.difference(&left).collect();
        let is_fenced = self.model.fence(dead, seen);
        expect("reap: fenced", answer != Reaped::Alive, is_fenced)?;
        for id in &moved {
            self.model.reaped(dead, id, now)?;
        }
        match answer {
            Reaped::Alive => expect("reap: alive, moved", moved.len(), 0)?,
            Reaped::More { moved: told } if !was_lost => {
                expect("reap: more", (told as usize, left.is_empty()), (moved.len(), false))?;
            }
            Reaped::Done { moved: told } if !was_lost => {
                expect("reap: done", (told as usize, left.is_empty()), (moved.len(), true))?;
            }
            Reaped::More { .. } | Reaped::Done { .. } => {}
        }
        if matches!(answer, Reaped::Done { .. }) {
            self.model.reap_ended(dead);
        }
        let state = after.pod(&dead.to_string()).unwrap_or_default();
        expect("reap: state", state.starts_with('L'), answer == Reaped::Alive)
    }
}
