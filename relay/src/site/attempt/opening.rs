//! The way to a connection of a host: connect, greet, encrypt, fall back to clear text where the policy lets it.
//! **Owns:** the one fall-back. **Never:** chooses the policy (core::tls_policy), or the host.

use std::{net::SocketAddr, time::Instant as Clocked};

use postrider_core::{
    outcome::{Cause, Context, Failure, Next, Ruling},
    tls_policy::{self, Intent, Protection},
};
use postrider_mail::{FarText, Stage};

use super::{Run, verdict};
use crate::{
    client::{Connection, Door, OpenError},
    egress::dial::SourceFault,
    site::Stop,
    tls_report,
};

impl Run<'_> {
    /// Opens a connection. Who can't is charged with the failure.
    pub(super) async fn open(&mut self, stop: &Stop, address: SocketAddr) -> Option<Connection> {
        let host = &stop.host.name;
        (self.trace.host, self.trace.address, self.trace.tls) = (Some(host.clone()), Some(address), None);
        if let Some(failure) = self.unwanted(address) {
            self.charge_all(failure, stop);
            return None;
        }
        if !self.may_open().await {
            return None;
        }
        let began = Clocked::now();
        let mut intent = self.intent(stop, address);
        let mut fell_back = false;
        let opened = loop {
            if let Some(permit) = &mut self.permit {
                permit.opens();
            }
            let door = self.door(stop, address, intent);
            let opening = Connection::open(&door, &self.shared.connectors, &self.shared.clock);
            let opened = tokio::select! {
                biased;
                () = self.fence.over.wait() => return None,
                opened = tokio::time::timeout_at(self.fence.until, opening) => opened.ok()?,
            };
            let error = match opened {
                Ok(connection) => break connection,
                Err(error) => error,
            };
            if let OpenError::Source(why) = &error {
                self.source_failed(why);
                return None;
            }
            let is_silent =
                matches!(&error, OpenError::NoConnection(why) if why.kind() == std::io::ErrorKind::TimedOut);
            let flaw = tls_report::flaw(&error);
            let failure = verdict::of_open(error);
            if let Some(reported) = &stop.reported {
                reported.failed(&failure, flaw, &stop.protection, (host, address));
            }
            let ruling = self.ruling(failure, &context(stop));
            if matches!(ruling.next, Next::ReconnectInClear | Next::GoOnInClear) && intent != Intent::Never {
                let now = self.shared.clock.now();
                self.shared.health.remember_broken_tls(host, address.ip(), now);
                (intent, fell_back) = (Intent::Never, true);
                continue;
            }
            self.trace.connected += began.elapsed();
            self.source_works();
            if !self.is_asked() {
                self.shared.health.failed(self.path(address), is_silent);
            }
            // Nothing is left to fall back to.
            let next = if charges_nobody(ruling.next) { Next::NextHost } else { ruling.next };
            self.charge(&self.tally.pending(), &Ruling { next, ..ruling }, host);
            return None;
        };
        self.trace.connected += began.elapsed();
        self.source_works();
        self.shared.health.works(&self.path(address));
        if let (Some(reported), false) = (&stop.reported, intent == Intent::Never) {
            reported.opened(&opened, &self.shared.connectors);
        }
        let tls = if fell_back { "cleared" } else { opened.tls() };
        self.shared.metrics.outbound.connections_out.with_label_values(&[tls]).inc();
        Some(opened)
    }

    /// Nobody was asked, nobody is charged, and by this source nobody will be.
    fn source_failed(&mut self, why: &SourceFault) {
        self.is_source_out = true;
        if let Some(source) = &self.site.source {
            self.shared.sources.failed(source, why);
        }
    }

    fn source_works(&self) {
        if let Some(source) = &self.site.source {
            self.shared.sources.works(source);
        }
    }

    /// Why an address isn't even knocked at.
    fn unwanted(&self, address: SocketAddr) -> Option<Failure> {
        let why = if !self.order.may_go_to(address) {
            "the address is in a network that mail may not go to"
        } else if self.shared.health.is_spared(&self.path(address)) {
            "the host did not answer a moment ago and is not asked again so soon"
        } else {
            return None;
        };
        Some(Failure { stage: Stage::Connect, cause: Cause::NoConnection(FarText::new(why)) })
    }

    /// Where TLS begins with the connection, broken TLS is no reason to go without.
    fn intent(&self, stop: &Stop, address: SocketAddr) -> Intent {
        let health = &self.shared.health;
        let is_broken = health.has_broken_tls(&stop.host.name, address.ip(), self.shared.clock.now());
        tls_policy::intent(&stop.protection, is_broken && !stop.is_implicit_tls)
    }

    fn door(&self, stop: &Stop, address: SocketAddr, intent: Intent) -> Door {
        Door {
            host: stop.host.name.clone(),
            address,
            source: self.site.source.clone(),
            settings: self.site.settings(intent),
            protection: stop.protection.clone(),
            is_implicit_tls: stop.is_implicit_tls,
        }
    }
}

/// A port where TLS begins with the connection has no clear text to fall back to.
pub(super) fn context(stop: &Stop) -> Context {
    let tls = match &stop.protection {
        Protection::Clear | Protection::Opportunistic if stop.is_implicit_tls => Protection::Require,
        protection => protection.clone(),
    };
    Context { tls, may_helo: false, accepted: 0 }
}

const fn charges_nobody(next: Next) -> bool {
    match next {
        Next::Helo | Next::GoOnInClear | Next::ReconnectInClear => true,
        Next::Stop | Next::NextHost | Next::Again => false,
    }
}
