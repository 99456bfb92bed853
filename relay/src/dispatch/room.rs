//! The memory that bodies of attempts may take.
//! **Owns:** how much, how it is shared out, the wait for it. **Never:** a body.
//!
//! An attempt at a far side that doesn't listen keeps its body for minutes. So small bodies never wait behind large ones, and
//! no destination gets more than a part of either kind's room: a handful of such far sides leaves room for the mail of others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use postrider_queue::Lane;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A body up to this size is small: it fits into one chunk of the queue, and most do.
const SMALL_KIB: u32 = 256;
/// What small bodies may take together.
const SMALL_ROOM_KIB: u32 = 64 * 1_024;
/// What larger ones may take together.
const LARGE_ROOM_KIB: u32 = 192 * 1_024;
/// One destination takes at most this part of a kind's room.
const DESTINATION_SHARE: u32 = 4;
/// Destinations remembered before those without a body are forgotten.
const REMEMBERED_DESTINATIONS: usize = 4_096;

/// The room. Cloning shares it.
#[derive(Clone)]
pub struct Rooms {
    small: Arc<Room>,
    large: Arc<Room>,
}

struct Room {
    kib: u32,
    all: Arc<Semaphore>,
    destinations: Mutex<HashMap<Lane, Weak<Semaphore>>>,
}

/// Room for one body. Dropping it gives it back.
#[must_use]
pub struct Place {
    // The destination's part keeps its semaphore alive.
    _of_destination: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { small: Arc::new(Room::new(SMALL_ROOM_KIB)), large: Arc::new(Room::new(LARGE_ROOM_KIB)) }
    }
}

impl Rooms {
    /// Room for a body of this size, if there is some now.
    pub fn enter_now(&self, lane: &Lane, bytes: u64) -> Option<Place> {
        let (room, kib) = self.room_of(bytes);
        let part = room.part_of(lane).try_acquire_many_owned(kib).ok()?;
        let of_all = room.all.clone().try_acquire_many_owned(kib).ok()?;
        Some(Place { _of_destination: part, _of_all: of_all })
    }

    /// The same, once there is some: those to one destination wait in their order, then those to all.
    pub async fn enter(&self, lane: &Lane, bytes: u64) -> Option<Place> {
        let (room, kib) = self.room_of(bytes);
        let part = room.part_of(lane).acquire_many_owned(kib).await.ok()?;
        let of_all = room.all.clone().acquire_many_owned(kib).await.ok()?;
        Some(Place { _of_destination: part, _of_all: of_all })
    }

    /// Where a body belongs, and what it takes there: one larger than a destination's part takes all of that.
    fn room_of(&self, bytes: u64) -> (&Room, u32) {
        let kib = u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX).max(1);
        let room = if kib <= SMALL_KIB { &self.small } else { &self.large };
        (room, kib.min(room.kib / DESTINATION_SHARE))
    }
}

impl Room {
    fn new(kib: u32) -> Self {
        Self { kib, all: Arc::new(Semaphore::new(kib as usize)), destinations: Mutex::default() }
    }

    /// What the destination of a lane may have of it. It lives as long as somebody has, or waits for, a part of it.
    fn part_of(&self, lane: &Lane) -> Arc<Semaphore> {
        let destination = lane.destination();
        let mut known = self.destinations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = known.get(&destination).and_then(Weak::upgrade) {
            return part;
        }
        if known.len() >= REMEMBERED_DESTINATIONS {
            known.retain(|_, part| part.strong_count() > 0);
        }
        let new = Arc::new(Semaphore::new((self.kib / DESTINATION_SHARE) as usize));
        known.insert(destination, Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use postrider_mail::{Class, Domain};
    use postrider_queue::RouteName;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn lane(number: usize) -> Lane {
        let domain = Domain::parse(&format!("d{number}.example")).expect("a domain");
        Lane { class: Class::Normal, domain, route: RouteName::default_route(), flow: None }
    }

    /// Takes what a lane can get.
    fn fill(rooms: &Rooms, lane: &Lane, bytes: u64) -> Vec<Place> {
        std::iter::from_fn(|| rooms.enter_now(lane, bytes)).collect()
    }

    #[test]
    fn large_bodies_keep_no_small_one_out_and_no_lane_takes_all() {
        let rooms = Rooms::default();
        let first = fill(&rooms, &lane(0), 20 * MIB);
        assert_eq!(first.len(), 2, "of 48 MiB");
        assert!(rooms.enter_now(&lane(1), 20 * MIB).is_some(), "another lane's large body");
        let flood: Vec<_> = (1..100).map(|number| fill(&rooms, &lane(number), 20 * MIB)).collect();
        assert_eq!(flood.iter().map(Vec::len).sum::<usize>(), 7, "of 192 MiB");
        assert!(rooms.enter_now(&lane(0), 2_000).is_some(), "a small one");
        drop(first);
        assert!(rooms.enter_now(&lane(200), 20 * MIB).is_some(), "what was given back");
        let small = fill(&rooms, &lane(0), 256 << 10);
        assert_eq!(small.len(), 64, "of 16 MiB");
        assert!(rooms.enter_now(&lane(1), 256 << 10).is_some());
    }

    #[test]
    fn a_body_larger_than_all_room_is_alone_in_its_lane() {
        let rooms = Rooms::default();
        let place = rooms.enter_now(&lane(0), 1 << 40).expect("room");
        assert!(rooms.enter_now(&lane(0), MIB).is_none());
        drop(place);
        assert!(rooms.enter_now(&lane(0), MIB).is_some());
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_given_back_and_lanes_are_forgotten() {
        let rooms = Rooms::default();
        let mut held = fill(&rooms, &lane(0), 20 * MIB);
        let (waiting, of) = (rooms.clone(), lane(0));
        let waits = tokio::spawn(async move { waiting.enter(&of, 20 * MIB).await.is_some() });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        held.pop();
        assert!(waits.await.expect("it ends"));
        drop(held);
        for number in 0..2 * REMEMBERED_DESTINATIONS {
            drop(rooms.enter_now(&lane(number), 1));
        }
        let known = rooms.small.destinations.lock().unwrap_or_else(PoisonError::into_inner).len();
        assert!(known <= REMEMBERED_DESTINATIONS, "{known}");
    }
}
