//! All of it on this machine: Redis, a zone, far sides and two relays on loopback, from the YAML of `examples/demo`.
//! **Owns:** the order of the show, its clean end. **Never:** passes over what didn't happen: then it fails.

mod scenes;
mod stage;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use postrider_tests::relay;
use stage::Stage;
use tokio::signal::unix::{SignalKind, signal};

use crate::tools;

/// Far more than it takes; a demo that hangs must end too.
const END_WITHIN: Duration = Duration::from_secs(300);

/// Runs it.
pub(crate) fn main(keep: bool) -> Result<()> {
    ensure!(
        cfg!(target_os = "linux"),
        "found a system without the addresses 127.0.0.2 and up; expected Linux; run it in a container or a virtual machine"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        // Dropping the show ends every process and removes every file of it.
        tokio::select! {
            done = show(keep) => done,
            stopped = stopped() => stopped,
            () = tokio::time::sleep(END_WITHIN) => bail!("the demo took more than {END_WITHIN:?}"),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    done
}

async fn stopped() -> Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
    bail!("stopped; everything that was started is gone again")
}

async fn show(keep: bool) -> Result<()> {
    println!(
        "Postrider, end to end on this machine. Nothing leaves it, and nothing stays but what was built.\n"
    );
    tools::ensure_installed(&[tools::REDIS])?;
    told("building the relay (minutes if this is the first time)", relay::binary()).await?;
    let started = Instant::now();
    let mut stage = told("starting Redis, a nameserver, far sides and two relays", Stage::set()).await?;
    stage.introduce();
    scenes::play(&mut stage).await?;
    println!("\nall of it happened, in {:.0} s", started.elapsed().as_secs_f64());
    if keep {
        stage.stay_open();
        tokio::signal::ctrl_c().await?;
    }
    stage.clear().await;
    Ok(())
}

/// Says what is being done, and how long it has taken so far.
pub(crate) async fn told<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    use std::io::{IsTerminal, Write};
    let is_terminal = std::io::stdout().is_terminal();
    let started = Instant::now();
    print!("  … {what}");
    std::io::stdout().flush()?;
    tokio::pin!(work);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                if is_terminal {
                    print!("\r  … {what} ({} s)", started.elapsed().as_secs());
                    std::io::stdout().flush()?;
                }
            }
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let mark = if done.is_ok() { '✓' } else { '✗' };
    if is_terminal {
        println!("\r\x1b[K  {mark} {what} ({seconds:.1} s)");
    } else {
        println!("\n  {mark} done ({seconds:.1} s)");
    }
    done
}
