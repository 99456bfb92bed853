//! Whether what is found at a shard's address is the queue that should be there. Pure.
//! **Owns:** [`Identity`], [`Remembered`]. **Never:** asks, or makes a queue.
//! Invariant: loss is never silent: where a queue was known, an empty or other store stays out until a person adopts it.

use postrider_mail::{Due, PartitionName};
use serde::{Deserialize, Serialize};

use crate::reap::FORMAT;

/// What a shard had when it was last seen; kept outside of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The queue's UUID.
    pub uuid: Box<str>,
    /// Messages it had ever accepted.
    pub accepted: u64,
    /// Deliveries that were in it.
    pub deliveries: u64,
    /// When, by its own store's clock.
    pub at: Due,
    /// Whether it was closed then: emptied for good, so that another one may take its place.
    #[serde(default, rename = "closed")]
    pub is_closed: bool,
}

impl Remembered {
    /// How many messages a queue forgot since, which has accepted so many.
    pub(super) fn missing_from(&self, uuid: &str, accepted: u64) -> u64 {
        if *self.uuid == *uuid { self.accepted.saturating_sub(accepted) } else { 0 }
    }

    /// Whether there is nothing new to write down.
    pub(super) fn has_same(&self, other: &Self) -> bool {
        let what = |seen: &Self| (seen.accepted, seen.deliveries, seen.is_closed);
        self.uuid == other.uuid && what(self) == what(other)
    }
}

/// What a store says of the queue in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Meta {
    /// The queue's UUID; without one it is no queue.
    pub uuid: Option<Box<str>>,
    /// Whose queue it is.
    pub relay_uid: Option<Box<str>>,
    /// The record format that its making needs.
    pub format: u32,
    /// Messages ever accepted.
    pub accepted: u64,
    /// The UUIDs of the queues that a person said this one replaces.
    pub replaces: Vec<Box<str>>,
}

/// What was found at a shard's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The queue that should be there.
    Known {
        /// Messages that it forgot since it was last seen: it was restored, or failed over. 0 as a rule.
        missing: u64,
    },
    /// Nothing, and nothing is known to have been there: a new queue.
    Fresh,
    /// Nothing yet, and whoever might remember a queue here hasn't all been asked.
    Undecided,
    /// Nothing, but a queue was there: `QueueLost`.
    Lost {
        /// What it had, if anyone remembers.
        remembered: Option<Remembered>,
    },
    /// Another queue than the one that was there: `QueueLost`.
    Another {
        /// The UUID found.
        found: Box<str>,
        /// The UUID expected.
        expected: Box<str>,
        /// What the expected one had.
        remembered: Option<Remembered>,
    },
    /// The queue of another MailRelay.
    Foreign {
        /// The UID of that MailRelay.
        found: Box<str>,
    },
    /// A queue that a later version made.
    TooNew {
        /// Its format.
        format: u32,
    },
}

/// Compares what was found with what is known.
///
/// `config` is the UUID that the config names, `all_asked` whether everyone who might remember this shard has been.
pub(super) fn identify(
    found: &Meta,
    config: Option<&str>,
    remembered: Option<&Remembered>,
    relay_uid: Option<&str>,
    all_asked: bool,
) -> Identity {
    let remembered = remembered.filter(|seen| !seen.is_closed || found.uuid.as_ref() == Some(&seen.uuid));
    let expected = config.or(remembered.map(|seen| &*seen.uuid));
    let Some(uuid) = &found.uuid else {
        return match (expected, all_asked) {
            (Some(_), _) => Identity::Lost { remembered: remembered.cloned() },
            (None, true) => Identity::Fresh,
            (None, false) => Identity::Undecided,
        };
    };
    if found.format > FORMAT {
        return Identity::TooNew { format: found.format };
    }
    if let (Some(theirs), Some(ours)) = (&found.relay_uid, relay_uid)
        && **theirs != *ours
    {
        return Identity::Foreign { found: theirs.clone() };
    }
    let is_other = |known: &str| known != &**uuid && !found.replaces.iter().any(|former| **former == *known);
    if let Some(expected) = expected.filter(|known| is_other(known)) {
        return Identity::Another {
            found: uuid.clone(),
            expected: expected.into(),
            remembered: remembered.cloned(),
        };
    }
    Identity::Known { missing: remembered.map_or(0, |seen| seen.missing_from(uuid, found.accepted)) }
}

impl Identity {
    /// What was found, what was expected, what to do.
    pub fn describe(&self, name: &PartitionName) -> String {
        let had = |remembered: &Option<Remembered>| match remembered {
            Some(seen) => format!("{} deliveries were there when last seen", seen.deliveries),
            None => "how many deliveries were there is not known".to_owned(),
        };
        match self {
            Self::Known { missing: 0 } => "the queue that should be there".to_owned(),
            Self::Known { missing } => format!(
                "found a queue that forgot {missing} messages since it was last seen; expected none forgotten; look for a \
                 failover or a restored backup"
            ),
            Self::Fresh => "found no queue yet; expected none; it is being made".to_owned(),
            Self::Undecided => format!(
                "found an empty server; expected to hear from the other shards whether there was a queue; bring them back, or \
                 `ctl queue adopt {name}`"
            ),
            Self::Lost { remembered } => format!(
                "QueueLost: found an empty server where a queue was ({}); expected the queue; bring its volume back, or accept the loss \
                 with `ctl queue adopt {name}`",
                had(remembered)
            ),
            Self::Another { found, expected, remembered } => format!(
                "QueueLost: found queue {found} ({}); expected queue {expected}; bring that one back, or use this one with \
                 `ctl queue adopt {name}`",
                had(remembered)
            ),
            Self::Foreign { found } => format!(
                "found the queue of MailRelay {found}; expected this one's; give each MailRelay its own server or database"
            ),
            Self::TooNew { format } => {
                format!("found format {format}; expected {FORMAT} at most; upgrade this relay")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(uuid: &str, accepted: u64) -> Remembered {
        Remembered {
            uuid: uuid.into(),
            accepted,
            deliveries: 42,
            at: Due::from_unix_millis(1),
            is_closed: false,
        }
    }

    fn meta(uuid: &str, accepted: u64) -> Meta {
        Meta { uuid: Some(uuid.into()), accepted, format: FORMAT, ..Meta::default() }
    }

    #[test]
    fn an_empty_server_is_a_new_queue_only_if_nobody_knew_one() {
        let empty = Meta::default();
        assert_eq!(identify(&empty, None, None, None, true), Identity::Fresh);
        assert_eq!(identify(&empty, None, None, None, false), Identity::Undecided);
        let lost = |remembered| Identity::Lost { remembered };
        assert_eq!(identify(&empty, None, Some(&seen("u", 9)), None, false), lost(Some(seen("u", 9))));
        assert_eq!(identify(&empty, Some("u"), None, None, true), lost(None));
    }

    #[test]
    fn another_queue_is_none_of_ours_until_a_person_says_so() {
        let other = identify(&meta("v", 0), None, Some(&seen("u", 9)), None, true);
        assert!(matches!(other, Identity::Another { .. }), "{other:?}");
        assert!(matches!(identify(&meta("v", 0), Some("u"), None, None, true), Identity::Another { .. }));
        let adopted = Meta { replaces: vec!["t".into(), "u".into()], ..meta("v", 0) };
        assert_eq!(
            identify(&adopted, Some("u"), Some(&seen("u", 9)), None, true),
            Identity::Known { missing: 0 }
        );
    }

    #[test]
    fn another_queue_may_take_the_place_of_one_that_was_closed() {
        let closed = Remembered { is_closed: true, ..seen("u", 9) };
        let found = |meta: &Meta, config| identify(meta, config, Some(&closed), None, true);
        assert_eq!(found(&Meta::default(), None), Identity::Fresh);
        assert_eq!(found(&meta("v", 0), None), Identity::Known { missing: 0 });
        assert_eq!(found(&meta("u", 9), None), Identity::Known { missing: 0 });
        assert!(matches!(found(&Meta::default(), Some("u")), Identity::Lost { .. }), "the config expects it");
    }

    #[test]
    fn a_queue_that_forgot_messages_says_how_many() {
        assert_eq!(
            identify(&meta("u", 7), None, Some(&seen("u", 9)), None, true),
            Identity::Known { missing: 2 }
        );
        assert_eq!(
            identify(&meta("u", 10), None, Some(&seen("u", 9)), None, true),
            Identity::Known { missing: 0 }
        );
    }

    #[test]
    fn the_queue_of_another_mail_relay_is_not_touched() {
        let theirs = Meta { relay_uid: Some("theirs".into()), ..meta("u", 7) };
        assert!(matches!(identify(&theirs, None, None, Some("ours"), true), Identity::Foreign { .. }));
        assert!(matches!(identify(&theirs, None, None, None, true), Identity::Known { .. }));
    }

    #[test]
    fn a_later_version_s_queue_is_left_alone() {
        let later = Meta { format: FORMAT + 1, ..meta("u", 7) };
        assert_eq!(identify(&later, None, None, None, true), Identity::TooNew { format: FORMAT + 1 });
    }

    #[test]
    fn a_lost_queue_says_how_many_were_there() {
        let name = PartitionName::parse("b").expect("a name");
        let text = Identity::Lost { remembered: Some(seen("u", 9)) }.describe(&name);
        assert!(text.contains("42 deliveries were there when last seen"), "{text}");
        assert!(text.contains("ctl queue adopt b"), "{text}");
    }
}
