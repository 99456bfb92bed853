//! A DNS for tests: zones as lines, answers to whatever is asked.
//! **Owns:** reading such lines. **Never:** a socket.

use std::collections::BTreeMap;

use super::facts::{Answers, Facts, Kind, Lacking, Question, Record};
use crate::mx::{Answer, DnsFailure};

/// Records by question; what isn't there doesn't exist.
#[derive(Debug, Default, Clone)]
pub(super) struct Zone(BTreeMap<Question, Answer<Record>>);

impl Zone {
    /// Lines such as `example.com TXT v=spf1 -all`; `FAIL` in the place of the value is a failure.
    pub(super) fn of(text: &str) -> Self {
        let mut zone = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().expect("NAME KIND VALUE");
            let (name, kind, value) = (word(), word(), word());
            let kind = match kind {
                "A" => Kind::A,
                "AAAA" => Kind::Aaaa,
                "MX" => Kind::Mx,
                "PTR" => Kind::Ptr,
                "TXT" => Kind::Txt,
                other => panic!("{other} is no kind"),
            };
            zone.add(Question { kind, name: name.into() }, value);
        }
        zone
    }

    fn add(&mut self, question: Question, value: &str) {
        if value == "FAIL" {
            self.0.insert(question, Answer::Failed(DnsFailure::ServFail));
            return;
        }
        let record = match question.kind {
            Kind::A | Kind::Aaaa => Record::Address(value.parse().expect("an address")),
            Kind::Mx | Kind::Ptr => Record::Name(value.into()),
            Kind::Txt => Record::Text(value.into()),
        };
        match self.0.entry(question).or_insert_with(|| Answer::Records(Vec::new())) {
            Answer::Records(records) => records.push(record),
            other => panic!("{other:?} and a record"),
        }
    }

    pub(super) fn answer(&self, question: &Question) -> Answer<Record> {
        self.0.get(question).cloned().unwrap_or(Answer::NxDomain)
    }

    /// Asks until nothing is pending.
    pub(super) fn settle<T>(&self, look: impl Fn(&Facts<'_>) -> Result<T, Lacking>) -> Result<T, Lacking> {
        let mut answers = Answers::new();
        loop {
            let facts = Facts::new(&answers);
            match look(&facts) {
                Err(Lacking::Pending) => {
                    let needed = facts.into_needed();
                    assert!(!needed.is_empty(), "it waits for nothing");
                    answers.extend(needed.into_iter().map(|question| {
                        let answer = self.answer(&question);
                        (question, answer)
                    }));
                }
                other => return other,
            }
        }
    }
}
