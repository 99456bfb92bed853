//! The way to the right to send: a place at the site, and what its pace and the whole fleet's limits ask for.
//! **Owns:** in which order they are asked, what waits with its connection and what goes back. **Never:** counts.
//! What waits for little is asked last: a slot is kept as long as a connection, a token is used at once.

use std::{sync::Arc, time::Duration};

use postrider_core::limits::urgency;
use postrider_mail::ReversePath;
use postrider_queue::limit::Limiter;
use tokio::time::Instant;

use super::{Held, Lease, NoConnection, NotTried, Order, Permit, PutOff, Room, Run, Shared, Site, Who};
use crate::client::{Connection, Over};

/// How long an attempt waits for a connection of its site.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long mail stays away whose site had no connection for it.
const CROWDED_WAIT: Duration = Duration::from_secs(2);
/// How long a far side may take to answer QUIT where the fleet counts its connections.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// One of the site's connections, or the right to open one.
pub(super) struct Place {
    pub(super) lease: Lease<Held>,
    /// The fleet's slot for one that is to be opened, where it counts them.
    pub(super) permit: Option<Permit>,
}

/// Whose mail it is, to limits.
pub(in crate::site) fn who<'a>(order: &Order<'a>) -> Who<'a> {
    let lane = &order.delivery.lane;
    Who { lane, urgency: urgency(lane.class, *order.delivery.sender() == ReversePath::Null) }
}

/// Mail that a limit lets wait. Counts it.
pub(in crate::site) fn not_tried(shared: &Shared, put_off: PutOff) -> NotTried {
    shared.metrics.outbound.limit_waits.with_label_values(&[put_off.limited.limiter.as_str()]).inc();
    let why = match put_off.limited.limiter {
        Limiter::Pace => "the far side wants mail slower",
        Limiter::WarmUp => "the sources that it may leave by have carried what they may today",
        Limiter::MessageRate | Limiter::ConnectionRate | Limiter::Connections => {
            "a limit of the fleet lets it wait"
        }
    };
    NotTried { wait: put_off.limited.wait, why, is_site_down: false, put_off: Some(put_off) }
}

/// Waits for one of the site's connections, or the right to open one.
pub(super) async fn connection(
    shared: &Shared,
    site: &Arc<Site>,
    over: Over<'_>,
    who: Who<'_>,
) -> Result<Place, NotTried> {
    let not_tried = |wait, why, is_site_down| NotTried { wait, why, is_site_down, put_off: None };
    site.look(who).map_err(|put_off| self::not_tried(shared, put_off))?;
    match site.pulse.start(shared.clock.now()) {
        Room::For(limit) => site.pool.admit(limit),
        Room::Suspended(wait) => return Err(not_tried(wait, "the site is suspended", true)),
    }
    let until = Instant::now() + WAIT_MAX;
    loop {
        let taken = tokio::select! {
            biased;
            () = over.wait() => return Err(not_tried(Duration::ZERO, "this relay's claim is over", false)),
            taken = site.pool.take(until, who.turn()) => taken,
        };
        let lease = taken.map_err(|why| match why {
            NoConnection::Suspended => match site.pulse.start(shared.clock.now()) {
                Room::Suspended(wait) => not_tried(wait, "the site is suspended", true),
                Room::For(_) => {
                    not_tried(CROWDED_WAIT, "the site was suspended, or others went first", false)
                }
            },
            NoConnection::Crowded => not_tried(CROWDED_WAIT, "too many wait for the site", false),
            NoConnection::TooLate => not_tried(CROWDED_WAIT, "no connection of the site came free", false),
        })?;
        if lease.is_kept() {
            return Ok(Place { lease, permit: None });
        }
        match may_open(site, who).await {
            Ok(permit) => return Ok(Place { lease, permit }),
            // One of those that are open comes free.
            Err(_) if lease.refused() => {}
            Err(put_off) => {
                site.fleet.missed(who, put_off);
                let _ = site.pulse.finish(None, shared.clock.now());
                return Err(self::not_tried(shared, put_off));
            }
        }
    }
}

/// Asks whether a connection may be opened. The slot comes first: it can be given back.
async fn may_open(site: &Site, who: Who<'_>) -> Result<Option<Permit>, PutOff> {
    let permit = match &site.fleet.connections {
        Some((gate, most)) => Some(gate.take(who.is_urgent(), *most).await?),
        None => None,
    };
    if let Some(gate) = &site.fleet.new_connections {
        gate.token(who).await?;
    }
    Ok(permit)
}

impl Run<'_> {
    /// Asks whether another connection may be opened. If not, the attempt is over.
    pub(super) async fn may_open(&mut self) -> bool {
        if std::mem::take(&mut self.may_open) {
            return true;
        }
        if let Some(gate) = &self.site.fleet.new_connections
            && let Err(put_off) = gate.token(self.who).await
        {
            self.put_off = Some(put_off);
        }
        self.put_off.is_none()
    }

    /// Asks whether the message may be sent now. If not, the attempt is over, unless others of it have it: then it waits here.
    pub(super) async fn may_send(&mut self, has_begun: bool) -> bool {
        if self.is_asked() {
            return false;
        }
        let until = (Instant::now() + WAIT_MAX).min(self.fence.until);
        loop {
            match self.site.may_send(self.who).await {
                Ok(()) => return true,
                Err(put_off) if has_begun && Instant::now() + put_off.limited.wait < until => {
                    tokio::select! {
                        biased;
                        () = self.fence.over.wait() => {}
                        () = tokio::time::sleep(put_off.limited.wait) => continue,
                    }
                    self.put_off = Some(put_off);
                }
                Err(put_off) => self.put_off = Some(put_off),
            }
            return false;
        }
    }

    /// Closes a connection. Where the fleet counts them, the far side has closed it too before another is opened.
    pub(super) async fn close(&mut self, connection: Connection) {
        match &mut self.permit {
            None => connection.close(),
            Some(permit) => {
                if connection.part(FAREWELL_MAX).await {
                    permit.closed();
                }
            }
        }
    }
}
