//! The TXT record at `_mta-sts.DOMAIN`: whether there is a policy, and a name that changes with it.
//! **Owns:** its syntax. RFC 8461 3.1. **Never:** the look-up.

use serde::{Deserialize, Serialize};

use crate::txt;

/// The longest `id`, RFC 8461 3.1.
const MAX_ID: usize = 32;

/// What names one version of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyId(Box<str>);

/// What a look-up of the record gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// There is a policy of this name.
    Id(PolicyId),
    /// The domain has none: no record, several, or one that can't be read.
    Absent,
    /// It isn't known: the look-up failed.
    Failed,
}

impl Record {
    /// Reads the texts of the TXT records at the name. Others than `v=STSv1` ones don't count; more than one of these is none.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        txt::sole("v=STSv1", texts).and_then(id).map_or(Self::Absent, Self::Id)
    }
}

fn id(fields: &str) -> Option<PolicyId> {
    let id = txt::field(fields, "id=")?;
    let is_valid = (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_valid.then(|| PolicyId(id.into()))
}

impl std::fmt::Display for PolicyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(texts: &[&str]) -> Option<String> {
        match Record::of(texts.iter().copied()) {
            Record::Id(id) => Some(id.to_string()),
            Record::Absent | Record::Failed => None,
        }
    }

    #[test]
    fn one_record_of_this_version_has_an_id() {
        assert_eq!(id_of(&["v=STSv1; id=20160831085700Z;"]).as_deref(), Some("20160831085700Z"));
        assert_eq!(id_of(&["v=STSv1;id=1"]).as_deref(), Some("1"));
        assert_eq!(id_of(&["v=spf1 -all", "v=STSv1; more=x; id=7"]).as_deref(), Some("7"));
    }

    #[test]
    fn what_is_no_record_or_not_the_only_one_is_none() {
        assert_eq!(id_of(&[]), None);
        assert_eq!(id_of(&["v=STSv1; id=1", "v=STSv1; id=2"]), None, "RFC 8461 3.1: more than one is none");
        assert_eq!(id_of(&["v=STSv2; id=1"]), None);
        assert_eq!(id_of(&["v=STSv1"]), None);
        assert_eq!(id_of(&["v=STSv1; id="]), None);
        assert_eq!(id_of(&["v=STSv1; id=a-b"]), None);
        assert_eq!(id_of(&["v=STSv1; id=123456789012345678901234567890123"]), None, "33 characters");
    }
}
