//! All that was found: a line of JSON a figure on stdout at once, words on stderr, and both kept for the page.
//! **Owns:** names, medians, ratios, rounding. **Never:** measures.

use serde::Serialize;

/// One figure: the medians of all rounds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) postrider: f64,
    /// None where Postfix has nothing like it.
    pub(crate) postfix: Option<f64>,
    /// Ours to theirs.
    pub(crate) ratio: Option<f64>,
    pub(crate) unit: &'static str,
    /// Each round's, ours and theirs.
    #[serde(skip)]
    pub(crate) rounds: [Vec<f64>; 2],
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) all: Vec<Figure>,
    pub(crate) notes: Vec<String>,
}

impl Figures {
    /// Both have it. Rounds without it (nothing was delivered) give no figure.
    pub(crate) fn both(&mut self, name: &str, unit: &'static str, ours: Vec<f64>, theirs: Vec<f64>) {
        let Some(postrider) = median(&ours) else { return };
        let postfix = median(&theirs);
        let ratio = postfix.filter(|theirs| *theirs != 0.0).map(|theirs| postrider / theirs);
        self.push(Figure {
            name: name.to_owned(),
            postrider: rounded(postrider),
            postfix: postfix.map(rounded),
            ratio: ratio.map(rounded),
            unit,
            rounds: [ours, theirs],
        });
    }

    fn push(&mut self, figure: Figure) {
        eprintln!("    {}", words(&figure));
        match serde_json::to_string(&figure) {
            Ok(line) => println!("{line}"),
            Err(why) => eprintln!("    {why}"),
        }
        self.all.push(figure);
    }

    /// Only Postrider has it.
    pub(crate) fn ours(&mut self, name: &str, unit: &'static str, rounds: Vec<f64>) {
        self.both(name, unit, rounds, Vec::new());
    }

    /// How a fleet does beside the first: the ratio of their medians, and of each pair of rounds.
    pub(crate) fn over(&mut self, name: &str, unit: &'static str, [base, other]: [&Vec<f64>; 2]) {
        let Some((base_median, other_median)) = median(base).zip(median(other)) else { return };
        let pairs = base.iter().zip(other).map(|(base, other)| other / base).collect();
        let postrider = rounded(other_median / base_median);
        self.push(Figure {
            name: name.to_owned(),
            postrider,
            postfix: None,
            ratio: None,
            unit,
            rounds: [pairs, Vec::new()],
        });
    }

    /// Something that a figure can't say.
    pub(crate) fn note(&mut self, text: &str) {
        eprintln!("    {text}");
        self.notes.push(text.to_owned());
    }

    /// By name.
    pub(crate) fn of(&self, name: &str) -> Option<&Figure> {
        self.all.iter().find(|figure| figure.name == name)
    }
}

/// What is done now.
pub(crate) fn told(text: &str) {
    eprintln!("\n{text}");
}

fn words(figure: &Figure) -> String {
    let Figure { name, postrider, postfix, ratio, unit, rounds } = figure;
    let shown = |value: f64, rounds: &[f64]| match spread(rounds) {
        Some((least, most)) => format!("{} ({} to {})", plain(value), plain(least), plain(most)),
        None => plain(value),
    };
    let ours = shown(*postrider, &rounds[0]);
    match (postfix, ratio) {
        (Some(theirs), Some(ratio)) => {
            format!(
                "{name}: {ours}, Postfix {}, ratio {} ({unit})",
                shown(*theirs, &rounds[1]),
                plain(*ratio)
            )
        }
        _ => format!("{name}: {ours} {unit}"),
    }
}

/// The least and the most of several rounds.
pub(crate) fn spread(rounds: &[f64]) -> Option<(f64, f64)> {
    let least = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (rounds.len() > 1).then_some((least, most))
}

/// The nearest rank: so many percent are no larger. None of none.
pub(crate) fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

pub(crate) fn median(rounds: &[f64]) -> Option<f64> {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { f64::midpoint(sorted[middle - 1], upper) })
}

/// Four digits are more than such a run can know.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 3.0 - value.abs().log10().floor();
    let scale = 10_f64.powf(digits);
    if digits > 0.0 { (value * scale).round() / scale } else { value.round() }
}

/// As people write it, in three digits and more.
pub(crate) fn plain(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => {
            let whole = format!("{:.0}", value.round());
            let groups: Vec<&str> = whole
                .as_bytes()
                .rchunks(3)
                .rev()
                .filter_map(|group| std::str::from_utf8(group).ok())
                .collect();
            groups.join(",")
        }
        size if size >= 100.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
