//! Tests of the window: shares, suspension, what is remembered. **Owns:** nothing. **Never:** a queue.

use postrider_mail::{Class, Domain};
use postrider_queue::RouteName;

use super::*;

fn lane(domain: &str) -> Lane {
    Lane { class: Class::Normal, domain: Domain::parse(domain).unwrap(), route: RouteName::default_route() }
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
    assert_eq!(flood.len(), 750);
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
    assert_eq!((slot.lane(), window.taken()), (&dead, 1));
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
    let known = |lane: &Lane| window.lock().lanes.contains_key(lane);
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
