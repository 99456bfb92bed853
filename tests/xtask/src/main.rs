//! `cargo xtask …`: the project's tasks.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a task is for is to tell a person")]

mod bench;
mod crds;
mod demo;
mod licences;
mod steps;
mod test;
mod tools;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// The project's tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Show all of it on this machine: mail accepted, routed, retried, bounced, and saved from a killed relay.
    Demo {
        /// Leave it running afterwards, until Ctrl-C.
        #[arg(long)]
        keep: bool,
    },
    /// Install what is needed, then run every check and test.
    Test {
        /// More runs of the tests that look for rare events.
        #[arg(long)]
        long: bool,
        /// Only the steps whose name holds this.
        #[arg(long)]
        only: Option<String>,
    },
    /// Write the CRDs' YAML from the types.
    Crds {
        /// Only say whether they are as they should be.
        #[arg(long)]
        check: bool,
    },
    /// Kill relays and Redis under load, again and again, and compare the books.
    Ledger {
        /// How often.
        #[arg(long, default_value_t = 20)]
        runs: u32,
    },
    /// Measure beside Postfix in one run.
    Bench {
        /// Fewer messages and rounds.
        #[arg(long)]
        quick: bool,
        /// Also write the figures to this file, as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Run in this process: it was built for it.
        #[arg(long, hide = true)]
        here: bool,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Demo { keep } => demo::main(keep),
        Task::Test { long, only } => test::main(long, only.as_deref()),
        Task::Crds { check: true } => crds::check(),
        Task::Crds { check: false } => crds::write(),
        Task::Ledger { runs } => test::ledger(runs),
        Task::Bench { quick, here, json } => bench::main(quick, here, json.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nfailed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
