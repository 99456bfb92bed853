//! The answers to what smtp asks: each question goes to who can judge it, each refusal is counted.
//! **Owns:** which question goes where. **Never:** judges, reads or writes.

use std::time::Duration;

use bytes::Bytes;
use postrider_core::{
    config::{Config, Listener},
    route::Facts,
};
use postrider_mail::{Envelope, Reply, Severity};
use postrider_queue::Receipt;
use postrider_smtp::server::{AskAuth, AskConnected, AskData, AskMail, AskRecipient, ExpectReceipt};

use super::{Session, Transaction, replies};
use crate::{
    admission::{self, Client},
    intake::{
        Incoming, Refusal,
        draft::Draft,
        fates::{self, Fate},
        spool::Origin,
        trace::Protocol,
    },
};

/// How long a client that nothing allows yet has to stay silent before its greeting: what can't wait is no mail server.
const STRANGER_PAUSE: Duration = Duration::from_millis(100);

impl Session {
    /// The listener as it is configured now; as it was, if it is no more.
    fn listener<'a>(&'a self, config: &'a Config) -> &'a Listener {
        config.listener(&self.door.name).unwrap_or(&self.door.listener)
    }

    pub(super) async fn greet(&mut self, ask: AskConnected) {
        if self.inbound.shutdown.stop_taking.is_cancelled() {
            return self.server.resume(ask.refuse(replies::shutting_down()));
        }
        let client = Client { address: self.client, user: None };
        let is_known = admission::may_relay(&self.door.listener, client);
        let pause = if is_known { Duration::ZERO } else { STRANGER_PAUSE };
        if self.wire.talks_within(pause).await {
            // The machine sees that something came before its greeting.
            let _ = self.wire.read(self.server.input()).await;
        }
        self.server.resume(ask.welcome());
    }

    pub(super) async fn authenticate(&mut self, ask: AskAuth) {
        let config = self.inbound.config.current();
        let credentials = ask.credentials();
        let is_right = match &self.listener(&config).auth {
            Some(auth) => {
                let (user, password) = (credentials.user(), credentials.expose_password());
                self.inbound.authenticator.is_right(&auth.users, user, password).await
            }
            // AUTH was taken out of the listener since the session began.
            None => Ok(false),
        };
        let (result, next) = match is_right {
            Ok(true) => ("accepted", ask.accept()),
            Ok(false) => ("refused", ask.refuse()),
            Err(_busy) => ("unavailable", ask.unavailable(replies::cannot_authenticate())),
        };
        self.door.count_auth(result);
        self.server.resume(next);
    }

    pub(super) fn mail(&mut self, ask: AskMail) {
        if let Err(why) = self.inbound.intake.has_room(ask.size().unwrap_or_default()) {
            let reply = self.refused(replies::refusal(why));
            return self.server.resume(ask.refuse(reply));
        }
        self.transaction =
            Some(Transaction { config: self.inbound.config.current(), fates: Vec::new(), spool: None });
        self.server.resume(ask.accept());
    }

    pub(super) fn recipient(&mut self, ask: AskRecipient) {
        let next = match self.fate(&ask) {
            Ok(fate) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.fates.push(fate);
                }
                ask.accept()
            }
            Err(reply) => ask.refuse(self.refused(reply)),
        };
        self.server.resume(next);
    }

    fn fate(&self, ask: &AskRecipient) -> Result<Fate, Reply> {
        let Some(Transaction { config, .. }) = &self.transaction else {
            return Err(replies::refusal(Refusal::Unavailable));
        };
        let sender = &ask.envelope().sender;
        let client = Client { address: self.client, user: self.server.user() };
        admission::judge(self.listener(config), client, sender).map_err(replies::not_admitted)?;
        let facts = Facts {
            sender,
            recipient: &ask.recipient().mailbox,
            listener: Some(&self.door.name),
            client: Some(client.address),
            user: client.user,
        };
        fates::decide(config, &facts).map_err(|rejection| replies::rejection(&rejection))
    }

    pub(super) fn data(&mut self, ask: AskData) {
        let origin = self.origin(ask.envelope());
        if let Err(why) = self.inbound.intake.has_room(0) {
            self.transaction = None;
            let reply = self.refused(replies::refusal(why));
            return self.server.resume(ask.refuse(reply));
        }
        let draft = |open: &Transaction| Draft::new(&open.config, self.listener(&open.config));
        let draft = self.transaction.as_ref().map(draft);
        if let (Some(transaction), Some(draft)) = (&mut self.transaction, draft) {
            transaction.spool = Some(self.inbound.intake.spool(origin, draft));
        }
        self.server.resume(ask.accept());
    }

    fn origin(&self, envelope: &Envelope) -> Origin {
        let hello = self.server.hello();
        let tls = self.wire.tls();
        Origin {
            listener: self.door.name.clone(),
            client: self.client,
            client_name: hello.map(|hello| hello.name.clone()).unwrap_or_default(),
            user: self.server.user().map(Into::into),
            protocol: Protocol {
                is_extended: hello.is_some_and(|hello| hello.is_extended),
                is_tls: tls.is_some(),
                is_authenticated: self.server.user().is_some(),
                is_utf8: envelope.smtputf8,
            },
            cipher: tls.map(|(_, cipher)| cipher),
            only_recipient: match envelope.recipients.as_slice() {
                [only] => Some(only.mailbox.clone()),
                _ => None,
            },
            host: self.door.settings.hostname.clone(),
        }
    }

    pub(super) async fn body(&mut self, chunk: Bytes) {
        let Some(spool) = self.transaction.as_mut().and_then(|open| open.spool.as_mut()) else { return };
        if let Err(why) = self.inbound.intake.push(spool, chunk).await {
            self.transaction = None;
            let reply = self.refused(replies::refusal(why));
            self.server.refuse_body(reply);
        }
    }

    pub(super) async fn end_of_message(&mut self, envelope: Envelope, expect: ExpectReceipt<Receipt>) {
        let recipients = envelope.recipients.len();
        let taken = match self.transaction.take() {
            Some(Transaction { fates, spool: Some(spool), .. }) => {
                self.inbound.intake.take(Incoming { envelope, fates, spool }).await
            }
            Some(_) | None => Err(Refusal::Unavailable),
        };
        let next = match taken {
            Ok(receipt) => {
                self.door.accepted.inc();
                self.tally.accepted(receipt.id(), recipients);
                expect.accept(receipt)
            }
            Err(why) => expect.refuse(self.refused(replies::refusal(why))),
        };
        self.server.resume(next);
    }

    fn refused(&mut self, reply: Reply) -> Reply {
        self.tally.refused += 1;
        match reply.code().severity() {
            Severity::Permanent => self.door.refused.inc(),
            Severity::Transient | Severity::Success | Severity::Intermediate => self.door.deferred.inc(),
        }
        reply
    }
}
