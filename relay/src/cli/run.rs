//! `postrider-relay run`: a relay, until SIGTERM.
//! **Owns:** from arguments to settings. **Never:** builds the relay (app does).

use anyhow::{Context, Result};

use super::RunArgs;
use crate::{app, config::Origin, logging};

/// Runs a relay until it is told to stop.
///
/// # Errors
/// It can't start; the text says what to do.
pub fn run(args: RunArgs) -> Result<()> {
    // An idle relay would take 30 MiB in place of 18. Where that isn't allowed it does.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    logging::install();
    let settings = app::Settings {
        dns: args.dns,
        dnssec_anchors: args.dnssec_anchors,
        mx_port: args.mx_port,
        https_port: args.https_port,
        tls_report_midnight: args.tls_report_midnight.map(|wait| wait.0),
        roots: args.roots,
        admin: args.admin,
        ctl: args.ctl,
        listen: args.listen.into_iter().map(|listen| (listen.name, listen.address)).collect(),
        state: args.state,
        drain_delay: args.drain_delay.map(|delay| delay.0),
    };
    // clap sees to it that there is one of the two.
    let origin = match (args.manifests, args.config) {
        (Some(folder), _) => Origin::manifests(folder, args.relay, args.redis),
        (None, Some(file)) => Origin::compiled(file, args.redis),
        (None, None) => anyhow::bail!("found neither --manifests nor --config; expected one of them"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(app::run(origin, settings))
}
