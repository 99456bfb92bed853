//! Asks the DNS.
//! **Owns:** who is asked, how long for, how many questions at a time; telling an absence from a failure. **Never:** what an answer means
//! (core::identity).
//! RFC 2308 2 (NXDOMAIN, NODATA, referrals).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use hickory_resolver::{
    Resolver, TokioResolver,
    config::{NameServerConfig, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
    system_conf::read_system_conf,
};
use postrider_core::{
    identity::{Kind, Question, Record},
    mx::{Answer, DnsFailure},
};
use tokio::sync::Semaphore;

/// How long one nameserver is waited for.
const SERVER_WITHIN: Duration = Duration::from_secs(3);
/// How long an answer may take, all nameservers and aliases included.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How many questions are under way, of all fleets together: it is somebody's nameserver.
const AT_A_TIME: usize = 32;
/// The most records of one answer.
const MOST_RECORDS: usize = 256;
/// The port of nameservers.
const PORT: u16 = 53;

/// A resolver. Cloning shares its limit.
#[derive(Clone)]
pub struct Dns {
    /// None, if nobody can be asked.
    resolver: Option<TokioResolver>,
    slots: Arc<Semaphore>,
}

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub enum NoNameserver {
    /// The system's configuration can't be read.
    #[error("/etc/resolv.conf: {0}; expected at least one nameserver; or give one with --dns ADDRESS:PORT")]
    Unreadable(String),
    /// None is named.
    #[error("/etc/resolv.conf: found no nameserver; expected one; or give one with --dns ADDRESS:PORT")]
    NoneNamed,
}

impl Dns {
    /// One that asks these nameservers; the system's, if none is given.
    ///
    /// # Errors
    /// There is none.
    pub fn new(nameservers: &[SocketAddr]) -> Result<Self, NoNameserver> {
        let unreadable = |error: NetError| NoNameserver::Unreadable(error.to_string());
        let given = nameservers.iter().map(|server| {
            let mut config = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut config.connections {
                connection.port = server.port();
            }
            config
        });
        let servers = match nameservers {
            [] => {
                read_system_conf()
                    .map_err(|error| NoNameserver::Unreadable(error.to_string()))?
                    .0
                    .name_servers
            }
            _ => given.collect(),
        };
        if servers.is_empty() {
            return Err(NoNameserver::NoneNamed);
        }
        // Without search list: names in the DNS of mail are complete.
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let resolver = Resolver::builder_with_config(config, TokioRuntimeProvider::new())
            .with_options(options())
            .build()
            .map_err(unreadable)?;
        Ok(Self { resolver: Some(resolver), slots: Arc::new(Semaphore::new(AT_A_TIME)) })
    }

    /// One that has nobody to ask: every question fails.
    pub fn unreachable() -> Self {
        Self { resolver: None, slots: Arc::new(Semaphore::new(AT_A_TIME)) }
    }

    /// Asks several questions. Each has an answer, in the end.
    pub async fn ask(&self, questions: Vec<Question>) -> Vec<(Question, Answer<Record>)> {
        let asked = stream::iter(questions).map(|question| async {
            let answer = self.answer(&question).await;
            (question, answer)
        });
        asked.buffer_unordered(AT_A_TIME).collect().await
    }

    async fn answer(&self, question: &Question) -> Answer<Record> {
        let Some(resolver) = &self.resolver else { return Answer::Failed(DnsFailure::Unreachable) };
        // With its dot at the end, it is complete.
        let Ok(name) = Name::from_ascii(format!("{}.", question.name)) else {
            return Answer::Failed(DnsFailure::Malformed);
        };
        let Ok(_slot) = self.slots.acquire().await else { return Answer::Failed(DnsFailure::Unreachable) };
        let looked = tokio::time::timeout(ANSWER_WITHIN, resolver.lookup(name, type_of(question.kind)));
        match looked.await {
            Err(_) => Answer::Failed(DnsFailure::Timeout),
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(absence)))) => absent(&absence),
            Ok(Err(error)) => Answer::Failed(failure(&error)),
            Ok(Ok(found)) => {
                let records = found.answers().iter().filter_map(|record| read(&record.data, question.kind));
                let records: Vec<Record> = records.take(MOST_RECORDS).collect();
                if records.is_empty() { Answer::NoData } else { Answer::Records(records) }
            }
        }
    }
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = SERVER_WITHIN;
    options.attempts = 2;
    // What was mended is to be seen at the next look; the nameserver has a cache of its own.
    options.cache_size = 0;
    options.edns0 = true;
    options.try_tcp_on_error = true;
    options
}

const fn type_of(kind: Kind) -> RecordType {
    match kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Mx => RecordType::MX,
        Kind::Ptr => RecordType::PTR,
        Kind::Txt => RecordType::TXT,
    }
}

/// A record of the kind that was asked for.
fn read(data: &RData, kind: Kind) -> Option<Record> {
    let named = |name: &Name| Record::Name(name.to_ascii().trim_end_matches('.').into());
    match (kind, data) {
        (Kind::A, RData::A(a)) => Some(Record::Address(a.0.into())),
        (Kind::Aaaa, RData::AAAA(aaaa)) => Some(Record::Address(aaaa.0.into())),
        (Kind::Mx, RData::MX(mx)) => Some(named(&mx.exchange)),
        (Kind::Ptr, RData::PTR(ptr)) => Some(named(&ptr.0)),
        (Kind::Txt, RData::TXT(txt)) => {
            let bytes: Vec<u8> = txt.txt_data.iter().flat_map(|string| string.iter().copied()).collect();
            Some(Record::Text(String::from_utf8_lossy(&bytes).into()))
        }
        _ => None,
    }
}

/// The library makes an error of a response without records.
fn absent(absence: &NoRecords) -> Answer<Record> {
    let is_referral = absence.soa.is_none() && absence.ns.as_ref().is_some_and(|ns| !ns.is_empty());
    match absence.response_code {
        ResponseCode::NXDomain => Answer::NxDomain,
        // From who doesn't recurse for us: no answer.
        ResponseCode::NoError if is_referral => Answer::Failed(DnsFailure::OtherCode),
        ResponseCode::NoError => Answer::NoData,
        code => Answer::Failed(failure_of(code)),
    }
}

fn failure_of(code: ResponseCode) -> DnsFailure {
    match code {
        ResponseCode::ServFail => DnsFailure::ServFail,
        ResponseCode::Refused => DnsFailure::Refused,
        _ => DnsFailure::OtherCode,
    }
}

fn failure(error: &NetError) -> DnsFailure {
    match error {
        NetError::Dns(DnsError::ResponseCode(code)) => failure_of(*code),
        NetError::Timeout => DnsFailure::Timeout,
        NetError::Io(_) | NetError::NoConnections | NetError::Busy => DnsFailure::Unreachable,
        _ => DnsFailure::Malformed,
    }
}

/// Reads `ADDRESS` or `ADDRESS:PORT`.
///
/// # Errors
/// It is neither.
pub fn nameserver(text: &str) -> Result<SocketAddr, String> {
    let with_port = text.parse::<SocketAddr>();
    let found = with_port.or_else(|_| text.parse().map(|address| SocketAddr::new(address, PORT)));
    found.map_err(|_| "expected ADDRESS or ADDRESS:PORT, such as 10.96.0.10 or [2001:db8::53]:53".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_have_a_port_or_get_one() {
        for (text, expected) in [
            ("10.96.0.10", "10.96.0.10:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("2001:db8::53", "[2001:db8::53]:53"),
            ("[2001:db8::53]:5353", "[2001:db8::53]:5353"),
        ] {
            assert_eq!(nameserver(text).map(|server| server.to_string()).as_deref(), Ok(expected));
        }
        assert!(nameserver("ns.example.com").is_err());
    }

    #[test]
    fn an_absence_is_the_word_of_an_authority_and_all_else_a_failure() {
        use hickory_resolver::proto::op::Query;
        let with = |code| absent(&NoRecords::new(Query::query(Name::root(), RecordType::A), code));
        assert_eq!(with(ResponseCode::NXDomain), Answer::NxDomain);
        assert_eq!(with(ResponseCode::NoError), Answer::NoData);
        assert_eq!(with(ResponseCode::ServFail), Answer::Failed(DnsFailure::ServFail));
        assert_eq!(with(ResponseCode::Refused), Answer::Failed(DnsFailure::Refused));
    }

    /// Tests that aren't about the DNS rest on this: what is unknown is so at once.
    #[tokio::test]
    async fn a_nameserver_that_cannot_be_sent_to_fails_at_once() {
        let dns = Dns::new(&["255.255.255.255:53".parse().expect("an address")]).expect("a resolver");
        let asked = dns.ask(vec![Question { kind: Kind::Txt, name: "example.com".into() }]);
        let answers = tokio::time::timeout(Duration::from_secs(2), asked).await.expect("in time");
        assert!(matches!(answers[0].1, Answer::Failed(_)), "{answers:?}");
    }

    #[tokio::test]
    async fn without_nameservers_every_question_fails() {
        let question = Question { kind: Kind::A, name: "example.com".into() };
        let answers = Dns::unreachable().ask(vec![question.clone()]).await;
        assert_eq!(answers, [(question, Answer::Failed(DnsFailure::Unreachable))]);
    }
}
