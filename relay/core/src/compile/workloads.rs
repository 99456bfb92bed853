//! Clients named by namespace and pod, as the addresses that they have.
//! **Owns:** which pods `allowedClients` means. **Never:** watches pods (the operator does; without it there are none).

use std::collections::BTreeSet;

use ipnet::IpNet;
use postrider_crds::{AllowedClients, LabelSelector};

use crate::manifests::Resources;

/// The pods that are there, seen from one MailRelay.
pub(super) struct Workloads<'r> {
    pub(super) resources: &'r Resources,
    pub(super) namespace: &'r str,
}

impl Workloads<'_> {
    /// The addresses of the pods that are meant, sorted.
    pub(super) fn addresses(&self, allowed: &AllowedClients) -> Vec<IpNet> {
        if !allowed.names_pods() {
            return Vec::new();
        }
        let pods = self.resources.pods.iter();
        let meant = pods.filter(|pod| {
            self.is_namespace(allowed.namespaces.as_ref(), &pod.namespace)
                && allowed.pods.as_ref().is_none_or(|selector| selector.matches(&pod.labels))
        });
        let addresses: BTreeSet<IpNet> =
            meant.flat_map(|pod| &pod.addresses).copied().map(IpNet::from).collect();
        addresses.into_iter().collect()
    }

    fn is_namespace(&self, selector: Option<&LabelSelector>, namespace: &str) -> bool {
        match selector {
            None => namespace == self.namespace,
            Some(selector) => self.resources.is_namespace(selector, namespace),
        }
    }
}
