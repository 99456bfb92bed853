//! What the binary says to people.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::process::{Command, Output};

fn operator(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider-operator"));
    command.args(arguments).env_clear().output().unwrap()
}

#[test]
fn an_option_that_is_missing_is_named() {
    let output = operator(&["run"]);
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("--relay-image") && told.contains("--queue-image"), "{told}");
}

#[test]
fn without_a_cluster_it_says_what_it_looked_for() {
    let output = operator(&["run", "--relay-image", "a", "--queue-image", "b"]);
    assert!(!output.status.success());
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("set KUBECONFIG"), "{told}");
}
