//! Reads the text format of Prometheus as far as tests need it.
//! **Owns:** sums over series by name and labels. **Never:** knows which metrics there are.

/// What a relay's `/metrics` said.
#[derive(Debug, Clone, Default)]
pub struct Metrics(String);

impl Metrics {
    /// Takes the text of an answer.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The sum over all series of a name whose labels hold each of `labels` (such as `outcome="Delivered"`).
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.series(name)
            .filter(|(set, _)| labels.iter().all(|label| set.contains(label)))
            .map(|(_, value)| value)
            .sum()
    }

    /// The series of a name: labels as written, and the value.
    pub fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.split_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            Some((labels, value.trim().parse().ok()?))
        })
    }

    /// How many series there are.
    pub fn count(&self) -> usize {
        self.0.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
    }
}
