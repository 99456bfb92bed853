//! Connections by proxies that keep to a script.

use postrider_core::{
    config::Secret,
    egress::{Source, SourceName},
};
use postrider_mail::HostName;
use tokio::net::TcpListener;

use super::*;

fn named(way: Way) -> NamedSource {
    let hostname = HostName::parse("mail.example.com").expect("a name");
    let source = Source { name: "a".into(), weight: 1, hostname, family: None, way };
    NamedSource { name: SourceName { pool: "main".into(), source: "a".into() }, source }
}

fn socks(proxy: SocketAddr, has_login: bool) -> NamedSource {
    let credentials = has_login
        .then(|| Credentials { username: "mail".into(), password: Secret::new("pencil".to_owned()) });
    let proxy = ProxyHost { host: HostAddress::Ip(proxy.ip()), port: proxy.port() };
    named(Way::Socks5 { proxy, credentials })
}

/// A proxy that reads what is expected and says what it is told, then goes on as the far side.
async fn proxy(script: &'static [(&'static [u8], &'static [u8])]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        for (expected, answer) in script {
            let mut read = vec![0; expected.len()];
            client.read_exact(&mut read).await.unwrap();
            assert_eq!(read, *expected);
            client.write_all(answer).await.unwrap();
        }
    });
    address
}

fn far() -> SocketAddr {
    "192.0.2.1:25".parse().unwrap()
}

const CONNECT: &[u8] = &[5, 1, 0, 1, 192, 0, 2, 1, 0, 25];

#[tokio::test]
async fn what_follows_the_reply_is_the_far_sides() {
    let greeted: &[u8] = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x19220 far.example ESMTP\r\n";
    let script: &[_] = Box::leak(Box::new([(&[5, 1, 0][..], &[5, 0][..]), (CONNECT, greeted)]));
    let mut connected = dial(far(), Some(&socks(proxy(script).await, false))).await.unwrap();
    let mut said = String::new();
    connected.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "220 far.example ESMTP\r\n");
}

#[tokio::test]
async fn a_proxy_is_told_user_and_password_when_it_asks_for_them() {
    const LOGIN: &[u8] = b"\x01\x04mail\x06pencil";
    let reply: &[u8] = &[5, 0, 0, 1, 127, 0, 0, 1, 0, 25];
    let script: &[_] =
        Box::leak(Box::new([(&[5, 1, 2][..], &[5, 2][..]), (LOGIN, &[1, 0]), (CONNECT, reply)]));
    dial(far(), Some(&socks(proxy(script).await, true))).await.unwrap();
    let script: &[_] = Box::leak(Box::new([(&[5, 1, 2][..], &[5, 2][..]), (LOGIN, &[1, 9])]));
    let refused = dial(far(), Some(&socks(proxy(script).await, true))).await;
    let Err(DialError::Source(fault)) = refused else { panic!("{refused:?}") };
    assert!(fault.to_string().contains("user or password") && !fault.to_string().contains("pencil"));
}

#[tokio::test]
async fn a_far_side_that_the_proxy_can_not_reach_is_no_fault_of_the_source() {
    for (code, is_far_side) in
        [(1, false), (2, false), (3, true), (4, true), (5, true), (6, true), (7, false)]
    {
        let reply: &[u8] = Box::leak(Box::new([5, code, 0, 1, 0, 0, 0, 0, 0, 0]));
        let script: &[_] = Box::leak(Box::new([(&[5, 1, 0][..], &[5, 0][..]), (CONNECT, reply)]));
        match dial(far(), Some(&socks(proxy(script).await, false))).await {
            Err(DialError::FarSide(_)) => assert!(is_far_side, "{code}"),
            Err(DialError::Source(_)) => assert!(!is_far_side, "{code}"),
            Ok(_) => panic!("{code} is no connection"),
        }
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_or_no_proxy_or_closes_is_a_fault_of_the_source() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let smtp: &[_] = Box::leak(Box::new([(&[5, 1, 0][..], &b"220 mail.example.com"[..])]));
    let closes: &[_] = Box::leak(Box::new([(&[5, 1, 0][..], &[5, 0][..]), (CONNECT, &[][..])]));
    for address in [gone, proxy(smtp).await, proxy(closes).await] {
        let refused = dial(far(), Some(&socks(address, false))).await;
        assert!(matches!(refused, Err(DialError::Source(_))), "{refused:?}");
    }
    let host = HostAddress::Ip(gone.ip());
    let away =
        Way::Proxy { proxy: ProxyHost { host, port: gone.port() }, address: "198.51.100.7".parse().unwrap() };
    let refused = dial(far(), Some(&named(away))).await;
    assert!(matches!(refused, Err(DialError::Source(SourceFault::NoProxy { .. }))), "{refused:?}");
}

#[tokio::test]
async fn an_address_that_the_pod_does_not_have_is_a_fault_of_the_source() {
    let refused = dial(far(), Some(&named(Way::Address("198.51.100.7".parse().unwrap())))).await;
    assert!(matches!(refused, Err(DialError::Source(SourceFault::NotBound { .. }))), "{refused:?}");
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = dial(nobody, Some(&named(Way::Address("127.0.0.2".parse().unwrap())))).await;
    assert!(matches!(refused, Err(DialError::FarSide(_))), "{refused:?}");
}
