//! Relays with one Redis, in front of the far sides of a load.
//! **Owns:** starting them, and the far sides. **Never:** Postfix, a load.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use postrider_tests::{
    Ledger, World,
    certs::{Authority, Certificate},
    client, dkim, dns,
    manifests::{MailRelay, rule, secret, tls_secret},
    redis::Redis,
    relay::Relay,
    sink::{self, At, Rule},
};
use rustls::ClientConfig;

use super::workload::{Far, PUTS_OFF_ONE_IN, ROUND_TRIP, domain};

/// The far sides that domains share: each has an address of its own.
const FAR_SIDES: usize = 200;
/// The last byte of the nameserver's address.
const NAMESERVER: u8 = 253;
/// Connections to one far side where nothing is said.
const USUAL_CONNECTIONS: usize = 20;
/// How long records may be kept.
const TTL: u32 = 300;

/// What a fleet does that another one beside it doesn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Besides {
    Nothing,
    /// Its far side offers TLS, its sources do without.
    TlsOut,
    /// It signs what its sources send, by DKIM with a key of 2,048 bits (RSA).
    Signing,
    /// It has these limits towards each far side.
    Limits(&'static str),
}

/// Relays, their store, their far sides.
pub(crate) struct Fleet {
    pub(crate) world: World,
    far: Far,
    besides: Besides,
    /// Whether some attempts hang for as long as it lives, so that nobody can wait for their end.
    pub(crate) has_hung_attempts: bool,
    certificate: Option<Certificate>,
    client: Option<Arc<ClientConfig>>,
}

impl Fleet {
    /// Far sides and one relay that delivers.
    pub(crate) async fn start(far: Far) -> Result<Self> {
        Self::start_as(far, "Active").await
    }

    /// The same, or with a relay that keeps what it takes in (`Paused`).
    pub(crate) async fn start_as(far: Far, delivery: &str) -> Result<Self> {
        Self::set(far, delivery, Besides::Nothing).await
    }

    /// The same as [`Self::start`], and something besides.
    pub(crate) async fn start_besides(far: Far, besides: Besides) -> Result<Self> {
        Self::set(far, "Active", besides).await
    }

    async fn set(far: Far, delivery: &str, besides: Besides) -> Result<Self> {
        let mut world = World::new().await?;
        // One that only counts: bodies would make the far side a part of what is measured.
        world.ledger = Ledger::default();
        let (certificate, client) = match far {
            Far::Tls => {
                let certificate = Authority::new()?.issue(&["relay.example"])?;
                (Some(certificate), Some(client::any_certificate()?))
            }
            Far::Smarthost | Far::Mx(_) | Far::Slow | Far::Busy => (None, None),
        };
        let mut fleet = Self { world, far, besides, has_hung_attempts: false, certificate, client };
        match far {
            Far::Mx(domains) => fleet.by_mx(domains).await?,
            Far::Smarthost | Far::Tls | Far::Slow | Far::Busy => fleet.by_address().await?,
        }
        fleet.write(delivery)?;
        fleet.world.relay().await?;
        Ok(fleet)
    }

    async fn by_address(&mut self) -> Result<()> {
        let tls = match (self.besides, &self.certificate) {
            (_, Some(certificate)) => Some(certificate.server.clone()),
            (Besides::TlsOut, None) => Some(Authority::new()?.issue(&["far.example"])?.server),
            (Besides::Nothing | Besides::Signing | Besides::Limits(_), None) => None,
        };
        let setup = sink::Setup {
            tls,
            round_trip: if self.far == Far::Slow { ROUND_TRIP } else { Duration::ZERO },
            ..sink::Setup::default()
        };
        let number = self.world.sink(setup).await?;
        if self.far == Far::Busy {
            let busy = Rule::reply(At::Rcpt, "450 4.7.1 come back later").one_in(PUTS_OFF_ONE_IN);
            self.world.sinks[number].behave([busy]);
        }
        let far = self.world.address(number);
        let smarthost = format!(
            "matches: [{{recipientDomains: [far.example]}}]\n\
             route: {{type: Smarthost, smarthost: {{hosts: [{{host: {}, port: {}}}]}}}}",
            far.ip(),
            far.port()
        );
        self.world.manifests.write("rule.yaml", &rule("far", &smarthost))
    }

    /// The nameserver gets port 53 of an address of its own, as Postfix asks no other port.
    async fn by_mx(&mut self, domains: usize) -> Result<()> {
        let at = SocketAddr::new(self.world.subnet.address(NAMESERVER).into(), 53);
        self.world.dns = dns::Dns::start_at(at)
            .await
            .with_context(|| format!("found no way to listen at {at}; run as root"))?;
        self.world.dns.keep_for(TTL);
        let far_sides = domains.min(FAR_SIDES);
        for _ in 0..far_sides {
            self.world.sink(sink::Setup::default()).await?;
        }
        for number in 0..domains {
            self.world.dns.domain(&domain(number), self.world.address(number % far_sides).ip()).await?;
        }
        Ok(())
    }

    /// Writes the MailRelay: `Active`, or `Paused`.
    pub(crate) fn write(&self, delivery: &str) -> Result<()> {
        let tls = match &self.certificate {
            None => "",
            Some(certificate) => {
                self.world.manifests.write("tls.yaml", &tls_secret("mail-tls", certificate))?;
                ", tls: {mode: Optional, certificateRef: {name: mail-tls}}"
            }
        };
        // All load comes from one address; Postfix has no such limit for the networks it trusts.
        let listeners = format!(
            "- {{name: smtp, port: 25, protocol: SMTP, allowedClients: {{cidrs: [127.0.0.0/8]}}, limits: {{connectionsPerClient: 1000}}{tls}}}"
        );
        let limits = match self.besides {
            Besides::Limits(limits) => limits.to_owned(),
            // What a fleet has that says nothing: so nobody is asked.
            _ if self.far.connections() == USUAL_CONNECTIONS => String::new(),
            _ => format!("connections: {}", self.far.connections()),
        };
        let defaults = format!("{{retry: {{initial: 1s, max: 4s, maxAge: 120h}}, limits: {{{limits}}}}}");
        let mut more = format!("{}\ndelivery: {delivery}", MailRelay::default().more);
        if self.besides == Besides::Signing {
            self.world.manifests.write("dkim.yaml", &secret("dkim", &[("rsa", dkim::RSA)]))?;
            more.push_str(
                "\ndkim: [{domain: sender.example, keys: [{selector: rsa, privateKeyRef: {name: dkim, key: rsa}}]}]",
            );
        }
        let relay = MailRelay { more, listeners, defaults, ..MailRelay::default() };
        self.world.manifests.write("relay.yaml", &relay.yaml())
    }

    pub(crate) fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// How a source speaks TLS to it, where it does.
    pub(crate) fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.client.clone()
    }

    /// Where relays take mail.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.world.relays.iter().map(Relay::smtp).collect()
    }

    /// The far sides' book.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.world.ledger
    }

    pub(crate) fn redis(&self) -> Result<&Redis> {
        self.world.redis.first().context("Redis was started")
    }

    /// The first relay.
    pub(crate) fn relay(&self) -> Result<&Relay> {
        self.world.relays.first().context("a relay was started")
    }

    /// Attempts that run now, in all relays.
    pub(crate) async fn attempts(&self) -> Result<u64> {
        self.sum("postrider_attempts_running", &[]).await
    }

    /// A gauge, of all relays.
    pub(crate) async fn sum(&self, name: &str, labels: &[&str]) -> Result<u64> {
        let mut sum = 0.0;
        for relay in &self.world.relays {
            sum += relay.metrics().await?.sum(name, labels);
        }
        Ok(sum as u64)
    }
}
