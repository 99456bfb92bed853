#!/usr/bin/env bash
# Writes STATE/NAME.kubeconfig for somebody else than the administrator; prints its path.
#
#   user.sh STATE certificate NAME [GROUP...]      a person's, by certificate
#   user.sh STATE token NAMESPACE SERVICEACCOUNT   a pod's, by a token of the TokenRequest API, good for a day
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

state=$1 by=$2
case $by in
  certificate)
    name=$3 subject=/CN=$3
    for group in "${@:4}"; do subject+=/O=$group; done
    file=user-${name//[^a-zA-Z0-9.-]/-}
    cd "$state/pki"
    certificate "$file" "$subject"
    kubeconfig "$file" "client-certificate: $state/pki/$file.crt, client-key: $state/pki/$file.key"
    ;;
  token)
    file=token-$3-$4
    token=$(kubectl --kubeconfig="$state/admin.kubeconfig" --request-timeout=10s create token -n "$3" "$4" --duration=24h)
    kubeconfig "$file" "token: $token"
    ;;
  *) say "no way '$by'; see the head of this file"; exit 2 ;;
esac
echo "$state/$file.kubeconfig"
