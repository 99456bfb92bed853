//! Programs that aren't Rust's: found, or installed by the system's packages, or told how.
//! **Owns:** which package has which program. **Never:** starts a service of the machine, or installs without need.

pub(crate) mod valkey;

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Result, bail, ensure};
use postrider_tests::process::is_installed;

/// A program and the Debian package that has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    program: &'static str,
    package: &'static str,
    /// Arguments with which the program succeeds only if it has what tests need of it; none where being there is enough.
    proof: &'static [&'static str],
}

/// The queue's server.
pub(crate) const REDIS: Tool = Tool { program: "redis-server", package: "redis-server", proof: &[] };
/// What slows a server's syncs, and counts calls to the system.
pub(crate) const STRACE: Tool = Tool { program: "strace", package: "strace", proof: &[] };
/// What builds a sandbox's one program, and what gives a process a wall clock of its own.
pub(crate) const GCC: Tool = Tool { program: "gcc", package: "gcc", proof: &[] };
pub(crate) const IPTABLES: Tool = Tool { program: "iptables", package: "iptables", proof: &[] };
pub(crate) const IP: Tool = Tool { program: "ip", package: "iproute2", proof: &[] };
/// A far side and a client.
pub(crate) const POSTFIX: Tool = Tool { program: "postfix", package: "postfix", proof: &[] };
/// What makes keys and reads them.
pub(crate) const OPENSSL: Tool = Tool { program: "openssl", package: "openssl", proof: &[] };
/// All that tests run.
pub(crate) const ALL: &[Tool] = &[
    REDIS,
    POSTFIX,
    Tool { program: "swaks", package: "swaks", proof: &[] },
    // swaks speaks TLS by this, which Debian only recommends with it.
    Tool { program: "perl", package: "libnet-ssleay-perl", proof: &["-MNet::SSLeay", "-e", "1"] },
    Tool { program: "curl", package: "curl", proof: &[] },
    Tool { program: "buildah", package: "buildah", proof: &[] },
    // Debian's: another one in the path wouldn't have dkimpy.
    Tool { program: "/usr/bin/python3", package: "python3", proof: &[] },
    Tool { program: "/usr/bin/python3", package: "python3-dkim", proof: &["-c", "import dkim"] },
    // dkimpy verifies Ed25519 by this, which Debian only suggests with it.
    Tool { program: "/usr/bin/python3", package: "python3-nacl", proof: &["-c", "import nacl"] },
    Tool { program: "/usr/sbin/opendkim", package: "opendkim", proof: &[] },
    OPENSSL,
    // Zones with DNSSEC.
    Tool { program: "named", package: "bind9", proof: &[] },
    Tool { program: "dnssec-signzone", package: "bind9-utils", proof: &[] },
    Tool { program: "prometheus", package: "prometheus", proof: &[] },
    // Proxies that mail leaves by.
    Tool { program: "microsocks", package: "microsocks", proof: &[] },
    Tool { program: "haproxy", package: "haproxy", proof: &[] },
];

/// What builds and brings up a control plane.
pub(crate) const CLUSTER: &[Tool] = &[OPENSSL];
/// What a node needs beside it: runc runs containers, the CNI plugins give pods a network, kube-proxy drives iptables
/// and conntrack, `kubectl port-forward` asks for socat, gcc builds the sandbox's one program.
pub(crate) const NODE: &[Tool] = &[
    Tool { program: "runc", package: "runc", proof: &[] },
    Tool { program: "/usr/lib/cni/bridge", package: "containernetworking-plugins", proof: &[] },
    IPTABLES,
    Tool { program: "conntrack", package: "conntrack", proof: &[] },
    Tool { program: "socat", package: "socat", proof: &[] },
    IP,
    GCC,
    Tool { program: "sysctl", package: "procps", proof: &[] },
];

/// How other systems than Debian's install.
const OTHER_SYSTEMS: &[(&str, &str)] = &[
    ("dnf", "sudo dnf install"),
    ("pacman", "sudo pacman -S"),
    ("apk", "sudo apk add"),
    ("zypper", "sudo zypper install"),
    ("brew", "brew install"),
];

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or(here.clone(), PathBuf::from)
}

/// Cargo's folder for what it builds.
pub(crate) fn target() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.ancestors().nth(2).map_or_else(PathBuf::new, PathBuf::from)
}

/// Makes sure that these programs are there.
pub(crate) fn ensure_installed(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| !is_there(tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    if is_installed("apt-get") {
        if let Some(before) = as_root() {
            eprintln!("installing {} by apt-get", packages.join(", "));
            install(&before, &packages)?;
        } else {
            bail!("found no {}; expected it in the path; run: sudo apt-get install {0}", packages.join(" "));
        }
    } else {
        let how = OTHER_SYSTEMS.iter().find(|(program, _)| is_installed(program)).map(|(_, how)| *how);
        let names = packages.join(" ").replace("redis-server", "redis");
        match how {
            Some(how) => bail!("found no {names}; expected it in the path; run: {how} {names}"),
            None => {
                bail!("found no {names}; expected it in the path; install it with your system's packages")
            }
        }
    }
    for tool in missing {
        ensure!(is_there(tool), "found no {} after installing {}", tool.program, tool.package);
    }
    Ok(())
}

fn is_there(tool: &Tool) -> bool {
    let proves =
        || Command::new(tool.program).args(tool.proof).output().is_ok_and(|ran| ran.status.success());
    is_installed(tool.program) && (tool.proof.is_empty() || proves())
}

/// What must stand before a command for it to run as root; none if there is no way without a password.
fn as_root() -> Option<Vec<&'static str>> {
    if is_root() {
        return Some(Vec::new());
    }
    let mut sudo = Command::new("sudo");
    let may = sudo.args(["-n", "true"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    may.then(|| vec!["sudo", "-n"])
}

/// Whether this process may do all.
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn install(before: &[&str], packages: &[&str]) -> Result<()> {
    // Neither may become a service of this machine: RUNLEVEL=1 keeps packages from starting them, and Postfix is left
    // without a configuration.
    let environment = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"];
    let run = |words: &[&str]| -> Result<()> {
        let words: Vec<&str> = before.iter().chain(&environment).chain(words).copied().collect();
        let (program, arguments) =
            words.split_first().map_or(("env", &[][..]), |(program, rest)| (*program, rest));
        let output = Command::new(program).args(arguments).output()?;
        ensure!(output.status.success(), "{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    let preseed = "echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections";
    // Where debconf can't be asked in advance, Postfix's own default for silent installs is as good.
    drop(run(&["sh", "-c", preseed]));
    run(&["apt-get", "update", "-q"])?;
    run(&[&["apt-get", "install", "-y", "-q", "--no-install-recommends"], packages].concat())
}
