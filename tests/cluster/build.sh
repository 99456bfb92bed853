#!/usr/bin/env bash
# Builds the parts of a Kubernetes from Go modules, so that neither a registry of images nor a prebuilt binary is
# needed. go.mod and go.sum in the folders beside this file pin every version.
#
#   build.sh                    all that a node needs
#   build.sh --control-plane    all that a control plane alone needs
#   build.sh TARGET...          some of: etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy
#                               kubectl containerd containerd-shim-runc-v2 ctr coredns helm helm4
#
# CLUSTER_CACHE: where binaries go (bin/); what is there of the same go.mod and go.sum is kept.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Static, and without paths of the build machine: the same binary for the same sources.
export CGO_ENABLED=0 GOFLAGS="-trimpath -mod=readonly -buildvcs=false"

control_plane=(etcd kube-apiserver kube-controller-manager)
node=("${control_plane[@]}" kube-scheduler kubelet kube-proxy containerd containerd-shim-runc-v2 ctr coredns)

# version_of FOLDER MODULE
version_of() { sed -n "s|^\(require\)\?[[:space:]]*$2 v\([^ ]*\).*|\2|p" "$here/$1/go.mod"; }

# part NAME FOLDER MODULE PACKAGE [VERSION-VARIABLE]: builds bin/NAME unless it is there from the same sums. Without
# its variable set, a version would read v0.0.0, and clients judge by it.
part() {
  local name=$1 folder=$2 version key start=$SECONDS flags="-s -w"
  version=$(version_of "$folder" "$3")
  key="$version $(cat "$here/$folder/go.mod" "$here/$folder/go.sum" | sha256sum | cut -c1-16)"
  if [[ -x $bin/$name && $(cat "$bin/.$name.version" 2>/dev/null) == "$key" ]]; then
    echo "$name $version: in the cache"
    return
  fi
  command -v go >/dev/null || { say "found no go; expected Go 1.26 or newer in the path; see go.dev/doc/install"; exit 1; }
  case $folder in
    kubernetes)
      local minor=${version#1.} at=k8s.io/component-base/version
      flags+=" -X $at.gitVersion=v$version -X $at.gitMajor=1 -X $at.gitMinor=${minor%.*}"
      ;;
    containerd) flags+=" -X github.com/containerd/containerd/v2/version.Version=v$version" ;;
    helm*) flags+=" -X helm.sh/helm/v${version%%.*}/internal/version.version=v$version" ;;
  esac
  echo "$name $version: building (minutes, the first time)"
  # The snapshotters left out need C headers or devices that a test machine may lack.
  (cd "$here/$folder" && go build -o "$bin/$name" -tags "no_btrfs no_zfs no_devmapper no_aufs" -ldflags "$flags" "$4")
  echo "$key" >"$bin/.$name.version" # last, so that a build that was cut off counts as none
  echo "$name $version: $((SECONDS - start)) s"
}

build() {
  case $1 in
    etcd) part etcd kubernetes k8s.io/kubernetes go.etcd.io/etcd/server/v3 ;; # the one this Kubernetes is tested with
    kube-* | kubelet | kubectl) part "$1" kubernetes k8s.io/kubernetes "k8s.io/kubernetes/cmd/$1" ;;
    containerd | containerd-shim-runc-v2 | ctr)
      part "$1" containerd github.com/containerd/containerd/v2 "github.com/containerd/containerd/v2/cmd/$1" ;;
    coredns) part coredns coredns github.com/coredns/coredns github.com/coredns/coredns ;;
    helm) part helm helm helm.sh/helm/v3 helm.sh/helm/v3/cmd/helm ;;
    helm4) part helm4 helm4 helm.sh/helm/v4 helm.sh/helm/v4/cmd/helm ;;
    *) say "no target '$1'; see the head of this file"; exit 2 ;;
  esac
}

case ${1:-} in
  '') set -- "${node[@]}" ;;
  --control-plane) set -- "${control_plane[@]}" ;;
esac
command -v kubectl >/dev/null || set -- "$@" kubectl

mkdir -p "$bin"
exec 9>"$cache/lock"
flock 9 # two of these would build the same thing twice
for target; do build "$target"; done
