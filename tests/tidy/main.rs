//! Holds the house rules over the whole workspace: arrows between crates, calls that pure code may not make, sizes,
//! names and headers of files.
//! **Owns:** what can be checked without running the product. **Never:** format and lints (rustfmt's and clippy's).
//! Exceptions stand with their reason in `exceptions.toml`; one that nothing needs any more fails too.

mod arrows;
mod calls;
mod exceptions;
mod finding;
mod headers;
mod names;
mod sizes;
mod sources;

use finding::Finding;
use sources::Source;

#[test]
fn the_house_rules_hold() {
    let sources = sources::all();
    let figures = sizes::figures(&sources);
    println!("{figures}");
    for warning in sizes::warnings(&sources) {
        println!("warning: {warning}");
    }
    let mut findings: Vec<Finding> = arrows::check();
    for check in [calls::check, sizes::check, headers::check, names::check] {
        findings.extend(sources.iter().flat_map(check));
    }
    let left = exceptions::subtract(findings);
    let told: Vec<String> = left.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{} findings:\n{}", told.len(), told.join("\n"));
}

/// The checks themselves, on text that must be found.
#[test]
fn what_is_forbidden_is_found() {
    let pure = Source::from_text("relay/core/src/x.rs", include_str!("forbidden.rs.txt"));
    let found: Vec<String> = calls::check(&pure).into_iter().map(|f| f.found).collect();
    for needle in
        [".await", "SystemTime::now", "std::fs", "std::env", "spawn", "unbounded_channel", "process::exit"]
    {
        assert!(found.iter().any(|f| f.contains(needle)), "{needle} in {found:?}");
    }
    assert!(!headers::check(&pure).is_empty());
    assert!(!names::check(&pure).is_empty());
    let long = format!("//! x\nfn long() {{\n{}}}\n", "    work();\n".repeat(71));
    assert_eq!(sizes::check(&Source::from_text("relay/src/x.rs", &long)).len(), 1);
    let reasoned = long.replacen("work();", "// Long on purpose: a table.", 1);
    assert!(sizes::check(&Source::from_text("relay/src/x.rs", &reasoned)).is_empty());
    let too_long = format!("fn long() {{\n// Long on purpose: no.\n{}}}\n", "    work();\n".repeat(121));
    assert_eq!(sizes::check(&Source::from_text("relay/src/x.rs", &too_long)).len(), 1);
}

#[test]
fn tests_may_do_what_pure_code_may_not() {
    let text = "#[cfg(test)]\nmod tests { fn now() { std::time::Instant::now(); } }\n";
    assert!(calls::check(&Source::from_text("relay/core/src/x.rs", text)).is_empty());
}
