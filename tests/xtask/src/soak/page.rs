//! What was found, as a part of docs/reliability.md and its picture.
//! **Owns:** that part between its marks. **Never:** a word outside of it.

use std::time::Duration;

use anyhow::{Context, Result};
use postrider_tests::{
    dashboards::{Dashboard, Panel},
    draw,
    prometheus::Series,
};

use super::{
    Options, calm,
    plan::LONG_LIVED,
    report::{Report, sum},
    sample::{Accept, Sample},
    table::table,
};
use crate::{bench::page::filled, tools};

const PAGE: &str = "docs/reliability.md";
const PICTURE: &str = "docs/pictures/soak.svg";

/// Writes both.
pub(crate) fn write(report: &Report, options: &Options) -> Result<()> {
    let page = tools::root().join(PAGE);
    let text = std::fs::read_to_string(&page).with_context(|| PAGE.to_owned())?;
    let Options { minutes, seed, .. } = options;
    let part = format!("`cargo xtask soak --minutes {minutes} --seed {seed}`:\n\n{}", table(report));
    std::fs::write(&page, filled(&text, "soak", &part).with_context(|| PAGE.to_owned())?)?;
    std::fs::write(tools::root().join(PICTURE), picture(report)?)?;
    println!("wrote {PAGE} and {PICTURE}");
    Ok(())
}

type Line<'r> = (String, Box<dyn Fn(&Sample) -> Option<f64> + 'r>);

fn picture(report: &Report) -> Result<String> {
    let relays = report.last.relays.len();
    let of_relay = |number: usize| -> Line<'_> {
        let name = match number {
            LONG_LIVED => format!("relay {number}, never ended"),
            _ => format!("relay {number}"),
        };
        (name, Box::new(move |sample| Some(sample.relays.get(number)?.as_ref()?.rss_kib as f64 * 1024.0)))
    };
    let accept = |name: &str, value: fn(&Accept) -> f64| -> Line<'_> {
        (name.to_owned(), Box::new(move |sample| sample.accept.as_ref().map(value)))
    };
    let calm = |value: fn(&Accept) -> f64| {
        move |sample: &Sample| {
            let at = Duration::from_secs_f64(sample.at);
            let is_calm = calm::is_calm(&report.calm, (at, at));
            sample.accept.as_ref().filter(|_| is_calm).map(value)
        }
    };
    let panels: [(&str, &str, Vec<Line<'_>>); 6] = [
        ("Memory of the relays", "bytes", (0..relays).map(of_relay).collect()),
        (
            "Memory and append-only file of the queue's server",
            "bytes",
            vec![
                ("append-only file".to_owned(), Box::new(|sample| sum(sample, |server| server.aof_bytes))),
                ("memory used".to_owned(), Box::new(|sample| sum(sample, |server| server.used_memory))),
            ],
        ),
        (
            "Keys that last",
            "short",
            vec![("keys".to_owned(), Box::new(|sample| sum(sample, |server| server.lasting_keys)))],
        ),
        (
            "Keys that leave by themselves",
            "short",
            vec![("keys".to_owned(), Box::new(|sample| sum(sample, |server| server.expiring_keys)))],
        ),
        (
            "From the dot to the 250, faults and all",
            "s",
            vec![accept("p99", |accept| accept.p99), accept("p50", |accept| accept.p50)],
        ),
        (
            "The same in calm stretches",
            "s",
            vec![
                ("p99".to_owned(), Box::new(calm(|accept| accept.p99))),
                ("p50".to_owned(), Box::new(calm(|accept| accept.p50))),
            ],
        ),
    ];
    let mut dashboard = Dashboard {
        name: "soak".to_owned(),
        title: format!("{} minutes of mixed mail beside faults", report.wanted.lasts.as_secs() / 60),
        panels: Vec::new(),
    };
    let mut data = Vec::new();
    for (number, (title, unit, lines)) in panels.into_iter().enumerate() {
        dashboard.panels.push(panel(u32::try_from(number)?, title, unit, &lines));
        data.push(lines.iter().map(|(_, value)| vec![series(report, value)]).collect());
    }
    draw::dashboard(&dashboard, &data)
}

/// Two a row.
fn panel(number: u32, title: &str, unit: &str, lines: &[Line<'_>]) -> Panel {
    Panel {
        title: title.to_owned(),
        kind: "timeseries".to_owned(),
        place: [number % 2 * 12, number / 2 * 8, 12, 8],
        unit: unit.to_owned(),
        steps: Vec::new(),
        is_stacked: false,
        targets: lines.iter().map(|(name, _)| (String::new(), name.clone())).collect(),
        columns: Vec::new(),
        units: Vec::new(),
    }
}

fn series(report: &Report, value: impl Fn(&Sample) -> Option<f64>) -> Series {
    let points = report.points(value).into_iter().map(|(at, value)| (at.as_secs_f64(), value)).collect();
    Series { labels: serde_json::Map::new(), points }
}
