//! What is wrong with a resource, said once: the same text in `check`, in a status, in an event and in a log.
//! **Owns:** the form *where: found; expected; do*, and near misses. **Never:** what is wrong (the others in compile say it).

use std::fmt;

use postrider_crds::status::reasons;

/// A resource, by kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// `MailRelay`, `RoutingRule`, `Secret`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// One thing that is wrong, or that deserves a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, as a path from the resource's root.
    pub field: String,
    /// What was found there. No secret.
    pub found: String,
    /// What is expected there.
    pub expected: String,
    /// What to do, where that doesn't follow from it.
    pub advice: Option<String>,
    /// How bad it is.
    pub weight: Weight,
    /// The reason that a condition gives.
    pub reason: &'static str,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// It works, and may not be what was meant.
    Warning,
    /// Something that it names isn't there. It is kept, and works as soon as that is.
    Unresolved,
    /// It isn't let in: it has no effect.
    NotAllowed,
    /// It can't be used as it is.
    Invalid,
}

impl Problem {
    /// A value that can't be used.
    pub fn invalid(field: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            found: found.into(),
            expected: expected.into(),
            advice: None,
            weight: Weight::Invalid,
            reason: reasons::INVALID,
        }
    }

    /// The same problem with its weight and reason.
    #[must_use]
    pub fn because(self, weight: Weight, reason: &'static str) -> Self {
        Self { weight, reason, ..self }
    }

    /// The same problem with what to do.
    #[must_use]
    pub fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// The same problem with a near miss among `known`, if there is one.
    #[must_use]
    pub fn or_did_you_mean<'a>(self, wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match near_miss(wrong, known) {
            Some(meant) => self.advise(format!("did you mean {meant:?}?")),
            None => self,
        }
    }

    /// Whether the resource works all the same.
    pub fn is_warning(&self) -> bool {
        self.weight == Weight::Warning
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}; expected {}", self.field, self.found, self.expected)?;
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

/// What becomes of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// It does what it says.
    Applies,
    /// It keeps its match, and its mail waits.
    Defers,
    /// It does nothing.
    None,
}

/// What is to be said of one resource: of a MailRelay, or of a rule as one MailRelay sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The resource.
    pub subject: Subject,
    /// The generation that was judged.
    pub generation: Option<i64>,
    /// What becomes of it.
    pub effect: Effect,
    /// What is wrong, the worst first.
    pub problems: Vec<Problem>,
}

impl Verdict {
    pub(crate) fn new(
        subject: Subject,
        generation: Option<i64>,
        effect: Effect,
        mut problems: Vec<Problem>,
    ) -> Self {
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.weight));
        Self { subject, generation, effect, problems }
    }

    /// Whether nothing but warnings is to be said.
    pub fn is_good(&self) -> bool {
        self.problems.iter().all(Problem::is_warning)
    }
}

/// A value as problems show it: cut, since it comes from outside.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST {
        format!("{text:?}")
    } else {
        let cut: String = text.chars().take(MOST).collect();
        format!("{cut:?}… ({} characters)", text.chars().count())
    }
}

/// The one of `known` that `wrong` was probably meant to be.
pub fn near_miss<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (wrong.chars().count() / 3).max(1);
    let wrong = wrong.to_lowercase();
    let distances = known.into_iter().map(|one| (distance(&wrong, &one.to_lowercase()), one));
    distances.filter(|(distance, _)| *distance <= most).min().map(|(_, one)| one)
}

/// Edits from one text to the other: insertions, deletions, substitutions, swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    const MOST: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(MOST).collect(), b.chars().take(MOST).collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let substituted = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substituted.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_found() {
        let known = ["smtp", "submission", "submissions"];
        assert_eq!(near_miss("submision", known), Some("submission"));
        assert_eq!(near_miss("SMTP", known), Some("smtp"));
        assert_eq!(near_miss("stmp", known), Some("smtp"));
        assert_eq!(near_miss("web", known), None);
    }

    #[test]
    fn a_problem_says_where_found_expected_and_what_to_do() {
        let problem =
            Problem::invalid("spec.listeners[1].tls.certificateRef", "no Secret", "one").advise("create it");
        assert_eq!(
            problem.to_string(),
            "spec.listeners[1].tls.certificateRef: found no Secret; expected one; create it"
        );
    }
}
