//! How far a configuration has come: the pods' hashes.
//! **Owns:** when it counts as programmed. **Never:** asks a pod.

use crate::gather::RelayPod;

/// How far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rollout {
    /// Pods that are ready and stay.
    pub ready: usize,
    /// Those of them that run it.
    pub current: usize,
    /// Pods that couldn't load it: `POD: why`.
    pub failures: Vec<String>,
}

impl Rollout {
    /// Whether every ready pod runs it, and there is one.
    pub fn is_programmed(&self) -> bool {
        self.ready > 0 && self.current == self.ready
    }
}

/// How far `hash` has come.
pub fn rollout(pods: &[RelayPod], hash: &str) -> Rollout {
    let mut rollout = Rollout::default();
    for pod in pods.iter().filter(|pod| pod.is_ready && !pod.is_ending) {
        rollout.ready += 1;
        let Some(report) = &pod.report else { continue };
        if report.config.hash == hash {
            rollout.current += 1;
        } else if let Some(error) = &report.config.error {
            rollout.failures.push(format!("{}: {error}", pod.name));
        }
    }
    rollout
}

/// Whether a pod has yet to be told: it runs something else, or its annotation says something else.
pub fn needs_nudge(pod: &RelayPod, hash: &str) -> bool {
    !pod.is_ending && pod.annotated_hash.as_deref() != Some(hash)
}
