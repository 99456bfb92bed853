//! The rewrites of a server's append-only file, by its log.
//! **Owns:** the lines that tell of them. **Never:** I/O.

use std::time::Duration;

use jiff::civil::DateTime;

/// One that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rewrite {
    /// The server began it as its file had grown; else it was asked to.
    pub(crate) is_automatic: bool,
    pub(crate) took: Duration,
}

/// All of a log. One that a death ended is none.
pub(crate) fn of(log: &str) -> Vec<Rewrite> {
    let (mut all, mut is_automatic, mut began) = (Vec::new(), false, None);
    for line in log.lines() {
        if line.contains("Starting automatic rewriting of AOF") {
            is_automatic = true;
        } else if line.contains("Background append only file rewriting started") {
            began = Some((time(line), std::mem::take(&mut is_automatic)));
        } else if line.contains("Background AOF rewrite finished successfully") {
            let (Some((Some(from), is_automatic)), Some(to)) = (began.take(), time(line)) else { continue };
            let took = Duration::try_from(to.duration_since(from)).unwrap_or_default();
            all.push(Rewrite { is_automatic, took });
        } else if line.contains("Server initialized") {
            (is_automatic, began) = (false, None);
        }
    }
    all
}

/// `PID:ROLE DAY MONTH YEAR TIME …`
fn time(line: &str) -> Option<DateTime> {
    let words: Vec<&str> = line.split_whitespace().skip(1).take(4).collect();
    DateTime::strptime("%d %b %Y %H:%M:%S%.f", words.join(" ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_ended_are_told_from_those_that_a_death_cut() {
        let log = "\
7:M 27 Nov 2026 02:12:20.000 # Server initialized
7:M 27 Nov 2026 02:12:27.100 * Background append only file rewriting started by pid 9
7:M 27 Nov 2026 02:12:27.350 * Background AOF rewrite terminated with success
7:M 27 Nov 2026 02:12:27.350 * Background AOF rewrite finished successfully
7:M 27 Nov 2026 02:59:59.900 * Starting automatic rewriting of AOF on 100% growth
7:M 27 Nov 2026 02:59:59.900 * Background append only file rewriting started by pid 10
7:M 27 Nov 2026 03:00:01.900 * Background AOF rewrite finished successfully
7:M 27 Nov 2026 03:05:00.000 * Starting automatic rewriting of AOF on 100% growth
7:M 27 Nov 2026 03:05:00.000 * Background append only file rewriting started by pid 11
8:M 27 Nov 2026 03:05:02.000 # Server initialized
8:M 27 Nov 2026 03:06:00.000 * Background AOF rewrite finished successfully
";
        let millis = Duration::from_millis;
        assert_eq!(
            of(log),
            [
                Rewrite { is_automatic: false, took: millis(250) },
                Rewrite { is_automatic: true, took: millis(2_000) }
            ]
        );
    }
}
