//! Tests of the window: shares, suspension, what is remembered. **Owns:** nothing. **Never:** a queue.

use postrider_mail::{Class, Domain};
use postrider_queue::RouteName;

use super::*;

fn lane(domain: &str) -> Lane {
    let domain = Domain::parse(domain).unwrap();
    Lane { class: Class::Normal, domain, route: RouteName::default_route(), flow: None }
}

fn flow(domain: &str, number: usize) -> Lane {
    Lane { flow: Flow::all().nth(number), ..lane(domain) }
}

/// Takes what a lane can get.
fn fill(window: &Window, lane: &Lane) -> Vec<Slot> {
    std::iter::from_fn(|| window.reserve(lane)).collect()
}

#[tokio::test(start_paused = true)]
async fn one_lane_never_takes_the_whole_window() {
    let window = Window::new(1_000);
    let slow = fill(&window, &lane("slow.example"));
    assert!((100..300).contains(&slow.len()), "{}", slow.len());
    assert!(window.reserve(&lane("live.example")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_lanes_leaves_room_for_one_that_delivered_lately() {
    let window = Window::new(1_000);
    let live = lane("live.example");
    drop(window.reserve(&live).unwrap());
    drop(window.reserve(&live).unwrap());
    window.delivered(&live);
    // `delivered` is of a lane with something at work.
    let first = window.reserve(&live).unwrap();
    window.delivered(&live);
    drop(first);
    let flood: Vec<_> = (0..300).flat_map(|n| fill(&window, &lane(&format!("d{n}.example")))).collect();
    assert_eq!(flood.len(), 750 - 1_000 / 16);
    assert!(window.reserve(&lane("other.example")).is_none());
    assert!(window.reserve(&live).is_some());
    tokio::time::advance(PROVEN_FOR).await;
    assert!(window.reserve(&live).is_none(), "what was proven long ago proves nothing now");
}

#[tokio::test(start_paused = true)]
async fn a_suspended_lane_gets_nothing_then_one_probe_then_all() {
    let window = Window::new(100);
    let dead = lane("dead.example");
    window.suspend(&dead, Duration::from_secs(60));
    assert!(window.reserve(&dead).is_none() && window.admit(&dead).is_none());
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(window.reserve(&dead).is_none(), "new mail queues up behind what waits");
    let probe = window.admit(&dead).expect("one goes first");
    assert!(window.admit(&dead).is_none());
    assert!(window.delivered(&dead), "it was on probe");
    assert!(!window.delivered(&dead));
    drop(probe);
    assert!(window.reserve(&dead).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_the_queue_hands_out_of_a_suspended_lane_says_that_it_was_resumed() {
    let window = Window::new(100);
    let lane = lane("back.example");
    window.suspend(&lane, Duration::from_secs(600));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(window.admit(&lane).is_none(), "claimed before the queue was told");
    tokio::time::advance(TOLD_WITHIN).await;
    assert!(window.reserve(&lane).is_none(), "new mail says nothing");
    let probe = window.admit(&lane).expect("one goes first");
    assert!(window.admit(&lane).is_none());
    drop(probe);
}

#[tokio::test(start_paused = true)]
async fn expired_mail_is_admitted_whatever_the_lane_has() {
    let window = Window::new(100);
    let dead = lane("dead.example");
    window.suspend(&dead, Duration::from_secs(60));
    let slot = window.admit_expired(&dead);
    assert_eq!((slot.destination(), window.taken()), (&dead, 1));
    drop(slot);
    assert_eq!(window.taken(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slot_given_back_wakes_who_waits_for_one() {
    let window = Window::new(100);
    let slot = window.reserve(&lane("a.example")).unwrap();
    drop(slot);
    window.freed().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_only_what_is_idle() {
    let window = Window::new(100);
    let (idle, busy, dead) = (lane("idle.example"), lane("busy.example"), lane("dead.example"));
    drop(window.reserve(&idle));
    let slot = window.reserve(&busy);
    window.suspend(&dead, Duration::from_secs(60));
    window.tidy();
    let known = |lane: &Lane| window.lock().destinations.contains_key(lane);
    assert_eq!((known(&idle), known(&busy), known(&dead)), (false, true, true));
    drop(slot);
}

#[tokio::test(start_paused = true)]
async fn what_a_limit_lets_wait_goes_on_without_a_probe_however_well_the_far_side_answers() {
    let window = Window::new(100);
    let lane = lane("far.example");
    let slot = window.reserve(&lane).unwrap();
    assert!(window.limit(&lane, Duration::from_secs(3)), "that is news");
    assert!(!window.limit(&lane, Duration::from_secs(2)), "that isn't");
    assert!(window.reserve(&lane).is_none() && window.admit(&lane).is_none());
    assert_eq!(window.wait_of(&lane), LIMIT_WAIT_MAX, "another relay may send it");
    assert!(!window.delivered(&lane), "nobody has to be told");
    assert!(window.reserve(&lane).is_none(), "it is limited all the same");
    drop(slot);
    tokio::time::advance(Duration::from_secs(3)).await;
    let both = (window.admit(&lane), window.reserve(&lane));
    assert!(both.0.is_some() && both.1.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_flow_finds_room_whatever_another_has_and_then_both_have_the_same() {
    let window = Window::new(2_000);
    let (news, password) = (flow("big.example", 1), flow("big.example", 2));
    let mut many = fill(&window, &news);
    let mut few = fill(&window, &password);
    assert!(many.len() > 150 && few.len() >= 20, "{} and {}", many.len(), few.len());
    // As they end, each takes what it can get, the greedy one first.
    for _ in 0..1_000 {
        many.pop();
        many.extend(window.reserve(&news));
        few.extend(window.reserve(&password));
    }
    let (most, least) = (many.len().max(few.len()), many.len().min(few.len()));
    assert!(most - least <= 4, "{} and {}", many.len(), few.len());
    assert!(window.reserve(&lane("other.example")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_destination_is_suspended_and_probed_as_one_and_limited_by_flow() {
    let window = Window::new(100);
    let (one, two) = (flow("far.example", 1), flow("far.example", 2));
    window.suspend(&one, Duration::from_secs(60));
    assert!(window.admit(&two).is_none());
    tokio::time::advance(Duration::from_secs(60)).await;
    let probe = window.admit(&two).expect("one goes first");
    assert!(window.admit(&one).is_none() && window.reserve(&one).is_none());
    assert_eq!(window.wait_of(&one), PROBE_WAIT);
    assert!(window.delivered(&two));
    drop(probe);
    assert!(window.limit(&one, Duration::from_secs(3)));
    assert!(window.reserve(&one).is_none() && window.reserve(&two).is_some());
    window.resume(&two);
    assert!(window.reserve(&one).is_some(), "somebody says so of the destination");
}

#[tokio::test(start_paused = true)]
async fn bulk_mail_leaves_room_for_what_is_more_urgent() {
    let window = Window::new(1_600);
    let of = |class, n: usize| Lane { class, ..lane(&format!("d{n}.example")) };
    let all_of = |class| -> Vec<Slot> {
        let lanes = (0..1_000).map(|n| of(class, n));
        lanes
            .flat_map(|lane| {
                let mut slots: Vec<Slot> = window.reserve(&lane).into_iter().collect();
                window.delivered(&lane);
                slots.extend(fill(&window, &lane));
                slots
            })
            .collect()
    };
    let bulk = all_of(Class::Bulk);
    assert_eq!((bulk.len(), window.room(Class::Bulk)), (1_400, 0));
    assert!(window.room(Class::Normal) > 0);
    let normal = all_of(Class::Normal);
    assert_eq!((normal.len(), window.room(Class::Normal)), (100, 0));
    assert_eq!(window.room(Class::Transactional), 100);
    assert!(window.reserve(&of(Class::Transactional, 0)).is_some(), "of a lane that nothing is known of");
    drop(bulk);
    assert!(window.room(Class::Bulk) > 0);
}

#[tokio::test(start_paused = true)]
async fn the_room_of_a_lane_is_as_many_as_start() {
    for taken in [0, 5, 40, 200, 380] {
        let window = Window::new(512);
        let others: Vec<Slot> =
            (0..taken).filter_map(|n| window.reserve(&flow(&format!("o{}.example", n % 60), n))).collect();
        let beside: Vec<Slot> =
            (0..taken / 8).filter_map(|_| window.reserve(&flow("far.example", 2))).collect();
        let lane = flow("far.example", 1);
        assert!(window.room_of(&lane, 3) <= 3);
        let room = window.room_of(&lane, 512);
        assert_eq!(fill(&window, &lane).len(), room, "beside {} and {}", others.len(), beside.len());
    }
}
