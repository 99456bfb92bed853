//! Where everything stands.
//! **Owns:** the state and its start, what its parts say of each other. **Never:** what may happen.

use crate::UNCHANGED_FOR;

/// The store, a relay, a survivor. Times are ages that stop growing once they say nothing more: so the search needs no end in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) relay: Relay,
    pub(crate) survivor: Survivor,
    /// A final dot went out although the claim was lost.
    pub(crate) dot_without_claim: bool,
    /// A settlement other than a delivery changed something although the claim was lost.
    pub(crate) rewritten_without_claim: bool,
    /// The relay was fenced although the store hadn't been there for long enough to beat.
    pub(crate) reap_without_chance: bool,
}

/// What the store has of one delivery to one recipient. Each place is kept by itself, as it is there: only the steps keep it in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) is_there: bool,
    /// Counts outages: whoever was connected before finds the connection broken.
    pub(crate) outages: u8,
    pub(crate) relay: Registered,
    pub(crate) is_in_lane: bool,
    pub(crate) is_held: bool,
    /// The claim's number, in the claims of each.
    pub(crate) claims: Claims,
    pub(crate) claims_given: u8,
    /// How the recipient ended.
    pub(crate) ended: Option<End>,
    /// The totals: recipients that ended.
    pub(crate) ends_counted: u8,
    /// Deliveries to the sender that tell of this recipient.
    pub(crate) bounces: u8,
    /// For how long it has been there since the relay's last beat.
    pub(crate) chance: u8,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Claims {
    pub(crate) relay: Option<u8>,
    pub(crate) survivor: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Registered {
    Live { counter: u8 },
    Fenced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum End {
    Delivered,
    Bounced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum By {
    Relay,
    Survivor,
}

/// What an attempt came to, with the number of the claim that it ran under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Settlement {
    pub(crate) number: u8,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Delivered,
    Deferred,
    Held,
    Bounced,
}

/// The one that may stop at any step: by never taking its next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Relay {
    /// The age of the last confirmed beat, from when it was sent; none once that is too old.
    pub(crate) lease: Option<u8>,
    pub(crate) beat: Beat,
    pub(crate) beats: u8,
    /// The claim that an attempt runs under.
    pub(crate) attempt: Option<u8>,
    /// Asked for until it is answered.
    pub(crate) settlement: Option<Settlement>,
    /// A copy of one that went out on a connection given up since: it comes late, or never.
    pub(crate) stray: Option<Settlement>,
    /// A release on the way, with the claim's number.
    pub(crate) release: Option<u8>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Beat {
    #[default]
    None,
    Sent {
        age: u8,
    },
    Confirmed {
        age: u8,
    },
    Refused,
}

/// The one that always goes on, so that its lease is no matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Survivor {
    pub(crate) seen: Option<Seen>,
    /// A reap on the way, with the counter seen.
    pub(crate) reap: Option<u8>,
    pub(crate) attempt: Option<u8>,
    pub(crate) settlement: Option<Settlement>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) counter: u8,
    pub(crate) age: u8,
    /// The outages that there had been.
    pub(crate) outages: u8,
}

impl State {
    /// The relay has registered and holds a lease; mail waits.
    pub(crate) fn new() -> Self {
        Self {
            store: Store {
                is_there: true,
                outages: 0,
                relay: Registered::Live { counter: 0 },
                is_in_lane: true,
                is_held: false,
                claims: Claims::default(),
                claims_given: 0,
                ended: None,
                ends_counted: 0,
                bounces: 0,
                chance: 0,
            },
            relay: Relay { lease: Some(0), ..Relay::default() },
            survivor: Survivor::default(),
            dot_without_claim: false,
            rewritten_without_claim: false,
            reap_without_chance: false,
        }
    }

    /// Nobody can try it any more, though something may still be on the way.
    pub(crate) fn is_over(&self) -> bool {
        self.store.ended.is_some()
            && self.store.claims == Claims::default()
            && self.relay.attempt.is_none()
            && self.survivor.attempt.is_none()
    }

    /// The claim in the relay's name that it doesn't know of, as the reply was lost.
    pub(crate) fn unknown_claim(&self) -> Option<u8> {
        let settling = self.relay.settlement.map(|settlement| settlement.number);
        let is_known = |number| self.relay.attempt == Some(number) || settling == Some(number);
        self.store.claims.relay.filter(|number| !is_known(*number))
    }

    /// The survivor's dot is out for what the relay had claimed before it was fenced.
    pub(crate) fn is_taken_over(&self) -> bool {
        self.store.relay == Registered::Fenced
            && self.store.ended.is_none()
            && self
                .survivor
                .settlement
                .is_some_and(|told| told.number > 1 && told.outcome == Outcome::Delivered)
    }
}

impl Store {
    /// I2: the recipient waits in one place or has ended, and the totals say so. What has ended may be left as an empty claim: who tries
    /// it finds nobody left when it settles.
    pub(crate) fn is_in_one_place(&self) -> bool {
        let [lane, held, relay, survivor] =
            [self.is_in_lane, self.is_held, self.claims.relay.is_some(), self.claims.survivor.is_some()]
                .map(u8::from);
        let is_placed = match self.ended {
            None => lane + held + relay + survivor == 1,
            Some(_) => lane + held == 0 && relay + survivor <= 1,
        };
        is_placed && self.ends_counted == u8::from(self.ended.is_some())
    }

    /// I3, the first half.
    pub(crate) fn is_claimed_once(&self) -> bool {
        self.claims.relay.is_none() || self.claims.survivor.is_none()
    }

    /// I5: its bounce is there if and only if it ended by one, and once.
    pub(crate) fn bounces_with_the_end(&self) -> bool {
        self.bounces == u8::from(self.ended == Some(End::Bounced))
    }

    /// Whether the relay could have beaten, had it been alive.
    pub(crate) fn gave_a_chance(&self) -> bool {
        self.chance + 1 >= UNCHANGED_FOR
    }

    pub(crate) fn claim_of(&mut self, by: By) -> &mut Option<u8> {
        match by {
            By::Relay => &mut self.claims.relay,
            By::Survivor => &mut self.claims.survivor,
        }
    }

    /// Puts what was taken out back into its lane; nobody may be left in it.
    pub(crate) fn put_back(&mut self) {
        self.is_in_lane = self.ended.is_none();
    }
}
