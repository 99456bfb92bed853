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
    let source = Source { name: "a".into(), weight: 1, hostname, family: None, warm_up: None, way };
    NamedSource { name: SourceName { pool: "main".into(), source: "a".into() }, source }
}

fn socks(proxy: SocketAddr, has_login: bool) -> NamedSource {
    let credentials = has_login
        .then(|| Credentials { username: "mail".into(), password: Secret::new("pencil".to_owned()) });
    let proxy = ProxyHost { host: HostAddress::Ip(proxy.ip()), port: proxy.port() };
    named(Way::Socks5 { proxy, credentials })
}

/// What is said to a proxy, and what it answers.
type Script = Vec<(&'static [u8], Vec<u8>)>;

const GREETING: &[u8] = &[5, 1, 0];
const GREETING_WITH_LOGIN: &[u8] = &[5, 1, 2];
const LOGIN: &[u8] = b"\x01\x04mail\x06pencil";
const CONNECT: &[u8] = &[5, 1, 0, 1, 192, 0, 2, 1, 0, 25];

/// A reply to CONNECT.
fn reply(code: u8) -> Vec<u8> {
    vec![5, code, 0, 1, 127, 0, 0, 1, 0, 25]
}

/// A proxy that keeps to a script, once, and then closes.
async fn proxy(script: Script) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        for (expected, answer) in script {
            let mut read = vec![0; expected.len()];
            client.read_exact(&mut read).await.unwrap();
            assert_eq!(read, expected);
            client.write_all(&answer).await.unwrap();
        }
    });
    address
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn far() -> SocketAddr {
    "192.0.2.1:25".parse().unwrap()
}

#[tokio::test]
async fn what_follows_the_reply_is_the_far_sides() {
    let greeted = [&reply(0)[..], b"220 far.example ESMTP\r\n"].concat();
    let proxy = proxy(vec![(GREETING, vec![5, 0]), (CONNECT, greeted)]).await;
    let mut connected = dial(far(), Some(&socks(proxy, false))).await.unwrap();
    let mut said = String::new();
    connected.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "220 far.example ESMTP\r\n");
}

#[tokio::test]
async fn a_proxy_is_told_user_and_password_when_it_asks_for_them() {
    let script = vec![(GREETING_WITH_LOGIN, vec![5, 2]), (LOGIN, vec![1, 0]), (CONNECT, reply(0))];
    dial(far(), Some(&socks(proxy(script).await, true))).await.unwrap();
    let script = vec![(GREETING_WITH_LOGIN, vec![5, 2]), (LOGIN, vec![1, 9])];
    let refused = dial(far(), Some(&socks(proxy(script).await, true))).await;
    let Err(DialError::Source(fault)) = refused else { panic!("{refused:?}") };
    assert!(fault.to_string().contains("user or password") && !fault.to_string().contains("pencil"));
}

#[tokio::test]
async fn a_far_side_that_the_proxy_can_not_reach_is_no_fault_of_the_source() {
    for (code, is_far_side) in
        [(1, false), (2, false), (3, true), (4, true), (5, true), (6, true), (7, false)]
    {
        let proxy = proxy(vec![(GREETING, vec![5, 0]), (CONNECT, reply(code))]).await;
        match dial(far(), Some(&socks(proxy, false))).await {
            Err(DialError::FarSide(_)) => assert!(is_far_side, "{code}"),
            Err(DialError::Source(_)) => assert!(!is_far_side, "{code}"),
            Ok(_) => panic!("{code} is no connection"),
        }
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_or_no_proxy_or_closes_is_a_fault_of_the_source() {
    let no_proxy = proxy(vec![(GREETING, b"220 mail.example.com".to_vec())]).await;
    let closes = proxy(vec![(GREETING, vec![5, 0]), (CONNECT, Vec::new())]).await;
    for address in [nobody().await, no_proxy, closes] {
        let refused = dial(far(), Some(&socks(address, false))).await;
        assert!(matches!(refused, Err(DialError::Source(_))), "{refused:?}");
    }
    let gone = nobody().await;
    let proxy = ProxyHost { host: HostAddress::Ip(gone.ip()), port: gone.port() };
    let way = Way::Proxy { proxy, address: "198.51.100.7".parse().unwrap() };
    let refused = dial(far(), Some(&named(way))).await;
    assert!(matches!(refused, Err(DialError::Source(SourceFault::NoProxy { .. }))), "{refused:?}");
}

#[tokio::test]
async fn an_address_that_the_pod_does_not_have_is_a_fault_of_the_source() {
    let refused = dial(far(), Some(&named(Way::Address("198.51.100.7".parse().unwrap())))).await;
    assert!(matches!(refused, Err(DialError::Source(SourceFault::NotBound { .. }))), "{refused:?}");
    let own = named(Way::Address("127.0.0.2".parse().unwrap()));
    let refused = dial(nobody().await, Some(&own)).await;
    assert!(matches!(refused, Err(DialError::FarSide(_))), "{refused:?}");
}

#[tokio::test]
async fn a_proxy_is_told_where_from_and_where_to_before_anything_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = ProxyHost { host: HostAddress::Ip(address.ip()), port: address.port() };
    let source = named(Way::Proxy { proxy, address: "198.51.100.7".parse().unwrap() });
    let _connected = dial(far(), Some(&source)).await.unwrap();
    let (mut taken, _) = listener.accept().await.unwrap();
    let mut header = [0; 28];
    taken.read_exact(&mut header).await.unwrap();
    assert_eq!(header.to_vec(), proxy_v2::header("198.51.100.7".parse().unwrap(), far()).unwrap());
}
