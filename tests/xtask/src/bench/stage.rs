//! Postrider and Postfix beside each other, in front of one far side.
//! **Owns:** starting Postfix with what both promise alike; what both run on. **Never:** a load.

use std::{fs::File, io::Write, path::Path, time::Duration};

use anyhow::{Context, Result};
use postrider_tests::postfix::{self, Postfix};

use super::{
    fleet::Fleet,
    mta::{Mta, Subject},
    tuned,
    workload::Far,
};

/// Both of them. Fields are dropped in this order: Postfix lives in the fleet's folder.
pub(crate) struct Stage {
    postfix: Postfix,
    pub(crate) fleet: Fleet,
}

impl Stage {
    /// Both deliver to the far side.
    pub(crate) async fn delivers(far: Far) -> Result<Self> {
        Self::set(far, "Active", &[]).await
    }

    /// Both keep what they take in: Postrider is paused, Postfix puts all on hold.
    pub(crate) async fn keeps() -> Result<Self> {
        let on_hold = "check_recipient_access static:HOLD, permit_mynetworks, reject";
        Self::set(Far::Smarthost, "Paused", &[("smtpd_recipient_restrictions", on_hold)]).await
    }

    async fn set(far: Far, delivery: &str, more: &[(&str, &str)]) -> Result<Self> {
        let fleet = Fleet::start_as(far, delivery).await?;
        let folder = fleet.world.folder().join("postfix");
        let own = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut setup = postfix::Setup { more: tuned::lines(far), ..postfix::Setup::default() };
        setup.more.extend(own);
        match far {
            Far::Mx(_) => {
                setup.nameserver = Some(fleet.world.dns.address().ip());
                setup.more.push(("smtp_tcp_port".to_owned(), fleet.world.subnet.port().to_string()));
            }
            Far::Smarthost | Far::Tls | Far::Slow | Far::Busy => {
                setup.relayhost = Some(fleet.world.address(0));
            }
        }
        if let Some(certificate) = fleet.certificate() {
            let file = fleet.world.folder().join("postfix.pem");
            std::fs::write(&file, format!("{}{}", certificate.key, certificate.certificate))?;
            setup.more.push(("smtpd_tls_chain_files".to_owned(), file.display().to_string()));
        }
        let postfix = Postfix::start(&folder, setup).await?;
        Ok(Self { postfix, fleet })
    }

    /// One of the two.
    pub(crate) fn subject(&self, mta: Mta) -> Subject<'_> {
        let postfix = match mta {
            Mta::Postrider => None,
            Mta::Postfix => Some(&self.postfix),
        };
        Subject { fleet: &self.fleet, postfix }
    }

    /// How many messages are kept.
    pub(crate) async fn kept(&self, mta: Mta) -> Result<u64> {
        match mta {
            Mta::Postrider => self.fleet.sum("postrider_queue_deliveries", &["state=\"Waiting\""]).await,
            Mta::Postfix => {
                let folder = self.fleet.world.folder().join("postfix/queue/hold");
                Ok(std::fs::read_dir(folder)?.count() as u64)
            }
        }
    }
}

/// What all of it runs on.
pub(crate) fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().trim_end_matches(" kB").to_owned())
    };
    let model = field(&cpu, "model name").unwrap_or_default();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory: u64 = field(&memory, "MemTotal").and_then(|kib| kib.parse().ok()).unwrap_or(0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let first_word = |program: &str, arguments: &[&str], at: usize| {
        let output = std::process::Command::new(program).args(arguments).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Some(text.split_whitespace().nth(at)?.trim_start_matches("v=").to_owned())
    };
    Ok(format!(
        "{cores} cores ({model}), {:.0} GiB, Linux {}, Redis {}, Postfix {}",
        memory as f64 / 1024.0 / 1024.0,
        kernel.trim(),
        first_word("redis-server", &["--version"], 2).unwrap_or_default(),
        first_word("postconf", &["-d", "-h", "mail_version"], 0).unwrap_or_default(),
    ))
}

/// What both of them wait for: writing 4 KiB to the end of a file and syncing it, the median.
pub(crate) fn sync_time(folder: &Path) -> Result<Duration> {
    let mut file = File::create(folder.join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..101 {
        file.write_all(&[b'a'; 4096])?;
        let began = std::time::Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times.get(50).copied().context("there were 101")
}
