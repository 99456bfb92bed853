//! A real nameserver (hickory) on loopback with a zone that tests write, and the faults that nameservers have.
//! **Owns:** records, faults, the count of questions. **Never:** recursion: its root zone is all there is.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use async_trait::async_trait;
use hickory_proto::{
    op::{HeaderCounts, Metadata, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, CNAME, MX, PTR, SOA, TXT},
    },
};
use hickory_server::{
    Server,
    net::{runtime::Time, xfer::Protocol},
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    store::in_memory::InMemoryZoneHandler,
    zone_handler::{AxfrPolicy, Catalog, MessageResponseBuilder, ZoneType},
};
use tokio::net::{TcpListener, UdpSocket};

use crate::{ports, wait::locked};

/// How long records may be kept if nothing else is said: short, so that a change is seen within a test.
const TTL: u32 = 1;
/// How many ports are tried, until one is free.
const TRIES: usize = 10;

/// What goes wrong with the questions for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SERVFAIL.
    ServFail,
    /// REFUSED.
    Refused,
    /// No answer at all.
    Silence,
    /// An answer over UDP is empty and says that it was cut; TCP gives the whole.
    Truncated,
    /// UDP says that it was cut, TCP says nothing.
    TruncatedForGood,
    /// The answer comes so much later.
    Delay(Duration),
}

/// The nameserver.
pub struct Dns {
    address: SocketAddr,
    zone: Arc<InMemoryZoneHandler>,
    faults: Arc<Faults>,
    server: Server<Handler>,
    ttl: u32,
}

#[derive(Default)]
struct Faults {
    by_name: Mutex<HashMap<(String, Option<RecordType>), Fault>>,
    asked: Mutex<HashMap<String, u64>>,
}

impl Dns {
    /// Starts one with an empty zone, on the same port for UDP and TCP.
    ///
    /// A port that was free a moment ago may not be: resolvers of other tests ask from random UDP ports, and a process that
    /// another test is just starting holds the sockets of this one, even closed ones, until its program runs.
    pub async fn start() -> Result<Self> {
        for _ in 1..TRIES {
            let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports::free()?);
            if let Ok(server) = Self::start_at(address).await {
                return Ok(server);
            }
        }
        Self::start_at(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports::free()?)).await
    }

    /// The same at a given address.
    pub async fn start_at(address: SocketAddr) -> Result<Self> {
        let zone = Arc::new(InMemoryZoneHandler::empty(Name::root(), ZoneType::Primary, AxfrPolicy::Deny));
        let ns = Name::from_str("ns.")?;
        let soa = SOA::new(ns.clone(), ns, 1, 3600, 600, 86400, TTL);
        zone.upsert(Record::from_rdata(Name::root(), TTL, RData::SOA(soa)), 0).await;
        let mut catalog = Catalog::new();
        catalog.upsert(Name::root().into(), vec![zone.clone()]);
        let faults = Arc::new(Faults::default());
        let mut server = Server::new(Handler { catalog, faults: faults.clone() });
        server.register_socket(UdpSocket::bind(address).await?);
        server.register_listener(TcpListener::bind(address).await?, Duration::from_secs(30), 64);
        Ok(Self { address, zone, faults, server, ttl: TTL })
    }

    /// Records that are added from now on may be kept for so many seconds.
    pub fn keep_for(&mut self, seconds: u32) {
        self.ttl = seconds;
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds an MX record.
    pub async fn mx(&self, domain: &str, preference: u16, host: &str) -> Result<()> {
        self.add(domain, RData::MX(MX::new(preference, name(host)?))).await
    }

    /// Says that a domain takes no mail, RFC 7505.
    pub async fn null_mx(&self, domain: &str) -> Result<()> {
        self.add(domain, RData::MX(MX::new(0, Name::root()))).await
    }

    /// Adds an A record.
    pub async fn a(&self, host: &str, address: Ipv4Addr) -> Result<()> {
        self.add(host, RData::A(A(address))).await
    }

    /// Adds a CNAME record.
    pub async fn cname(&self, from: &str, to: &str) -> Result<()> {
        self.add(from, RData::CNAME(CNAME(name(to)?))).await
    }

    /// Adds a TXT record.
    pub async fn txt(&self, of: &str, text: &str) -> Result<()> {
        self.add(of, RData::TXT(TXT::new(vec![text.to_owned()]))).await
    }

    /// Adds a TXT record as zones have it: in strings of 255 bytes.
    pub async fn txt_in_pieces(&self, of: &str, text: &str) -> Result<()> {
        let pieces = text.as_bytes().chunks(255).map(|piece| String::from_utf8_lossy(piece).into_owned());
        self.add(of, RData::TXT(TXT::new(pieces.collect()))).await
    }

    /// Adds the PTR record of an address.
    pub async fn ptr(&self, address: Ipv4Addr, host: &str) -> Result<()> {
        let [a, b, c, d] = address.octets();
        self.add(&format!("{d}.{c}.{b}.{a}.in-addr.arpa"), RData::PTR(PTR(name(host)?))).await
    }

    /// One domain with one exchanger `mx.DOMAIN` at an address.
    pub async fn domain(&self, domain: &str, address: IpAddr) -> Result<()> {
        let IpAddr::V4(address) = address else { return Err(anyhow!("expected an IPv4 address")) };
        let host = format!("mx.{domain}");
        self.mx(domain, 10, &host).await?;
        self.a(&host, address).await
    }

    /// Takes all records of a name away.
    pub async fn remove(&self, of: &str) -> Result<()> {
        let of = name(of)?.into();
        self.zone.records_mut().await.retain(|key, _| key.name != of);
        Ok(())
    }

    /// Makes the questions for a name go wrong; for one type of record, or for all.
    pub fn fail(&self, of: &str, kind: Option<RecordType>, fault: Fault) {
        locked(&self.faults.by_name).insert((key(of), kind), fault);
    }

    /// Makes them go right again.
    pub fn heal(&self, of: &str) {
        locked(&self.faults.by_name).retain(|(name, _), _| *name != key(of));
    }

    /// How often a name was asked for.
    pub fn asked(&self, of: &str) -> u64 {
        locked(&self.faults.asked).get(&key(of)).copied().unwrap_or(0)
    }

    /// Ends it.
    pub async fn stop(mut self) {
        // What is still asked goes unanswered; the test is over.
        drop(self.server.shutdown_gracefully().await);
    }

    async fn add(&self, of: &str, data: RData) -> Result<()> {
        self.zone.upsert(Record::from_rdata(name(of)?, self.ttl, data), 0).await;
        Ok(())
    }
}

fn name(text: &str) -> Result<Name> {
    let mut name = Name::from_ascii(text).with_context(|| format!("{text} is no name"))?;
    name.set_fqdn(true);
    Ok(name)
}

fn key(text: &str) -> String {
    text.trim_end_matches('.').to_ascii_lowercase()
}

struct Handler {
    catalog: Catalog,
    faults: Arc<Faults>,
}

impl Handler {
    fn fault(&self, request: &Request) -> Option<Fault> {
        let info = request.request_info().ok()?;
        let (of, kind) = (key(&info.query.name().to_string()), info.query.query_type());
        *locked(&self.faults.asked).entry(of.clone()).or_default() += 1;
        let faults = locked(&self.faults.by_name);
        faults.get(&(of.clone(), Some(kind))).or_else(|| faults.get(&(of, None))).copied()
    }
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, reply: R) -> ResponseInfo {
        let is_udp = request.protocol() == Protocol::Udp;
        match self.fault(request) {
            None => self.catalog.handle_request::<R, T>(request, reply).await,
            Some(Fault::ServFail) => refuse(request, reply, ResponseCode::ServFail, false).await,
            Some(Fault::Refused) => refuse(request, reply, ResponseCode::Refused, false).await,
            Some(Fault::Truncated | Fault::TruncatedForGood) if is_udp => {
                refuse(request, reply, ResponseCode::NoError, true).await
            }
            Some(Fault::Truncated) => self.catalog.handle_request::<R, T>(request, reply).await,
            Some(Fault::Silence | Fault::TruncatedForGood) => unanswered(request),
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                self.catalog.handle_request::<R, T>(request, reply).await
            }
        }
    }
}

async fn refuse<R: ResponseHandler>(
    request: &Request,
    mut reply: R,
    code: ResponseCode,
    is_cut: bool,
) -> ResponseInfo {
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.response_code = code;
    metadata.truncation = is_cut;
    let message = MessageResponseBuilder::from_message_request(request).build_no_records(metadata);
    reply.send_response(message).await.unwrap_or_else(|_| unanswered(request))
}

fn unanswered(request: &Request) -> ResponseInfo {
    let metadata = Metadata::response_from_request(&request.metadata);
    hickory_proto::op::Header { metadata, counts: HeaderCounts::default() }.into()
}
