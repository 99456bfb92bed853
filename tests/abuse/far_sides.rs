//! Far sides that never end, never answer, or answer what was not asked.
//! **Owns:** those that `e2e::bad_far_sides` lacks. **Never:** waits of minutes: those are seen not to harm others.

use std::time::Duration;

use anyhow::{Result, ensure};
use postrider_tests::{
    World,
    client::Client,
    sink::{Act, At, Rule},
    source, wait,
};

use crate::{LATER, MEMORY_MIB, trial::Trial};

const STAGES: [At; 6] = [At::Banner, At::Ehlo, At::Mail, At::Rcpt, At::Data, At::Dot];
const LISTENER: &str = "- {name: smtp, port: 25, protocol: SMTP, allowedClients: {cidrs: [127.0.0.0/8]}}";

/// A relay in a world with these far sides, by domain.
async fn against(far_sides: Vec<(String, Vec<Rule>)>) -> Result<Trial> {
    let mut world = World::new().await?;
    for (domain, rules) in far_sides {
        let number = world.domain(&domain).await?;
        world.sinks[number].behave(rules);
    }
    world.domain("sender.example").await?;
    Trial::of(world, LISTENER).await
}

/// A far side per stage that does so once, then behaves: each message arrives, no sender hears of it, the log has a line.
async fn recovers_at(stages: &[At], act: impl Fn(At) -> Act) -> Result<()> {
    let domain = |at: At| format!("{at:?}.example").to_ascii_lowercase();
    let rules = |at: &At| (domain(*at), vec![Rule::new(*at, act(*at)).times(1)]);
    let trial = against(stages.iter().map(rules).collect()).await?;
    for at in stages {
        let to = format!("b@{}", domain(*at));
        trial.world.send(0, "a@sender.example", &[&to], &format!("{at:?}")).await?;
    }
    for at in stages {
        let to = format!("b@{}", domain(*at));
        let entry = trial.world.arrival(&to, LATER).await?;
        ensure!(entry.id == format!("{at:?}"), "{entry:?}");
        let log = trial.world.relays[0].log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&domain(*at))).collect();
        let is_told =
            lines.iter().any(|line| line.contains("\"outcome\":\"Deferred\"") && line.contains("\"reply\":"));
        ensure!(is_told, "{at:?}: no line that says so in\n{}", lines.join("\n"));
    }
    ensure!(trial.world.ledger.to("a@sender.example").is_empty(), "no bounce");
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_of_lines_without_end_is_cut_at_every_stage() -> Result<()> {
    let line = |at| match at {
        At::Banner => "220-and on\r\n",
        At::Data => "354-and on\r\n",
        _ => "250-and on\r\n",
    };
    recovers_at(&STAGES, |at| Act::Endless(line(at).repeat(1000).into_bytes())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_end_is_cut_at_every_stage() -> Result<()> {
    recovers_at(&STAGES, |_| Act::Endless(b"250 ".repeat(10_000))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_without_end_are_cut_at_every_stage() -> Result<()> {
    // Each is a whole one, and right for the first question.
    let reply = |at| match at {
        At::Banner => "220 again\r\n",
        At::Data => "354 again\r\n",
        _ => "250 again\r\n",
    };
    // At the dot the first of them is the answer.
    let stages = [At::Banner, At::Ehlo, At::Mail, At::Rcpt, At::Data];
    recovers_at(&stages, |at| Act::Endless(reply(at).repeat(1000).into_bytes())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_is_cut_at_every_stage() -> Result<()> {
    recovers_at(&STAGES, |_| Act::Endless((0..10_000).map(|_| rand::random()).collect())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_of_the_wrong_kind_is_no_yes() -> Result<()> {
    let wrong = |at| match at {
        At::Banner => "354 go on",
        At::Ehlo => "334 whom?",
        At::Mail | At::Rcpt | At::Dot => "354 go on",
        At::Data | At::Handshake => "250 2.0.0 go on",
    };
    // Then it is gone: a message that it "accepted" so would be lost.
    recovers_at(&STAGES, |at| Act::ReplyAndClose(wrong(at).to_owned())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_before_the_message_was_sent_is_none() -> Result<()> {
    let early = vec![
        // In one packet with the 354, which is before a byte of the message.
        Rule::reply(At::Data, "354 go on\r\n250 2.0.0 I have it, never mind what").times(3),
        Rule::new(At::Dot, Act::Close).times(3),
    ];
    let trial = against(vec![("early.example".to_owned(), early)]).await?;
    for (number, size) in [500, 100_000, 1_000_000].into_iter().enumerate() {
        let to = format!("b{number}@early.example");
        let text = source::message(&format!("early-{number}"), "a@sender.example", &to, size);
        let mut client = trial.client().await?;
        let reply = client.message("a@sender.example", &[&to], text.trim_end()).await?;
        ensure!(reply.code == 250, "{}", reply.text);
    }
    for number in 0..3 {
        let entry = trial.world.arrival(&format!("b{number}@early.example"), LATER).await?;
        ensure!(entry.id == format!("early-{number}"), "{entry:?}");
    }
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn greetings_of_5yz_keep_the_mail_until_they_end() -> Result<()> {
    let greetings = ["554 5.7.1 no", "500 what", "550 5.7.1 listed", "521 5.3.2 no mail here"];
    let rules = |greeting: &&str| Rule::reply(At::Banner, greeting).times(1);
    let trial = against(vec![("no.example".to_owned(), greetings.iter().map(rules).collect())]).await?;
    for number in 0..5 {
        let to = format!("b{number}@no.example");
        trial.world.send(0, "a@sender.example", &[&to], &format!("{number}")).await?;
    }
    for number in 0..5 {
        let to = format!("b{number}@no.example");
        let has_end = || {
            let bounces = trial.world.ledger.to("a@sender.example");
            let is_bounced = bounces.iter().any(|bounce| bounce.text().contains(&to));
            is_bounced || !trial.world.ledger.to(&to).is_empty()
        };
        wait::until("mail or bounce", LATER, has_end).await?;
    }
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_at_every_stage_holds_up_nobody_and_loses_nothing() -> Result<()> {
    let domain = |at: At| format!("{at:?}.example").to_ascii_lowercase();
    let silent = |at: &At| (domain(*at), vec![Rule::new(*at, Act::Hang)]);
    let trial = against(STAGES.iter().map(silent).collect()).await?;
    for at in STAGES {
        for number in 0..20 {
            let to = format!("b{number}@{}", domain(at));
            trial.world.send(0, "a@sender.example", &[&to], &format!("{at:?}-{number}")).await?;
        }
    }
    let mut client = trial.client().await?;
    for number in 0..20 {
        trial.goes_on(&mut client, &format!("live-{number}")).await?;
    }
    // Each waits in the queue, or in an attempt.
    let listed = trial.world.relays[0].ctl(&["queue"]).await?;
    println!("{listed}");
    for sink in &trial.world.sinks {
        sink.behave_well();
    }
    // Those that hang are cut: what they were sent they never said yes to.
    let mut trial = trial;
    for number in 0..STAGES.len() {
        trial.world.sinks[number].stop();
        let address = trial.world.address(number);
        let ledger = trial.world.ledger.clone();
        let again = postrider_tests::eventually("the port", LATER, async || {
            let setup = postrider_tests::sink::Setup::default();
            postrider_tests::sink::Sink::start(address, ledger.clone(), setup).await.ok()
        });
        trial.world.sinks[number] = again.await?;
    }
    for at in STAGES {
        for number in 0..20 {
            trial.world.arrival(&format!("b{number}@{}", domain(at)), LATER).await?;
        }
    }
    ensure!(trial.world.ledger.to("a@sender.example").is_empty(), "no bounce");
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_in_drops_without_end_hold_up_nobody() -> Result<()> {
    let drops = |text: &str| Act::Drip(text.repeat(2_000).into_bytes(), Duration::from_millis(200));
    let slow = [At::Banner, At::Ehlo, At::Mail, At::Rcpt, At::Dot];
    let rules =
        |at: &At| (format!("{at:?}.example").to_ascii_lowercase(), vec![Rule::new(*at, drops("250-x\r\n"))]);
    let trial = against(slow.iter().map(rules).collect()).await?;
    for at in slow {
        for number in 0..20 {
            let to = format!("b{number}@{at:?}.example").to_ascii_lowercase();
            trial.world.send(0, "a@sender.example", &[&to], &format!("{at:?}-{number}")).await?;
        }
    }
    let mut client = trial.client().await?;
    for number in 0..20 {
        trial.goes_on(&mut client, &format!("live-{number}")).await?;
    }
    ensure!(trial.world.ledger.to("a@sender.example").is_empty(), "no bounce");
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_to_those_that_read_nothing_hold_up_nobody_and_don_t_fill_the_memory() -> Result<()> {
    const DOMAINS: usize = 6;
    const MESSAGES: usize = 5;
    let stuck = || vec![Rule::new(At::Data, Act::ReplyAndHang("354 go on, I'm not listening".to_owned()))];
    let trial =
        against((0..DOMAINS).map(|number| (format!("stuck{number}.example"), stuck())).collect()).await?;
    for number in 0..DOMAINS * MESSAGES {
        let to = format!("b{number}@stuck{}.example", number % DOMAINS);
        let text = source::message(&format!("large-{number}"), "a@sender.example", &to, 20 << 20);
        let mut client = Client::greeted(trial.smtp()).await?;
        let reply = client.message("a@sender.example", &[&to], text.trim_end()).await?;
        ensure!(reply.code == 250, "{}", reply.text);
    }
    let mut client = trial.client().await?;
    for number in 0..20 {
        trial.goes_on(&mut client, &format!("live-{number}")).await?;
    }
    // Bodies of attempts are in memory, within a budget.
    trial.unharmed_within(2 * MEMORY_MIB).await
}
