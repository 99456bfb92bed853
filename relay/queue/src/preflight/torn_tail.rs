//! The cure for a torn append-only file: a rewrite after each start of a server whose loader leaves an open transaction in the file
//! (valkey-io/valkey#4342; Redis has the same loader). Without it, what is written after a crash can vanish at the *next* start.
//! **Owns:** the `server` hash's `rewriting` and `cleared` fields. **Never:** waits for longer than a new connection may.

use std::time::Duration;

use super::{Ask, Facts};
use crate::{error::Unavailable, keys::Keys};

/// One pod starts the rewrite; the others wait for it. Should that pod die first, the next one may after this time.
const LOCK: Duration = Duration::from_secs(10);
/// How long one check waits; whoever comes next goes on waiting.
const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);

/// Returns once the server's file has no torn tail: at once where none can be, or where this life of the server was rewritten.
///
/// # Errors
/// If the rewrite isn't over yet, fails or is forbidden.
pub async fn clear_torn_tail(ask: &mut Ask<'_>, keys: &Keys, facts: &Facts) -> Result<(), Unavailable> {
    if !facts.version.has_torn_tail_bug() {
        return Ok(());
    }
    let server = keys.named("server");
    let waits = PATIENCE.as_millis() / POLL.as_millis();
    for _ in 0..waits {
        let fields: (Option<String>, Option<String>) =
            ask.read(redis::cmd("HMGET").arg(&server).arg("rewriting").arg("cleared")).await?;
        if fields.1.as_deref() == Some(&*facts.run_id) {
            return Ok(());
        }
        let info: String = ask.read(redis::cmd("INFO").arg("persistence")).await?;
        let rewrite = super::facts::Rewrite::parse(&info);
        let is_ours = fields.0.as_deref() == Some(&*facts.run_id);
        if is_ours && !rewrite.is_running && rewrite.last_ok {
            return ask.read(redis::cmd("HSET").arg(&server).arg("cleared").arg(&*facts.run_id)).await;
        }
        if !rewrite.is_running && take_lock(ask, keys, &facts.run_id).await? {
            start(ask, &server, &facts.run_id).await?;
        }
        tokio::time::sleep(POLL).await;
    }
    Err(Unavailable::Refused {
        reason: format!(
            "append-only file: found a rewrite under way on {}, which may have a torn tail; expected it to end; wait",
            facts.version
        )
        .into(),
    })
}

/// The lock is of this life of the server alone: one of the life before is in its file too.
async fn take_lock(ask: &mut Ask<'_>, keys: &Keys, run_id: &str) -> Result<bool, Unavailable> {
    let mut lock = redis::cmd("SET");
    lock.arg(keys.named(&format!("rewrite-lock:{run_id}")))
        .arg(1)
        .arg("NX")
        .arg("PX")
        .arg(LOCK.as_millis() as u64);
    ask.read::<Option<String>>(&lock).await.map(|taken| taken.is_some())
}

async fn start(ask: &mut Ask<'_>, server: &str, run_id: &str) -> Result<(), Unavailable> {
    match ask.ask(&redis::cmd("BGREWRITEAOF")).await {
        Ok(_) => {}
        // The server began one by itself since: as good as ours, for it began after the start.
        Err(Unavailable::Failed { reply }) if reply.contains("in progress") => {}
        Err(Unavailable::Failed { reply }) => {
            return Err(Unavailable::Refused {
                reason: format!(
                    "BGREWRITEAOF: found {reply}; expected it to be allowed: this version needs it after each start; grant \
                     `+bgrewriteaof` to the relay's user, or upgrade the server"
                )
                .into(),
            });
        }
        Err(other) => return Err(other),
    }
    ask.read(redis::cmd("HSET").arg(server).arg("rewriting").arg(run_id)).await
}
