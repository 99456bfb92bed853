//! Each file opens by saying what it owns and what it never does.
//! **Owns:** the shape of that header. **Never:** whether it is true.

use crate::{finding::Finding, sources::Source};

/// The longest header, in lines.
const MAX_HEADER_LINES: usize = 10;
/// The root of a crate may hold its manual.
const MAX_MANUAL_LINES: usize = 80;

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let header: Vec<&str> = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
    let finding = |found: String, hint: &str| Finding {
        file: source.path.clone(),
        line: 1,
        check: "header",
        found,
        hint: hint.to_owned(),
    };
    if header.is_empty() {
        return vec![finding("no //! at the top".into(), "open with what the file owns and never does")];
    }
    let mut findings = Vec::new();
    let text = header.join("\n");
    let is_entry =
        ["main.rs", "tests.rs", "testkit.rs"].contains(&source.name()) || source.path.contains("/tests/");
    if !is_entry {
        for word in ["**Owns:**", "**Never:**"] {
            if !text.contains(word) {
                findings.push(finding(format!("a header without {word}"), "say it, in a line"));
            }
        }
    }
    let most = if source.name() == "lib.rs" { MAX_MANUAL_LINES } else { MAX_HEADER_LINES };
    if header.len() > most {
        findings.push(finding(
            format!("a header of {} lines", header.len()),
            &format!("at most {most}; what is longer belongs into docs/"),
        ));
    }
    findings
}
