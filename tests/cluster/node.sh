# Sourced by up.sh after control-plane.sh: the scheduler, containerd, the kubelet, kube-proxy and cluster DNS.

# What the kubelet, kube-proxy and the bridge plugin turn, for down.sh to turn back.
sysctl -e net.ipv4.ip_forward net.ipv4.conf.all.route_localnet kernel.panic kernel.panic_on_oops \
  vm.overcommit_memory vm.panic_on_oom >"$state/sysctl" 2>/dev/null

cd "$state/pki"
user kubelet "/O=system:nodes/CN=system:node:$node" "IP:$address,DNS:$node"
for part in kube-scheduler kube-proxy; do user $part /CN=system:$part; done
cd "$state"
mkdir -p cni run

start kube-scheduler kube-scheduler --kubeconfig=kube-scheduler.kubeconfig --secure-port=0 --leader-elect=false

cat >cni/10-bridge.conflist <<END
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$state/ipam", "ranges": [[{"subnet": "10.88.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
END

cat >containerd.toml <<END
version = 3
root = "$state/containerd"
state = "$state/run/containerd"
[grpc]
address = "$state/run/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "localhost/pause:1"
[plugins.'io.containerd.cri.v1.runtime']
# Where root lacks CAP_SYS_RESOURCE, runc can't lower an oom_score_adj and no pod would start.
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "$state/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
END
start containerd containerd --config=containerd.toml
until_ok 30 containerd ctr --address="$state/run/containerd.sock" version

# import NAME:TAG FILE [IMAGE.SH OPTIONS]
import() {
  "$here/image.sh" "$@" >"$state/image.tar"
  ctr --address="$state/run/containerd.sock" -n k8s.io images import "$state/image.tar" >>"$state/log/ctr" 2>&1
  rm "$state/image.tar"
}
import localhost/pause:1 "$here/pause.c"
import localhost/coredns:1 "$bin/coredns"

cat >kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
containerRuntimeEndpoint: unix://$state/run/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false # works on either version
failSwapOn: false
oomScoreAdj: 0 # it may not lower its own
makeIPTablesUtilChains: false # only markers, which nobody would take away again; kube-proxy makes its own chains
clusterDNS: [$services.10]
clusterDomain: cluster.local
podLogsDir: $state/pod-logs
volumePluginDir: $state/volume-plugins
tlsCertFile: $state/pki/kubelet.crt
tlsPrivateKeyFile: $state/pki/kubelet.key
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: Webhook}
# A full disk of the test machine must not take pods away.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
END
start kubelet kubelet --config=kubelet.yaml --kubeconfig=kubelet.kubeconfig --root-dir="$state/kubelet" \
  --hostname-override=$node --node-ip=$address
start kube-proxy kube-proxy --kubeconfig=kube-proxy.kubeconfig --proxy-mode=iptables --cluster-cidr=$pods \
  --hostname-override=$node --conntrack-max-per-core=0 --oom-score-adj=0 \
  --metrics-bind-address=127.0.0.1:10249 --healthz-bind-address=127.0.0.1:10256

# A test may forward a zone to a nameserver of its own: dns-zone.sh.
kubectl apply -f "$here/manifests/coredns.yaml" >>"$state/log/kubectl"
kubectl -n kube-system create configmap coredns --from-file="$here/manifests/Corefile" >>"$state/log/kubectl"
until_ok 60 "the node" kubectl wait --for=condition=Ready "node/$node" --timeout=5s
until_ok 60 "cluster DNS" kubectl -n kube-system rollout status deployment/coredns --timeout=5s
