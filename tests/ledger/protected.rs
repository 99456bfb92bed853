//! Relays that sign what they take and give it to proven hosts only: neither may cost a message, nor a kill either of them.
//! **Owns:** their keys, their far sides' certificates, that each copy came signed and over TLS. **Never:** whether a signature
//! holds (interop).

use postrider_tests::{World, certs::Authority, dkim, manifests::MailRelay, relay, sink::Setup};

/// Who vouches for the far sides of a world.
pub(crate) struct Protected(Authority);

impl Protected {
    /// Has the world's relays sign the mail of sources, and verify every far side.
    pub(crate) fn new(world: &World) -> Self {
        let authority = Authority::new().unwrap();
        std::fs::write(world.folder().join("roots.pem"), authority.pem()).unwrap();
        let dull = MailRelay::default();
        let relay = MailRelay {
            queue: format!("{{managed: {{shards: {}}}}}", world.redis.len()),
            defaults: dull.defaults.trim_end_matches('}').to_owned() + "}, tls: {mode: Verify}}",
            more: dkim::spec(&["sender.example"]),
            ..dull
        };
        world.manifests.write("relay.yaml", &relay.yaml()).unwrap();
        world.manifests.write("dkim.yaml", &dkim::secret()).unwrap();
        Self(authority)
    }

    /// Adds a far side for a domain, with a certificate for its name.
    pub(crate) async fn domain(&self, world: &mut World, domain: &str) {
        let tls = Some(self.0.issue(&[&format!("mx.{domain}")]).unwrap().server);
        world.domain_with(domain, Setup { tls, ..Setup::default() }).await.unwrap();
    }
}

/// Starts a relay that believes the authority.
pub(crate) async fn relay(world: &mut World) {
    let roots = world.folder().join("roots.pem").display().to_string();
    let setup = relay::Setup { arguments: vec!["--roots".to_owned(), roots], ..world.setup() };
    world.relay_with(setup).await.unwrap();
}

/// That no copy of anything came bare, duplicates and copies that no far side kept among them.
pub(crate) fn assert_all_is_protected(world: &World) {
    let bare = world.ledger.matching(|entry| !entry.is_tls || !is_signed(&entry.text()));
    let which: Vec<_> = bare.iter().take(5).map(|entry| (&entry.id, entry.is_tls)).collect();
    assert!(bare.is_empty(), "{} of {} came bare: {which:?}", bare.len(), world.ledger.len());
    assert_eq!(world.ledger.exposed(), Vec::<String>::new());
}

/// Whether it has a signature by each key.
fn is_signed(text: &str) -> bool {
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    ["; s=rsa;", "; s=ed25519;"].iter().all(|selector| head.contains(selector))
}
