# Sourced by up.sh: keys, etcd, the API server, and the controller manager where it is wanted.

# One authority for all; what a client may do hangs on its name and groups alone.
cd "$state/pki"
openssl req -x509 "${key[@]}" -keyout ca.key -out ca.crt -days 30 -subj /CN=cluster-ca 2>>"$state/log/openssl"
apiserver_port=6443
[[ ! $control_plane ]] || apiserver_port=$(free_port)
echo "https://$address:$apiserver_port" >"$state/server"
user() { # NAME SUBJECT [subjectAltName]: a certificate, and a kubeconfig that shows it
  certificate "$@"
  kubeconfig "$1" "client-certificate: $state/pki/$1.crt, client-key: $state/pki/$1.key"
}

certificate apiserver /CN=kube-apiserver "IP:$address,IP:$services.1,IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
user admin /O=system:masters/CN=admin
[[ ! $controller_manager ]] || user kube-controller-manager /CN=system:kube-controller-manager
openssl ecparam -name prime256v1 -genkey -noout -out service-account.key
cd "$state"

# Who did what and was denied what, but the control plane itself: tests read it.
cat >audit.yaml <<'END'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy"]}
- {level: None, userGroups: ["system:nodes", "system:serviceaccounts:kube-system"]}
- {level: None, namespaces: [kube-system]}
- {level: None, nonResourceURLs: ["/*"]}
- {level: Metadata}
END

etcd_port=$(free_port) peer_port=$(free_port)
start etcd etcd --name=etcd --data-dir="$state/etcd" --unsafe-no-fsync \
  --listen-client-urls="http://127.0.0.1:$etcd_port" --advertise-client-urls="http://127.0.0.1:$etcd_port" \
  --listen-peer-urls="http://127.0.0.1:$peer_port" --initial-advertise-peer-urls="http://127.0.0.1:$peer_port" \
  --initial-cluster="etcd=http://127.0.0.1:$peer_port"

apiserver=(--etcd-servers="http://127.0.0.1:$etcd_port"
  --bind-address="$address" --advertise-address="$address" --secure-port="$apiserver_port"
  --service-cluster-ip-range="$services.0/16" --authorization-mode=Node,RBAC
  --enable-admission-plugins=NodeRestriction --allow-privileged
  --client-ca-file=pki/ca.crt --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key
  --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=pki/service-account.key
  --service-account-signing-key-file=pki/service-account.key
  --audit-policy-file=audit.yaml --audit-log-path="$state/log/audit.jsonl" --audit-log-maxsize=1000)
if [[ $control_plane ]]; then
  apiserver+=(--endpoint-reconciler-type=none) # an endpoint can't be at loopback
else
  (cd pki && certificate apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client)
  apiserver+=(--kubelet-certificate-authority=pki/ca.crt --kubelet-client-certificate=pki/apiserver-kubelet-client.crt
    --kubelet-client-key=pki/apiserver-kubelet-client.key --kubelet-preferred-address-types=InternalIP)
  # The node's address: on a bridge, as loopback can't be a node's address and a dummy device isn't everywhere. It is
  # what says that a cluster is up, too.
  ip link add kube0 type bridge
  : >"$state/links"
  ip addr add "$address/24" dev kube0
  ip link set kube0 up
fi
start kube-apiserver kube-apiserver "${apiserver[@]}"
# kubectl would take longer to start than this to answer.
until_ok 60 "the API server" curl --silent --fail --cacert pki/ca.crt --cert pki/admin.crt --key pki/admin.key \
  "$(cat server)/readyz"

if [[ $controller_manager ]]; then
  # Port 0: it serves nothing.
  start kube-controller-manager kube-controller-manager --kubeconfig=kube-controller-manager.kubeconfig \
    --secure-port=0 --leader-elect=false --use-service-account-credentials --root-ca-file=pki/ca.crt \
    --service-account-private-key-file=pki/service-account.key \
    --cluster-signing-cert-file=pki/ca.crt --cluster-signing-key-file=pki/ca.key
fi
