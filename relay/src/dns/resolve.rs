//! One look-up: from a name to a typed answer, aliases followed.
//! **Owns:** telling an absence from a failure, by response code. **Never:** which resolver is asked (upstream.rs), a cache.
//! Aliases are followed here and not by the library, whose limit on them looks like "no such records".
//! RFC 2308 2 (NXDOMAIN, NODATA, referrals), RFC 1034 3.6.2 (CNAME).

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, RecordType},
};
use postrider_core::{
    dane::Tlsa,
    mx::{Answer, DnsFailure, MxRecord, MxTarget},
};

use super::{DnsSettings, NoNameserver, upstream::Upstreams};

/// The most aliases from a name to its records.
pub(super) const MAX_ALIASES: usize = 8;
/// The most records of one answer that are looked at.
pub(super) const MAX_RECORDS: usize = 256;

/// A type of record that mail needs.
pub trait Kind: Clone + Send + Sync + 'static {
    /// Its type in a question.
    const TYPE: RecordType;
    /// Reads one; nothing for data of another type.
    fn read(data: &RData) -> Option<Self>;
}

impl Kind for MxRecord {
    const TYPE: RecordType = RecordType::MX;
    fn read(data: &RData) -> Option<Self> {
        let RData::MX(mx) = data else { return None };
        Some(Self { preference: mx.preference, target: MxTarget::parse(&mx.exchange.to_ascii()) })
    }
}

impl Kind for Ipv4Addr {
    const TYPE: RecordType = RecordType::A;
    fn read(data: &RData) -> Option<Self> {
        let RData::A(a) = data else { return None };
        Some(a.0)
    }
}

impl Kind for Tlsa {
    const TYPE: RecordType = RecordType::TLSA;
    fn read(data: &RData) -> Option<Self> {
        let RData::TLSA(tlsa) = data else { return None };
        Some(Self {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: tlsa.cert_data.clone(),
        })
    }
}

impl Kind for Ipv6Addr {
    const TYPE: RecordType = RecordType::AAAA;
    fn read(data: &RData) -> Option<Self> {
        let RData::AAAA(aaaa) = data else { return None };
        Some(aaaa.0)
    }
}

/// The text of a TXT record: its strings in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub Box<str>);

impl Kind for Text {
    const TYPE: RecordType = RecordType::TXT;
    /// Bytes that are no UTF-8 are made visible: no record that is looked for has any.
    fn read(data: &RData) -> Option<Self> {
        let RData::TXT(txt) = data else { return None };
        let bytes: Vec<u8> = txt.txt_data.iter().flat_map(|string| string.iter().copied()).collect();
        Some(Self(String::from_utf8_lossy(&bytes).into()))
    }
}

/// An answer, and how long it holds.
#[derive(Debug, Clone)]
pub(super) struct Said<T> {
    /// The answer.
    pub(super) answer: Answer<T>,
    /// As the zone says; nothing where it doesn't.
    pub(super) ttl: Option<Duration>,
}

/// Looks names up.
pub(super) struct Resolver {
    upstreams: Upstreams,
    deadline: Duration,
}

impl Resolver {
    pub(super) fn new(settings: DnsSettings) -> Result<Self, NoNameserver> {
        Ok(Self { deadline: settings.deadline, upstreams: Upstreams::new(settings)? })
    }

    /// Looks one name up. Always answers, within the deadline.
    pub(super) async fn ask<T: Kind>(&self, name: &str) -> Said<T> {
        // With its dot at the end, no search list is tried.
        let Ok(name) = Name::from_ascii(format!("{name}.")) else { return failed(DnsFailure::Malformed) };
        tokio::time::timeout(self.deadline, self.follow(name))
            .await
            .unwrap_or_else(|_| failed(DnsFailure::Timeout))
    }

    async fn follow<T: Kind>(&self, mut name: Name) -> Said<T> {
        let mut shortest = None;
        for _ in 0..=MAX_ALIASES {
            let response = match self.upstreams.query(&name, T::TYPE).await {
                Ok(response) => response,
                Err(failure) => return failed(failure),
            };
            match step(&response, &name) {
                Step::Said(said) => return Said { ttl: shorter(shortest, said.ttl), ..said },
                Step::Alias { target, ttl } => {
                    shortest = shorter(shortest, Some(ttl));
                    name = target;
                }
            }
        }
        failed(DnsFailure::AliasLoop)
    }
}

/// What the bytes of one response say to a question about `name`: nothing where they are no message, or where they end with
/// an alias that is to be asked about next.
pub fn read<T: Kind>(response: &[u8], name: &str) -> Option<Answer<T>> {
    let response = Message::from_vec(response).ok()?;
    match step(&response, &Name::from_ascii(format!("{name}.")).ok()?) {
        Step::Said(said) => Some(said.answer),
        Step::Alias { .. } => None,
    }
}

enum Step<T> {
    Said(Said<T>),
    /// The response ends with an alias whose target it doesn't tell about.
    Alias {
        target: Name,
        ttl: Duration,
    },
}

/// Reads one response to a question about `asked`.
fn step<T: Kind>(response: &Message, asked: &Name) -> Step<T> {
    let Some((name, chain_ttl)) = canonical(response, asked) else {
        return Step::Said(failed(DnsFailure::AliasLoop));
    };
    let mut ttl = chain_ttl;
    let mut records = Vec::new();
    for record in response.answers.iter().filter(|record| record.name == *name).take(MAX_RECORDS) {
        if let Some(read) = T::read(&record.data) {
            ttl = shorter(ttl, Some(seconds(record.ttl)));
            records.push(read);
        }
    }
    if !records.is_empty() {
        return match response.response_code {
            ResponseCode::NoError => Step::Said(Said { answer: Answer::Records(records), ttl }),
            // Records and an error: who says both is not believed in either.
            _ => Step::Said(failed(DnsFailure::OtherCode)),
        };
    }
    let negative_ttl = negative_ttl(response);
    let absent = |answer| Step::Said(Said { answer, ttl: shorter(chain_ttl, negative_ttl) });
    match (response.response_code, chain_ttl) {
        (ResponseCode::NXDomain, _) => absent(Answer::NxDomain),
        (ResponseCode::NoError, Some(ttl)) if negative_ttl.is_none() => {
            Step::Alias { target: name.clone(), ttl }
        }
        (ResponseCode::NoError, None) if is_referral(response) => Step::Said(failed(DnsFailure::OtherCode)),
        (ResponseCode::NoError, _) => absent(Answer::NoData),
        (code, _) => Step::Said(failed(failure_of(code))),
    }
}

/// The name at the end of the response's aliases, and the shortest time to live on the way; `None` for a circle.
fn canonical<'a>(response: &'a Message, asked: &'a Name) -> Option<(&'a Name, Option<Duration>)> {
    let (mut name, mut ttl) = (asked, None);
    for _ in 0..=MAX_ALIASES {
        let alias = response.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *name => Some((&target.0, record.ttl)),
            _ => None,
        });
        match alias {
            Some((target, seconds_left)) => {
                name = target;
                ttl = shorter(ttl, Some(seconds(seconds_left)));
            }
            None => return Some((name, ttl)),
        }
    }
    None
}

/// A response without records that names other servers: it is from who doesn't recurse for us, and answers nothing.
fn is_referral(response: &Message) -> bool {
    let has = |wanted| response.authorities.iter().any(|record| record.record_type() == wanted);
    has(RecordType::NS) && !has(RecordType::SOA)
}

/// RFC 2308 5: the lesser of the SOA's own time and its last field.
pub(super) fn negative_ttl(response: &Message) -> Option<Duration> {
    response.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(seconds(record.ttl.min(soa.minimum))),
        _ => None,
    })
}

/// What a response code other than NOERROR and NXDOMAIN says.
pub(super) fn failure_of(code: ResponseCode) -> DnsFailure {
    match code {
        ResponseCode::ServFail => DnsFailure::ServFail,
        ResponseCode::Refused => DnsFailure::Refused,
        _ => DnsFailure::OtherCode,
    }
}

fn failed<T>(failure: DnsFailure) -> Said<T> {
    Said { answer: Answer::Failed(failure), ttl: None }
}

pub(super) fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(u64::from(ttl))
}

pub(super) fn shorter(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (some, None) | (None, some) => some,
    }
}
