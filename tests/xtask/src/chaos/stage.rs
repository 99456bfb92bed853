//! The parts of one run.
//! **Owns:** starting and ending them, the packets' rules, where their files are. **Never:** a fault.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use postrider_tests::{
    Ledger, World,
    manifests::{MailRelay, rule, secret},
    mounted::Mounted,
    redis::{Redis, Way},
    relay::Setup,
    sink,
    source::Load,
};
use tokio::process::Command;

use super::{
    clock::Clock,
    plan::{DOMAINS, Plan, RELAYS, Topology},
    protection::Protection,
    replicas::Replicas,
    shaping::Shaping,
};

/// What the volume of a server that becomes full has room for.
const VOLUME: &str = "size=256m";
/// Clients at once.
const SESSIONS: usize = 12;
/// How long a client may go on.
const LOAD_WITHIN: Duration = Duration::from_secs(240);
/// The first of the groups that relays run as, so that packets can be told apart.
const FIRST_GROUP: u32 = 20_000;

/// What those who set a stage want of it.
pub(crate) struct Ground {
    /// Tells runs at the same time apart.
    pub(crate) place: u32,
    /// Whether the files of a server are on a volume in memory that can become full; else on the disk, whose syncs take time.
    pub(crate) has_volumes: bool,
    /// RoutingRules: their names, and their lines below `parentRefs`.
    pub(crate) rules: &'static [(&'static str, &'static str)],
}

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) mounted: Mounted,
    /// Sentinels, or what else watches over replicas.
    pub(crate) replicas: Replicas,
    /// The wall clock of each relay.
    pub(crate) clocks: Vec<Clock>,
    /// That of all servers of the queue.
    pub(crate) redis_clock: Clock,
    /// The group that each relay runs as.
    pub(crate) groups: Vec<u32>,
    /// Who vouches for the far sides, if the run is protected.
    pub(crate) protection: Option<Protection>,
    /// The addresses that its mail leaves by, if the run is shaped.
    pub(crate) shaping: Option<Shaping>,
    volumes: Vec<PathBuf>,
}

impl Stage {
    /// Starts all of it.
    pub(crate) async fn set(plan: &Plan, ground: &Ground) -> Result<Self> {
        let mut world = World::with_shards(0).await?;
        world.ledger = Ledger::with_heads();
        let mut volumes = Vec::new();
        let redis_clock = clock(&world, "redis")?;
        let replicas = match plan.topology {
            Topology::One | Topology::Shards => {
                for number in 0..plan.topology.servers() {
                    let folder = world.folder().join(format!("redis-{number}"));
                    if ground.has_volumes {
                        mount(&folder).await?;
                        volumes.push(folder.clone());
                    }
                    let wrapper = redis_clock.wrapper();
                    world.redis.push(Redis::start_as(&folder, Way { wrapper, ..Way::default() }, &[]).await?);
                }
                Replicas::None
            }
            Topology::Sentinel => Replicas::sentinels(&mut world).await?,
            Topology::Cluster => Replicas::cluster(&mut world).await?,
        };
        let shaping = plan.is_shaped.then(|| Shaping::of(&world));
        world.manifests.write("relay.yaml", &relay(plan, shaping.as_ref()))?;
        let protection =
            if plan.is_protected { Some(Protection::new(world.folder(), &world.manifests)?) } else { None };
        for (name, lines) in ground.rules {
            world.manifests.write(&format!("{name}.yaml"), &rule(name, lines))?;
        }
        if let Some(url) = replicas.url(&world.redis) {
            world.manifests.write("redis.yaml", &secret("redis", &[("url", &url)]))?;
        }
        for (number, rules) in plan.far_sides.iter().enumerate() {
            let tls = protection.as_ref().map(|by| by.right(&domain(number))).transpose()?;
            let setup = sink::Setup { tls, ..sink::Setup::default() };
            let far_side = world.domain_with(&domain(number), setup).await?;
            world.sinks.get(far_side).context("it was added")?.behave(rules.clone());
        }
        let mounted = match plan.topology {
            Topology::One | Topology::Shards => world.mounted().await?,
            Topology::Sentinel | Topology::Cluster => {
                let mut mounted =
                    Mounted::new(&world.folder().join("volume"), world.manifests.folder()).await?;
                mounted.edit(|_| {})?;
                mounted
            }
        };
        let (clocks, groups) = (Vec::new(), Vec::new());
        let mut stage =
            Self { world, mounted, replicas, clocks, redis_clock, groups, protection, shaping, volumes };
        for number in 0..RELAYS {
            stage.groups.push(FIRST_GROUP + ground.place * RELAYS as u32 + number as u32);
            stage.clocks.push(clock(&stage.world, &format!("relay-{number}"))?);
            stage.mark(number, "-A").await?;
            stage.world.relays.push(postrider_tests::relay::Relay::launch(stage.setup(number)).await?);
        }
        for relay in &mut stage.world.relays {
            relay.ready().await?;
        }
        Ok(stage)
    }

    /// What a relay is started with.
    fn setup(&self, number: usize) -> Setup {
        let group = format!("--regid={}", self.groups.get(number).copied().unwrap_or(0));
        let wrapper = ["setpriv", &group, "--clear-groups"].map(str::to_owned).to_vec();
        let clock = self.clocks.get(number).map(Clock::wrapper).unwrap_or_default();
        let folder = self.world.folder().join(format!("relay-{number}"));
        let arguments = self.protection.as_ref().map(|_| Protection::arguments(self.world.folder()));
        let arguments = arguments.unwrap_or_default();
        Setup {
            wrapper: [wrapper, clock].concat(),
            folder,
            arguments,
            ..self.world.setup_mounted(&self.mounted)
        }
    }

    /// The load of a plan.
    pub(crate) fn load(&self, plan: &Plan) -> Load {
        let targets: Vec<_> = self.world.relays.iter().map(|relay| relay.smtp()).collect();
        let first = self.world.address(0);
        Load {
            recipients: (0..DOMAINS).map(|number| format!("b@{}", domain(number))).collect(),
            sender: format!("app+*@{}", domain(DOMAINS)),
            together: plan.together,
            size: plan.size,
            per_second: Some(plan.per_second),
            deadline: LOAD_WITHIN,
            targets,
            ..Load::new(first, SESSIONS, plan.messages, "")
        }
    }

    /// Marks all connections of a relay, so that packets to it can be told by their mark.
    async fn mark(&self, number: usize, what: &str) -> Result<()> {
        let group = self.groups.get(number).context("it has a group")?.to_string();
        let rule = ["-t", "mangle", what, "OUTPUT", "-m", "owner", "--gid-owner", &group, "-j", "CONNMARK"];
        iptables(&[&rule[..], &["--set-mark", &group]].concat()).await
    }

    /// Ends all of it.
    pub(crate) async fn clear(self) -> Result<()> {
        for number in 0..self.groups.len() {
            self.mark(number, "-D").await?;
        }
        let Self { world, replicas, volumes, .. } = self;
        drop(replicas);
        let World { relays, redis, .. } = world;
        drop((relays, redis));
        for volume in volumes {
            // Lazily: what was killed may still be going away.
            run("umount", &["-l", &volume.to_string_lossy()]).await?;
        }
        Ok(())
    }
}

/// Drops, or no longer drops, the packets between a group's processes and a port, both ways.
pub(crate) async fn cut(group: u32, port: u16, what: &str) -> Result<()> {
    let (group, port) = (group.to_string(), port.to_string());
    let to = ["OUTPUT", "-p", "tcp", "--dport", &port, "-m", "owner", "--gid-owner", &group, "-j", "DROP"];
    let from = ["OUTPUT", "-p", "tcp", "--sport", &port, "-m", "connmark", "--mark", &group, "-j", "DROP"];
    iptables(&[&[what], &to[..]].concat()).await?;
    iptables(&[&[what], &from[..]].concat()).await
}

async fn iptables(arguments: &[&str]) -> Result<()> {
    // Runs at the same time share the table.
    run("iptables", &[&["-w", "20"], arguments].concat()).await
}

async fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().await.context(program.to_owned())?;
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A volume that can become full.
async fn mount(folder: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    run("mount", &["-t", "tmpfs", "-o", VOLUME, "tmpfs", &folder.to_string_lossy()]).await
}

fn clock(world: &World, whose: &str) -> Result<Clock> {
    Clock::right(world.folder().join(format!("{whose}.clock")))
}

/// The domain of a number; the last is the senders'.
pub(crate) fn domain(number: usize) -> String {
    if number == DOMAINS { "sender.example".to_owned() } else { format!("far{number}.example") }
}

fn relay(plan: &Plan, shaping: Option<&Shaping>) -> String {
    let names: Vec<String> =
        ["a", "b", "c"].map(|name| format!("{{name: {name}, urlRef: {{name: redis, key: url}}}}")).to_vec();
    let queue = match plan.topology {
        Topology::One => "{managed: {shards: 1}}".to_owned(),
        Topology::Shards => "{managed: {shards: 3}}".to_owned(),
        Topology::Sentinel => {
            format!(
                "{{external: {{mode: Sentinel, shards: [{}]}}, durability: Replicated, replicatedTo: 1}}",
                names[0]
            )
        }
        Topology::Cluster => {
            format!(
                "{{external: {{mode: Cluster, shards: [{}]}}, durability: Replicated, replicatedTo: 1}}",
                names.join(", ")
            )
        }
    };
    // Older than any clock jumps.
    let defaults = "{retry: {initial: 1s, max: 4s, maxAge: 2h}}".to_owned();
    let fleet = MailRelay { queue, defaults, ..MailRelay::default() };
    let fleet = if plan.is_protected { Protection::of_fleet(fleet) } else { fleet };
    match shaping {
        Some(shaping) => shaping.of_fleet(fleet).yaml(),
        None => fleet.yaml(),
    }
}
