//! Limits that hold for all relays of a fleet together, counted by the far side.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use postrider_core::{config::ConfigParts, limits::Rate};
use postrider_mail::Class;
use postrider_queue::{
    inspect::Suspension,
    limit::{Limiter, TOKEN_LIFE},
};
use postrider_smtp::timer::Waits;

use crate::{
    far_side::{Act, FarSide, Step},
    rig::{Rig, lane, parts, to, until},
};

/// Messages of a newsletter.
const BULK: usize = 40;
/// Far more comes due in it than a burst holds.
const REST: Duration = Duration::from_secs(8);
const TEXT: &str = "Subject: hello\r\n\r\nhello\r\n";

async fn fleet(count: usize, parts: &ConfigParts) -> Vec<Rig> {
    let first = Rig::with(parts.clone(), Waits::shortened_for_tests(300)).await;
    let mut fleet = vec![first];
    while fleet.len() < count {
        fleet.push(fleet[0].beside(parts.clone()).await);
    }
    fleet
}

/// In no window did more come than the rate and its burst let through: in none that opens as the mail came in, nor in any that a message
/// opens. A token is used within its life, so what is granted before such a window may come in it; a slow machine gives what is counted
/// more time, never less.
fn keeps_to(rate: Rate, began: Instant, times: impl IntoIterator<Item = Instant>) {
    let mut times: Vec<Instant> = times.into_iter().collect();
    times.sort();
    let most = |window: Duration| {
        window.as_secs_f64() / rate.per.as_secs_f64() * f64::from(rate.count) + f64::from(rate.burst)
    };
    for (before, at) in times.iter().enumerate() {
        let since = at.duration_since(began);
        let most = most(since);
        assert!((before + 1) as f64 <= most, "{} within {since:?}; at most {most}", before + 1);
    }
    for (from, first) in times.iter().enumerate() {
        for (others, last) in times[from..].iter().enumerate() {
            let window = last.duration_since(*first);
            let most = most(window + TOKEN_LIFE);
            let (came, at) = (others + 1, first.duration_since(began));
            assert!(came as f64 <= most, "{came} within {window:?}, {at:?} after the begin; at most {most}");
        }
    }
}

fn times(far: &FarSide) -> Vec<Instant> {
    far.messages().iter().map(|got| got.at).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_that_come_and_go_keep_to_one_rate_for_all_domains_of_a_site() {
    let far = FarSide::usual().await;
    let rate = Rate::new(20, Duration::from_secs(1), Some(10));
    let mut parts = parts(to(&[&far]));
    parts.defaults.rate = Some(rate);
    let mut fleet = fleet(4, &parts).await;
    let began = Instant::now();
    for n in 0..200 {
        fleet[n % 4].queue("a@app.example", &[&format!("b@d{}.example", n % 12)], TEXT).await;
    }
    until("some have gone", || async { far.messages().len() > 40 }).await;
    drop(fleet.pop());
    fleet.push(fleet[0].beside(parts.clone()).await);
    until("all have gone", || async { far.messages().len() >= 200 }).await;
    keeps_to(rate, began, times(&far));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_due_while_nothing_is_sent_is_lost_but_for_one_burst() {
    let far = FarSide::usual().await;
    let rate = Rate::new(4, Duration::from_secs(1), Some(12));
    let mut parts = parts(to(&[&far]));
    parts.defaults.rate = Some(rate);
    let fleet = fleet(2, &parts).await;
    let began = Instant::now();
    for rest in [Duration::ZERO, REST] {
        tokio::time::sleep(rest).await;
        let before = far.messages().len();
        for n in 0..30 {
            fleet[n % 2].queue("a@app.example", &["b@far.example"], TEXT).await;
        }
        until("all have gone", || async { far.messages().len() >= before + 30 }).await;
    }
    keeps_to(rate, began, times(&far));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_far_side_never_sees_more_connections_than_the_fleet_may_have() {
    let far = FarSide::start(|step, _| match step {
        Step::Dot => Act::Late(Duration::from_millis(30)),
        Step::Greeting | Step::Command(_) => Act::Usual,
    })
    .await;
    let mut parts = parts(to(&[&far]));
    parts.defaults.connections = Some(5);
    parts.defaults.messages_per_connection = Some(20);
    let mut fleet = fleet(4, &parts).await;
    for n in 0..400 {
        fleet[n % 4].queue("a@app.example", &[&format!("b@d{}.example", n % 50)], TEXT).await;
    }
    until("some have gone", || async { far.messages().len() > 100 }).await;
    drop(fleet.pop());
    until("all have gone", || async { far.messages().len() >= 400 }).await;
    assert_eq!(far.seen(|seen| seen.most_open), 5);
    // Nobody keeps what nobody uses: another relay gets it all.
    let late = fleet[0].beside(parts).await;
    drop(fleet);
    for n in 0..40 {
        late.queue("a@app.example", &[&format!("b@d{n}.example")], TEXT).await;
    }
    until("those too", || async { far.messages().len() >= 440 }).await;
    assert_eq!(far.seen(|seen| seen.most_open), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_does_not_wait_behind_bulk_mail_and_the_limit_is_named() {
    let far = FarSide::usual().await;
    let rate = Rate::new(2, Duration::from_secs(1), Some(4));
    let mut parts = parts(to(&[&far]));
    parts.defaults.rate = Some(rate);
    let mut bulk = crate::sites::rule("news", "bulk.example", parts.default_route.clone());
    bulk.route = None;
    bulk.policy.class = Some(Class::Bulk);
    parts.rules = vec![bulk];
    let began = Instant::now();
    let rig = Rig::with(parts, Waits::shortened_for_tests(300)).await;
    for _ in 0..BULK {
        rig.queue("a@app.example", &["b@bulk.example"], TEXT).await;
    }
    let mut bulk_lane = lane("b@bulk.example");
    bulk_lane.class = Class::Bulk;
    until("the limit is named", || async {
        let lanes = rig.partition.top_lanes(5).await.unwrap();
        let suspended = lanes.into_iter().find(|view| view.lane == bulk_lane).and_then(|view| view.suspended);
        matches!(suspended, Some(Suspension::Limited { limiter: Limiter::MessageRate, .. }))
    })
    .await;
    let before = far.messages().len();
    let id = rig.queue("", &["b@far.example"], TEXT).await;
    rig.ended(&id).await;
    let bounce = far.messages().iter().position(|got| got.from.starts_with("<>")).unwrap();
    // Behind them it would have been the last; some go while it comes.
    assert!(
        bounce <= before + (BULK - before) / 2,
        "{bounce} of {BULK} went before it, {before} had gone already"
    );
    keeps_to(rate, began, times(&far));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_opened_no_faster_than_the_fleet_may() {
    let far = FarSide::usual().await;
    let mut parts = parts(to(&[&far]));
    let rate = Rate::new(2, Duration::from_secs(1), Some(2));
    parts.defaults.connection_rate = Some(rate);
    parts.defaults.messages_per_connection = Some(1);
    let fleet = fleet(2, &parts).await;
    let began = Instant::now();
    for n in 0..12 {
        fleet[n % 2].queue("a@app.example", &["b@far.example"], TEXT).await;
    }
    until("all have gone", || async { far.messages().len() >= 12 }).await;
    // A message has a connection of its own here.
    keeps_to(rate, began, times(&far));
    assert_eq!(far.connections(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_that_says_slow_down_gets_mail_slower_and_all_of_it_once() {
    let tries = Arc::new(AtomicUsize::new(0));
    let far = FarSide::start({
        let tries = tries.clone();
        move |step, _| match step {
            // The 11th to 14th message that comes.
            Step::Command(line) if line.starts_with("MAIL") => match tries.fetch_add(1, Ordering::Relaxed) {
                10..14 => Act::Bye("421 4.7.0 rate limited".into()),
                _ => Act::Usual,
            },
            Step::Greeting | Step::Command(_) | Step::Dot => Act::Usual,
        }
    })
    .await;
    let rig = Rig::with(parts(to(&[&far])), Waits::shortened_for_tests(300)).await;
    for n in 0..40 {
        rig.queue("a@app.example", &["b@far.example"], &format!("Subject: {n}\r\n\r\nhello\r\n")).await;
    }
    until("the pace is named", || async {
        let lanes = rig.partition.top_lanes(5).await.unwrap();
        let ours = lanes.into_iter().find(|view| view.lane == lane("b@far.example"));
        let suspended = ours.and_then(|view| view.suspended);
        matches!(suspended, Some(Suspension::Limited { limiter: Limiter::Pace, .. }))
    })
    .await;
    assert_eq!(rig.sites.states().paced, 1);
    until("all have come", || async { far.messages().len() >= 40 }).await;
    let waits = rig.metrics.outbound.limit_waits.with_label_values(&["pace"]).get();
    assert!(waits > 0);
    until("the queue knows", || async { rig.partition.top_lanes(5).await.unwrap().is_empty() }).await;
    let bodies: HashSet<String> = far.messages().into_iter().map(|got| got.body).collect();
    assert_eq!((far.messages().len(), bodies.len()), (40, 40));
    assert_eq!(rig.sites.states().backing_off, 0, "who is slow isn't dead");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_that_says_too_many_connections_gets_fewer() {
    let far = FarSide::start(|step, number| match step {
        Step::Greeting if number == 2 => Act::Bye("421 too many connections".into()),
        Step::Dot => Act::Late(Duration::from_millis(20)),
        Step::Greeting | Step::Command(_) => Act::Usual,
    })
    .await;
    let rig = Rig::with(parts(to(&[&far])), Waits::shortened_for_tests(300)).await;
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(rig.queue("a@app.example", &["b@far.example"], TEXT).await);
    }
    for id in &ids {
        rig.ended(id).await;
    }
    assert_eq!(far.messages().len(), 30);
    assert!(far.seen(|seen| seen.most_open) <= 5, "it grew although fewer were wanted");
}
