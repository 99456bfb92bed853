//! Far sides as they shouldn't be: a clear outcome, bounded memory, nothing lost, other mail unharmed.

use postrider_core::tls_policy::TlsMode;
use postrider_mail::{OutcomeKind, Stage};

use crate::{
    far_side::{Act, FarSide, Step},
    rig::{Rig, to, until},
};

const TEXT: &str = "Subject: hello\r\n\r\nhello\r\n";

/// A far side that misbehaves on its first `times` connections, then doesn't.
async fn bad_at_first(times: usize, at: &'static str, act: fn() -> Act) -> FarSide {
    FarSide::start(move |step, connection| {
        let is_it = match step {
            Step::Greeting => at == "greeting",
            Step::Dot => at == "dot",
            Step::Command(line) => line.starts_with(at),
        };
        if is_it && connection <= times { act() } else { Act::Usual }
    })
    .await
}

/// The first attempt is deferred at that stage, and a later one delivers.
async fn is_deferred_then_delivered(at: &'static str, act: fn() -> Act, stage: Stage) -> Rig {
    let far = bad_at_first(1, at, act).await;
    let rig = Rig::start(to(&[&far])).await;
    let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
    let outcomes = rig.outcomes(&id).await;
    assert_eq!((outcomes[0].kind, outcomes[0].stage), (OutcomeKind::Deferred, stage), "{outcomes:?}");
    rig.ended(&id).await;
    assert!(!far.messages().is_empty());
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_greets() {
    is_deferred_then_delivered("greeting", || Act::Hang, Stage::Banner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_answers_mail() {
    is_deferred_then_delivered("MAIL", || Act::Hang, Stage::Mail).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_answers_garbage() {
    is_deferred_then_delivered("greeting", || Act::Say("\u{1}\u{2} hello there".into()), Stage::Banner).await;
    is_deferred_then_delivered("EHLO", || Act::Say("what?".into()), Stage::Ehlo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_answers_a_megabyte() {
    is_deferred_then_delivered("EHLO", || Act::Say("250-".to_owned() + &"x".repeat(1 << 20)), Stage::Ehlo)
        .await;
    let lines = || Act::Say("250-more of it\r\n".repeat(70_000));
    is_deferred_then_delivered("MAIL", lines, Stage::Mail).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_greets_with_554_is_deferred_never_bounced() {
    is_deferred_then_delivered("greeting", || Act::Bye("554 5.7.1 no".into()), Stage::Banner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_says_421_after_rcpt() {
    is_deferred_then_delivered("RCPT", || Act::Bye("421 4.3.2 going down".into()), Stage::Rcpt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_closes_before_the_dot() {
    is_deferred_then_delivered("DATA", || Act::Close, Stage::Data).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_closes_after_the_dot_may_have_it_twice_but_no_other_host_gets_it() {
    let far = bad_at_first(1, "dot", || Act::Close).await;
    let other = FarSide::usual().await;
    let rig = Rig::start(to(&[&far, &other])).await;
    let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
    let outcomes = rig.outcomes(&id).await;
    assert_eq!((outcomes[0].kind, outcomes[0].stage), (OutcomeKind::Deferred, Stage::Dot));
    assert!(other.messages().is_empty(), "not in the same attempt");
    until("counted", || async { rig.metrics.outbound.possible_duplicates.get() == 1 }).await;
    rig.ended(&id).await;
    assert_eq!(far.messages().len() + other.messages().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_silent_after_the_dot_is_waited_for_then_tried_again() {
    let rig = is_deferred_then_delivered("dot", || Act::Hang, Stage::Dot).await;
    until("counted", || async { rig.metrics.outbound.possible_duplicates.get() == 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_says_354_after_all_recipients_failed_gets_no_message() {
    let far = FarSide::start(|step, _| match step {
        Step::Command(line) if line.starts_with("RCPT") && line.contains("<b@") => {
            Act::Say("550 5.1.1 no such user".into())
        }
        Step::Command(line) if line.starts_with("DATA") => Act::Say("354 go on".into()),
        Step::Command(_) | Step::Greeting | Step::Dot => Act::Usual,
    })
    .await;
    let rig = Rig::start(to(&[&far])).await;
    let id = rig.send("", &["b@far.example"], TEXT).await;
    let outcomes = rig.outcomes(&id).await;
    assert_eq!((outcomes[0].kind, outcomes[0].stage), (OutcomeKind::Bounced, Stage::Rcpt));
    rig.ended(&id).await;
    assert!(far.messages().is_empty());
    let next = rig.send("a@app.example", &["c@far.example"], TEXT).await;
    rig.ended(&next).await;
    assert_eq!(far.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_holds_up_nobody_else() {
    let hung = FarSide::start(|_, _| Act::Hang).await;
    let far = FarSide::usual().await;
    let rig = Rig::start(to(&[&hung])).await;
    for _ in 0..20 {
        rig.send("a@app.example", &["b@hung.example"], TEXT).await;
    }
    // The same window, another site.
    rig.configure(|_| {}, to(&[&far]));
    let began = std::time::Instant::now();
    let id = rig.send("a@app.example", &["b@live.example"], TEXT).await;
    rig.ended(&id).await;
    assert!(began.elapsed().as_millis() < 900, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_breaks_off_at_starttls_gets_the_mail_in_clear_unless_the_policy_demands_tls() {
    let acts: [fn() -> Act; 3] = [|| Act::Close, || Act::Hang, || Act::Say("\u{1}\u{2} hello there".into())];
    for act in acts {
        let far = FarSide::start(move |step, _| match step {
            Step::Command(line) if line.starts_with("EHLO") => {
                Act::Say("250-far.example\r\n250 STARTTLS".to_owned())
            }
            Step::Command(line) if line == "STARTTLS" => act(),
            Step::Command(_) | Step::Greeting | Step::Dot => Act::Usual,
        })
        .await;
        let rig = Rig::start(to(&[&far])).await;
        let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
        assert_eq!(rig.outcomes(&id).await[0].kind, OutcomeKind::Delivered);
        rig.configure(|parts| parts.defaults.tls = Some(TlsMode::Require), to(&[&far]));
        let id = rig.send("a@app.example", &["b@far.example"], TEXT).await;
        let outcomes = rig.outcomes(&id).await;
        assert_eq!(
            (outcomes[0].kind, outcomes[0].stage),
            (OutcomeKind::Deferred, Stage::Tls),
            "{outcomes:?}"
        );
        assert_eq!(far.messages().len(), 1);
    }
}
