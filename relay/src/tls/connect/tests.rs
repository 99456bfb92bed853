//! Tests of handshakes, against a server with a certificate of its own. **Owns:** nothing. **Never:** another host.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A server whose certificate nobody vouches for; also that certificate.
async fn far_side(names: &[&str]) -> (std::net::SocketAddr, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    (address, cert.der().clone())
}

async fn shake(connectors: &Connectors, to: std::net::SocketAddr, name: &str, trust: Trust) -> bool {
    let stream = TcpStream::connect(to).await.unwrap();
    connectors.handshake(stream, &HostName::parse(name).unwrap(), &trust).await.is_ok()
}

#[tokio::test]
async fn opportunistic_tls_takes_any_certificate_and_verify_does_not() {
    let (address, _) = far_side(&["mx.example"]).await;
    let connectors = Connectors::new(&[]).unwrap();
    assert!(shake(&connectors, address, "mx.example", Trust::Anyone).await);
    assert!(shake(&connectors, address, "other.example", Trust::Anyone).await);
    assert!(shake(&connectors, address, "host.123", Trust::Anyone).await, "no name, no SNI");
    assert!(!shake(&connectors, address, "mx.example", Trust::Verified).await);
}

#[tokio::test]
async fn verify_wants_a_root_and_the_name() {
    let (address, root) = far_side(&["mx.example"]).await;
    let connectors = Connectors::new(&[root]).unwrap();
    assert!(shake(&connectors, address, "mx.example", Trust::Verified).await);
    assert!(!shake(&connectors, address, "other.example", Trust::Verified).await);
    assert!(!shake(&connectors, address, "host.123", Trust::Verified).await);
}
