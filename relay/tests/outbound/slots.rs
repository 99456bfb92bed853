//! Connections that the fleet counts: edits of how many, and who goes first where several sites share them.

use std::time::Duration;

use crate::{
    far_side::{Act, FarSide, Step},
    rig::{Rig, parts, to, until},
};
use postrider_smtp::timer::Waits;

const TEXT: &str = "Subject: hello\r\n\r\nhello\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_connections_counts_those_that_are_open() {
    let far = FarSide::start(|step, _| match step {
        Step::Dot => Act::Late(Duration::from_millis(500)),
        Step::Greeting | Step::Command(_) => Act::Usual,
    })
    .await;
    let route = to(&[&far]);
    let mut before = parts(route.clone());
    before.defaults.connections = Some(5);
    let rig = Rig::with(before, Waits::shortened_for_tests(300)).await;
    let mut ids = Vec::new();
    for n in 0..40 {
        ids.push(rig.queue("a@app.example", &[&format!("b@d{n}.example")], TEXT).await);
    }
    until("all that may be are open", || async { far.seen(|seen| seen.most_open) == 5 }).await;
    rig.configure(|parts| parts.defaults.connections = Some(6), route);
    for id in &ids {
        rig.ended(id).await;
    }
    assert!(far.seen(|seen| seen.most_open) <= 6, "those of before the edit were forgotten");
}
