//! A name server on loopback that says what a test wants said, well or badly.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, MX, NS, SOA},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// What is said of a name.
#[derive(Debug, Clone)]
pub(in crate::dns) enum Speak {
    /// These, to who asks for their type; aliases to everybody.
    Records(Vec<RData>),
    /// The name exists, with nothing.
    NoData,
    /// An error code.
    Code(ResponseCode),
    /// Nothing.
    Silence,
    /// Bytes that are no message.
    Garbage,
    /// Ask others.
    Referral,
    /// Over UDP, half of it.
    TruncatedOverUdp(Box<Speak>),
    /// Nothing to who asks for AAAA.
    SilentFor6(Box<Speak>),
}

/// MX records.
pub(in crate::dns) fn mx(records: &[(u16, &str)]) -> Speak {
    Speak::Records(
        records.iter().map(|(preference, host)| RData::MX(MX::new(*preference, name(host)))).collect(),
    )
}

/// An A record.
pub(in crate::dns) fn a(address: [u8; 4]) -> Speak {
    Speak::Records(vec![RData::A(A(address.into()))])
}

/// An AAAA record.
pub(in crate::dns) fn aaaa(address: &str) -> Speak {
    Speak::Records(vec![RData::AAAA(AAAA(address.parse().expect("an address")))])
}

/// A CNAME record.
pub(in crate::dns) fn cname(target: &str) -> RData {
    RData::CNAME(CNAME(name(target)))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// A running server. It ends when dropped.
pub(in crate::dns) struct Server {
    address: SocketAddr,
    questions: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

type Zone = HashMap<String, Vec<Speak>>;

impl Server {
    /// Knows these names; of others it says that they don't exist.
    pub(in crate::dns) async fn start(names: impl IntoIterator<Item = (&'static str, Speak)>) -> Self {
        Self::start_with(names, true).await
    }

    /// Isn't there for TCP.
    pub(in crate::dns) async fn start_udp_only(
        names: impl IntoIterator<Item = (&'static str, Speak)>,
    ) -> Self {
        Self::start_with(names, false).await
    }

    async fn start_with(names: impl IntoIterator<Item = (&'static str, Speak)>, tcp: bool) -> Self {
        let mut zone = Zone::new();
        for (name, speak) in names {
            zone.entry(name.to_owned()).or_default().push(speak);
        }
        let zone = Arc::new(zone);
        let questions = Arc::new(AtomicUsize::new(0));
        let (listener, udp) = bind().await;
        let address = udp.local_addr().expect("it is bound");
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, zone.clone(), questions.clone()));
        if tcp {
            tasks.spawn(serve_tcp(listener, zone, questions.clone()));
        }
        Self { address, questions, tasks }
    }

    pub(in crate::dns) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many were asked so far.
    pub(in crate::dns) fn questions(&self) -> usize {
        self.questions.load(Ordering::Relaxed)
    }

    pub(in crate::dns) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// The same free port for both.
async fn bind() -> (TcpListener, UdpSocket) {
    for _ in 0..50 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        if let Ok(udp) = UdpSocket::bind(address).await {
            return (listener, udp);
        }
    }
    panic!("no port is free for both TCP and UDP");
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>, questions: Arc<AtomicUsize>) {
    let mut buffer = [0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        questions.fetch_add(1, Ordering::Relaxed);
        if let Some(answer) = answer(&buffer[..length], &zone, false) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Zone>, questions: Arc<AtomicUsize>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = serve_stream(stream, &zone, &questions).await;
    }
}

async fn serve_stream(mut stream: TcpStream, zone: &Zone, questions: &AtomicUsize) -> std::io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut buffer = vec![0; usize::from(length)];
        stream.read_exact(&mut buffer).await?;
        questions.fetch_add(1, Ordering::Relaxed);
        if let Some(answer) = answer(&buffer, zone, true) {
            stream.write_u16(u16::try_from(answer.len()).expect("it fits")).await?;
            stream.write_all(&answer).await?;
        }
    }
}

fn answer(question: &[u8], zone: &Zone, over_tcp: bool) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).ok()?;
    let asked = question.queries.first()?.clone();
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.add_query(asked.clone());
    let key = asked.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let known = zone.get(&key);
    let mut spoken: Vec<&Speak> = known.into_iter().flatten().collect();
    if spoken.is_empty() {
        answer.metadata.response_code = ResponseCode::NXDomain;
        answer.add_authority(soa());
        return answer.to_vec().ok();
    }
    if let [Speak::TruncatedOverUdp(inner)] = spoken[..] {
        if !over_tcp {
            answer.metadata.truncation = true;
            return answer.to_vec().ok();
        }
        spoken = vec![inner];
    }
    if let [Speak::SilentFor6(inner)] = spoken[..] {
        if asked.query_type() == RecordType::AAAA {
            return None;
        }
        spoken = vec![inner];
    }
    for speak in spoken {
        match speak {
            Speak::Silence => return None,
            Speak::Garbage => return Some(vec![question.metadata.id as u8, 1, 2]),
            Speak::Code(code) => answer.metadata.response_code = *code,
            Speak::Referral => {
                answer.add_authority(record(&name("example."), RData::NS(NS(name("ns.example.")))));
                return answer.to_vec().ok();
            }
            Speak::Records(records) => add_records(&mut answer, asked.name(), asked.query_type(), records),
            Speak::NoData | Speak::TruncatedOverUdp(_) | Speak::SilentFor6(_) => {}
        }
    }
    if answer.answers.is_empty() && answer.metadata.response_code == ResponseCode::NoError {
        answer.add_authority(soa());
    }
    answer.to_vec().ok()
}

fn add_records(answer: &mut Message, asked: &Name, of: RecordType, records: &[RData]) {
    let mut owner = asked.clone();
    for data in records {
        let is_alias = data.record_type() == RecordType::CNAME;
        if is_alias || data.record_type() == of {
            answer.add_answer(record(&owner, data.clone()));
        }
        if let RData::CNAME(target) = data {
            owner = target.0.clone();
        }
    }
}

fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), 300, data)
}

fn soa() -> Record {
    let soa = SOA::new(name("ns.example."), name("root.example."), 1, 3600, 600, 86_400, 300);
    record(&name("example."), RData::SOA(soa))
}
