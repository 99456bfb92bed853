//! Who goes first where not all can go at once: told by the order in which the far side got them, never by time.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use postrider_core::{
    config::{Config, ConfigParts, DeliveryMode},
    limits::Rate,
    matcher::Match,
};
use postrider_mail::Class;
use postrider_queue::Start;
use postrider_smtp::timer::Waits;

use crate::{
    far_side::FarSide,
    rig::{Mail, Rig, parts, to, until},
};

const TEXT: &str = "Subject: hello\r\n\r\nhello\r\n";
const NEWS: &str = "news@shop.example";
const PASSWORD: &str = "password@bank.example";
/// Messages of the one who sends many.
const MANY: usize = 500;
/// Messages of the one who sends few.
const FEW: usize = 30;
/// Messages that the limit lets through in a quarter of a second: what is taken at a look.
const AT_A_LOOK: usize = 5;

/// A fleet that has much of one sender waiting for one far side, which takes 20 messages a second; it has begun to send.
async fn crowded(parts: ConfigParts, class: Class, far: &FarSide) -> Rig {
    let mut paused = parts.clone();
    paused.delivery = DeliveryMode::Paused;
    let rig = Rig::with(paused, Waits::shortened_for_tests(300)).await;
    let start = Start::After(Duration::ZERO);
    let enqueues = (0..MANY).map(|_| rig.enqueue_by(class, mail_from(NEWS), start.clone()));
    stream::iter(enqueues).buffer_unordered(16).for_each(|_| async {}).await;
    rig.config.send_replace(Arc::new(Config::from(parts)));
    // The burst is gone, and the limit lets the others wait.
    until("some have gone", || async { far.messages().len() > 20 }).await;
    rig
}

fn mail_from(from: &str) -> Mail<'_> {
    Mail { from, to: &["b@big.example"], text: TEXT }
}

fn limited(far: &FarSide) -> ConfigParts {
    let mut parts = parts(to(&[far]));
    parts.defaults.rate = Some(Rate::new(20, Duration::from_secs(1), Some(10)));
    parts
}

/// Sends the few, as intake does, and says what had gone when the last of them was accepted, and at which places they went.
async fn places_of_few(rig: &Rig, class: Class, far: &FarSide) -> (usize, Vec<usize>) {
    for _ in 0..FEW {
        rig.send_by(class, mail_from(PASSWORD)).await;
    }
    let gone = far.messages().len();
    let places = || -> Vec<usize> {
        let messages = far.messages();
        let few = (1..).zip(&messages).filter(|(_, got)| got.from.contains("bank.example"));
        few.map(|(place, _)| place).collect()
    };
    until("the few have gone", || async { places().len() == FEW }).await;
    (gone, places())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_senders_of_one_class_each_gets_its_share_of_a_limit() {
    let far = FarSide::usual().await;
    let rig = crowded(limited(&far), Class::Normal, &far).await;
    let (gone, places) = places_of_few(&rig, Class::Normal, &far).await;
    // Every second one is the fair share. A look takes some of one sender before some of the other.
    for (nth, place) in (1..).zip(&places) {
        let fair = gone + 2 * nth;
        assert!(*place <= fair + 10 * AT_A_LOOK, "number {nth} went as {place}, {gone} had gone: {places:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactional_mail_goes_before_all_bulk_mail_that_waits() {
    let far = FarSide::usual().await;
    let mut parts = limited(&far);
    let class_of = |name: &str, domain: &str, class| {
        let mut rule = crate::sites::rule(name, "big.example", parts.default_route.clone());
        rule.route = None;
        rule.policy.class = Some(class);
        rule.matches =
            vec![Match { sender_domains: Some(vec![domain.parse().unwrap()]), ..Default::default() }];
        rule
    };
    parts.rules = vec![
        class_of("news", "shop.example", Class::Bulk),
        class_of("password", "bank.example", Class::Transactional),
    ];
    let rig = crowded(parts, Class::Bulk, &far).await;
    let (gone, places) = places_of_few(&rig, Class::Transactional, &far).await;
    for (nth, place) in (1..).zip(&places) {
        let most = gone + nth + 3 * AT_A_LOOK;
        assert!(*place <= most, "number {nth} went as {place}, {gone} had gone: {places:?}");
    }
}
