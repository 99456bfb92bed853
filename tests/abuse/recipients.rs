//! Ten thousand recipients.
//! **Owns:** how many are taken, and that each gets the message once. **Never:** who may have them (admission).

use std::{collections::HashSet, time::Duration};

use anyhow::{Result, ensure};
use postrider_tests::{client::Client, source, wait};

use crate::{LATER, trial::Trial};

const RECIPIENTS: usize = 10_000;
/// So many commands are sent before their replies are read.
const GROUP: usize = 500;

fn everybody() -> Vec<String> {
    (0..RECIPIENTS).map(|number| format!("b{number}@far.example")).collect()
}

/// Says RCPT for each; the replies.
async fn say_all(client: &mut Client, recipients: &[String]) -> Result<Vec<String>> {
    let mut replies = Vec::new();
    for group in recipients.chunks(GROUP) {
        let commands: String = group.iter().map(|to| format!("RCPT TO:<{to}>\r\n")).collect();
        client.send(commands.as_bytes()).await?;
        for _ in group {
            replies.push(client.reply().await?.text);
        }
    }
    Ok(replies)
}

async fn end(client: &mut Client, id: &str) -> Result<()> {
    client.say("DATA", 354).await?;
    let text = source::message(id, "a@sender.example", "all@far.example", 500);
    client.send(format!("{text}.\r\n").as_bytes()).await?;
    client.expect(250).await.map(drop)
}

/// Waits until each has the message, once.
async fn each_has_it_once(trial: &Trial) -> Result<()> {
    let arrived = || {
        let entries = trial.world.ledger.matching(|entry| entry.sender == "a@sender.example");
        entries.into_iter().flat_map(|entry| entry.recipients).collect::<Vec<_>>()
    };
    wait::until("all recipients", LATER, || arrived().len() >= RECIPIENTS).await?;
    let arrived = arrived();
    let distinct: HashSet<&String> = arrived.iter().collect();
    ensure!(arrived.len() == RECIPIENTS && distinct.len() == RECIPIENTS, "{} come twice", arrived.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_each_is_told_to_come_in_another_transaction() -> Result<()> {
    let trial = Trial::start().await?;
    let mut client = trial.client().await?;
    let mut rest = everybody();
    let mut transactions = 0;
    while !rest.is_empty() {
        client.say("MAIL FROM:<a@sender.example>", 250).await?;
        let replies = say_all(&mut client, &rest).await?;
        let taken = replies.iter().filter(|reply| reply.starts_with("250 2.1.5 ")).count();
        let later = replies.iter().filter(|reply| reply.starts_with("452 4.5.3 ")).count();
        ensure!(taken == rest.len().min(1000) && taken + later == rest.len(), "{taken} {later}");
        end(&mut client, &format!("part-{transactions}")).await?;
        // As RFC 5321 4.5.3.1.10 has it.
        rest = rest.split_off(taken);
        transactions += 1;
    }
    ensure!(transactions == 10, "{transactions}");
    each_has_it_once(&trial).await?;
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_limit_allows_them_one_message_has_them_all() -> Result<()> {
    let trial = Trial::with_limits("{recipients: 10000}").await?;
    let mut client = trial.client().await?;
    client.say("MAIL FROM:<a@sender.example>", 250).await?;
    let mut recipients = everybody();
    recipients.push("one-more@far.example".to_owned());
    let replies = say_all(&mut client, &recipients).await?;
    let last = replies.last().map(String::as_str).unwrap_or_default();
    ensure!(last.starts_with("452 4.5.3 "), "{last}");
    ensure!(replies.iter().filter(|reply| reply.starts_with("250 ")).count() == RECIPIENTS);
    end(&mut client, "all").await?;
    each_has_it_once(&trial).await?;
    trial.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn harvesting_addresses_by_rcpt_learns_nothing_and_ends() -> Result<()> {
    let trial = Trial::start().await?;
    let mut client = trial.client().await?;
    let mut said = 0;
    // A relay knows no mailboxes: each gets the same answer, and commands that bring no mail are counted.
    let last = 'harvest: loop {
        client.send(b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<root@far.example>\r\nRSET\r\n").await?;
        for _ in 0..3 {
            let reply = client.reply().await?;
            if reply.code != 250 {
                break 'harvest reply;
            }
        }
        said += 1;
        ensure!(said < 1000, "still served after {said}");
    };
    ensure!(last.text.starts_with("421 4.7.0 "), "{}", last.text);
    ensure!(client.is_closed_within(Duration::from_secs(10)).await);
    trial.unharmed().await
}
