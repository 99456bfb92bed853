//! What was found, as tables and pictures of docs/performance.md.
//! **Owns:** the parts of that page between its marks. **Never:** a word outside of them.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use postrider_tests::draw::pairs::{Row, pairs};

use super::{
    budgets,
    figures::{Figure, Figures, plain, spread},
    tuned,
    workload::{self, Far},
};
use crate::tools;

const PAGE: &str = "docs/performance.md";
const PICTURES: &str = "docs/pictures";

/// Writes them.
pub(crate) fn write(figures: &Figures, is_quick: bool) -> Result<()> {
    let page = tools::root().join(PAGE);
    let mut text = std::fs::read_to_string(&page).with_context(|| PAGE.to_owned())?;
    let parts = [
        ("run", run(figures, is_quick)),
        ("budgets", budgets(figures)),
        ("loads", loads(figures)),
        ("costs", costs(figures)),
        ("own", own(figures)),
        ("postfix", settings()),
    ];
    for (name, content) in parts {
        text = filled(&text, name, &content).with_context(|| PAGE.to_owned())?;
    }
    std::fs::write(&page, text)?;
    let pictures = tools::root().join(PICTURES);
    for (file, title, what, unit) in [
        ("performance-speed.svg", "Messages a second, from client to far side", "end_to_end", ""),
        ("performance-cpu.svg", "CPU a message (with Redis), µs", "cpu_per_message", ""),
    ] {
        std::fs::write(pictures.join(file), pairs(title, unit, &rows(figures, what))?)?;
    }
    eprintln!("wrote {PAGE} and its pictures");
    Ok(())
}

/// The page with what stands between a part's marks replaced.
pub(crate) fn filled(text: &str, name: &str, content: &str) -> Result<String> {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&open).with_context(|| format!("found no {open}"))?;
    let (_, after) = rest.split_once(&close).with_context(|| format!("found no {close}"))?;
    Ok(format!("{before}{open}\n{content}{close}{after}"))
}

fn run(figures: &Figures, is_quick: bool) -> String {
    let command = if is_quick { "cargo xtask bench --quick --docs" } else { "cargo xtask bench --docs" };
    let mut text = format!("`{command}`:\n\n");
    for note in &figures.notes {
        let _ = writeln!(text, "- {note}");
    }
    text
}

fn budgets(figures: &Figures) -> String {
    let mut text = String::from("| | figure | expected | found | |\n|---|---|---|---|---|\n");
    for verdict in budgets::verdicts(figures) {
        let budgets::Verdict { what, figure, bound, found, word } = verdict;
        let _ = writeln!(text, "| {what} | `{figure}` | {bound} | {found} | {word} |");
    }
    text
}

fn loads(figures: &Figures) -> String {
    let mut text = String::from(
        "| load | name | Postrider, msg/s | Postfix | ratio | CPU a message, µs (Redis's part) | Postfix | ratio |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for workload in workload::all() {
        let of = |what: &str| figures.of(&format!("{what}_{}", workload.name));
        let (Some(speed), Some(cpu)) = (of("end_to_end"), of("cpu_per_message")) else { continue };
        let redis = of("cpu_per_message_redis").map_or(0.0, |figure| figure.postrider);
        let _ = writeln!(
            text,
            "| {} | `{}` | {} | {} | **{}** | {} ({}) | {} | {} |",
            workload.what(),
            workload.name,
            ours(speed),
            theirs(speed),
            ratio(speed),
            plain(cpu.postrider),
            plain(redis),
            theirs(cpu),
            ratio(cpu),
        );
    }
    text
}

fn costs(figures: &Figures) -> String {
    let columns = [
        ("accepted", true),
        ("rss", true),
        ("rss_redis", false),
        ("redis_scripts_per_message", false),
        ("redis_commands_per_message", false),
        ("redis_syncs_per_message", false),
        ("aof_bytes_per_message", false),
        ("syscalls_per_message", true),
    ];
    let mut text = String::from(
        "| load | accepted, msg/s (Postfix) | memory, MiB (Postfix) | Redis, MiB | scripts | Redis commands | syncs | AOF bytes | system calls (Postfix) |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    let kept = std::iter::once("4k_50_kept");
    for name in workload::all().iter().map(|workload| workload.name).chain(kept) {
        if figures.of(&format!("rss_{name}")).is_none() {
            continue;
        }
        let cells = columns.map(|(what, is_both)| match figures.of(&format!("{what}_{name}")) {
            None => "–".to_owned(),
            Some(figure) if is_both => format!("{} ({})", plain(figure.postrider), theirs(figure)),
            Some(figure) => plain(figure.postrider),
        });
        let _ = writeln!(text, "| `{name}` | {} |", cells.join(" | "));
    }
    text
}

/// All that no load of both has.
fn own(figures: &Figures) -> String {
    let is_own = |figure: &&Figure| {
        const PARTS: [&str; 14] = [
            "idle",
            "latency",
            "sync",
            "failover",
            "isolation",
            "fairness",
            "tls_out",
            "limits",
            "pace",
            "signing",
            "two_relays",
            "cores_busy",
            "backlog",
            "drain",
        ];
        PARTS.iter().any(|start| figure.name.starts_with(start)) || figure.name.ends_with("4k_50_kept")
    };
    let mut text = String::from("| figure | Postrider | Postfix | unit |\n|---|---|---|---|\n");
    for figure in figures.all.iter().filter(is_own) {
        let _ =
            writeln!(text, "| `{}` | {} | {} | {} |", figure.name, ours(figure), theirs(figure), figure.unit);
    }
    text
}

fn settings() -> String {
    let mut text = String::from("| setting | value | why |\n|---|---|---|\n");
    let of = |far: Far| tuned::more(far).iter().map(move |line| (Some(far), line));
    let always = tuned::ALWAYS.iter().map(|line| (None, line));
    let more = [Far::Mx(1), Far::Tls, Far::Slow, Far::Busy].into_iter().flat_map(of);
    for (far, (name, value, why)) in always.chain(more) {
        let far = match far {
            None | Some(Far::Smarthost) => "",
            Some(Far::Mx(_)) => "by MX: ",
            Some(Far::Tls) => "TLS: ",
            Some(Far::Slow) => "far away: ",
            Some(Far::Busy) => "put off: ",
        };
        let value = if value.is_empty() { String::new() } else { format!("`{value}`") };
        let _ = writeln!(text, "| `{name}` | {value} | {far}{why} |");
    }
    text
}

fn rows(figures: &Figures, what: &str) -> Vec<Row> {
    let row = |workload: workload::Workload| {
        let figure = figures.of(&format!("{what}_{}", workload.name))?;
        Some(Row { name: workload.what(), values: [Some(figure.postrider), figure.postfix] })
    };
    workload::all().into_iter().filter_map(row).collect()
}

/// The median, and least and most of the rounds.
fn ours(figure: &Figure) -> String {
    with_spread(figure.postrider, &figure.rounds[0])
}

fn theirs(figure: &Figure) -> String {
    figure.postfix.map_or_else(|| "–".to_owned(), |value| with_spread(value, &figure.rounds[1]))
}

fn with_spread(value: f64, rounds: &[f64]) -> String {
    match spread(rounds) {
        Some((least, most)) if most - least > value.abs() * 0.02 => {
            format!("{} ({}–{})", plain(value), plain(least), plain(most))
        }
        _ => plain(value),
    }
}

fn ratio(figure: &Figure) -> String {
    figure.ratio.map_or_else(|| "–".to_owned(), plain)
}
