#!/usr/bin/env bash
# Makes the cluster's DNS ask a nameserver for the names below a zone, as it would the Internet's.
#
#   dns-zone.sh STATE ZONE ADDRESS:PORT    the node's address is 10.99.0.1
#   dns-zone.sh STATE ZONE -               forgets the zone
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

state=$1 zone=$2 nameserver=$3
kubectl=(kubectl --kubeconfig="$state/admin.kubeconfig" --cache-dir="$state/kubectl-cache" -n kube-system)
if [[ $nameserver == - ]]; then
  data='null'
else
  data="\"$zone:53 {\\n    errors\\n    forward . $nameserver {\\n        max_fails 0\\n    }\\n}\\n\""
fi
"${kubectl[@]}" patch configmap coredns --type=merge -p "{\"data\": {\"$zone.zone\": $data}}" >/dev/null
# A new pod rather than a reload: when it is ready, it knows the zone.
"${kubectl[@]}" rollout restart deployment/coredns >/dev/null
"${kubectl[@]}" rollout status deployment/coredns --timeout=180s >/dev/null
one_pod() { [[ $("${kubectl[@]}" get pods -l k8s-app=kube-dns -o name | wc -l) == 1 ]]; }
until_ok 90 "the DNS of before to be gone" one_pod
