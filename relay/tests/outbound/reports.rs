//! Bounces and notices: a delivery like any other.

use std::time::Duration;

use postrider_smtp::timer::Waits;

use crate::{
    far_side::{Act, FarSide, Step},
    rig::{Rig, parts, to, until},
};

const TEXT: &str = "Subject: hello\r\nMessage-ID: <1@app.example>\r\n\r\nhello\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_recipient_is_told_to_the_sender() {
    let far = FarSide::start(|step, _| match step {
        Step::Command(line) if line.starts_with("RCPT") && line.contains("<gone@") => {
            Act::Say("550 5.1.1 no such user".into())
        }
        Step::Command(_) | Step::Greeting | Step::Dot => Act::Usual,
    })
    .await;
    let rig = Rig::start(to(&[&far])).await;
    let id = rig.send("a@app.example", &["gone@far.example", "b@far.example"], TEXT).await;
    rig.ended(&id).await;
    let messages = far.messages();
    assert_eq!(messages.len(), 2);
    let bounce = messages.iter().find(|got| got.from.starts_with("<>")).expect("a bounce");
    assert_eq!(bounce.to, ["<a@app.example>"]);
    for part in [
        "Action: failed",
        "Status: 5.1.1",
        "Final-Recipient: rfc822; gone@far.example",
        "Subject: hello",
        "550 5.1.1 no such user",
    ] {
        assert!(bounce.body.contains(part), "no {part:?} in\n{}", bounce.body);
    }
    assert!(!bounce.body.contains("rfc822; b@far.example"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_that_bounces_ends_there() {
    let far = FarSide::start(|step, _| match step {
        Step::Command(line) if line.starts_with("RCPT") => Act::Say("550 5.1.1 no such user".into()),
        Step::Command(_) | Step::Greeting | Step::Dot => Act::Usual,
    })
    .await;
    let rig = Rig::start(to(&[&far])).await;
    let id = rig.send("a@app.example", &["gone@far.example"], TEXT).await;
    rig.ended(&id).await;
    let mails = far.seen(|seen| seen.commands.iter().filter(|line| line.starts_with("MAIL")).count());
    assert_eq!((mails, far.messages().len()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_is_late_is_told_of_once_and_bounced_when_its_time_is_over() {
    let far = FarSide::start(|step, _| match step {
        Step::Command(line) if line.starts_with("RCPT") && line.contains("<busy@") => {
            Act::Say("451 4.3.2 busy".into())
        }
        Step::Command(_) | Step::Greeting | Step::Dot => Act::Usual,
    })
    .await;
    let mut parts = parts(to(&[&far]));
    parts.defaults.retry_delay_notice = Some(Duration::from_millis(500));
    let rig = Rig::with(parts, Waits::shortened_for_tests(300)).await;
    let id = rig.send("a@app.example", &["busy@far.example"], TEXT).await;
    until("a notice of delay", || async { far.messages().len() == 1 }).await;
    let notice = far.messages().remove(0);
    assert!(notice.from.starts_with("<>") && notice.body.contains("Action: delayed"), "{}", notice.body);
    // Two more attempts tell nothing new.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(far.messages().len(), 1);
    assert!(rig.inspect(&id).await.is_some());
}
