//! What a person reads, and the same for programs.
//! **Owns:** units, medians, ratios, the layout. **Never:** measures.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Case,
    kept::Kept,
    redis_calls::RedisCalls,
    round::Round,
    stage::{Memory, Mta},
};

/// Above this part of all CPU, the load generator is said to be in the way.
const HARNESS_SHARE_MAX: f64 = 0.35;
/// Calls of Redis that are rarer than one in so many messages aren't shown.
const RARE: u64 = 200;

/// Prints as it goes, and remembers for the file.
#[derive(Default)]
pub(crate) struct Report {
    kept: Vec<Value>,
}

impl Report {
    /// What it runs on.
    pub(crate) fn machine(&mut self, text: &str) {
        println!(
            "{text}\nthree figures are minimum / median / maximum of the rounds; the ratio is Postrider to Postfix,"
        );
        println!("round by round. CPU is user and system time of all processes of each, Redis included.");
        self.kept.push(json!({"machine": text}));
    }

    /// All rounds of a case.
    pub(crate) fn case(&mut self, case: &Case, rounds: &[Vec<Round>; 2]) {
        println!(
            "\n{}; sessions: {}; messages: {} and {}; rounds: {}",
            case.name,
            case.sessions,
            case.postrider,
            case.postfix,
            rounds[0].len()
        );
        println!("  {:<34} {:^26} {:^26} {:>7}", "", "Postrider", "Postfix", "ratio");
        let mut row = |name: &str, figure: &dyn Fn(&Round) -> Option<f64>| {
            let [ours, theirs] = [Mta::Postrider, Mta::Postfix]
                .map(|mta| rounds[mta as usize].iter().filter_map(figure).collect::<Vec<f64>>());
            if !ours.is_empty() {
                println!(
                    "  {name:<34} {:>26} {:>26} {:>7}",
                    spread(&ours),
                    spread(&theirs),
                    ratio(&ours, &theirs)
                );
                self.kept
                    .push(json!({"case": case.name, "figure": name, "postrider": ours, "postfix": theirs}));
            }
        };
        row("end to end, messages/s", &|round| Some(round.rate(round.delivered_in?)));
        row("accepted, messages/s", &|round| Some(round.rate(round.accepted_in)));
        row("CPU, µs a message", &|round| Some(round.each((round.took.mta + round.took.store).total())));
        row("  of it system", &|round| Some(round.each((round.took.mta + round.took.store).system)));
        row("  of it Redis", &|round| round.of_redis(round.each(round.took.store.total())));
        row("250 to far side's 250, p50 ms", &|round| round.latency(50));
        row("250 to far side's 250, p99 ms", &|round| round.latency(99));
        row("messages a sync of Redis", &|round| {
            round.of_redis(round.messages as f64 / round.redis.syncs.max(1) as f64)
        });
        row("reads by Redis, a message", &|round| {
            round.of_redis(round.redis.reads as f64 / round.messages as f64)
        });
        row("source and sink, CPU µs a message", &|round| Some(round.each(round.harness.total())));
        row("source and sink, share of CPU", &|round| Some(round.harness_share()));
        self.remarks(rounds);
        if let Some(last) = rounds[0].last() {
            self.redis(&last.redis, last.messages);
        }
    }

    fn remarks(&mut self, rounds: &[Vec<Round>; 2]) {
        for (round, whose) in rounds
            .iter()
            .zip(["Postrider", "Postfix"])
            .flat_map(|(all, whose)| all.iter().map(move |one| (one, whose)))
        {
            if round.harness_share() > HARNESS_SHARE_MAX {
                self.note(&format!(
                    "  source and sink took {:.0} % of the CPU beside {whose}: it could be faster than shown",
                    round.harness_share() * 100.0
                ));
            }
            if round.retries + round.duplicates as u64 > 0 {
                self.note(&format!(
                    "  {whose}: {} retries of the source, {} duplicates",
                    round.retries, round.duplicates
                ));
            }
        }
    }

    /// What Redis was asked for a message.
    fn redis(&mut self, calls: &RedisCalls, messages: usize) {
        let mut commands: Vec<_> =
            calls.commands.iter().filter(|(_, (count, _))| count * RARE >= messages as u64).collect();
        commands.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        let each = |count: u64| count as f64 / messages as f64;
        let words: Vec<String> =
            commands.iter().map(|(name, (count, _))| format!("{name} {:.2}", each(*count))).collect();
        let inside: u64 =
            commands.iter().filter(|(name, _)| *name != "evalsha").map(|(_, (_, time))| time).sum();
        println!("  Redis, calls a message: {} (those within scripts count)", words.join(", "));
        if let Some((_, (count, time))) = calls.commands.get_key_value("evalsha") {
            println!(
                "  Redis, within scripts {:.1} µs a message, {:.1} µs a script; its commands take {:.1} µs of it; {:.0} bytes come in a message",
                each(*time),
                *time as f64 / *count as f64,
                each(inside),
                each(calls.bytes_in)
            );
        }
        let counts: serde_json::Map<String, Value> =
            calls.commands.iter().map(|(name, (count, _))| (name.clone(), json!(each(*count)))).collect();
        self.kept.push(json!({"redis_calls_a_message": counts}));
    }

    /// What was kept has been delivered.
    pub(crate) fn drained(&mut self, round: &Round) {
        let rate = round.rate(round.delivered_in.unwrap_or_default());
        let messages = round.messages;
        println!(
            "\na queue of {messages} drains (claimed, read back, delivered): {} messages/s",
            figure(rate)
        );
        println!(
            "  CPU a message: relay {} µs, Redis {} µs, sink {} µs",
            figure(round.each(round.took.mta.total())),
            figure(round.each(round.took.store.total())),
            figure(round.each(round.harness.total()))
        );
        self.redis(&round.redis, messages);
        self.kept.push(json!({"drained": messages, "messages_a_second": rate}));
    }

    /// Memory at rest, at work, and with a full queue.
    pub(crate) fn memory(&mut self, idle: Memory, worked: [Memory; 2], kept: &Kept) {
        let mib = |kib: u64| kib as f64 / 1024.0;
        let [ours, theirs] = worked;
        println!("\nmemory in MiB (pages that processes share count once)");
        println!(
            "  relay at rest {:.1}; after all loads {:.1}; at most {:.1}",
            mib(idle.mta),
            mib(ours.mta),
            mib(ours.peak)
        );
        println!("  Postfix after all loads {:.1} in {} processes", mib(theirs.mta), theirs.processes);
        println!(
            "  relay with {} messages queued {:.1} (at most {:.1}); without {:.1}",
            kept.messages,
            mib(kept.after.mta),
            mib(kept.after.peak),
            mib(kept.before.mta)
        );
        let grown = kept.after.store.saturating_sub(kept.before.store) * 1024;
        println!(
            "  Redis with them {:.1}; {} bytes a message",
            mib(kept.after.store),
            grown / kept.messages.max(1)
        );
        self.kept.push(json!({"memory_kib": {"relay_idle": idle.mta, "relay_worked": ours.mta, "relay_peak": ours.peak,
            "postfix_worked": theirs.mta, "relay_queued": kept.after.mta, "queued": kept.messages, "redis_queued": kept.after.store}}));
    }

    /// Calls to the system.
    pub(crate) fn system_calls(&mut self, whose: &str, messages: usize, counts: &[(String, u64)]) {
        let each = |count: u64| count as f64 / messages as f64;
        let all: u64 = counts.iter().map(|(_, count)| count).sum();
        let most: Vec<String> = counts
            .iter()
            .filter(|(_, count)| count * 20 >= messages as u64)
            .map(|(name, count)| format!("{name} {:.2}", each(*count)))
            .collect();
        println!("\n{whose}, calls to the system: {:.1} a message: {}", each(all), most.join(", "));
        self.kept.push(json!({"system_calls": whose, "a_message": each(all)}));
    }

    /// One line.
    pub(crate) fn note(&mut self, text: &str) {
        println!("{text}");
        self.kept.push(json!({"note": text}));
    }

    /// All of it for a program.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.kept)?)
    }
}

impl Round {
    fn rate(&self, time: Duration) -> f64 {
        self.messages as f64 / time.as_secs_f64().max(1e-6)
    }

    /// µs a message.
    fn each(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.messages as f64
    }

    fn of_redis(&self, figure: f64) -> Option<f64> {
        (!self.redis.commands.is_empty()).then_some(figure)
    }

    fn latency(&self, percent: usize) -> Option<f64> {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).map(|time| time.as_secs_f64() * 1e3)
    }

    fn harness_share(&self) -> f64 {
        let all = self.harness + self.took.mta + self.took.store;
        self.harness.total().as_secs_f64() / all.total().as_secs_f64().max(1e-6)
    }
}

fn spread(figures: &[f64]) -> String {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted[..] {
        [] => "-".to_owned(),
        [only] => figure(only),
        [least, .., most] => format!("{} / {} / {}", figure(least), figure(median(&sorted)), figure(most)),
    }
}

fn ratio(ours: &[f64], theirs: &[f64]) -> String {
    let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    ratios.sort_by(f64::total_cmp);
    match median(&ratios) {
        _ if ratios.is_empty() => String::new(),
        small if small < 0.1 => format!("{small:.3}"),
        large => format!("{large:.2}"),
    }
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

fn figure(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}
