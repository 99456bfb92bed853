//! The relay's binary.

use std::process::ExitCode;

use clap::Parser;
use postrider_relay::cli::{self, Cli};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main(Cli::parse())
}
