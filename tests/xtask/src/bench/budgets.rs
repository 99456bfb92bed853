//! What was promised beside what was found.
//! **Owns:** the bounds of design §9. **Never:** fails the bench: a machine may be too small or too busy.

use super::figures::{Figure, Figures, plain};

/// Which number of a figure is bound, and how.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// Ours to Postfix's, at least.
    RatioFrom(f64),
    /// Ours to Postfix's, at most.
    RatioTo(f64),
    /// Ours, at least.
    From(f64),
    /// Ours, at most.
    To(f64),
}

/// A promise: what it is of, the figure, what must hold, what is aimed at.
struct Budget {
    what: &'static str,
    figure: &'static str,
    must: Bound,
    aim: Option<f64>,
}

/// What became of a promise.
pub(crate) struct Verdict {
    pub(crate) what: &'static str,
    pub(crate) figure: &'static str,
    pub(crate) bound: String,
    pub(crate) found: String,
    pub(crate) word: &'static str,
}

const fn budget(what: &'static str, figure: &'static str, must: Bound, aim: Option<f64>) -> Budget {
    Budget { what, figure, must, aim }
}

const ALL: &[Budget] = &[
    budget("4 KiB, a connection each: speed", "end_to_end_4k_50", Bound::RatioFrom(4.0), Some(5.0)),
    budget("… CPU a message", "cpu_per_message_4k_50", Bound::RatioTo(0.2), Some(0.125)),
    budget("connections used again: speed", "end_to_end_4k_50_reused", Bound::RatioFrom(6.0), Some(9.0)),
    budget("64 KiB: speed", "end_to_end_64k_50", Bound::RatioFrom(3.0), None),
    budget("1,000 domains by MX: speed", "end_to_end_4k_50_mx1000", Bound::RatioFrom(3.0), None),
    budget("scripts a message", "redis_scripts_per_message_4k_50", Bound::To(2.0), None),
    budget(
        "idle: 250 to the far side's, p99, ms over a sync",
        "latency_p99_over_sync",
        Bound::To(10.0),
        None,
    ),
    budget("a million waiting: relay's memory, MiB", "backlog_relay_rss", Bound::To(150.0), None),
    budget("… share of the empty queue's speed", "backlog_fast_path_share", Bound::From(0.9), None),
    budget("a dead destination: share of others' speed", "isolation_share", Bound::From(0.95), None),
    budget(
        "a sender with a long queue: another's wait, p99, s, by class",
        "fairness_class_p99",
        Bound::To(2.0),
        None,
    ),
    budget("… by the sender's domain alone", "fairness_domain_p99", Bound::To(2.0), None),
    budget(
        "TLS out, connections used again: share of clear text's speed",
        "tls_out_share",
        Bound::From(0.7),
        None,
    ),
    budget("a signature (RSA-2048): CPU over openssl's", "signing_cpu_over_openssl", Bound::To(1.5), None),
    budget("limits set, none reached: share of the speed without", "limits_share", Bound::From(0.8), None),
    budget("a limit over four relays that come and go: share used", "limits_used", Bound::From(0.98), None),
    budget("… messages beyond limit and burst, worst window", "limits_beyond", Bound::To(0.0), None),
    budget(
        "10,000 sites whose mail waits for a limit: scripts over those at rest",
        "limits_waiting_over_rest",
        Bound::To(1.5),
        None,
    ),
    budget("a far side that says slow down: share of what it wants", "pace_settled", Bound::From(0.8), None),
    budget("… share of what came that it refused", "pace_settled_refused", Bound::To(0.2), None),
    budget("… once it wants five times as much", "pace_recovered", Bound::From(0.8), None),
    budget("… share refused then", "pace_recovered_refused", Bound::To(0.2), None),
    budget("a relay killed: all claimed within, s", "failover_all_claimed", Bound::To(6.0), None),
    budget("… messages lost", "failover_lost", Bound::To(0.0), None),
    budget("two relays over one, as they are", "two_relays_over_one", Bound::From(1.6), None),
    budget("… each held to a fifth of a core", "two_relays_held_over_one", Bound::From(1.6), None),
    budget("idle relay: memory, MiB", "idle_relay_rss", Bound::To(30.0), None),
    budget("… CPU, % of a core", "idle_relay_cpu", Bound::To(1.0), None),
];

/// Each promise that something was found for.
pub(crate) fn verdicts(figures: &Figures) -> Vec<Verdict> {
    ALL.iter().filter_map(|budget| budget.verdict(figures)).collect()
}

/// For people.
pub(crate) fn tell(figures: &Figures) {
    for verdict in verdicts(figures) {
        eprintln!("{}: {} (expected {}): {}", verdict.what, verdict.found, verdict.bound, verdict.word);
    }
}

impl Budget {
    fn verdict(&self, figures: &Figures) -> Option<Verdict> {
        let found = self.found(figures)?;
        let reaches = |limit: f64| match self.must {
            Bound::RatioFrom(_) | Bound::From(_) => found >= limit,
            Bound::RatioTo(_) | Bound::To(_) => found <= limit,
        };
        let (sign, limit, times) = match self.must {
            Bound::RatioFrom(limit) => ("≥", limit, "x"),
            Bound::RatioTo(limit) => ("≤", limit, "x"),
            Bound::From(limit) => ("≥", limit, ""),
            Bound::To(limit) => ("≤", limit, ""),
        };
        let word = match self.aim {
            Some(aim) if reaches(aim) => "holds, aim reached",
            _ if reaches(limit) => "holds",
            _ => "missed",
        };
        let aim = self.aim.map(|aim| format!(", aim {}{times}", plain(aim))).unwrap_or_default();
        Some(Verdict {
            what: self.what,
            figure: self.figure,
            bound: format!("{sign} {}{times}{aim}", plain(limit)),
            found: format!("{}{times}", plain(found)),
            word,
        })
    }

    fn found(&self, figures: &Figures) -> Option<f64> {
        if self.figure == "latency_p99_over_sync" {
            let of = |name: &str| Some(figures.of(name)?.postrider);
            return Some((of("latency_p99_4k_idle")? - of("sync_4k")?).max(0.0));
        }
        let figure: &Figure = figures.of(self.figure)?;
        match self.must {
            Bound::RatioFrom(_) | Bound::RatioTo(_) => figure.ratio,
            Bound::From(_) | Bound::To(_) => Some(figure.postrider),
        }
    }
}
