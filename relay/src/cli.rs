//! The command line: what a person or a pod says to this binary.
//! **Owns:** arguments and their meaning. **Never:** does the work (a file per command in `cli/`).

pub mod check;
pub mod ctl;
pub mod explain;
pub mod run;
pub mod send;

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use postrider_mail::PartitionName;

/// Where the `ctl` socket lies unless said otherwise.
pub const DEFAULT_CTL: &str = "/run/postrider/ctl.sock";

/// The command line, read but not yet checked against anything outside of it.
#[derive(Debug, Parser)]
#[command(
    name = "postrider-relay",
    version,
    about = "Accepts mail over SMTP, keeps it in a shared queue in Redis, delivers it.",
    after_help = "To try it on this machine: cargo xtask demo",
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a relay until SIGTERM.
    Run(RunArgs),
    /// Say what is wrong with manifests, without running anything.
    Check(CheckArgs),
    /// Say what would happen to a mail, and why.
    Explain(ExplainArgs),
    /// Act on the queue through the socket of a running relay.
    Ctl(CtlArgs),
    /// Hand one mail to a relay, as an application would, and say what it answered.
    Send(SendArgs),
}

/// Which manifests, and which MailRelay of theirs.
#[derive(Debug, Clone, Args)]
pub struct ManifestArgs {
    /// A folder of YAML files: MailRelays, RoutingRules, Secrets, as one would apply them.
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// The MailRelay, as NAMESPACE/NAME or NAME; needed when the folder has several.
    #[arg(long, value_name = "NAME")]
    pub relay: Option<String>,
}

/// What `check` takes.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Which manifests.
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// If they are good, write the compiled configuration there, as `run --config` takes it: gzip where the name ends in .gz, else
    /// JSON. It holds the secrets that the manifests hold.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

/// What `run` takes.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A folder of YAML files: MailRelays, RoutingRules, Secrets, as one would apply them.
    #[arg(long, value_name = "DIR", required_unless_present = "config", conflicts_with = "config")]
    pub manifests: Option<PathBuf>,
    /// A compiled configuration, as the operator mounts it: JSON, or that in gzip.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The MailRelay, as NAMESPACE/NAME or NAME; needed when the folder has several.
    #[arg(long, value_name = "NAME")]
    pub relay: Option<String>,
    /// Where the queue's servers are when the MailRelay says `queue.managed`: a URL for one shard, NAME=URL for each of
    /// several. Passwords belong into Secrets, not here.
    #[arg(long, value_name = "[NAME=]URL")]
    pub redis: Vec<RedisArg>,
    /// A nameserver to ask instead of those of /etc/resolv.conf; may be said several times.
    #[arg(long, value_name = "ADDR:PORT")]
    pub dns: Vec<SocketAddr>,
    /// Keys of a root zone in place of the DNS's own, as DNSKEY records: for tests, and for networks with a root of their own.
    #[arg(long, value_name = "FILE")]
    pub dnssec_anchors: Option<PathBuf>,
    /// The port of the hosts that MX records name; another one than 25 is for tests.
    #[arg(long, value_name = "PORT", default_value_t = 25)]
    pub mx_port: u16,
    /// The port of web servers that have MTA-STS policies or take TLS reports; another one than 443 is for tests.
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    pub https_port: u16,
    /// How long after the start the first day of TLS reports ends; for tests. At midnight UTC, if absent.
    #[arg(long, value_name = "DURATION", hide = true)]
    pub tls_report_midnight: Option<DelayArg>,
    /// A PEM file of authorities whose certificates are believed towards far sides beside those of public ones.
    #[arg(long, value_name = "FILE")]
    pub roots: Option<PathBuf>,
    /// Where /livez, /readyz, /metrics, /v1/config and /v1/queue are served.
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:9090")]
    pub admin: SocketAddr,
    /// The unix socket for `ctl`.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_CTL)]
    pub ctl: PathBuf,
    /// Binds a listener somewhere else than on its port at all addresses (ports below 1024 are bound at 10000 more).
    #[arg(long, value_name = "NAME=ADDR:PORT")]
    pub listen: Vec<ListenArg>,
    /// A folder that outlives the process: remembers what each shard held when last seen.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// How long to go on accepting after SIGTERM, instead of the MailRelay's drain.delay. Say 0s where that time has passed before the
    /// signal comes, as with a preStop hook that sleeps.
    #[arg(long, value_name = "DURATION")]
    pub drain_delay: Option<DelayArg>,
}

/// What `explain` takes.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Which manifests.
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// The recipient.
    #[arg(value_name = "RECIPIENT")]
    pub recipient: String,
    /// The sender; the null sender if absent.
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    pub from: String,
    /// The listener that the mail comes in by; the first one if absent.
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// The client's address.
    #[arg(long, value_name = "ADDR")]
    pub client: Option<std::net::IpAddr>,
    /// The user that the client has authenticated as.
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Also say by which source of its egress pool the message with this queue ID leaves while all of them work.
    #[arg(long, value_name = "ID")]
    pub queue_id: Option<String>,
    /// Also look up the hosts, at this nameserver instead of those of /etc/resolv.conf.
    #[arg(long, value_name = "ADDR:PORT")]
    pub dns: Vec<SocketAddr>,
    /// Do not ask the DNS.
    #[arg(long)]
    pub offline: bool,
}

/// What `ctl` takes.
#[derive(Debug, Args)]
pub struct CtlArgs {
    /// The socket of the relay.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_CTL, global = true)]
    pub ctl: PathBuf,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: CtlCommand,
}

/// What `send` takes.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The relay: the Service and port of one of its listeners.
    #[arg(long, value_name = "HOST:PORT")]
    pub to: String,
    /// The sender; the null sender if absent, so that nobody is told what becomes of the mail.
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    pub from: String,
    /// The recipient.
    #[arg(long, value_name = "ADDRESS")]
    pub rcpt: String,
    /// The subject.
    #[arg(long, value_name = "TEXT", default_value = "A test mail")]
    pub subject: String,
}

/// One shard's address on the command line.
#[derive(Debug, Clone)]
pub struct RedisArg {
    /// The shard; absent where there is but one.
    pub name: Option<PartitionName>,
    /// Its URL.
    pub url: String,
}

impl std::str::FromStr for RedisArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A URL has its first = behind ://, a name has none in it.
        match text.split_once('=') {
            Some((name, url)) if !name.contains(':') => {
                let name = PartitionName::parse(name).map_err(|err| err.to_string())?;
                Ok(Self { name: Some(name), url: url.to_owned() })
            }
            _ => Ok(Self { name: None, url: text.to_owned() }),
        }
    }
}

/// Where a listener is bound.
#[derive(Debug, Clone)]
pub struct ListenArg {
    /// The listener's name in the MailRelay.
    pub name: String,
    /// Where.
    pub address: SocketAddr,
}

impl std::str::FromStr for ListenArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || format!("found {text:?}; expected NAME=ADDR:PORT, such as smtp=127.0.0.1:2525");
        let (name, address) = text.split_once('=').ok_or_else(expected)?;
        Ok(Self { name: name.to_owned(), address: address.parse().map_err(|_| expected())? })
    }
}

/// A time to wait, such as `10s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayArg(pub Duration);

impl std::str::FromStr for DelayArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || format!("found {text:?}; expected a number and h, m, s or ms, such as 10s");
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
        let (number, unit) = text.split_at(unit_at);
        let number: u32 = number.parse().map_err(|_| expected())?;
        let unit = match unit {
            "h" => Duration::from_secs(3_600),
            "m" => Duration::from_secs(60),
            "s" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            _ => return Err(expected()),
        };
        Ok(Self(unit.saturating_mul(number)))
    }
}

/// Does what the command line says. What is printed for people or scripts goes to standard output, why it failed to
/// standard error.
pub fn main(cli: Cli) -> ExitCode {
    let mut out = io::stdout().lock();
    let done = match cli.command {
        Command::Run(args) => {
            // Logs are all that a running relay prints; nobody may wait for this lock.
            drop(out);
            return ended(run::run(args).map(|()| true));
        }
        Command::Check(args) => check::check(&args, &mut out),
        Command::Explain(args) => at_once(explain::explain(&args, &mut out)).map(|()| true),
        Command::Ctl(args) => ctl::ctl(&args, &mut out).map(|()| true),
        Command::Send(args) => at_once(send::send(&args, &mut out)).map(|()| true),
    };
    ended(done)
}

fn at_once(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn ended(done: anyhow::Result<bool>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // `… | head` has seen enough.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is closed there is nobody to tell.
            let _ = writeln!(io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// What can be done to a queue.
#[derive(Debug, Clone, Subcommand)]
pub enum CtlCommand {
    /// Totals by state and class, and the lanes with most waiting.
    Queue {
        /// Something else with the queue as a whole.
        #[command(subcommand)]
        command: Option<QueueCommand>,
    },
    /// The deliveries that wait, a page at a time.
    List {
        /// Only this lane: CLASS/DOMAIN/ROUTE.
        #[arg(long)]
        lane: Option<String>,
        /// Only those on hold.
        #[arg(long)]
        held: bool,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// All that is known of one message.
    Inspect {
        /// The queue ID.
        id: String,
    },
    /// What happened to a message lately, whether it is still there or not.
    Trace {
        /// The queue ID.
        id: String,
    },
    /// Try now.
    Retry(Target),
    /// Take out of the way until released.
    Hold(Target),
    /// Let go what is on hold.
    Release(Target),
    /// Give up and tell the sender.
    Bounce(Target),
    /// Remove without telling anybody.
    Delete(Target),
    /// Stop trying a lane until resumed.
    Suspend {
        /// CLASS/DOMAIN/ROUTE.
        lane: String,
    },
    /// Try a suspended lane again.
    Resume {
        /// CLASS/DOMAIN/ROUTE.
        lane: String,
    },
}

/// What can be done with a queue as a whole.
#[derive(Debug, Clone, Subcommand)]
pub enum QueueCommand {
    /// Take the server that answers for a shard as that shard, though it isn't the one known before: what was in that one is given
    /// up for lost.
    Adopt {
        /// The shard.
        shard: String,
    },
}

/// Which deliveries.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// A message, by its queue ID.
    pub id: Option<String>,
    /// Every delivery of a lane: CLASS/DOMAIN/ROUTE.
    #[arg(long)]
    pub lane: Option<String>,
    /// Every delivery of a sender.
    #[arg(long)]
    pub sender: Option<String>,
    /// Every delivery that a rule routes.
    #[arg(long)]
    pub rule: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_shard_may_have_a_name() {
        let arg: RedisArg = "a=redis://127.0.0.1:6379/?x=y".parse().expect("with a name");
        assert_eq!(arg.name.map(|n| n.to_string()), Some("a".to_owned()));
        let arg: RedisArg = "redis://127.0.0.1:6379/?x=y".parse().expect("without");
        assert!(arg.name.is_none() && arg.url.ends_with("x=y"));
    }

    #[test]
    fn a_delay_is_a_number_and_a_unit() {
        let read = |text: &str| text.parse::<DelayArg>().map(|delay| delay.0);
        assert_eq!(read("0s"), Ok(Duration::ZERO));
        assert_eq!(read("1500ms"), Ok(Duration::from_millis(1_500)));
        assert_eq!(read("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "0", "s", "1 s", "-1s", "1.5s", "1d", "99999999999s"] {
            assert!(read(text).is_err_and(|said| said.contains("such as 10s")), "{text}");
        }
    }

    #[test]
    fn run_says_what_it_needs() {
        let told =
            Cli::try_parse_from(["postrider-relay", "run"]).expect_err("nothing was given").to_string();
        assert!(told.contains("--manifests <DIR>"), "{told}");
    }
}
