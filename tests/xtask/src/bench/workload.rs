//! The loads that both carry: their names are those of the figures.
//! **Owns:** sizes, sessions, far sides, how many messages a round has. **Never:** sends one.

use std::time::Duration;

use postrider_tests::source::Load;

use super::{fleet::Fleet, mta::Mta, text};

/// To whom mail goes that a rule routes.
pub(crate) const RECIPIENT: &str = "somebody@far.example";
/// How far away the slow far side is.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(50);
/// Of how many recipients the busy far side puts off one.
pub(crate) const PUTS_OFF_ONE_IN: u32 = 10;

/// Where all of it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Far {
    /// One host by its address.
    Smarthost,
    /// So many domains by MX.
    Mx(usize),
    /// One host, TLS in and out.
    Tls,
    /// One host, a round trip away.
    Slow,
    /// One host that puts a tenth of the recipients off with a 450.
    Busy,
}

/// One load.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    pub(crate) sessions: usize,
    pub(crate) per_connection: usize,
    pub(crate) far: Far,
    /// Messages a round, ours and theirs: more for the faster one, so that both run for seconds.
    pub(crate) messages: [usize; 2],
    /// Whether it is one of the main ones.
    pub(crate) is_main: bool,
    /// Whether its calls to the system are counted, in a run of their own.
    pub(crate) is_traced: bool,
}

const KIB: usize = 1 << 10;
/// Messages over one connection where connections are used again.
const REUSED: usize = 100;

/// All of them, in the order of their far sides; in each, the one with most sessions last, as its processes stay.
pub(crate) fn all() -> Vec<Workload> {
    let base = Workload {
        name: "4k_50",
        size: 4 * KIB,
        sessions: 50,
        per_connection: 1,
        far: Far::Smarthost,
        messages: [10_000, 3_000],
        is_main: false,
        is_traced: false,
    };
    let like = |name, far| Workload { name, far, ..base.clone() };
    vec![
        Workload { is_main: true, is_traced: true, ..base.clone() },
        Workload {
            name: "4k_50_reused",
            per_connection: REUSED,
            messages: [20_000, 4_000],
            is_main: true,
            is_traced: true,
            ..base.clone()
        },
        Workload {
            name: "64k_50",
            size: 64 * KIB,
            messages: [6_000, 2_000],
            is_main: true,
            is_traced: true,
            ..base.clone()
        },
        Workload { name: "5m_10", size: 5 * KIB * KIB, sessions: 10, messages: [150, 100], ..base.clone() },
        Workload { name: "4k_1", sessions: 1, messages: [2_000, 1_000], ..base.clone() },
        Workload { name: "4k_500", sessions: 500, ..base.clone() },
        like("4k_50_mx1", Far::Mx(1)),
        like("4k_50_mx10", Far::Mx(10)),
        Workload { is_main: true, ..like("4k_50_mx1000", Far::Mx(1_000)) },
        Workload { messages: [4_000, 1_000], ..like("4k_50_tls", Far::Tls) },
        Workload { messages: [6_000, 3_000], ..like("4k_50_rtt50", Far::Slow) },
        like("4k_50_4xx10", Far::Busy),
    ]
}

impl Far {
    /// Connections at a time that a far side takes; both are told.
    pub(crate) const fn connections(self) -> usize {
        match self {
            Self::Slow => 200,
            Self::Smarthost | Self::Mx(_) | Self::Tls | Self::Busy => 20,
        }
    }

    /// The first message and those behind it up to this part of all count for the speed: what was put off waits for its time, not
    /// for work. All must arrive.
    pub(crate) const fn counted(self) -> f64 {
        match self {
            Self::Busy => 1.0 - 1.0 / PUTS_OFF_ONE_IN as f64,
            Self::Smarthost | Self::Mx(_) | Self::Tls | Self::Slow => 1.0,
        }
    }

    /// Recipients, to be taken in turn.
    pub(crate) fn recipients(self) -> Vec<String> {
        match self {
            Self::Mx(domains) => (0..domains).map(|number| format!("somebody@{}", domain(number))).collect(),
            Self::Smarthost | Self::Tls | Self::Slow | Self::Busy => vec![RECIPIENT.to_owned()],
        }
    }
}

/// A domain that has an MX, by its number.
pub(crate) fn domain(number: usize) -> String {
    format!("d{number}.example")
}

impl Workload {
    /// The same with so many messages in a round.
    pub(crate) fn part(mut self, of: usize) -> Self {
        self.messages = self.messages.map(|messages| messages / of);
        self
    }

    /// What a person reads.
    pub(crate) fn what(&self) -> String {
        let size = if self.size < KIB * KIB {
            format!("{} KiB", self.size / KIB)
        } else {
            format!("{} MiB", self.size / KIB / KIB)
        };
        let connections = match self.per_connection {
            1 => "a connection each".to_owned(),
            many => format!("connections used {many} times"),
        };
        let far = match self.far {
            Far::Smarthost => String::new(),
            Far::Mx(1) => ", 1 domain by MX".to_owned(),
            Far::Mx(domains) => format!(", {domains} domains by MX"),
            Far::Tls => ", TLS in and out".to_owned(),
            Far::Slow => format!(", far side {} ms away", ROUND_TRIP.as_millis()),
            Far::Busy => format!(", one in {PUTS_OFF_ONE_IN} put off by 450"),
        };
        let sessions = if self.sessions == 1 { "session" } else { "sessions" };
        format!("{size}, {} {sessions}, {connections}{far}", self.sessions)
    }

    /// As a source takes it.
    pub(crate) fn load(&self, fleet: &Fleet, to: Vec<std::net::SocketAddr>, mta: Mta) -> Load {
        let base = Load::new(([127, 0, 0, 1], 0).into(), self.sessions, self.messages[mta as usize], "");
        Load {
            targets: to,
            recipients: self.far.recipients(),
            size: self.size,
            bodies: vec![text::body(self.size)],
            per_connection: self.per_connection,
            tls: fleet.tls(),
            ..base
        }
    }
}
