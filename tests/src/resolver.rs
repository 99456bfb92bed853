//! A resolver that somebody has a hand in: between relays and a nameserver, it hands questions on until it is told otherwise.
//! **Owns:** what becomes of a question in place of its answer. **Never:** a record or a signature (bind.rs), a cache.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{Name, RData, Record, rdata::SOA},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{ports, wait::locked};

/// How long the nameserver may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The longest message.
const MAX_BYTES: usize = 65_535;

/// What a resolver does to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    /// SERVFAIL.
    ServFail,
    /// No answer at all.
    Silence,
    /// The answer without its signatures.
    Stripped,
    /// "There is no such name", of which nothing is signed.
    NxDomain,
}

/// A running resolver. Dropping it stops it.
pub struct Resolver {
    address: SocketAddr,
    told: Arc<Told>,
    _stop: DropGuard,
}

/// By name.
type Told = Mutex<HashMap<String, Tampering>>;

impl Resolver {
    /// Hands on to a nameserver.
    pub async fn start(nameserver: SocketAddr) -> Result<Self> {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports::free()?);
        let (udp, tcp) = (UdpSocket::bind(address).await?, TcpListener::bind(address).await?);
        let (told, stop) = (Arc::<Told>::default(), CancellationToken::new());
        tokio::spawn(stop.clone().run_until_cancelled_owned(by_udp(Arc::new(udp), nameserver, told.clone())));
        tokio::spawn(stop.clone().run_until_cancelled_owned(by_tcp(tcp, nameserver, told.clone())));
        Ok(Self { address, told, _stop: stop.drop_guard() })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tampers with the questions for a name from now on. The root has the name "".
    pub fn tamper(&self, name: &str, how: Tampering) {
        locked(&self.told).insert(name.to_owned(), how);
    }

    /// Hands all on again.
    pub fn heal(&self) {
        locked(&self.told).clear();
    }
}

async fn by_udp(socket: Arc<UdpSocket>, nameserver: SocketAddr, told: Arc<Told>) {
    let mut buffer = vec![0; MAX_BYTES];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let question = buffer.get(..length).unwrap_or_default().to_vec();
        let (socket, told) = (socket.clone(), told.clone());
        tokio::spawn(async move {
            let answer = match tampered(&question, &told)? {
                Now::Answer(answer) => answer,
                Now::Ask(question) => ask_by_udp(nameserver, &question).await?,
            };
            socket.send_to(&answer, from).await.context("answering")
        });
    }
}

async fn by_tcp(listener: TcpListener, nameserver: SocketAddr, told: Arc<Told>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let told = told.clone();
        tokio::spawn(async move {
            // Whoever goes away has got what it wanted, or nothing.
            while let Ok(question) = read(&mut client).await {
                let answer = match tampered(&question, &told) {
                    Ok(Now::Answer(answer)) => answer,
                    Ok(Now::Ask(question)) => ask_by_tcp(nameserver, &question).await?,
                    // Unanswered, as by UDP; the connection stays.
                    Err(_) => continue,
                };
                write(&mut client, &answer).await?;
            }
            anyhow::Ok(())
        });
    }
}

/// What a question leads to.
enum Now {
    Answer(Vec<u8>),
    Ask(Vec<u8>),
}

/// What becomes of a question; an error if it isn't answered.
fn tampered(question: &[u8], told: &Told) -> Result<Now> {
    let mut message = Message::from_vec(question)?;
    let query = message.queries.first().context("a question")?.clone();
    let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let how = locked(told).get(&name).copied();
    let mut answer = Message::response(message.metadata.id, OpCode::Query);
    answer.add_query(query);
    match how {
        None => return Ok(Now::Ask(question.to_vec())),
        Some(Tampering::Silence) => anyhow::bail!("it is not answered"),
        Some(Tampering::Stripped) => {
            // Who doesn't ask for signatures gets none (RFC 4035 3.1).
            if let Some(edns) = &mut message.edns {
                edns.set_dnssec_ok(false);
            }
            return Ok(Now::Ask(message.to_vec()?));
        }
        Some(Tampering::ServFail) => answer.metadata.response_code = ResponseCode::ServFail,
        Some(Tampering::NxDomain) => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            let soa = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86_400, 1);
            answer.add_authority(Record::from_rdata(Name::root(), 1, RData::SOA(soa)));
        }
    }
    Ok(Now::Answer(answer.to_vec()?))
}

async fn ask_by_udp(nameserver: SocketAddr, question: &[u8]) -> Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(nameserver).await?;
    socket.send(question).await?;
    let mut answer = vec![0; MAX_BYTES];
    let length = tokio::time::timeout(ANSWER_WITHIN, socket.recv(&mut answer)).await??;
    answer.truncate(length);
    Ok(answer)
}

async fn ask_by_tcp(nameserver: SocketAddr, question: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(nameserver).await?;
    write(&mut stream, question).await?;
    tokio::time::timeout(ANSWER_WITHIN, read(&mut stream)).await?
}

async fn read(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> Result<()> {
    stream.write_u16(u16::try_from(message.len())?).await?;
    Ok(stream.write_all(message).await?)
}
