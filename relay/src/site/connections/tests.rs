//! Tests of the pool: reuse, the limit, waiting, closing. **Owns:** nothing. **Never:** a socket.

use super::*;

const LIFETIME: Duration = Duration::from_secs(300);
const LONG: Duration = Duration::from_secs(60);
const TURN: Turn = Turn { is_urgent: false, flow: None };

struct Fake {
    id: u32,
    is_quiet: bool,
    opened: Instant,
}

impl Reusable for Fake {
    fn is_quiet(&mut self) -> bool {
        self.is_quiet
    }
    fn opened(&self) -> Instant {
        self.opened
    }
}

fn fake(id: u32) -> Fake {
    Fake { id, is_quiet: true, opened: Instant::now() }
}

async fn take(pool: &Arc<Pool<Fake>>) -> Lease<Fake> {
    pool.take(Instant::now() + LONG, TURN).await.expect("a connection")
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_is_used_again_the_last_one_first() {
    let pool = Pool::new(5, LIFETIME);
    let (first, second) = (take(&pool).await, take(&pool).await);
    first.keep(fake(1));
    second.keep(fake(2));
    assert_eq!(take(&pool).await.kept().map(|c| c.id), Some(2));
}

#[tokio::test(start_paused = true)]
async fn one_that_spoke_up_or_is_too_old_is_not_used_again() {
    let pool = Pool::new(5, LIFETIME);
    take(&pool).await.keep(Fake { is_quiet: false, ..fake(1) });
    assert!(take(&pool).await.kept().is_none());
    take(&pool).await.keep(fake(2));
    tokio::time::advance(LIFETIME).await;
    assert!(take(&pool).await.kept().is_none());
    assert_eq!(pool.load(), (0, 0), "dropped leases give their places back");
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_are_open_and_the_first_who_waits_is_next() {
    let pool = Pool::new(1, LIFETIME);
    let only = take(&pool).await;
    let waits = |name: u32| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.take(Instant::now() + LONG, TURN).await.map(|lease| (name, lease)) })
    };
    let first = waits(1);
    tokio::task::yield_now().await;
    let second = waits(2);
    tokio::task::yield_now().await;
    assert_eq!(pool.load(), (1, 2));
    only.keep(fake(7));
    let (name, mut lease) = first.await.unwrap().expect("it is its turn");
    assert_eq!((name, lease.kept().map(|c| c.id)), (1, Some(7)));
    drop(lease);
    let (name, mut lease) = second.await.unwrap().expect("it is its turn");
    assert_eq!((name, lease.kept().map(|c| c.id)), (2, None), "the place, not the closed connection");
}

#[tokio::test(start_paused = true)]
async fn who_stopped_waiting_is_passed_over() {
    let pool = Pool::new(1, LIFETIME);
    let only = take(&pool).await;
    let gone = pool.take(Instant::now() + Duration::from_secs(1), TURN).await;
    assert_eq!(gone.err(), Some(NoConnection::TooLate));
    only.keep(fake(1));
    assert_eq!(take(&pool).await.kept().map(|c| c.id), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_closed_pool_sends_everybody_away_until_it_is_opened() {
    let pool = Pool::new(1, LIFETIME);
    let only = take(&pool).await;
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.take(Instant::now() + LONG, TURN).await.err() }
    });
    tokio::task::yield_now().await;
    assert!(pool.close().is_empty());
    assert_eq!(waiting.await.unwrap(), Some(NoConnection::Suspended));
    assert_eq!(pool.take(Instant::now(), TURN).await.err(), Some(NoConnection::Suspended));
    only.keep(fake(1));
    assert!(pool.is_unused(), "a closed pool keeps nothing");
    pool.admit(1);
    assert!(take(&pool).await.kept().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_greater_limit_lets_waiting_attempts_in() {
    let pool = Pool::new(1, LIFETIME);
    let _only = take(&pool).await;
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.take(Instant::now() + LONG, TURN).await.is_ok() }
    });
    tokio::task::yield_now().await;
    pool.set_limit(2);
    assert!(waiting.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_for_long_is_taken_out() {
    let pool = Pool::new(5, LIFETIME);
    let (a, b) = (take(&pool).await, take(&pool).await);
    a.keep(fake(1));
    tokio::time::advance(Duration::from_secs(10)).await;
    b.keep(fake(2));
    let stale: Vec<u32> = pool.idle_for(Duration::from_secs(5)).iter().map(|c| c.id).collect();
    assert_eq!(stale, [1]);
    assert_eq!(pool.load(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn who_is_urgent_goes_before_the_others_in_their_order() {
    let pool = Pool::new(1, LIFETIME);
    let mut lease = take(&pool).await;
    let mut waiting = Vec::new();
    for (name, is_urgent) in [(3, false), (1, true), (4, false), (2, true)] {
        let pool = pool.clone();
        waiting.push(tokio::spawn(async move {
            pool.take(Instant::now() + LONG, Turn { is_urgent, ..TURN }).await.map(|lease| (name, lease))
        }));
        tokio::task::yield_now().await;
    }
    for name in 1..=4 {
        lease.keep(fake(0));
        let (done, _, others) = futures::future::select_all(waiting).await;
        let (next, taken) = done.unwrap().expect("a connection");
        assert_eq!(next, name);
        (lease, waiting) = (taken, others);
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_open_one_waits_for_those_that_are_open_or_goes_if_none_is() {
    let pool = Pool::new(5, LIFETIME);
    let open = take(&pool).await;
    assert!(take(&pool).await.refused(), "one is open");
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.take(Instant::now() + LONG, TURN).await.map(|mut lease| lease.kept().is_some()) }
    });
    tokio::task::yield_now().await;
    assert_eq!(pool.load(), (1, 1), "nobody opens another meanwhile");
    open.keep(fake(1));
    assert_eq!(waiting.await.unwrap(), Ok(true));
    tokio::time::advance(CAPPED_FOR).await;
    let mut both = (take(&pool).await, take(&pool).await);
    assert!(both.0.kept().is_none() && both.1.kept().is_none(), "asked again after a while");
    drop(both.0);
    assert!(!both.1.refused(), "there is none to wait for");
    assert_eq!(pool.load(), (0, 0));
}

/// Who comes in this order, by flow, and in which order they go.
async fn order(comers: &[(usize, bool)]) -> Vec<usize> {
    let pool = Pool::new(1, LIFETIME);
    let mut lease = take(&pool).await;
    let mut waiting = Vec::new();
    for (name, (flow, is_urgent)) in comers.iter().enumerate() {
        let (pool, turn) = (pool.clone(), Turn { is_urgent: *is_urgent, flow: Flow::all().nth(*flow) });
        waiting.push(tokio::spawn(async move {
            pool.take(Instant::now() + LONG, turn).await.map(|lease| (name, lease))
        }));
        tokio::task::yield_now().await;
    }
    let mut order = Vec::new();
    while !waiting.is_empty() {
        drop(lease);
        let (done, _, left) = futures::future::select_all(waiting).await;
        let name;
        (name, lease) = done.expect("it ends").expect("a connection");
        order.push(name);
        waiting = left;
    }
    order
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_behind_all_that_another_sender_has_waiting() {
    let many: Vec<_> =
        std::iter::repeat_n((1, false), 6).chain([(2, false), (2, false), (3, false)]).collect();
    assert_eq!(order(&many).await, [0, 6, 8, 1, 7, 2, 3, 4, 5]);
    let urgent = [(1, false), (1, true), (1, true), (2, true), (2, false)];
    assert_eq!(order(&urgent).await, [1, 3, 2, 0, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_one_sender_leaves_a_place_for_another() {
    let pool = Pool::new(1, LIFETIME);
    let only = take(&pool).await;
    let wait = |flow: usize| {
        let (pool, turn) = (pool.clone(), Turn { flow: Flow::all().nth(flow), ..TURN });
        tokio::spawn(async move { pool.take(Instant::now() + LONG, turn).await })
    };
    let crowd: Vec<_> = (0..WAITING_MAX).map(|_| wait(1)).collect();
    while pool.load().1 < WAITING_MAX {
        tokio::task::yield_now().await;
    }
    assert_eq!(wait(1).await.expect("it ends").err(), Some(NoConnection::Crowded));
    let other = wait(2);
    tokio::task::yield_now().await;
    assert_eq!(pool.load().1, WAITING_MAX, "one was sent away");
    drop(only);
    let first = crowd.into_iter().next().expect("one");
    drop(first.await.expect("it ends").expect("a connection"));
    assert!(other.await.expect("it ends").is_ok());
}
