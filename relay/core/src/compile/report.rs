//! What `check` prints: everything that is wrong with manifests, a line each.
//! **Owns:** the lines and their order. **Never:** prints, or says anything that a verdict doesn't.

use super::{Verdict, check};
use crate::manifests::{Loaded, Resources};

/// The lines of `check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What is wrong: `PLACE: RESOURCE: field: found …; expected …; …`.
    pub errors: Vec<String>,
    /// What works and may not be meant, and what was left alone.
    pub warnings: Vec<String>,
    /// What was read: `1 MailRelay, 3 RoutingRules, 2 Secrets`.
    pub summary: String,
}

impl Report {
    /// Whether it can be applied as it is.
    pub fn is_good(&self) -> bool {
        self.errors.is_empty()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for error in &self.errors {
            writeln!(f, "error: {error}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        let verdict = if self.is_good() { "good" } else { "not good" };
        writeln!(f, "{verdict}: {}", self.summary)
    }
}

/// Checks manifests: each file, then what they mean together. The second only if every file could be read, since what is
/// missing then isn't known.
pub fn report(loaded: &Loaded) -> Report {
    let mut report = Report {
        errors: loaded.problems.iter().map(ToString::to_string).collect(),
        warnings: loaded.notes.clone(),
        summary: summary(&loaded.resources),
    };
    if report.errors.is_empty() {
        for verdict in check(&loaded.resources) {
            add(&mut report, &verdict, &loaded.resources);
        }
        if loaded.resources.relays.is_empty() {
            report.errors.push("found no MailRelay; expected one; see examples/relay.yaml".to_owned());
        }
    }
    report
}

fn add(report: &mut Report, verdict: &Verdict, resources: &Resources) {
    let place = resources.origins.get(&verdict.subject).map_or("", String::as_str);
    for problem in &verdict.problems {
        let line = format!("{place}: {}: {problem}", verdict.subject);
        if problem.is_warning() {
            report.warnings.push(line);
        } else {
            report.errors.push(line);
        }
    }
}

fn summary(resources: &Resources) -> String {
    let counts = [
        (resources.relays.len(), "MailRelay"),
        (resources.rules.len(), "RoutingRule"),
        (resources.secrets.len(), "Secret"),
    ];
    let told = counts.iter().map(|(count, kind)| {
        let plural = if *count == 1 { "" } else { "s" };
        format!("{count} {kind}{plural}")
    });
    told.collect::<Vec<_>>().join(", ")
}
