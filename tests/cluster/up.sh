#!/usr/bin/env bash
# Brings up a Kubernetes from what build.sh built. down.sh takes it away again.
#
#   up.sh                                            a node: control plane, containerd, kubelet, kube-proxy, cluster DNS.
#                                                    As root, on addresses of a bridge of its own, one at a time
#   up.sh --control-plane [--controller-manager]     etcd and the API server on free ports of loopback; many at a time
#   up.sh … --hold                                   stays until its standard input ends, then takes all of it down
#
# Then: export KUBECONFIG=STATE/admin.kubeconfig
# CLUSTER_STATE: an absolute path, not longer than 60 characters (sockets lie in it); a fresh temporary folder unless
# given. CLUSTER_CACHE: as in build.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

control_plane='' controller_manager='' hold=''
for option; do
  case $option in
    --control-plane) control_plane=1 ;;
    --controller-manager) controller_manager=1 ;;
    --hold) hold=1 ;;
    *) say "no option '$option'; see the head of this file"; exit 2 ;;
  esac
done

node=node0 address=10.99.0.1 services=10.96.0 pods=10.88.0.0/16 # /16 is the range of all nodes, /24 is this one's
parts=(etcd kube-apiserver)
if [[ $control_plane ]]; then
  address=127.0.0.1
else
  controller_manager=1
  parts+=(kube-scheduler kubelet kube-proxy containerd ctr coredns)
  [[ ! -e /sys/class/net/kube0 ]] || { say "found the bridge kube0: another cluster is up; down.sh STATE first"; exit 1; }
  [[ $(id -u) == 0 ]] || { say "found user $(id -un); expected root: a node makes links, mounts and firewall rules"; exit 1; }
fi
[[ ! $controller_manager ]] || parts+=(kube-controller-manager)
for part in "${parts[@]}"; do
  [[ -x $bin/$part ]] || { say "found no $bin/$part; run cargo xtask cluster build"; exit 1; }
done
state=${CLUSTER_STATE:-$(mktemp -d -t postrider-cluster.XXXXXX)}
((${#state} <= 60)) || { say "found the state folder $state; expected at most 60 characters"; exit 1; }
[[ ! -e $state/pids ]] || { say "$state was used before; give another CLUSTER_STATE"; exit 1; }
export KUBECONFIG=$state/admin.kubeconfig KUBECACHEDIR=$state/kubectl-cache
mkdir -p "$state"/{pki,log} && chmod 700 "$state" "$state/pki"
: >"$state/pids"
[[ ! $control_plane ]] || : >"$state/control-plane"

# A cluster that is half up is of no use, and its leftovers stand in the way of the next.
failed() {
  trap - EXIT
  trap '' PIPE # even if nobody reads it
  for log in "$state"/log/*; do
    [[ $log == *.jsonl ]] || { echo "== $log" && tail -n 5 "$log"; } >&2 || true
  done
  "$here/down.sh" "$state"
  exit 1
}
trap failed EXIT

free_port() { # of loopback, below those that the system gives to clients
  local port
  while port=$((10000 + RANDOM % 22000)) && (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  echo "$port"
}

. "$here/control-plane.sh"
[[ $control_plane ]] || . "$here/node.sh"

trap - EXIT
echo "up in $SECONDS s: export KUBECONFIG=$state/admin.kubeconfig; end it with: $here/down.sh $state"
if [[ $hold ]]; then
  exec >/dev/null
  cat >/dev/null || true # until whoever holds the other end has gone
  "$here/down.sh" "$state"
fi
