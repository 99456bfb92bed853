//! One validated look-up: from a name to an answer that is proven, or not.
//! **Owns:** which records of a response an answer stands on, and that each of them is proven. **Never:** a signature (the library
//! checks those), a cache, what an answer means for mail (core::dane).
//! Invariant: a look-up is `Insecure` only by the word of the zone or of one above it; what else isn't proven has failed.
//! RFC 4035 5 (validation), RFC 7672 2.1.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, stream};
use hickory_proto::{
    dnssec::{Proof, TrustAnchors, rdata::DNSSECRData},
    op::{DnsRequest, DnsRequestOptions, DnsResponse, Message, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use hickory_resolver::net::{
    DnsError, DnsHandle, NetError, dnssec::DnssecDnsHandle, runtime::TokioRuntimeProvider,
    xfer::FirstAnswer as _,
};
use postrider_core::{dane::Vouched, mx::DnsFailure};

use crate::dns::{
    resolve::{Kind, MAX_ALIASES, MAX_RECORDS, negative_ttl, seconds, shorter},
    upstream::{Upstreams, failure},
};

/// Keys and delegations are kept for so long, however long they may be: a wrong one is gone soon.
const KEYS_KEPT: Duration = Duration::from_secs(60);
/// Of so many zones.
const KEYS_KEPT_MAX: u64 = 8_192;
/// How deep a proof may go: each label of a name is a zone at most.
const MAX_DEPTH: usize = 26;

/// What a look-up gave.
#[derive(Debug, Clone)]
pub(super) struct Proven<T> {
    pub(super) vouched: Vouched<T>,
    /// As the zone says; nothing where it doesn't.
    pub(super) ttl: Option<Duration>,
    /// The name at the end of the aliases.
    pub(super) name: Name,
}

/// Asks and validates. Cloning shares.
#[derive(Clone)]
pub(super) struct Validator {
    handle: DnssecDnsHandle<Signed>,
    upstreams: Arc<Upstreams>,
}

impl Validator {
    pub(super) fn new(upstreams: Upstreams, anchors: TrustAnchors) -> Self {
        let keys = moka::future::Cache::builder().max_capacity(KEYS_KEPT_MAX).time_to_live(KEYS_KEPT).build();
        let upstreams = Arc::new(upstreams);
        let signed = Signed { upstreams: upstreams.clone(), keys };
        Self { handle: DnssecDnsHandle::with_trust_anchor(signed, Arc::new(anchors)), upstreams }
    }

    /// Whether an answer about the root brings signatures along, be they right or wrong. The caller bounds the time.
    pub(super) async fn has_signatures(&self) -> Result<bool, DnsFailure> {
        let response = self.upstreams.query_signed(&Name::root(), RecordType::SOA).await?;
        let mut records = response.answers.iter().chain(&response.authorities);
        Ok(records.any(|record| record.record_type() == RecordType::RRSIG))
    }

    /// Looks one name up, aliases followed. The caller bounds the time.
    pub(super) async fn ask<T: Kind>(&self, mut name: Name) -> Proven<T> {
        let mut shortest = None;
        for _ in 0..=MAX_ALIASES {
            let mut options = DnsRequestOptions::default();
            options.use_edns = true;
            options.edns_set_dnssec_ok = true;
            options.max_request_depth = MAX_DEPTH;
            let question = Query::query(name.clone(), T::TYPE);
            let step = match self.handle.lookup(question, options).first_answer().await {
                Ok(response) => step::<T>(&response, &name),
                Err(error) => Step::Said { vouched: unproven(&error), ttl: None, at: name.clone() },
            };
            match step {
                Step::Said { vouched, ttl, at } => {
                    return Proven { vouched, ttl: shorter(shortest, ttl), name: at };
                }
                Step::Alias { target, ttl } => {
                    shortest = shorter(shortest, Some(ttl));
                    name = target;
                }
            }
        }
        Proven { vouched: Vouched::Failed(DnsFailure::AliasLoop), ttl: None, name }
    }
}

/// The resolvers, as the library's validation asks them.
#[derive(Clone)]
struct Signed {
    upstreams: Arc<Upstreams>,
    keys: moka::future::Cache<(Name, RecordType), Message>,
}

impl Signed {
    async fn ask(self, request: DnsRequest) -> Result<DnsResponse, NetError> {
        let query = request.queries.first().ok_or(NetError::Message("no question"))?;
        let (name, of) = (query.name().clone(), query.query_type());
        let ask = async { self.upstreams.query_signed(&name, of).await };
        let message = match of {
            RecordType::DNSKEY | RecordType::DS | RecordType::NS => {
                let kept = self.keys.try_get_with((name.clone(), of), ask).await;
                kept.map_err(|failure| *failure)
            }
            _ => ask.await,
        };
        Ok(DnsResponse::from_message(message.map_err(as_error)?)?)
    }
}

impl DnsHandle for Signed {
    type Response = Pin<Box<dyn Stream<Item = Result<DnsResponse, NetError>> + Send>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        Box::pin(stream::once(self.clone().ask(request)))
    }
}

/// A failure in the library's words, so that it comes back out of them as it was.
fn as_error(failure: DnsFailure) -> NetError {
    match failure {
        DnsFailure::ServFail => NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)),
        DnsFailure::Refused => NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)),
        DnsFailure::OtherCode => NetError::Dns(DnsError::ResponseCode(ResponseCode::NotImp)),
        DnsFailure::Timeout => NetError::Timeout,
        DnsFailure::Unreachable => NetError::NoConnections,
        DnsFailure::Malformed | DnsFailure::Bogus | DnsFailure::AliasLoop => {
            NetError::Message("a response that can't be used")
        }
    }
}

/// What an error of the validation says. A denial may be insecure: proven by a zone that leaves such names unsigned
/// (NSEC3 opt-out, or more iterations than RFC 9276 lets count).
fn unproven<T>(error: &NetError) -> Vouched<T> {
    match error {
        NetError::Dns(DnsError::Nsec { proof: Proof::Insecure, .. }) => Vouched::Insecure,
        other => Vouched::Failed(failure(other)),
    }
}

enum Step<T> {
    Said { vouched: Vouched<T>, ttl: Option<Duration>, at: Name },
    Alias { target: Name, ttl: Duration },
}

/// Reads a response that the library has validated: it marks each record, and leaves open what the answer stands on.
fn step<T: Kind>(response: &Message, asked: &Name) -> Step<T> {
    let failed =
        |at: &Name| Step::Said { vouched: Vouched::Failed(DnsFailure::Bogus), ttl: None, at: at.clone() };
    let insecure = |ttl, at: &Name| Step::Said { vouched: Vouched::Insecure, ttl, at: at.clone() };
    let (mut name, mut ttl) = (asked.clone(), None);
    for _ in 0..=MAX_ALIASES {
        let of_type = |of| response.answers.iter().filter(move |record| record.record_type() == of);
        let at = |record: &&Record| record.name == name;
        let records: Vec<&Record> = of_type(T::TYPE).filter(at).take(MAX_RECORDS).collect();
        let found = if records.is_empty() {
            of_type(RecordType::CNAME).find(at).into_iter().collect()
        } else {
            records
        };
        let Some(first) = found.first() else { break };
        ttl = found.iter().fold(ttl, |ttl, record| shorter(ttl, Some(seconds(record.ttl))));
        match found.iter().map(|record| record.proof).max_by_key(|proof| weakness(*proof)) {
            Some(Proof::Secure) if is_expansion_denied(response) => {}
            Some(Proof::Insecure) => return insecure(ttl, &name),
            _ => return failed(&name),
        }
        if let RData::CNAME(target) = &first.data {
            name = target.0.clone();
            continue;
        }
        let records: Vec<T> = found.iter().filter_map(|record| T::read(&record.data)).collect();
        return Step::Said { vouched: Vouched::Secure(records), ttl, at: name };
    }
    match ttl {
        None => absent(response, asked),
        // What isn't at the end of an alias is asked for by its own name: then the denial is of that name.
        Some(ttl) if name != *asked => Step::Alias { target: name, ttl },
        Some(_) => failed(asked),
    }
}

/// Of what a denial is proven.
fn absent<T>(response: &Message, asked: &Name) -> Step<T> {
    let is_denied = response.authorities.iter().any(is_proof_of_denial);
    // Of another zone it would be no word about this one.
    let is_insecure = response.authorities.is_empty()
        || response
            .authorities
            .iter()
            .any(|record| record.proof == Proof::Insecure && record.name.zone_of(asked));
    let vouched = match (is_denied, response.response_code) {
        (true, ResponseCode::NoError) => Vouched::SecureNoData,
        (true, ResponseCode::NXDomain) => Vouched::SecureNxDomain,
        (false, ResponseCode::NoError | ResponseCode::NXDomain) if is_insecure => Vouched::Insecure,
        _ => Vouched::Failed(DnsFailure::Bogus),
    };
    Step::Said { vouched, ttl: negative_ttl(response), at: asked.clone() }
}

/// Where an answer was made from a wildcard, it has to be proven that the name itself isn't there (RFC 4035 5.3.4). The library
/// asks for that, but not beside records of a zone that isn't signed.
fn is_expansion_denied(response: &Message) -> bool {
    let is_expanded = response.answers.iter().any(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => {
            signature.input().num_labels < record.name.num_labels()
        }
        _ => false,
    });
    !is_expanded || response.authorities.iter().any(is_proof_of_denial)
}

fn is_proof_of_denial(record: &Record) -> bool {
    record.proof == Proof::Secure && matches!(record.record_type(), RecordType::NSEC | RecordType::NSEC3)
}

const fn weakness(proof: Proof) -> u8 {
    match proof {
        Proof::Secure => 0,
        Proof::Insecure => 1,
        Proof::Bogus => 2,
        Proof::Indeterminate => 3,
    }
}

#[cfg(test)]
mod tests;
