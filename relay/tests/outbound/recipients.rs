//! Several recipients of one message: each has its own outcome.

use postrider_mail::{OutcomeKind, Stage};

use crate::{
    far_side::{Act, FarSide, Step},
    rig::{Rig, to},
};

const TEXT: &str = "Subject: hello\r\n\r\nhello\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_452_at_the_second_recipient_means_another_transaction_at_once() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let count = AtomicUsize::new(0);
    let far = FarSide::start(move |step, _| match step {
        Step::Command(line) if line.starts_with("MAIL") => {
            count.store(0, Ordering::Relaxed);
            Act::Usual
        }
        Step::Command(line) if line.starts_with("RCPT") && count.fetch_add(1, Ordering::Relaxed) > 0 => {
            Act::Say("452 4.5.3 too many recipients".into())
        }
        Step::Command(_) | Step::Greeting | Step::Dot => Act::Usual,
    })
    .await;
    let rig = Rig::start(to(&[&far])).await;
    let to = ["b@far.example", "c@far.example", "d@far.example"];
    let id = rig.send("a@app.example", &to, TEXT).await;
    let outcomes = rig.outcomes(&id).await;
    assert!(outcomes.iter().all(|one| one.kind == OutcomeKind::Delivered), "{outcomes:?}");
    rig.ended(&id).await;
    let mut reached: Vec<_> = far.messages().into_iter().flat_map(|got| got.to).collect();
    reached.sort();
    assert_eq!(reached, ["<b@far.example>", "<c@far.example>", "<d@far.example>"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_recipient_ends_by_its_own_answer() {
    let far = FarSide::start(|step, connection| match step {
        Step::Command(line) if line.starts_with("RCPT") && line.contains("<gone@") => {
            Act::Say("550 5.1.1 no such user".into())
        }
        Step::Command(line) if line.starts_with("RCPT") && line.contains("<late@") && connection == 1 => {
            Act::Bye("451 4.2.1 greylisted".into())
        }
        Step::Command(_) | Step::Greeting | Step::Dot => Act::Usual,
    })
    .await;
    let rig = Rig::start(to(&[&far])).await;
    // The null sender: nobody is told.
    let id = rig.send("", &["gone@far.example", "b@far.example"], TEXT).await;
    let outcomes = rig.outcomes(&id).await;
    assert_eq!((outcomes[0].kind, outcomes[0].stage), (OutcomeKind::Bounced, Stage::Rcpt));
    assert_eq!(outcomes[1].kind, OutcomeKind::Delivered);
    rig.ended(&id).await;
    assert_eq!(far.messages().len(), 1);
    assert_eq!(far.messages()[0].to, ["<b@far.example>"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_was_deferred_is_tried_alone() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let is_first = AtomicBool::new(true);
    let far = FarSide::start(move |step, _| match step {
        Step::Command(line) if line.contains("<late@") && is_first.swap(false, Ordering::Relaxed) => {
            Act::Say("450 4.2.1 greylisted".into())
        }
        Step::Command(_) | Step::Greeting | Step::Dot => Act::Usual,
    })
    .await;
    let rig = Rig::start(to(&[&far])).await;
    let id = rig.send("a@app.example", &["b@far.example", "late@far.example"], TEXT).await;
    rig.ended(&id).await;
    let to: Vec<_> = far.messages().into_iter().map(|got| got.to).collect();
    assert_eq!(to, [vec!["<b@far.example>".to_owned()], vec!["<late@far.example>".to_owned()]]);
}
