//! Quotas that hold for a whole fleet: so many in all, then none. What begins anew, as each day does, has another name.
//! **Owns:** quota.lua, the choice of the shard that keeps a quota. **Never:** which mail has which quota, what a day is.
//! A quota stays on its shard while that is away: none of it is granted then, and none of it twice. It begins anew where shards are
//! added to the queue or taken out of it; and what a primary granted last may be granted again by a replica that is promoted in its place.

use std::time::Duration;

use redis::FromRedisValue as _;

use crate::{
    connection::Purpose,
    error::Unavailable,
    limit::{LIMIT, none_usable, refused, weight},
    script::{Flags, Script},
    shards::Shards,
};

static QUOTA: Script = Script::new("quota", Flags::AllowOom, &[include_str!("scripts/quota.lua")]);

/// A quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota<'a> {
    /// Its name.
    pub key: &'a str,
    /// So many in all.
    pub most: u32,
    /// How long it is remembered once nobody takes of it, to the second.
    pub keep: Duration,
}

impl Shards {
    /// Takes one of a quota; says whether there was one.
    ///
    /// # Errors
    /// If the shard that keeps it gave no answer, or isn't usable. One may have been taken that nobody knows of.
    pub async fn take_quota(&self, quota: &Quota<'_>) -> Result<bool, Unavailable> {
        let all = self.partitions();
        let at = all.into_iter().max_by_key(|at| weight(quota.key, at.name())).ok_or_else(none_usable)?;
        if !self.usable().iter().any(|one| one.name() == at.name()) {
            return Err(refused("the shard that keeps it is not usable"));
        }
        let name = at.keys().named(&format!("quota:{}", quota.key));
        let args = [quota.most.to_string(), quota.keep.as_secs().max(1).to_string()];
        let args = args.each_ref().map(|arg| arg.as_bytes());
        let answer = at.connections().run(Purpose::Delivery, &QUOTA, &[&name], &args, LIMIT).await?;
        bool::from_redis_value(answer).map_err(|error| Unavailable::unreadable(error, "0 or 1"))
    }
}
