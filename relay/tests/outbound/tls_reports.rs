//! A TLS report on its way to two destinations, one of which keeps the relay waiting.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hickory_proto::{
    op::{Message, OpCode},
    rr::{RData, Record, RecordType, rdata::TXT},
};
use postrider_core::{
    config::{Config, ConfigParts, TlsReporting},
    day::Day,
    tls_report::{Observed, PolicyKey, Session},
};
use postrider_mail::Domain;
use postrider_relay::{
    clock,
    config::ConfigSource,
    dns::{Dns, DnsSettings},
    https::Https,
    tls::connect::Connectors,
    tls_report::{Reporter, TlsReports},
};
use postrider_smtp::timer::Waits;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::{
    far_side::FarSide,
    rig::{Rig, parts, to, until},
};

/// A nameserver that knows one TXT record, at each name, and says nothing of anything else.
async fn nameserver(text: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4_096];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let asked = question.queries[0].clone();
            if asked.query_type() != RecordType::TXT {
                continue;
            }
            let mut answer = Message::response(question.metadata.id, OpCode::Query);
            let data = RData::TXT(TXT::new(vec![text.to_owned()]));
            answer.add_answer(Record::from_rdata(asked.name().clone(), 300, data));
            answer.add_query(asked);
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    address
}

fn reporting(far: &FarSide) -> ConfigParts {
    let mut parts = parts(to(&[far]));
    parts.tls_reports = Some(TlsReporting {
        from: "tlsrpt@app.example".parse().unwrap(),
        organization: "App".to_owned(),
        contact: "postmaster@app.example".to_owned(),
    });
    parts
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_mailed_is_done_before_its_web_server_answers() {
    let far = FarSide::usual().await;
    let rig = Rig::with(reporting(&far), Waits::shortened_for_tests(300)).await;
    let (_sender, config) = ConfigSource::new(Arc::new(Config::from(reporting(&far))));
    let text = "v=TLSRPTv1; rua=mailto:reports@far.example,https://silent.example/";
    let dns = Dns::new(DnsSettings::new(vec![nameserver(text).await])).unwrap();
    let reports = TlsReports::with_midnight_in(Duration::from_secs(2));
    let reporter = Reporter {
        reports: reports.clone(),
        shards: rig.shards.clone(),
        config,
        dns: dns.clone(),
        https: Https::new(dns, Connectors::new(&[]).unwrap(), 443),
        own_addresses: Vec::new(),
        dispatcher: rig.dispatcher.clone(),
        sent: rig.metrics.outbound.tls_reports.clone(),
        holder: "this".into(),
        is_hasty: true,
    };
    let policy = PolicyKey::none(Domain::parse("far.example").unwrap());
    reports.add(Session { policy, observed: Observed::Good });
    let day = Day::of(clock::wall()).to_string();
    let stopped = CancellationToken::new();
    let running = tokio::spawn(reporter.run(stopped.clone()));
    until("mailed", || async { far.messages().len() == 1 }).await;
    until("done", || async { rig.shards.tallied(&day).await.unwrap().is_empty() }).await;
    let ended = rig.metrics.outbound.tls_reports.with_label_values(&["sent"]).get();
    assert_eq!(ended, 0, "its web server is still waited for");
    stopped.cancel();
    running.await.unwrap();
}
