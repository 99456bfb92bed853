//! What a request does: reads of the queue, and wishes.
//! **Owns:** the walk over partitions. **Never:** the socket.

use postrider_mail::{Mailbox, PartitionName, QueueId};
use postrider_queue::{
    Lane, Partition, RouteName, Unavailable,
    admin::{Granted, Which, Wish},
    inspect::Filter,
    shards::Shards,
};
use serde_json::{Value, json};
use tokio::io::AsyncWrite;

use super::{Action, Refused, Request, Target, send, view};
use crate::dispatch::Dispatcher;

/// How many of the longest lanes are shown.
const TOP_LANES: u32 = 20;

/// What requests act on.
pub struct Control {
    /// The queue.
    pub queue: Shards,
    /// Woken when something has become due.
    pub dispatcher: Dispatcher,
}

/// What a target comes to.
enum Scope {
    One(Partition, QueueId),
    Walk(Filter),
}

impl Control {
    /// Answers one request, a line a value.
    ///
    /// # Errors
    /// The request can't be done; the text says why.
    pub async fn answer(&self, request: Request, out: &mut (impl AsyncWrite + Unpin)) -> Result<(), Refused> {
        match request {
            Request::Queue => self.totals(out).await,
            Request::List { lane, held, limit } => self.list(lane.as_deref(), held, limit, out).await,
            Request::Inspect { id } => {
                let (partition, id) = self.message(&id)?;
                match partition.inspect(&id).await? {
                    Some(seen) => Ok(send(out, &view::message(&seen)).await?),
                    None => Err(gone(&id)),
                }
            }
            Request::Trace { id } => {
                let (partition, id) = self.message(&id)?;
                for event in partition.trace(&id).await? {
                    send(out, &view::event(&event)).await?;
                }
                Ok(())
            }
            Request::Act { action, target } => self.act(action, target, out).await,
            Request::Suspend { lane } => {
                let lane = parse_lane(&lane)?.destination();
                for partition in self.queue.partitions() {
                    partition.suspend_by_hand(&lane).await?;
                }
                Ok(send(out, &json!({ "lane": lane.to_string(), "state": "suspended" })).await?)
            }
            Request::Resume { lane } => {
                let lane = parse_lane(&lane)?.destination();
                self.dispatcher.resume(&lane);
                for partition in self.queue.partitions() {
                    partition.resume_by_hand(&lane).await?;
                    self.dispatcher.wake(partition.name());
                }
                Ok(send(out, &json!({ "lane": lane.to_string(), "state": "resumed" })).await?)
            }
            Request::Adopt { shard } => {
                let name =
                    PartitionName::parse(&shard).map_err(|err| Refused::Request(format!("shard: {err}")))?;
                let uuid = self.queue.adopt(&name).await.map_err(|err| Refused::Request(err.to_string()))?;
                Ok(send(out, &json!({ "shard": shard, "uuid": uuid })).await?)
            }
        }
    }

    async fn totals(&self, out: &mut (impl AsyncWrite + Unpin)) -> Result<(), Refused> {
        for partition in self.queue.partitions() {
            let line = match self.totals_of(&partition).await {
                Ok(value) => value,
                Err(error) => json!({ "shard": partition.name().as_str(), "error_text": error.to_string() }),
            };
            send(out, &line).await?;
        }
        Ok(())
    }

    async fn totals_of(&self, partition: &Partition) -> Result<Value, Unavailable> {
        let totals = partition.figures().await?;
        let (oldest, now) = partition.oldest_due().await?;
        let lanes = partition.top_lanes(TOP_LANES).await?;
        let oldest: serde_json::Map<_, _> = oldest
            .into_iter()
            .map(|(class, due)| (class.to_string(), json!(due.until(now).as_secs())))
            .collect();
        Ok(json!({
            "shard": partition.name().as_str(),
            "totals": view::figures(&totals),
            "oldest_due_seconds": oldest,
            "lanes": lanes.iter().map(view::lane).collect::<Vec<_>>(),
        }))
    }

    async fn list(
        &self,
        lane: Option<&str>,
        held_only: bool,
        limit: u32,
        out: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Refused> {
        let filter = Filter { lane: lane.map(parse_lane).transpose()?, held_only, ..Filter::default() };
        let mut left = limit;
        for partition in self.queue.partitions() {
            let mut cursor = None;
            loop {
                let page = partition.list(&filter, cursor).await?;
                for seen in page.deliveries.iter().take(left as usize) {
                    send(out, &view::delivery(seen)).await?;
                    left -= 1;
                }
                cursor = page.next;
                if cursor.is_none() || left == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn act(
        &self,
        action: Action,
        target: Target,
        out: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Refused> {
        let wish = wish(action);
        let mut granted = Granted::default();
        let mut add = |more: Granted| {
            granted.done += more.done;
            granted.recorded += more.recorded;
            granted.passed_over += more.passed_over;
        };
        match self.scope(target)? {
            Scope::One(partition, id) => {
                add(partition.wish(&wish, &[Which::Message(id)]).await?);
                self.dispatcher.wake(partition.name());
            }
            Scope::Walk(filter) => {
                for partition in self.queue.partitions() {
                    let mut cursor = None;
                    loop {
                        let (some, next) = partition.wish_page(&wish, &filter, cursor).await?;
                        add(some);
                        self.dispatcher.wake(partition.name());
                        cursor = next;
                        if cursor.is_none() {
                            break;
                        }
                    }
                }
            }
        }
        let line =
            json!({ "done": granted.done, "recorded": granted.recorded, "passed_over": granted.passed_over });
        Ok(send(out, &line).await?)
    }

    fn message(&self, text: &str) -> Result<(Partition, QueueId), Refused> {
        let id: QueueId = text.parse().map_err(|err| Refused::Request(format!("id: {err}")))?;
        let partition = self.queue.get(id.partition()).ok_or_else(|| {
            Refused::Request(format!(
                "id: found shard {:?}; expected one that this relay has",
                id.partition().as_str()
            ))
        })?;
        Ok((partition, id))
    }

    fn scope(&self, target: Target) -> Result<Scope, Refused> {
        let filter = match target {
            Target::Id(id) => {
                let (partition, id) = self.message(&id)?;
                return Ok(Scope::One(partition, id));
            }
            Target::Lane(lane) => Filter { lane: Some(parse_lane(&lane)?), ..Filter::default() },
            Target::Sender(sender) => {
                let sender: Mailbox =
                    sender.parse().map_err(|err| Refused::Request(format!("sender: {err}")))?;
                Filter { sender: Some(sender), ..Filter::default() }
            }
            Target::Rule(rule) => {
                let route =
                    RouteName::parse(&rule).map_err(|err| Refused::Request(format!("rule: {err}")))?;
                Filter { route: Some(route), ..Filter::default() }
            }
        };
        Ok(Scope::Walk(filter))
    }
}

fn gone(id: &QueueId) -> Refused {
    Refused::Request(format!(
        "id: found no message {id} in the queue; `ctl trace {id}` tells what became of it lately"
    ))
}

fn parse_lane(text: &str) -> Result<Lane, Refused> {
    text.parse().map_err(|err| Refused::Request(format!("lane: {err}")))
}

fn wish(action: Action) -> Wish {
    match action {
        Action::Retry => Wish::RetryNow,
        Action::Hold => Wish::Hold("held by an administrator".into()),
        Action::Release => Wish::ReleaseHeld,
        Action::Bounce => Wish::BounceNow("returned by an administrator".into()),
        Action::Delete => Wish::Delete,
    }
}
