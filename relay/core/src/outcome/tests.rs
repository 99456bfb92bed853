//! Replies and silences in, rulings and outcomes out.

use postrider_mail::ReplyCode;
use proptest::prelude::*;

use super::*;
use crate::shape::reply::Asked;

fn reply(text: &str) -> FarReply {
    let (code, text) = text.split_at(3);
    let text = text.trim_start();
    let (enhanced, text) = match EnhancedCode::split_from(text) {
        Some((enhanced, text)) => (Some(enhanced), text),
        None => (None, text),
    };
    let code = ReplyCode::try_from(code.parse::<u16>().expect("a number")).expect("a reply code");
    FarReply { code, enhanced, text: FarText::new(text) }
}

fn judged(stage: Stage, text: &str, context: &Context) -> Ruling {
    judge(Failure { stage, cause: Cause::Reply(reply(text)) }, context)
}

fn host(name: &str) -> HostName {
    HostName::parse(name).expect("a name")
}

use OutcomeKind::{Bounced, Deferred};

#[test]
fn a_reply_is_charged_by_its_stage() {
    use {Next as N, Scope as S, Stage as St};
    let third = Context { accepted: 2, ..Context::default() };
    for (stage, text, scope, next, kind, status) in [
        // The host: a greeting of 5yz is soft, and never bounces.
        (St::Banner, "421 4.7.0 busy", S::Host, N::NextHost, Deferred, "4.7.0"),
        (St::Banner, "554 no", S::Host, N::NextHost, Deferred, "4.0.0"),
        (St::Banner, "521 5.3.2 no mail here", S::Host, N::NextHost, Deferred, "4.3.2"),
        (St::Ehlo, "550 5.7.1 who are you", S::Host, N::NextHost, Deferred, "4.7.1"),
        (St::Auth, "535 5.7.8 wrong", S::Host, N::NextHost, Deferred, "4.7.8"),
        // The message.
        (St::Mail, "451 4.3.0 later", S::Message, N::NextHost, Deferred, "4.3.0"),
        (St::Mail, "550 5.7.1 bad sender", S::Message, N::Stop, Bounced, "5.7.1"),
        (St::Mail, "552 5.3.4 too big", S::Message, N::NextHost, Bounced, "5.3.4"),
        (St::Mail, "503 5.5.1 out of order", S::Host, N::NextHost, Deferred, "4.5.1"),
        (St::Mail, "530 5.7.0 STARTTLS first", S::Host, N::NextHost, Deferred, "4.7.0"),
        (St::Mail, "421 4.3.2 going down", S::Host, N::NextHost, Deferred, "4.3.2"),
        // The recipient.
        (St::Rcpt, "550 5.1.1 no such user", S::Recipient, N::Stop, Bounced, "5.1.1"),
        (St::Rcpt, "550 no such user", S::Recipient, N::Stop, Bounced, "5.0.0"),
        (St::Rcpt, "450 4.2.1 too fast", S::Recipient, N::Stop, Deferred, "4.2.1"),
        // The basic code decides, whatever the enhanced one says.
        (St::Rcpt, "450 5.7.1 greylisted", S::Recipient, N::Stop, Deferred, "4.7.1"),
        (St::Rcpt, "550 4.1.1 odd", S::Recipient, N::Stop, Bounced, "5.1.1"),
        (St::Rcpt, "452 4.5.3 too many recipients", S::Recipient, N::Again, Deferred, "4.5.3"),
        (St::Rcpt, "452 too many recipients", S::Recipient, N::Again, Deferred, "4.5.3"),
        (St::Rcpt, "552 too many recipients", S::Recipient, N::Again, Deferred, "4.5.3"),
        (St::Rcpt, "452 4.2.2 mailbox full", S::Recipient, N::Stop, Deferred, "4.2.2"),
        (St::Rcpt, "452 4.3.1 disk full", S::Recipient, N::Stop, Deferred, "4.3.1"),
        (St::Rcpt, "552 5.2.2 mailbox full", S::Recipient, N::Stop, Bounced, "5.2.2"),
        (St::Rcpt, "421 4.7.0 enough", S::Host, N::NextHost, Deferred, "4.7.0"),
        // All that the transaction accepted.
        (St::Data, "451 4.3.0 later", S::Transaction, N::Stop, Deferred, "4.3.0"),
        (St::Data, "554 5.5.1 no valid recipients", S::Transaction, N::Stop, Bounced, "5.5.1"),
        (St::Data, "250 what", S::Host, N::NextHost, Deferred, "4.0.0"),
        (St::Dot, "554 5.7.1 spam", S::Transaction, N::Stop, Bounced, "5.7.1"),
        (St::Dot, "451 4.7.1 later", S::Transaction, N::Stop, Deferred, "4.7.1"),
    ] {
        let ruling = judged(stage, text, &third);
        let found = (ruling.scope, ruling.next, ruling.kind, ruling.status.to_string());
        assert_eq!(found, (scope, next, kind, status.to_owned()), "{stage:?} {text}");
        assert!(!ruling.is_ambiguous, "{stage:?} {text}");
    }
}

#[test]
fn too_many_recipients_at_the_first_is_something_else() {
    let first = judged(Stage::Rcpt, "452 4.5.3 too many", &Context::default());
    assert_eq!((first.next, first.kind), (Next::Stop, Deferred));
}

#[test]
fn helo_is_tried_once_where_nothing_needs_ehlo() {
    let may = Context { may_helo: true, ..Context::default() };
    let ruling = judged(Stage::Ehlo, "502 5.5.1 what", &may);
    assert_eq!((ruling.next, ruling.connection), (Next::Helo, Connection::Keep));
    assert_eq!(judged(Stage::Ehlo, "502 5.5.1 what", &Context::default()).next, Next::NextHost);
    assert_eq!(judged(Stage::Ehlo, "421 4.3.2 bye", &may).next, Next::NextHost);
}

#[test]
fn an_unanswered_dot_ends_the_attempt_and_is_counted() {
    for cause in [Cause::Unanswered, Cause::Garbage(FarText::new("??")), Cause::Reply(reply("354 go on"))] {
        let ruling = judge(Failure { stage: Stage::Dot, cause: cause.clone() }, &Context::default());
        assert_eq!(
            (ruling.next, ruling.kind, ruling.scope),
            (Next::Stop, Deferred, Scope::Transaction),
            "{cause:?}"
        );
        assert!(ruling.is_ambiguous && ruling.connection == Connection::Close, "{cause:?}");
    }
    let before = judge(Failure { stage: Stage::Dot, cause: Cause::Closed }, &Context::default());
    assert!(!before.is_ambiguous && before.next == Next::NextHost, "no dot, no doubt");
}

#[test]
fn tls_fails_as_its_mode_says() {
    let handshake = || Cause::Tls(TlsFailure::Handshake(FarText::new("alert")));
    let of = |tls, cause| judge(Failure { stage: Stage::Tls, cause }, &Context { tls, ..Context::default() });
    assert_eq!(of(Protection::Opportunistic, handshake()).next, Next::ReconnectInClear);
    assert_eq!(of(Protection::Opportunistic, Cause::Reply(reply("454 4.7.0 no"))).next, Next::GoOnInClear);
    let dane = Protection::Dane {
        base: HostName::parse("mx.example").unwrap(),
        demand: crate::dane::Demand::Encrypted,
    };
    let told = of(dane.clone(), Cause::Tls(TlsFailure::NotOffered)).explanation;
    assert!(told.as_str().starts_with("DANE: "), "{told:?}");
    let told = of(Protection::MtaSts, Cause::Tls(TlsFailure::NotOffered)).explanation;
    assert_eq!(told.as_str(), "MTA-STS: the far side offers no TLS");
    for mode in [Protection::Require, Protection::Verify, Protection::MtaSts, dane] {
        for (cause, status) in [
            (handshake(), "4.7.5"),
            (Cause::Tls(TlsFailure::NotOffered), "4.7.4"),
            (Cause::Reply(reply("454 4.7.0 no")), "4.7.4"),
            (Cause::Tls(TlsFailure::Certificate(FarText::new("expired"))), "4.7.5"),
        ] {
            let ruling = of(mode.clone(), cause);
            let found = (ruling.next, ruling.kind, ruling.status.to_string());
            assert_eq!(found, (Next::NextHost, Deferred, status.to_owned()));
        }
    }
}

#[test]
fn what_one_host_lacks_another_may_have() {
    let lacks = |lack| judge(Failure { stage: Stage::Mail, cause: Cause::Lacks(lack) }, &Context::default());
    for (lack, status) in
        [(Lack::EightBitMime, "5.6.3"), (Lack::SmtpUtf8, "5.6.7"), (Lack::Size { limit: 10 }, "5.3.4")]
    {
        let ruling = lacks(lack);
        let found = (ruling.next, ruling.kind, ruling.status.to_string());
        assert_eq!(found, (Next::NextHost, Bounced, status.to_owned()));
    }
    let down = judge(
        Failure { stage: Stage::Connect, cause: Cause::NoConnection(FarText::new("refused")) },
        &Context::default(),
    );
    // The second host is down: it may have it, so that the mail waits, in either order.
    for rulings in [[lacks(Lack::SmtpUtf8), down.clone()], [down, lacks(Lack::SmtpUtf8)]] {
        let mut tally = Tally::new([0]);
        for ruling in &rulings {
            tally.ruled(&tally.pending(), ruling, Some(&host("mx.example")));
        }
        assert_eq!(tally.finish(Again::OnSchedule)[0].outcome.kind, Deferred);
    }
    let mut tally = Tally::new([0]);
    for name in ["a.example", "b.example"] {
        tally.ruled(&[0], &lacks(Lack::SmtpUtf8), Some(&host(name)));
    }
    assert_eq!(tally.finish(Again::OnSchedule)[0].outcome.kind, Bounced, "none of them has it");
}

#[test]
fn an_attempt_adds_up_over_hosts() {
    let (one, two) = (host("one.example"), host("two.example"));
    let mut tally = Tally::new([0, 1, 2, 3]);
    let context = Context { accepted: 1, ..Context::default() };
    tally.ruled(&[0], &judged(Stage::Rcpt, "550 5.1.1 no", &context), Some(&one));
    tally.ruled(&[1], &judged(Stage::Rcpt, "452 4.5.3 too many", &context), Some(&one));
    tally.ruled(&tally.pending(), &judged(Stage::Rcpt, "421 4.3.2 bye", &context), Some(&one));
    assert_eq!(tally.pending(), [1, 2, 3], "a 421 leaves the refused one refused");
    tally.delivered(&[1, 2], &reply("250 2.0.0 ok"), &two);
    let dot = judge(Failure { stage: Stage::Dot, cause: Cause::Unanswered }, &context);
    tally.ruled(&[3], &dot, Some(&two));
    assert!(tally.is_settled() && tally.is_ambiguous());
    let ended = tally.finish(Again::OnSchedule);
    let kinds: Vec<_> = ended.iter().map(|ended| ended.outcome.kind).collect();
    assert_eq!(kinds, [Bounced, OutcomeKind::Delivered, OutcomeKind::Delivered, Deferred]);
    assert_eq!(ended[1].outcome.host, Some(two));
    assert_eq!(ended[0].outcome.host, Some(one));
}

#[test]
fn too_many_is_tried_again_at_once_and_nobody_is_left_without_an_outcome() {
    let mut tally = Tally::new([0, 1]);
    let context = Context { accepted: 1, ..Context::default() };
    tally.ruled(&[0], &judged(Stage::Rcpt, "452 4.5.3 too many", &context), None);
    let ended = tally.finish(Again::OnSchedule);
    assert_eq!(ended[0].again, Again::AtOnce);
    assert_eq!((ended[1].outcome.kind, ended[1].again), (Deferred, Again::OnSchedule));
}

#[test]
fn the_end_of_time_tells_what_was_heard_last() {
    let ruling = judged(Stage::Rcpt, "450 4.2.1 slow down", &Context::default());
    let mut tally = Tally::new([4]);
    tally.ruled(&[4], &ruling, Some(&host("mx.example")));
    let last = tally.finish(Again::OnSchedule).remove(0).outcome;
    let end = expired(4, Some(&last));
    assert_eq!((end.kind, end.status.to_string(), end.stage), (Bounced, "5.4.7".to_owned(), Stage::Expiry));
    assert!(end.explanation.as_str().ends_with("450 4.2.1 slow down"));
    assert_eq!(end.host, Some(host("mx.example")));
    assert!(expired(0, None).explanation.as_str().contains("before an attempt"));
}

#[test]
fn our_own_words_take_the_class_of_what_they_say() {
    let outcome = ours(0, Stage::Route, Bounced, EnhancedCode::transient(7, 1), "a rule refuses it");
    assert_eq!(outcome.status.to_string(), "5.7.1");
}

fn any_stage() -> impl Strategy<Value = Stage> {
    use Stage as S;
    let all = vec![S::Connect, S::Banner, S::Ehlo, S::Tls, S::Auth, S::Mail, S::Rcpt, S::Data, S::Dot];
    proptest::sample::select(all)
}

proptest! {
    #[test]
    fn only_a_5yz_behind_the_session_bounces(
        stage in any_stage(), code in 200_u16..600, detail in 0_u16..20, accepted in 0_u32..3, may_helo: bool,
    ) {
        let code = ReplyCode::try_from(code).expect("a reply code");
        let enhanced = (detail > 0).then_some(EnhancedCode::permanent(7, detail));
        let reply = FarReply { code, enhanced, text: FarText::default() };
        let context = Context { may_helo, accepted, ..Context::default() };
        let ruling = judge(Failure { stage, cause: Cause::Reply(reply) }, &context);
        if ruling.kind == Bounced {
            prop_assert_eq!(code.severity(), Severity::Permanent);
            prop_assert!(matches!(stage, Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot));
        }
        prop_assert_eq!(ruling.status.severity() == Severity::Permanent, ruling.kind == Bounced);
        prop_assert!(ruling.kind != OutcomeKind::Delivered);
        if ruling.is_ambiguous {
            prop_assert_eq!(ruling.next, Next::Stop);
        }
    }
}

#[test]
fn what_is_heeded_defers_as_before_but_ends_the_attempt_and_comes_soon() {
    let reply = judged(Stage::Mail, "421 4.7.0 rate limited", &Context::default());
    assert!(reply.can_be_heeded());
    assert_eq!((reply.next, reply.feedback), (Next::NextHost, Some(Feedback::Bad)));
    let heeded = reply.heeding(Asked::Slower);
    assert_eq!((heeded.kind, heeded.next, heeded.feedback), (Deferred, Next::Stop, None));
    let mut tally = Tally::new([0, 1]);
    tally.ruled(&[0], &heeded, None);
    let ended = tally.finish(Again::Soon);
    assert_eq!(ended.iter().map(|one| one.again).collect::<Vec<_>>(), [Again::Soon, Again::Soon]);
    let suspended = judged(Stage::Mail, "421 4.7.0 [TSS04]", &Context::default());
    assert!(!suspended.heeding(Asked::Suspend(std::time::Duration::from_secs(60))).is_soon);
    let full = Context { accepted: 3, ..Context::default() };
    assert!(!judged(Stage::Rcpt, "452 4.5.3 too many", &full).can_be_heeded());
    assert!(!judged(Stage::Mail, "550 5.7.1 rate limited", &Context::default()).can_be_heeded());
}
