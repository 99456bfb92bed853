//! Breaches that are meant, each with its reason.
//! **Owns:** `exceptions.toml`. **Never:** lets an exception stand that nothing needs.

use std::collections::BTreeMap;

use crate::{finding::Finding, sources};

/// One line of the file: a breach by check and file, and by a part of what was found.
struct Exception {
    check: String,
    file: String,
    found: String,
    is_used: bool,
}

/// What is left when the exceptions are taken out, and the exceptions that took nothing out.
pub(crate) fn subtract(findings: Vec<Finding>) -> Vec<Finding> {
    let mut exceptions = read();
    let mut left = Vec::new();
    for finding in findings {
        match exceptions.iter_mut().find(|exception| exception.covers(&finding)) {
            Some(exception) => exception.is_used = true,
            None => left.push(finding),
        }
    }
    for unused in exceptions.iter().filter(|exception| !exception.is_used) {
        left.push(Finding {
            file: "tests/tidy/exceptions.toml".to_owned(),
            line: 0,
            check: "exception",
            found: format!(
                "an exception for {} ({}, {:?}) that nothing needs",
                unused.file, unused.check, unused.found
            ),
            hint: "remove it".to_owned(),
        });
    }
    left
}

impl Exception {
    fn covers(&self, finding: &Finding) -> bool {
        self.check == finding.check && self.file == finding.file && finding.found.contains(&self.found)
    }
}

fn read() -> Vec<Exception> {
    let path = sources::root().join("tests/tidy/exceptions.toml");
    let text = std::fs::read_to_string(&path).expect("exceptions.toml is there");
    let table: BTreeMap<String, Vec<BTreeMap<String, String>>> =
        toml::from_str(&text).expect("exceptions.toml parses");
    let mut exceptions = Vec::new();
    for entry in table.get("exception").into_iter().flatten() {
        let field = |name: &str| {
            entry.get(name).cloned().unwrap_or_else(|| panic!("exceptions.toml: {entry:?} lacks {name}"))
        };
        assert!(field("reason").len() > 10, "exceptions.toml: a reason says why, found {entry:?}");
        exceptions.push(Exception {
            check: field("check"),
            file: field("file"),
            found: field("found"),
            is_used: false,
        });
    }
    exceptions
}
