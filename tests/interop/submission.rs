//! A relay that takes mail in every way that it can: in clear, by STARTTLS, under TLS, behind a proxy, from users.
//! **Owns:** its listeners, certificate and user. **Never:** a client.

use std::path::PathBuf;

use anyhow::Result;
use postrider_tests::{
    World,
    certs::Authority,
    manifests::{HASH_OF_PENCIL, MailRelay, secret, tls_secret},
    relay::Setup,
};

/// The user that is known.
pub(crate) const USER: &str = "shop";
/// Its password.
pub(crate) const PASSWORD: &str = "pencil";

/// Networks, users, TLS from the start, and a load balancer in front.
const LISTENERS: &str = "\
- {name: smtp, port: 25, protocol: SMTP, tls: {mode: Optional, certificateRef: {name: mail-tls}}, allowedClients: {cidrs: [127.0.0.0/8]}}
- {name: submission, port: 587, protocol: SMTP, tls: {mode: Required, certificateRef: {name: mail-tls}}, auth: {usersRef: {name: users}}}
- {name: smtps, port: 465, protocol: SMTPS, tls: {certificateRef: {name: mail-tls}}, auth: {usersRef: {name: users}}}
- {name: proxied, port: 2525, protocol: SMTP, allowedClients: {cidrs: [203.0.113.0/24]}, proxyProtocol: {trustedCIDRs: [127.0.0.0/8]}}";

/// A far side for far.example, and a relay of these listeners; its certificate is for 127.0.0.1.
pub(crate) async fn relay() -> Result<World> {
    let mut world = World::new().await?;
    world.domain("far.example").await?;
    prepare(&world)?;
    start(&mut world).await?;
    Ok(world)
}

/// Writes the manifests.
pub(crate) fn prepare(world: &World) -> Result<()> {
    let authority = Authority::new()?;
    std::fs::write(authority_path(world), authority.pem())?;
    let certificate = authority.issue(&["127.0.0.1", "relay.example"])?;
    world.manifests.write("tls.yaml", &tls_secret("mail-tls", &certificate))?;
    world.manifests.write("users.yaml", &secret("users", &[(USER, HASH_OF_PENCIL)]))?;
    let relay = MailRelay { listeners: LISTENERS.to_owned(), ..MailRelay::default() };
    world.manifests.write("relay.yaml", &relay.yaml())
}

/// Starts the relay.
pub(crate) async fn start(world: &mut World) -> Result<()> {
    let listeners = ["smtp", "submission", "smtps", "proxied"].map(str::to_owned).to_vec();
    let setup = Setup { listeners, ..world.setup() };
    world.relay_with(setup).await?;
    Ok(())
}

/// The port of a listener.
pub(crate) fn port(world: &World, listener: &str) -> Result<u16> {
    Ok(world.relays[0].listener(listener)?.port())
}

/// The certificate of who vouches for the relay's.
pub(crate) fn authority_path(world: &World) -> PathBuf {
    world.folder().join("authority.pem")
}
