//! Where everything stands.
//! **Owns:** the state and its start. **Never:** what may happen.

/// The store, a relay, a survivor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Seconds.
    pub(crate) now: u8,
    pub(crate) store: Store,
    pub(crate) relay: Relay,
    pub(crate) survivor: Survivor,
    /// A final dot went out although the claim was lost and the delivery not ended.
    pub(crate) dot_without_claim: bool,
    /// The relay was fenced although the store hadn't been there for long enough to beat.
    pub(crate) reap_without_chance: bool,
    /// The survivor delivered what was claimed by the relay.
    pub(crate) was_taken_over: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) is_there: bool,
    /// Counts outages: whoever was connected before finds the connection broken.
    pub(crate) outages: u8,
    pub(crate) relay: Registered,
    pub(crate) claim: Option<Claim>,
    pub(crate) claims_given: u8,
    pub(crate) has_ended: bool,
    /// For how long the store has been there since the relay's last beat.
    pub(crate) chance: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Registered {
    Live { counter: u8 },
    Fenced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    pub(crate) by: By,
    pub(crate) number: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum By {
    Relay,
    Survivor,
}

/// The one that may stop at any step: by never taking its next one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Relay {
    /// When the last confirmed beat was sent.
    pub(crate) lease_from: Option<u8>,
    pub(crate) beat: Beat,
    pub(crate) beats: u8,
    /// The claim that an attempt runs under.
    pub(crate) attempt: Option<u8>,
    /// Requests on the way, with the claim's number.
    pub(crate) release: Option<u8>,
    pub(crate) defer: Option<u8>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Beat {
    #[default]
    None,
    Sent {
        at: u8,
    },
    Answered {
        sent: u8,
        is_good: bool,
    },
}

/// The one that always goes on, so that its lease is no matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Survivor {
    pub(crate) seen: Option<Seen>,
    /// A reap on the way, with the counter seen.
    pub(crate) reap: Option<u8>,
    pub(crate) attempt: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) counter: u8,
    pub(crate) since: u8,
    /// The outages that there had been.
    pub(crate) outages: u8,
}

impl State {
    /// The relay has registered and holds a lease.
    pub(crate) fn new() -> Self {
        Self {
            now: 0,
            store: Store {
                is_there: true,
                outages: 0,
                relay: Registered::Live { counter: 0 },
                claim: None,
                claims_given: 0,
                has_ended: false,
                chance: 0,
            },
            relay: Relay { lease_from: Some(0), ..Relay::default() },
            survivor: Survivor::default(),
            dot_without_claim: false,
            reap_without_chance: false,
            was_taken_over: false,
        }
    }
}
