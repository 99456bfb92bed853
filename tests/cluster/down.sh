#!/usr/bin/env bash
# Takes down what up.sh brought up: ends its processes by their ids, newest first, and removes mounts, links, firewall
# rules, cgroups and the state folder. It may be run on one that is half up, half down, or was cut off.
#
#   down.sh STATE      CLUSTER_KEEP=1 keeps the folder, for its logs
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

state=${1:?which cluster? Give the state folder that up.sh printed}
[[ -f $state/pids ]] || { say "$state isn't the state of a cluster"; exit 1; }
export KUBECONFIG=$state/admin.kubeconfig KUBECACHEDIR=$state/kubectl-cache

gone() {
  if [[ ${CLUSTER_KEEP:-} == 1 ]]; then echo "down; logs in $state/log"; exit; fi
  rm -rf --one-file-system "$state"
  echo down
  exit
}

if [[ -e $state/control-plane ]]; then
  tac "$state/pids" | while read -r pid started _; do end "$pid" "$started" 0; done
  gone
fi

# Pods go while there is a kubelet to end them, and after those who would make new ones.
stop kube-scheduler kube-controller-manager
kubectl delete pods --all --all-namespaces --grace-period=1 --timeout=60s --request-timeout=60s >/dev/null 2>&1 || true
stop kube-proxy
"$bin/kube-proxy" --cleanup >"$state/log/kube-proxy-cleanup" 2>&1 || true
for tables in iptables ip6tables; do # a chain that --cleanup leaves to the kubelet, which no longer cares
  for hook in INPUT OUTPUT; do $tables -D $hook -j KUBE-FIREWALL; done
  $tables -F KUBE-FIREWALL && $tables -X KUBE-FIREWALL
done 2>/dev/null || true
stop kubelet

# A shim outlives containerd: one whose pod didn't go is known by the socket it was started with.
for cmdline in /proc/[0-9]*/cmdline; do
  pid=${cmdline//[!0-9]/}
  if tr '\0' ' ' 2>/dev/null <"$cmdline" | grep -qF -- "-address $state/run/containerd.sock"; then
    end "$pid" "$(start_time "$pid")"
  fi
done
stop containerd kube-apiserver etcd

# Deepest first; a path in mountinfo has its blanks written as \040.
cut -d' ' -f5 /proc/self/mountinfo | grep -F "$state/" | sort -r | while read -r mount; do
  umount "$(printf %b "$mount")" || umount -l "$(printf %b "$mount")"
done || true
if [[ -e $state/links ]]; then for link in cni0 kube0; do ip link del "$link" 2>/dev/null || true; done; fi
[[ ! -e $state/sysctl ]] || sysctl -q -e -p "$state/sysctl" || true
# The kubelet's links to logs have a fixed place; those of this cluster point into its folder.
if [[ -d /var/log/containers ]]; then find /var/log/containers -lname "$state/*" -delete; fi
find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {} + 2>/dev/null || true
gone
