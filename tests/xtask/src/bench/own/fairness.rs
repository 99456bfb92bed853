//! A sender with a long queue for a far side that takes 50 messages a second, and another sender who writes there now and then.
//! **Owns:** both senders and the limit. **Never:** a far side that is slow or dead.

use std::time::Duration;

use anyhow::Result;
use postrider_mail::Class;
use postrider_queue::RouteName;
use postrider_tests::{
    manifests::{MailRelay, rule},
    source::{Load, Source},
    wait::until,
};

use super::seed::{Queue, Seeds};
use crate::bench::{
    figures::{Figures, percentile, plain, told},
    fleet::Fleet,
    mta::Subject,
    workload::{self, Far, Workload},
};

/// Who has much mail waiting.
const MANY: &str = "news.example";
/// Who writes now and then.
const FEW: &str = "bank.example";
/// Messages a second that the far side takes.
const RATE: u32 = 50;
/// Messages a second of the one who has few: less than any share of that.
const FEW_RATE: u32 = 10;
/// Messages of the one who has few.
const FEW_MESSAGES: usize = 100;
/// Bytes of a message.
const SIZE: usize = 1 << 10;
/// What the limit lets through at once is gone, and the others wait, after so many messages.
const BEGUN: usize = 300;
/// By then.
const BEGUN_WITHIN: Duration = Duration::from_secs(120);
/// Far more than the few may take.
const GONE_WITHIN: Duration = Duration::from_secs(300);

/// What tells the two senders apart, besides their domains.
#[derive(Clone, Copy)]
enum Apart {
    /// Rules give them classes.
    Class,
    /// Nothing.
    Domain,
}

/// With so many waiting, all of them due.
pub(crate) async fn run(waiting: usize, figures: &mut Figures) -> Result<()> {
    for apart in [Apart::Class, Apart::Domain] {
        let name = apart.name();
        told(&format!(
            "fairness_{name}: {} due messages of one sender and {FEW_RATE} a second of another, to a far side that takes {RATE} a second; \
             what tells them apart is their {name}",
            plain(waiting as f64)
        ));
        let waits = once(apart, waiting).await?;
        for percent in [50, 99] {
            let found = percentile(&waits, percent).map(|wait| wait.as_secs_f64());
            figures.ours(&format!("fairness_{name}_p{percent}"), "s", found.into_iter().collect());
        }
    }
    Ok(())
}

/// How long each of the few waited from its 250 to the far side's, sorted.
async fn once(apart: Apart, waiting: usize) -> Result<Vec<Duration>> {
    let far = Far::Mx(1);
    let mut fleet = Fleet::start(far).await?;
    fleet.world.relays[0].stop().await?;
    apart.write(&fleet)?;
    let queue = Queue::of(fleet.redis()?)?;
    let (class, route) = apart.many()?;
    let seeds = Seeds {
        sender: MANY.to_owned(),
        class,
        route,
        ..Seeds::of(waiting, vec![workload::domain(0)], SIZE, Duration::ZERO)
    };
    queue.fill_quickly(fleet.redis()?, seeds).await?;
    fleet.world.relays[0].restart().await?;
    let ledger = fleet.ledger().clone();
    until("the far side to have the first of them", BEGUN_WITHIN, || ledger.len() >= BEGUN).await?;
    let workload = Workload {
        name: "fairness",
        size: SIZE,
        sessions: 4,
        per_connection: 100,
        far,
        messages: [FEW_MESSAGES; 2],
        is_main: true,
        is_traced: false,
    };
    let load = Subject { fleet: &fleet, postfix: None }.load(&workload);
    let load = Load { sender: format!("password@{FEW}"), per_second: Some(FEW_RATE), ..load };
    let accepted = Source::start(load).finish().await?;
    until("the far side to have the few", GONE_WITHIN, || ledger.balance(&accepted).lost.is_empty()).await?;
    Ok(ledger.latencies(&accepted))
}

impl Apart {
    const fn name(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Domain => "domain",
        }
    }

    /// The class and the rule of the one who has many.
    fn many(self) -> Result<(Class, RouteName)> {
        match self {
            Self::Class => Ok((Class::Bulk, RouteName::parse("many")?)),
            Self::Domain => Ok((Class::Normal, RouteName::default_route())),
        }
    }

    /// The fleet with its limit, and rules where classes differ.
    fn write(self, fleet: &Fleet) -> Result<()> {
        let manifests = &fleet.world.manifests;
        let defaults = format!("{{limits: {{rate: {{messages: {RATE}, per: 1s}}}}}}");
        manifests.write("relay.yaml", &MailRelay { defaults, ..MailRelay::default() }.yaml())?;
        let classes = match self {
            Self::Class => vec![("many", MANY, Class::Bulk), ("few", FEW, Class::Transactional)],
            Self::Domain => Vec::new(),
        };
        for (name, domain, class) in classes {
            let spec = format!("matches: [{{senderDomains: [{domain}]}}]\npolicy: {{class: {class}}}");
            manifests.write(&format!("{name}.yaml"), &rule(name, &spec))?;
        }
        Ok(())
    }
}
