//! Tests of handshakes with hosts that have TLSA records. **Owns:** nothing. **Never:** a resolver, another host.

use postrider_core::dane::Tlsa;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

/// What a host presents.
struct Presented {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

/// A certificate of an authority for `mx.example`, and that authority's; `change` makes them wrong.
fn issued(change: impl Fn(&mut CertificateParams, &mut CertificateParams)) -> Presented {
    let mut leaf = CertificateParams::new(vec!["mx.example".to_owned()]).unwrap();
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.distinguished_name.push(rcgen::DnType::CommonName, "an authority of one's own");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut leaf, &mut authority);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    Presented { chain: vec![leaf.der().clone(), authority.der().clone()], key }
}

fn expire(params: &mut CertificateParams) {
    (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
}

/// The digest of a certificate of the chain, as a record of this usage.
fn digest(usage: u8, certificate: &CertificateDer<'_>) -> Tlsa {
    Tlsa { usage, selector: 0, matching: 1, data: Sha256::digest(certificate).to_vec() }
}

/// Whether a host that presents this is believed in the name of `name` under these records.
async fn believes(presented: &Presented, records: &[Tlsa], name: &str) -> Result<(), String> {
    let key = PrivateKeyDer::try_from(presented.key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(presented.chain.clone(), key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let connector = TlsConnector::from(Arc::new(config(Demand::of(records).unwrap()).unwrap()));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let (near, _) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
    near.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_record_of_the_leaf_overlooks_its_name_dates_and_issuer() {
    let expired = issued(|leaf, _| expire(leaf));
    let record = digest(3, &expired.chain[0]);
    assert_eq!(believes(&expired, std::slice::from_ref(&record), "other.example").await, Ok(()));
    let other = issued(|_, _| {});
    believes(&other, &[record], "mx.example").await.expect_err("another certificate");
}

#[tokio::test]
async fn a_record_of_an_authority_wants_the_name_and_the_dates_of_all() {
    let good = issued(|_, _| {});
    let record = digest(2, &good.chain[1]);
    assert_eq!(believes(&good, std::slice::from_ref(&record), "mx.example").await, Ok(()));
    believes(&good, &[record], "other.example").await.expect_err("another name");
    let leaf = issued(|leaf, _| expire(leaf));
    let why = believes(&leaf, &[digest(2, &leaf.chain[1])], "mx.example").await.expect_err("leaf expired");
    assert!(why.contains("expired"), "{why}");
    let above = issued(|_, authority| expire(authority));
    let why =
        believes(&above, &[digest(2, &above.chain[1])], "mx.example").await.expect_err("anchor expired");
    assert!(why.contains("expired"), "{why}");
}

#[tokio::test]
async fn an_authority_that_stands_in_the_record_need_not_be_sent() {
    let mut presented = issued(|_, _| {});
    let authority = presented.chain.pop().unwrap();
    let whole = Tlsa { usage: 2, selector: 0, matching: 0, data: authority.to_vec() };
    assert_eq!(believes(&presented, &[whole], "mx.example").await, Ok(()));
    believes(&presented, &[digest(2, &authority)], "mx.example").await.expect_err("only its digest is known");
}

#[tokio::test]
async fn an_authority_that_signed_nothing_vouches_for_nobody() {
    let (mut presented, other) = (issued(|_, _| {}), issued(|_, _| {}));
    presented.chain.push(other.chain[1].clone());
    let record = digest(2, &other.chain[1]);
    believes(&presented, &[record], "mx.example").await.expect_err("no path leads there");
}

#[tokio::test]
async fn records_that_cannot_be_used_take_any_certificate() {
    let presented = issued(|leaf, _| expire(leaf));
    assert_eq!(believes(&presented, &[digest(1, &presented.chain[1])], "other.example").await, Ok(()));
}
