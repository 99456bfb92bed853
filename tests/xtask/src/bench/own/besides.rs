//! What TLS to the far side and a signature cost: a fleet that has one of them beside one without.
//! **Owns:** those two comparisons. **Never:** TLS from sources (the loads that both carry have it).

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::in_turns;
use crate::bench::{
    figures::{Figures, median, told},
    fleet::{Besides, Fleet},
    workload::{Far, Workload},
};

/// Connections to the far side are used again, with their TLS.
pub(crate) async fn tls_out(workload: &Workload, rounds: usize, figures: &mut Figures) -> Result<()> {
    told("TLS to the far side beside clear text");
    let clear = Fleet::start(Far::Smarthost).await?;
    let encrypted = Fleet::start_besides(Far::Smarthost, Besides::TlsOut).await?;
    let turns = in_turns([&clear, &encrypted], workload, rounds).await?;
    let is_tls = |fleet: &Fleet| fleet.ledger().entries().iter().all(|entry| entry.is_tls);
    ensure!(is_tls(&encrypted) && !is_tls(&clear), "found mail in clear or encrypted that shouldn't be");
    figures.over("tls_out_share", "of the clear-text speed", turns.speeds.each_ref());
    turns.tell("tls_out", ["clear", "tls"], figures);
    Ok(())
}

/// A signature's CPU a message beside what `openssl speed` takes for one.
pub(crate) async fn signing(workload: &Workload, rounds: usize, figures: &mut Figures) -> Result<()> {
    told("a DKIM signature (RSA of 2,048 bits) beside none, and openssl speed");
    let plain = Fleet::start(Far::Smarthost).await?;
    let signed = Fleet::start_besides(Far::Smarthost, Besides::Signing).await?;
    let workload = Workload { messages: workload.messages.map(|messages| messages / 4), ..workload.clone() };
    let mut openssl = vec![openssl_signs_in()?];
    let turns = in_turns([&plain, &signed], &workload, rounds).await?;
    openssl.push(openssl_signs_in()?);
    let count = signed.sum("postrider_dkim_messages_total", &["result=\"signed\""]).await?;
    ensure!(count as usize >= workload.messages[0] * rounds, "found {count} messages signed; expected all");
    let pairs = turns.cpu[0].iter().zip(&turns.cpu[1]);
    let cost: Vec<f64> = pairs.map(|(plain, signed)| signed - plain).collect();
    if let (Some(cost), Some(openssl)) = (median(&cost), median(&openssl)) {
        figures.ours("signing_cpu_over_openssl", "times", vec![cost / openssl]);
    }
    figures.ours("signing_cpu_per_message", "us", cost);
    figures.ours("signing_openssl_cpu", "us", openssl);
    turns.tell("signing", ["unsigned", "signed"], figures);
    Ok(())
}

/// CPU of one signature by openssl, in µs.
fn openssl_signs_in() -> Result<f64> {
    let output = Command::new("openssl").args(["speed", "-mr", "-seconds", "3", "rsa2048"]).output();
    let text = String::from_utf8(output.context("openssl runs")?.stdout)?;
    // +F2:NUMBER:BITS:SIGNATURES:VERIFICATIONS, in a second of CPU.
    let line = text.lines().find_map(|line| line.strip_prefix("+F2:"));
    let signatures = line.and_then(|line| line.split(':').nth(2)?.parse::<f64>().ok());
    Ok(1e6 / signatures.with_context(|| format!("found {text:?}; expected a line +F2 of openssl speed"))?)
}
