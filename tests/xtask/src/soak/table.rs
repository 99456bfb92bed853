//! What a soak found, for people.
//! **Owns:** the words and the order of both tables. **Never:** a claim's bound, I/O.

use std::{fmt::Write as _, time::Duration};

use super::{
    calm::{self, Spread, Stretch},
    claims::{Claim, Word},
    report::{MIB, Report, mib, number, sum, whole},
};
use crate::{
    bench::figures::plain,
    chaos::{self, judge::Verdict},
};

/// As Markdown.
pub(crate) fn table(report: &Report) -> String {
    let mut text = String::from("| claim | found | expected | |\n|---|---|---|---|\n");
    for Claim { what, found, expected, word } in report.claims() {
        let word = match word {
            Word::Holds => "holds",
            Word::Fails => "**fails**",
            Word::Untold => "not told by so short a run",
        };
        let _ = writeln!(text, "| {what} | {found} | {expected} | {word} |");
    }
    text.push_str("\n| figure | |\n|---|---|\n");
    let figures = [run(report), books(report), accepting(report), sizes(report)].concat();
    for (what, figure) in figures {
        let _ = writeln!(text, "| {what} | {figure} |");
    }
    text
}

type Figures = Vec<(&'static str, String)>;

fn run(report: &Report) -> Figures {
    let wanted = &report.wanted;
    let minutes = wanted.lasts.as_secs() / 60;
    let load = format!(
        "{minutes} min, {} messages a second, seed {}, {:?}",
        wanted.per_second, wanted.seed, wanted.topology
    );
    let each: Vec<String> =
        report.strikes.iter().map(|(name, count)| format!("{count} × `{name}`")).collect();
    let faults = format!("{}: {}", report.strikes.values().sum::<usize>(), each.join(", "));
    vec![("load", load), ("faults", faults)]
}

fn books(report: &Report) -> Figures {
    let Verdict { delivered, bounced, explained, resent, late_dots, takeovers, .. } = &report.verdict;
    let mut takeovers: Vec<f64> = takeovers.iter().map(Duration::as_secs_f64).collect();
    takeovers.sort_by(f64::total_cmp);
    vec![
        ("recipients reached, bounces", format!("{} and {}", whole(*delivered), whole(*bounced))),
        ("copies with a reason", whole(*explained)),
        ("copies that a client caused, as it had no answer to its dot", whole(*resent)),
        ("late dots of relays that had been stopped", whole(*late_dots)),
        (
            "from a relay's kill to its deliveries being others', where the queue was well",
            chaos::spread(&takeovers),
        ),
    ]
}

fn accepting(report: &Report) -> Figures {
    let waits = |is_wanted: &dyn Fn(Stretch) -> bool| {
        let wanted = report.waits.iter().filter(|wait| is_wanted(**wait));
        calm::spread(wanted.map(|(dot, answered)| *answered - *dot))
    };
    let calm = waits(&|wait| calm::is_calm(&report.calm, wait));
    let minutes = report.calm.iter().map(|(from, to)| (*to - *from).as_secs_f64()).sum::<f64>() / 60.0;
    vec![
        ("from the dot to the 250", waited(waits(&|_| true))),
        (
            "the same in calm stretches",
            format!(
                "{} ({} messages in {minutes:.0} min)",
                waited(calm),
                whole(calm.map_or(0, |spread| spread.count))
            ),
        ),
        (
            "times that a client was put off or cut off, and tried again; of them in calm stretches",
            format!("{}; {}", number(report.retries as f64), number(report.calm_retries() as f64)),
        ),
    ]
}

fn sizes(report: &Report) -> Figures {
    let expiring = report.points(|sample| sum(sample, |server| server.expiring_keys));
    let used = sum(&report.last, |server| server.used_memory);
    vec![
        (
            "memory of each relay: least and most, and at the end",
            (0..report.last.relays.len()).map(|number| memory(report, number)).collect::<Vec<_>>().join("; "),
        ),
        ("append-only files: rewrites that came to their end", rewritten(report)),
        (
            "memory of the queue's servers when drained",
            used.map_or_else(|| "–".to_owned(), |bytes| mib(bytes / MIB)),
        ),
        (
            "keys that leave by themselves: at most, and when drained",
            format!(
                "{} and {}",
                number(most(&expiring)),
                number(sum(&report.last, |server| server.expiring_keys).unwrap_or(0.0))
            ),
        ),
    ]
}

fn memory(report: &Report, relay: usize) -> String {
    let sizes = || report.processes(relay).map(|process| process.rss_kib as f64 / 1024.0);
    let last = report.last.relays.get(relay).copied().flatten();
    let last = last.map_or_else(|| "–".to_owned(), |process| mib(process.rss_kib as f64 / 1024.0));
    format!("{:.0} to {:.0}, {last}", sizes().fold(f64::INFINITY, f64::min), sizes().fold(0.0, f64::max))
}

fn rewritten(report: &Report) -> String {
    let took = calm::spread(report.rewrites.iter().map(|rewrite| rewrite.took));
    let took = took.map_or_else(String::new, |took| {
        format!(
            ", in {:.2} s at the median and {:.2} s at most",
            took.p50.as_secs_f64(),
            took.most.as_secs_f64()
        )
    });
    let automatic = report.rewrites.iter().filter(|rewrite| rewrite.is_automatic).count();
    let largest = most(&report.points(|sample| sum(sample, |server| server.aof_bytes)));
    format!(
        "{}, of them {automatic} automatic{took}; at most {} on disk",
        report.rewrites.len(),
        mib(largest / MIB)
    )
}

fn most(points: &[(Duration, f64)]) -> f64 {
    points.iter().map(|(_, value)| *value).fold(0.0, f64::max)
}

fn waited(spread: Option<Spread>) -> String {
    let shown = |time: Duration| match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{} ms", plain(seconds * 1e3)),
        seconds => format!("{seconds:.1} s"),
    };
    spread.map_or_else(
        || "–".to_owned(),
        |Spread { p50, p99, most, .. }| {
            format!("p50 {}, p99 {}, at most {}", shown(p50), shown(p99), shown(most))
        },
    )
}
