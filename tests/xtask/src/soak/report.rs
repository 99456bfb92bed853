//! All that a soak found, and whether it is as it should be.
//! **Owns:** the list of claims with their bounds. **Never:** I/O, a table.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Result, ensure};

use super::{
    calm::{self, Stretch},
    claims::{Bound, Claim, Word, fact, flat},
    plan::{LONG_LIVED, Wanted},
    rewrites::Rewrite,
    sample::{Process, Sample, Server},
};
use crate::{
    bench::figures::plain,
    chaos::{judge::Verdict, run::RSS_MAX_KIB},
};

/// A heap that is used in another way each minute.
const MEMORY: Bound = Bound { share: 0.1, slack: 4.0 };
const FILES: Bound = Bound { share: 0.25, slack: 32.0 };
/// In calm stretches: what waits for its second try is a key or three.
const KEYS: Bound = Bound { share: 0.5, slack: 300.0 };
const STORE_MEMORY: Bound = Bound { share: 0.25, slack: 8.0 };
/// One automatic rewrite in so many minutes at least.
const REWRITE_WITHIN_MINUTES: u64 = 10;

pub(crate) const MIB: f64 = 1024.0 * 1024.0;

/// What was found.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) wanted: Wanted,
    pub(crate) samples: Vec<Sample>,
    /// When the queue had drained.
    pub(crate) last: Sample,
    pub(crate) verdict: Verdict,
    /// From each dot to its 250.
    pub(crate) waits: Vec<Stretch>,
    pub(crate) calm: Vec<Stretch>,
    pub(crate) strikes: BTreeMap<String, usize>,
    /// 5xx at the source.
    pub(crate) refused: Vec<String>,
    pub(crate) retries: u64,
    /// How many were to be sent.
    pub(crate) messages: usize,
    pub(crate) rewrites: Vec<Rewrite>,
    /// The names of those that last, after the first messages and at the end.
    pub(crate) keys_before: BTreeSet<String>,
    pub(crate) keys_after: BTreeSet<String>,
}

impl Report {
    /// Fails by the claims that don't hold.
    pub(crate) fn judged(&self) -> Result<()> {
        let failed: Vec<String> = self
            .claims()
            .iter()
            .filter(|claim| claim.word == Word::Fails)
            .map(|Claim { what, found, expected, .. }| format!("{what}: found {found}; expected {expected}"))
            .collect();
        ensure!(failed.is_empty(), "{}", failed.join("\n"));
        Ok(())
    }

    /// All of them.
    pub(crate) fn claims(&self) -> Vec<Claim> {
        [self.books(), self.growth(), self.rest()].concat()
    }

    fn books(&self) -> Vec<Claim> {
        let Verdict { accepted, lost, unexplained, .. } = &self.verdict;
        let none = |what, list: &[String]| {
            let first = list.iter().take(3).map(|one| format!(", {one}")).collect::<String>();
            fact(what, list.is_empty(), format!("{}{first}", list.len()), "0".to_owned())
        };
        let refused = self.refused.first().map(|reply| format!("; {reply}")).unwrap_or_default();
        vec![
            fact(
                "messages with a 250",
                *accepted == self.messages,
                format!("{}{refused}", whole(*accepted)),
                format!("all {}", whole(self.messages)),
            ),
            none("lost", lost),
            none("doubled without a reason", unexplained),
            fact(
                "keys that last, when the queue had drained",
                self.keys_after == self.keys_before,
                differs(&self.keys_before, &self.keys_after),
                format!("the {} that were there before", self.keys_before.len()),
            ),
        ]
    }

    fn growth(&self) -> Vec<Claim> {
        let lasts = self.wanted.lasts;
        let of_relay = |value: fn(&Process) -> f64| {
            self.points(|sample| sample.relays.get(LONG_LIVED).copied().flatten().map(|one| value(&one)))
        };
        let of_store = |value: fn(&Server) -> u64| {
            let mut points = self.points(|sample| sum(sample, value));
            points.retain(|(at, _)| calm::is_calm(&self.calm, (*at, *at)));
            points
        };
        vec![
            flat(
                "memory of the relay that lived through all of it",
                &of_relay(|relay| relay.rss_kib as f64 / 1024.0),
                lasts,
                MEMORY,
                mib,
            ),
            flat("its open files", &of_relay(|relay| relay.open_files as f64), lasts, FILES, number),
            flat(
                "keys that last, in calm stretches",
                &of_store(|server| server.lasting_keys),
                lasts,
                KEYS,
                number,
            ),
            flat(
                "memory of the queue's servers, in calm stretches",
                &of_store(|server| server.used_memory)
                    .into_iter()
                    .map(|(at, bytes)| (at, bytes / MIB))
                    .collect::<Vec<_>>(),
                lasts,
                STORE_MEMORY,
                mib,
            ),
        ]
    }

    fn rest(&self) -> Vec<Claim> {
        let processes: BTreeSet<i32> = self.processes(LONG_LIVED).map(|process| process.pid).collect();
        let heaviest = self.last.relays.iter().flatten().map(|relay| relay.rss_kib).max().unwrap_or(u64::MAX);
        let automatic = self.rewrites.iter().filter(|rewrite| rewrite.is_automatic).count();
        let wanted = (self.wanted.lasts.as_secs() / 60 / REWRITE_WITHIN_MINUTES).max(1);
        vec![
            fact(
                "processes of that relay",
                processes.len() == 1,
                processes.len().to_string(),
                "1".to_owned(),
            ),
            fact(
                "the heaviest relay at the end",
                heaviest <= RSS_MAX_KIB,
                mib(heaviest as f64 / 1024.0),
                format!("at most {}", mib(RSS_MAX_KIB as f64 / 1024.0)),
            ),
            fact(
                "automatic rewrites of append-only files under load",
                automatic as u64 >= wanted,
                automatic.to_string(),
                format!("at least {wanted}"),
            ),
        ]
    }

    /// What each sample has of a value.
    pub(crate) fn points(&self, value: impl Fn(&Sample) -> Option<f64>) -> Vec<(Duration, f64)> {
        let point = |sample: &Sample| Some((Duration::from_secs_f64(sample.at), value(sample)?));
        self.samples.iter().filter_map(point).collect()
    }

    /// Put off or cut off, between two samples of one calm stretch.
    pub(crate) fn calm_retries(&self) -> u64 {
        let is_calm = |pair: &&[Sample]| {
            let [from, to] = [&pair[0], &pair[1]].map(|sample| Duration::from_secs_f64(sample.at));
            calm::is_calm(&self.calm, (from, to))
        };
        self.samples.windows(2).filter(is_calm).map(|pair| pair[1].retries - pair[0].retries).sum()
    }

    /// What the samples have of a relay.
    pub(crate) fn processes(&self, relay: usize) -> impl Iterator<Item = &Process> {
        self.samples.iter().filter_map(move |sample| sample.relays.get(relay)?.as_ref())
    }
}

/// Over all servers; none while one of them doesn't answer.
pub(crate) fn sum(sample: &Sample, value: impl Fn(&Server) -> u64) -> Option<f64> {
    let all: Option<Vec<u64>> = sample.servers.iter().map(|server| server.as_ref().map(&value)).collect();
    Some(all?.iter().sum::<u64>() as f64)
}

pub(crate) fn mib(value: f64) -> String {
    format!("{} MiB", plain(value))
}

pub(crate) fn whole(count: usize) -> String {
    if count < 1_000 { count.to_string() } else { plain(count as f64) }
}

pub(crate) fn number(value: f64) -> String {
    whole(value.round() as usize)
}

/// What is more and what is less, by names.
fn differs(before: &BTreeSet<String>, after: &BTreeSet<String>) -> String {
    let names = |word: &str, more: Vec<&String>| {
        let first: Vec<&str> = more.iter().take(5).map(|key| key.as_str()).collect();
        if first.is_empty() { String::new() } else { format!("; {word}: {}", first.join(", ")) }
    };
    let (more, less) = (after.difference(before).collect(), before.difference(after).collect());
    format!("{}{}{}", after.len(), names("new", more), names("missing", less))
}

#[cfg(test)]
mod tests {
    use super::{differs, number, whole};

    #[test]
    fn keys_that_came_and_went_are_named() {
        let keys = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(differs(&keys(&["meta", "pods"]), &keys(&["meta", "pods"])), "2");
        assert_eq!(
            differs(&keys(&["meta", "pods"]), &keys(&["lanes", "meta"])),
            "2; new: lanes; missing: pods"
        );
    }

    #[test]
    fn counts_have_no_fractions() {
        assert_eq!([whole(7), whole(12_345), number(54.0)], ["7", "12,345", "54"]);
    }
}
