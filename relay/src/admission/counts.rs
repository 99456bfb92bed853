//! How many sessions there are: in all, on a listener, from a client.
//! **Owns:** the counts, and the [`Place`] that gives one back when it goes. **Never:** what a limit is (the config's),
//! what a client is told.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// A host has a /64 of IPv6 at will, but pods of one node share one: a network gets this many clients' worth.
const CLIENTS_PER_NETWORK: u32 = 8;

/// The sessions that are open now. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    total: u32,
    listeners: HashMap<Arc<str>, u32>,
    clients: HashMap<IpAddr, u32>,
    networks: HashMap<u64, u32>,
}

/// How many sessions may be open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Of the process.
    pub process: u32,
    /// Of the listener.
    pub listener: u32,
    /// Of one client.
    pub client: u32,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The process's.
    Process,
    /// The listener's.
    Listener,
    /// The client's, or its network's.
    Client,
}

impl Full {
    /// The word for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "sessions",
            Self::Listener => "sessions_of_listener",
            Self::Client => "sessions_of_client",
        }
    }
}

/// The right to one session on a listener; given back when dropped.
#[derive(Debug)]
pub struct Place {
    sessions: Sessions,
    listener: Arc<str>,
    client: Option<IpAddr>,
}

impl Sessions {
    /// Takes a place on a listener, before the client is known.
    ///
    /// # Errors
    /// The process or the listener has as many as it may.
    pub fn enter(&self, listener: &Arc<str>, limits: SessionLimits) -> Result<Place, Full> {
        let mut open = self.lock();
        if open.total >= limits.process {
            return Err(Full::Process);
        }
        let on_listener = open.listeners.get(listener).copied().unwrap_or(0);
        if on_listener >= limits.listener {
            return Err(Full::Listener);
        }
        open.total += 1;
        open.listeners.insert(listener.clone(), on_listener + 1);
        Ok(Place { sessions: self.clone(), listener: listener.clone(), client: None })
    }

    /// How many are open.
    pub fn open(&self) -> u32 {
        self.lock().total
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        // The counts hold at every step, so a panic elsewhere can't have left them half changed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts the session as this client's.
    ///
    /// # Errors
    /// The client, or its network, has as many as it may.
    pub fn is_for(&mut self, client: IpAddr, limits: SessionLimits) -> Result<(), Full> {
        let client = client.to_canonical();
        let mut open = self.sessions.lock();
        let of_client = open.clients.get(&client).copied().unwrap_or(0);
        let of_network = network(client).and_then(|net| open.networks.get(&net).copied()).unwrap_or(0);
        if of_client >= limits.client || of_network >= limits.client.saturating_mul(CLIENTS_PER_NETWORK) {
            return Err(Full::Client);
        }
        *open.clients.entry(client).or_default() += 1;
        if let Some(net) = network(client) {
            *open.networks.entry(net).or_default() += 1;
        }
        drop(open);
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.sessions.lock();
        open.total = open.total.saturating_sub(1);
        give_back(&mut open.listeners, &self.listener);
        if let Some(client) = self.client {
            give_back(&mut open.clients, &client);
            if let Some(net) = network(client) {
                give_back(&mut open.networks, &net);
            }
        }
    }
}

/// An entry that comes to nothing goes: strangers must not grow the map.
fn give_back<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn network(client: IpAddr) -> Option<u64> {
    match client {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => Some((v6.to_bits() >> 64) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SessionLimits = SessionLimits { process: 20, listener: 12, client: 1 };

    #[test]
    fn a_place_is_given_back_when_it_goes() {
        let sessions = Sessions::default();
        let name: Arc<str> = "smtp".into();
        let client = "192.0.2.1".parse().expect("an address");
        let mut first = sessions.enter(&name, LIMITS).expect("room");
        first.is_for(client, LIMITS).expect("room");
        let mut second = sessions.enter(&name, LIMITS).expect("room");
        assert_eq!(second.is_for(client, LIMITS), Err(Full::Client));
        assert_eq!(second.is_for("::ffff:192.0.2.1".parse().expect("the same"), LIMITS), Err(Full::Client));
        drop(first);
        second.is_for(client, LIMITS).expect("room again");
        drop(second);
        assert_eq!(sessions.open(), 0);
        let open = sessions.lock();
        assert!(open.clients.is_empty() && open.listeners.is_empty());
    }

    #[test]
    fn listener_and_process_have_limits_of_their_own() {
        let sessions = Sessions::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let on_a: Vec<_> = (0..12).map(|_| sessions.enter(&a, LIMITS).expect("room")).collect();
        assert_eq!(sessions.enter(&a, LIMITS).map(drop), Err(Full::Listener));
        let _on_b: Vec<_> = (0..8).map(|_| sessions.enter(&b, LIMITS).expect("room")).collect();
        assert_eq!(sessions.enter(&b, LIMITS).map(drop), Err(Full::Process));
        drop(on_a);
        sessions.enter(&a, LIMITS).expect("room again");
    }

    #[test]
    fn a_network_of_addresses_is_not_that_many_clients() {
        let sessions = Sessions::default();
        let name: Arc<str> = "smtp".into();
        let places: Vec<_> = (1..=9)
            .map(|n| {
                let mut place = sessions.enter(&name, LIMITS).expect("room");
                let taken = place.is_for(format!("2001:db8::{n}").parse().expect("an address"), LIMITS);
                (place, taken)
            })
            .collect();
        assert_eq!(places.iter().filter(|(_, taken)| taken.is_ok()).count(), 8);
    }
}
