//! The command line.
//! **Owns:** options, their words and defaults. **Never:** what they do.

use std::{net::SocketAddr, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::app;

/// The operator of Postrider: MailRelays and RoutingRules to running fleets.
#[derive(Debug, Parser)]
#[command(name = "postrider-operator", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reconcile until SIGTERM.
    Run(Box<RunArgs>),
}

/// Options of `run`. Each can be given by the environment, too.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The image of relays.
    #[arg(long, env = "POSTRIDER_RELAY_IMAGE")]
    pub relay_image: String,
    /// The image of managed queues' servers: Redis 7.0 or Valkey 7.2 at least.
    #[arg(long, env = "POSTRIDER_QUEUE_IMAGE")]
    pub queue_image: String,
    /// When images are pulled.
    #[arg(long, env = "POSTRIDER_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub image_pull_policy: String,
    /// A namespace to watch; may be given several times. All, if none.
    #[arg(long = "watch-namespace", env = "POSTRIDER_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// A namespace whose Secrets may be read; may be given several times. All that are watched, if none.
    #[arg(long = "secret-namespace", env = "POSTRIDER_SECRET_NAMESPACES", value_delimiter = ',')]
    pub secret_namespaces: Vec<String>,
    /// The namespace of the Lease: the operator's own.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// The name of this process; no two may share one.
    #[arg(long, env = "POD_NAME", default_value = "postrider-operator")]
    pub identity: String,
    /// The name of the Lease.
    #[arg(long, default_value = "postrider-operator")]
    pub lease_name: String,
    /// Lead without a Lease: for one process alone.
    #[arg(long)]
    pub no_leader_election: bool,
    /// Where `/livez` and `/readyz` are served.
    #[arg(long, default_value = "0.0.0.0:8081")]
    pub health: SocketAddr,
    /// Where `/metrics` is served.
    #[arg(long, default_value = "0.0.0.0:9090")]
    pub metrics: SocketAddr,
    /// A nameserver that fleets' names are looked up at, ADDRESS or ADDRESS:PORT; may be given several times. The system's, if none.
    #[arg(long, env = "POSTRIDER_DNS", value_delimiter = ',', value_parser = crate::dns::nameserver)]
    pub dns: Vec<SocketAddr>,
    /// How often, in seconds, fleets' names are looked up; what doesn't fit ten times as often.
    #[arg(long, default_value_t = 600)]
    pub identity_every: u64,
    /// How many objects are reconciled at a time.
    #[arg(long, default_value_t = 16)]
    pub concurrency: usize,
}

/// Runs a command.
pub fn main(cli: Cli) -> ExitCode {
    let Command::Run(args) = cli.command;
    app::logging();
    match app::run(*args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
