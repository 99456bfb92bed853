//! Hosts with certificates, what zones say of them, and a relay that asks a real nameserver which has the zones signed.
//! **Owns:** the far sides and their zones. **Never:** what becomes of their mail.

use std::{net::SocketAddr, sync::Arc};

use postrider_tests::{
    World,
    bind::{Bind, Signed, Zone},
    certs::Certificate,
    relay,
    sink::Setup,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData as _, date_time_ymd,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use sha2::{Digest as _, Sha256};

/// A host's certificate, and what can be said of it.
pub(super) struct Presented {
    pub(super) server: Arc<ServerConfig>,
    /// The records that fit it: of the leaf's key, and of the authority's certificate.
    pub(super) of_leaf: String,
    pub(super) of_authority: String,
}

/// A certificate of an authority of its own.
pub(super) fn presented(name: &str, is_expired: bool) -> Presented {
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.distinguished_name.push(rcgen::DnType::CommonName, "an authority that nobody knows");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if is_expired {
        (leaf.not_before, leaf.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    }
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    Presented {
        of_leaf: format!("3 1 1 {}", hex(&key.subject_public_key_info())),
        of_authority: format!("2 0 1 {}", hex(authority.der())),
        server: server(vec![leaf.der().clone(), authority.der().clone()], &key),
    }
}

/// The record of a certificate's own digest, as its host's.
pub(super) fn of_certificate(certificate: &Certificate) -> String {
    format!("3 0 1 {}", hex(&certificate.der))
}

fn server(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A record that fits nobody.
pub(super) fn of_another() -> String {
    format!("3 1 1 {}", "ab".repeat(32))
}

/// A world whose zones are written host by host.
pub(super) struct Signing {
    pub(super) world: World,
    /// Records of the zone `dane`, and of `plain`, which isn't signed.
    pub(super) dane: String,
    pub(super) plain: String,
    /// Other zones, and such that are below `dane`.
    zones: Vec<Zone>,
}

impl Signing {
    pub(super) async fn new() -> Self {
        let world = World::new().await.unwrap();
        Self { world, dane: String::new(), plain: String::new(), zones: Vec::new() }
    }

    /// A far side and the records of one host of it, under a name in a zone.
    pub(super) async fn host(
        &mut self,
        name: &str,
        tls: Option<Arc<ServerConfig>>,
        records: &[&str],
    ) -> String {
        let address = self.far_side(tls).await;
        let lines = records.iter().map(|record| format!("{} TLSA {record}\n", self.tlsa(name)));
        format!("{name}. A {address}\n{}", lines.collect::<String>())
    }

    /// A far side without a name; its address.
    pub(super) async fn far_side(&mut self, tls: Option<Arc<ServerConfig>>) -> std::net::IpAddr {
        let number = self.world.sink(Setup { tls, ..Setup::default() }).await.unwrap();
        self.world.address(number).ip()
    }

    /// The name of a host's TLSA records, with its dot.
    pub(super) fn tlsa(&self, host: &str) -> String {
        format!("_{}._tcp.{host}.", self.world.subnet.port())
    }

    /// A domain of the zone `dane` with one host.
    pub(super) async fn domain(&mut self, name: &str, tls: Option<Arc<ServerConfig>>, records: &[&str]) {
        let host = self.host(&format!("mx.{name}.dane"), tls, records).await;
        self.dane += &format!("{name}.dane. MX 10 mx.{name}.dane.\n{host}");
    }

    /// A zone beside those two, or below `dane`.
    pub(super) fn zone(&mut self, name: &str, records: String, signed: Signed) {
        self.zones.push(Zone { name: name.to_owned(), records, signed });
    }

    /// Serves the zones.
    pub(super) async fn serve(&mut self) -> Bind {
        let (dane, plain) = (self.dane.clone(), self.plain.clone());
        self.zone("dane", dane, Signed::Well);
        self.zone("plain", plain, Signed::Not);
        Bind::start(&self.zones).await.unwrap()
    }

    /// Starts a relay that asks this resolver.
    pub(super) async fn relay(&mut self, resolver: SocketAddr, bind: &Bind) {
        let anchors = bind.anchors().display().to_string();
        let arguments = vec!["--dnssec-anchors".to_owned(), anchors];
        let setup = relay::Setup { dns: Some(resolver), arguments, ..self.world.setup() };
        self.world.relay_with(setup).await.unwrap();
    }

    /// Serves the zones and starts a relay that asks their server.
    pub(super) async fn start(mut self) -> (World, Bind) {
        let bind = self.serve().await;
        self.relay(bind.address(), &bind).await;
        (self.world, bind)
    }
}
