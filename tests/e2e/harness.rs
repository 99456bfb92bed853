//! The harness itself: what it claims to do, it does.
//! **Owns:** sink, source, nameserver, Redis, without a relay between them. **Never:** the product.

use std::{net::Ipv4Addr, time::Duration};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
    serialize::binary::{BinDecodable, BinEncodable},
};
use postrider_tests::{
    Ledger, World,
    client::Client,
    dns::{Dns, Fault},
    sink::{Act, At, Rule, Setup, Sink},
    source::{self, Load},
};

#[tokio::test(flavor = "multi_thread")]
async fn books_of_source_and_sink_agree() {
    let ledger = Ledger::default();
    let sink = Sink::start(([127, 0, 0, 1], 0).into(), ledger.clone(), Setup::default()).await.unwrap();
    sink.behave([
        Rule::reply(At::Rcpt, "451 4.3.0 later").times(5),
        Rule::new(At::Dot, Act::Close).times(3),
        Rule::new(At::Dot, Act::KeepAndClose).times(2),
    ]);
    let accepted = source::send(Load::new(sink.address(), 10, 500, "b@far.example")).await.unwrap();
    let balance = ledger.balance(&accepted);
    assert_eq!((balance.accepted, balance.lost.len(), balance.duplicates), (500, 0, 0));
    assert_eq!(balance.resent, 2, "the sink kept two whose dot it didn't answer");
    assert!(accepted.retries >= 10, "{}", accepted.retries);
}

#[tokio::test]
async fn a_dot_in_the_text_comes_out_as_it_went_in() {
    let ledger = Ledger::with_bodies();
    let sink = Sink::start(([127, 0, 0, 1], 0).into(), ledger.clone(), Setup::default()).await.unwrap();
    let mut client = Client::greeted(sink.address()).await.unwrap();
    let reply = client.message("a@a.example", &["b@b.example"], "..first\r\na\r\n..\r\n..b").await.unwrap();
    assert_eq!(reply.code, 250);
    assert_eq!(ledger.entries()[0].text(), ".first\r\na\r\n.\r\n.b\r\n");
}

async fn ask(dns: &Dns, name: &str, kind: RecordType) -> Option<Message> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), kind));
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&message.to_bytes().unwrap(), dns.address()).await.unwrap();
    let mut buffer = [0; 1500];
    let read =
        tokio::time::timeout(Duration::from_millis(300), socket.recv(&mut buffer)).await.ok()?.unwrap();
    Some(Message::from_bytes(&buffer[..read]).unwrap())
}

#[tokio::test]
async fn the_nameserver_answers_and_fails_as_told() {
    let dns = Dns::start().await.unwrap();
    dns.domain("one.example", Ipv4Addr::new(127, 0, 0, 9).into()).await.unwrap();
    dns.mx("one.example", 20, "mx2.one.example").await.unwrap();
    dns.null_mx("null.example").await.unwrap();
    dns.cname("alias.example", "one.example").await.unwrap();
    assert_eq!(ask(&dns, "one.example", RecordType::MX).await.unwrap().answers.len(), 2);
    assert_eq!(ask(&dns, "null.example", RecordType::MX).await.unwrap().answers.len(), 1);
    assert!(ask(&dns, "alias.example", RecordType::MX).await.unwrap().answers.len() >= 2);
    let missing = ask(&dns, "missing.example", RecordType::MX).await.unwrap();
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    let empty = ask(&dns, "one.example", RecordType::AAAA).await.unwrap();
    assert_eq!((empty.metadata.response_code, empty.answers.len()), (ResponseCode::NoError, 0));
    dns.fail("one.example", None, Fault::ServFail);
    let failed = ask(&dns, "one.example", RecordType::MX).await.unwrap();
    assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    dns.fail("one.example", None, Fault::Truncated);
    assert!(ask(&dns, "one.example", RecordType::MX).await.unwrap().metadata.truncation);
    dns.fail("one.example", None, Fault::Silence);
    assert!(ask(&dns, "one.example", RecordType::MX).await.is_none());
    dns.heal("one.example");
    assert_eq!(dns.asked("one.example"), 5);
    dns.remove("one.example").await.unwrap();
    let removed = ask(&dns, "one.example", RecordType::MX).await.unwrap();
    assert!(removed.answers.is_empty());
}

#[tokio::test]
async fn redis_keeps_what_it_answered_over_a_kill() {
    let mut world = World::new().await.unwrap();
    let redis = &mut world.redis[0];
    assert_eq!(redis.command(&["SET", "k", "v"]).await.unwrap(), "OK");
    redis.kill().await.unwrap();
    assert!(redis.command(&["GET", "k"]).await.is_err());
    redis.restart().await.unwrap();
    assert_eq!(redis.command(&["GET", "k"]).await.unwrap(), "v");
    assert!(redis.figure("total_commands_processed").await.unwrap() > 0);
    redis.wipe().await.unwrap();
    redis.restart().await.unwrap();
    assert_eq!(redis.command(&["GET", "k"]).await.unwrap(), "");
}
