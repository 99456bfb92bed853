//! The resolvers that are asked: one after the other until one answers.
//! **Owns:** who is asked when, UDP and TCP. **Never:** what a response means beyond "an answer or not" (resolve.rs).
//! The library's own pool takes the first upstream's SERVFAIL for the last word; here the others are asked first.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::stream::{FuturesUnordered, StreamExt as _};
use hickory_proto::{
    op::{DnsRequestOptions, Message, Query, ResponseCode},
    rr::{Name, RecordType},
};
use hickory_resolver::{
    NameServerPool, PoolContext, TlsConfig,
    config::{NameServerConfig, ResolverOpts},
    net::{
        DnsError, NetError, NoRecords,
        runtime::TokioRuntimeProvider,
        xfer::{DnsHandle as _, FirstAnswer as _},
    },
};
use postrider_core::mx::DnsFailure;
use tokio::time::sleep;

use super::{DnsSettings, NoNameserver, resolve::failure_of};

/// Questions under way on one connection; more are refused by the library, which would defer mail.
const MAX_UNDER_WAY: usize = 4096;

/// The resolvers.
pub(super) struct Upstreams {
    pools: Vec<NameServerPool<TokioRuntimeProvider>>,
    /// Which one answered last: it is asked first.
    first: AtomicUsize,
    ask_next_after: std::time::Duration,
}

impl Upstreams {
    pub(super) fn new(settings: DnsSettings) -> Result<Self, NoNameserver> {
        let mut options = ResolverOpts::default();
        options.timeout = settings.timeout;
        options.attempts = 1;
        options.cache_size = 0;
        options.edns0 = true;
        options.max_active_requests = MAX_UNDER_WAY;
        options.num_concurrent_reqs = 1;
        // A UDP response that fails to parse, or is forged, is tried over TCP before it counts as a failure.
        options.try_tcp_on_error = true;
        let pool = |server: std::net::SocketAddr| {
            let tls = TlsConfig::new().map_err(|error| NoNameserver::Unreadable(error.to_string()))?;
            let context = Arc::new(PoolContext::new(options.clone(), tls));
            let mut config = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut config.connections {
                connection.port = server.port();
            }
            Ok(NameServerPool::from_config([config], context, TokioRuntimeProvider::new()))
        };
        let pools = settings.nameservers.into_iter().map(pool).collect::<Result<Vec<_>, _>>()?;
        if pools.is_empty() {
            return Err(NoNameserver::NoneNamed);
        }
        Ok(Self { pools, first: AtomicUsize::new(0), ask_next_after: settings.ask_next_after })
    }

    /// Asks until somebody answers. The next resolver is asked when one fails, and beside one that is slow.
    pub(super) async fn query(&self, name: &Name, of: RecordType) -> Result<Message, DnsFailure> {
        self.query_as(name, of, false).await
    }

    /// The same, with signatures (RFC 4035 3.2.1).
    pub(super) async fn query_signed(&self, name: &Name, of: RecordType) -> Result<Message, DnsFailure> {
        self.query_as(name, of, true).await
    }

    async fn query_as(&self, name: &Name, of: RecordType, is_signed: bool) -> Result<Message, DnsFailure> {
        let first = self.first.load(Ordering::Relaxed);
        let mut left = (0..self.pools.len()).map(|at| (first + at) % self.pools.len());
        let mut under_way = FuturesUnordered::new();
        let ask = |at: usize| async move { (at, self.ask(at, name, of, is_signed).await) };
        under_way.extend(left.next().map(ask));
        let mut failure = DnsFailure::Unreachable;
        loop {
            tokio::select! {
                biased;
                answer = under_way.next() => match answer {
                    Some((at, Ok(response))) => {
                        self.first.store(at, Ordering::Relaxed);
                        return Ok(response);
                    }
                    Some((_, Err(found))) => {
                        failure = telling(failure, found);
                        under_way.extend(left.next().map(ask));
                    }
                    None => return Err(failure),
                },
                () = sleep(self.ask_next_after), if left.len() > 0 => {
                    under_way.extend(left.next().map(ask));
                }
            }
        }
    }

    async fn ask(
        &self,
        at: usize,
        name: &Name,
        of: RecordType,
        is_signed: bool,
    ) -> Result<Message, DnsFailure> {
        let mut options = DnsRequestOptions::default();
        options.recursion_desired = true;
        options.use_edns = true;
        options.edns_set_dnssec_ok = is_signed;
        let query = Query::query(name.clone(), of);
        match self.pools[at].lookup(query, options).first_answer().await {
            Ok(response) => {
                let response = response.into_message();
                match response.response_code {
                    ResponseCode::NoError | ResponseCode::NXDomain => Ok(response),
                    code => Err(failure_of(code)),
                }
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(absence))) => absent(name, of, &absence),
            Err(error) => Err(failure(&error)),
        }
    }
}

/// The library makes an error of a response without records. It is made a response again: only the response code tells
/// "no such name" from "no such records", and the authority section, an answer from a referral.
fn absent(name: &Name, of: RecordType, absence: &NoRecords) -> Result<Message, DnsFailure> {
    match absence.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {
            let mut response = Message::response(0, hickory_proto::op::OpCode::Query);
            response.metadata.response_code = absence.response_code;
            response.add_query(Query::query(name.clone(), of));
            response.add_authorities(absence.authorities.iter().flat_map(|all| all.iter().cloned()));
            Ok(response)
        }
        code => Err(failure_of(code)),
    }
}

pub(super) fn failure(error: &NetError) -> DnsFailure {
    match error {
        NetError::Dns(DnsError::ResponseCode(code)) => failure_of(*code),
        NetError::Dns(DnsError::DnssecBogus | DnsError::Nsec { .. }) => DnsFailure::Bogus,
        NetError::Timeout => DnsFailure::Timeout,
        NetError::Io(_) | NetError::NoConnections | NetError::Busy => DnsFailure::Unreachable,
        // Everything else is about a response that can't be used, or new in the library: a failure, whatever it is.
        _ => DnsFailure::Malformed,
    }
}

/// Of two failures, the one that says more: what a resolver said is worth more than that none could be asked.
fn telling(before: DnsFailure, after: DnsFailure) -> DnsFailure {
    if after == DnsFailure::Unreachable { before } else { after }
}
