//! `cargo xtask …`: the project's tasks.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a task is for is to tell a person")]

mod bench;
mod chaos;
mod chart;
mod cluster;
mod crds;
mod demo;
mod fuzz;
mod image;
mod licences;
mod reference;
mod soak;
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
        #[arg(long, conflicts_with = "kubernetes")]
        keep: bool,
        /// On a Kubernetes of this machine's own: the chart, a fleet, mail from pod to far side, an edit that is live at once.
        /// Takes root. `cargo xtask cluster up` before it leaves the cluster for you to look at.
        #[arg(long)]
        kubernetes: bool,
    },
    /// Draw the dashboards in docs/pictures from five minutes of a real run; takes root.
    Pictures,
    /// Install what is needed, then run every check and test.
    Test {
        /// More runs of the tests that look for rare events.
        #[arg(long)]
        long: bool,
        /// Only the steps whose name holds this.
        #[arg(long)]
        only: Option<String>,
    },
    /// A Kubernetes of this machine's own, for tests and for trying things.
    #[command(subcommand)]
    Cluster(cluster::Action),
    /// Write the CRDs' YAML and their reference from the types.
    Crds {
        /// Only say whether they are as they should be.
        #[arg(long)]
        check: bool,
    },
    /// Build images of the static binaries, as OCI archives; needs no container engine.
    Image {
        /// Whose image.
        #[arg(value_enum, default_value_t = image::Which::All)]
        which: image::Which,
        /// The folder for the archives; `images` in cargo's target folder if left out.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Build as for tests, which is quicker, not as for release.
        #[arg(long)]
        debug: bool,
    },
    /// Check the chart by both Helms, and pack it.
    Chart {
        /// Where the archive goes, instead of target/chart.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Give every parser of outside input what a fuzzer thinks of.
    Fuzz(fuzz::Options),
    /// Kill relays and Redis under load, again and again, and compare the books.
    Ledger {
        /// How often.
        #[arg(long, default_value_t = 20)]
        runs: u32,
    },
    /// Send mail through a fleet that everything befalls, and compare the books. Takes root.
    Chaos(chaos::Chaos),
    /// Hours of mixed mail beside faults: does anything grow that shouldn't? Takes root.
    Soak(soak::Options),
    /// Measure beside Postfix in one run, then what Postfix has nothing like. Figures go to stdout, a line of JSON each. Takes root.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Demo { kubernetes: true, .. } => test::fleet(),
        Task::Demo { keep, .. } => demo::main(keep),
        Task::Pictures => test::pictures(),
        Task::Test { long, only } => test::main(long, only.as_deref()),
        Task::Cluster(action) => cluster::main(&action),
        Task::Crds { check: true } => crds::check(),
        Task::Crds { check: false } => crds::write(),
        Task::Image { which, out, debug } => image::main(which, out, debug),
        Task::Chart { out } => chart::main(out),
        Task::Fuzz(options) => fuzz::main(&options),
        Task::Ledger { runs } => test::ledger(runs),
        Task::Chaos(chaos) => test::chaos(&chaos),
        Task::Soak(options) => test::soak(&options),
        Task::Bench(options) => bench::main(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nfailed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
