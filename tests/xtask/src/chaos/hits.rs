//! How often each fault came to be, and how often it was tried in vain.
//! **Owns:** the count, over one run and over all. **Never:** does a fault.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};

/// By fault, and by step where a relay dies at one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Hits(BTreeMap<String, Count>);

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Count {
    hit: u64,
    missed: u64,
}

impl Hits {
    /// One more that came to be, or didn't.
    pub(crate) fn note(&mut self, fault: String, has_hit: bool) {
        let count = self.0.entry(fault).or_default();
        *if has_hit { &mut count.hit } else { &mut count.missed } += 1;
    }

    /// Those of both.
    pub(crate) fn add(&mut self, other: &Self) {
        for (fault, count) in &other.0 {
            let sum = self.0.entry(fault.clone()).or_default();
            sum.hit += count.hit;
            sum.missed += count.missed;
        }
    }

    /// For the file of results.
    pub(crate) fn json(&self) -> Value {
        self.0.iter().map(|(fault, count)| (fault.clone(), json!([count.hit, count.missed]))).collect()
    }

    /// From a line of it.
    pub(crate) fn parse(told: &Value) -> Self {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let all = told.as_object().into_iter().flatten();
        let count = |(fault, told): (&String, &Value)| {
            (fault.clone(), Count { hit: number(&told[0]), missed: number(&told[1]) })
        };
        Self(all.map(count).collect())
    }

    /// Whether any of them was tried.
    pub(crate) fn has_tried(&self, faults: &[String]) -> bool {
        faults.iter().any(|fault| self.0.contains_key(fault))
    }

    /// Which of them never came to be, tried or not.
    pub(crate) fn never<'f>(&self, faults: &'f [String]) -> Vec<&'f str> {
        let hit = |fault: &&String| self.0.get(*fault).is_some_and(|count| count.hit > 0);
        faults.iter().filter(|fault| !hit(fault)).map(String::as_str).collect()
    }
}

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (fault, Count { hit, missed })) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{fault} {hit} of {}", hit + missed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Hits;

    #[test]
    fn what_never_came_to_be_is_told_from_what_did_over_all_runs() {
        let (mut one, mut other) = (Hits::default(), Hits::default());
        one.note("Died".to_owned(), true);
        one.note("Torn".to_owned(), false);
        other.note("Died".to_owned(), false);
        let mut all = Hits::default();
        all.add(&Hits::parse(&one.json()));
        all.add(&other);
        assert_eq!(all.to_string(), "Died 1 of 2, Torn 0 of 1");
        let wanted = ["Died", "Torn", "Untried"].map(str::to_owned);
        assert_eq!(all.never(&wanted), ["Torn", "Untried"]);
    }
}
