//! One child process.
//! **Owns:** starting, signalling and ending it. **Never:** a process that it didn't start.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

/// How long a process may take to end after SIGTERM.
const END_WITHIN: Duration = Duration::from_secs(20);

/// A running process whose output goes to a file; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts it; output is appended to `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let out = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).context("the process has a pid")?;
        let pid = Pid::from_raw(id).context("a pid isn't 0")?;
        Ok(Self { child, pid, log: log.to_owned() })
    }

    /// Its id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process(self.pid, signal).context("signalling")
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("killing")
    }

    /// SIGTERM, and waits for the end; SIGKILL if that takes too long.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended() {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        if let Ok(status) = tokio::time::timeout(END_WITHIN, self.child.wait()).await {
            return Ok(status?);
        }
        self.kill().await?;
        self.child.wait().await.context("waiting for the end")
    }

    /// Stops it in its tracks, as a paused machine would be.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Resident memory in KiB, and CPU time in ticks of 1/100 s (user + system).
    pub fn usage(&self) -> Result<Usage> {
        usage_of(self.pid())
    }
}

/// What a process takes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Resident memory in KiB.
    pub rss_kib: u64,
    /// CPU time so far.
    pub cpu: Duration,
}

/// What a process takes, from `/proc`.
pub fn usage_of(pid: i32) -> Result<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces; fields count from behind it (proc(5): utime is 14, stime 15, rss 24).
    let fields: Vec<&str> = stat.rsplit_once(')').context("stat has a name")?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Ok(Usage { rss_kib: field(24) * 4, cpu: Duration::from_millis((field(14) + field(15)) * 10) })
}

/// Whether a program is in the path.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(extra).any(|folder| folder.join(program).is_file())
}
