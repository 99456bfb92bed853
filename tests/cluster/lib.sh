# Sourced by the scripts beside it: where things lie, and processes that are started, known and ended by their ids.
#
# A cluster's state folder holds all of it: pids ("PID START-TIME NAME" a line, oldest first), parts/ (how each was
# started), log/, pki/, *.kubeconfig, etcd/ and, on a node, containerd's and the kubelet's folders.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/postrider-cluster}
bin=$cache/bin
export PATH=$bin:$PATH

say() { echo "${0##*/}: $*" >&2; }

# until_ok SECONDS WHAT COMMAND...: in vain, too, if a part ends meanwhile.
until_ok() {
  local end=$((SECONDS + $1)) what=$2 ended
  shift 2
  until "$@" >/dev/null 2>&1; do
    ended=$(ended_part)
    [[ ! $ended ]] || { say "$ended ended while waiting for $what"; return 1; }
    ((SECONDS < end)) || { say "waited in vain for $what"; return 1; }
    sleep 0.1
  done
}

# A part that was started again is its newest process.
ended_part() {
  local pid started name seen=' '
  while read -r pid started name; do
    [[ $seen == *" $name "* ]] || alive "$pid" "$started" || echo "$name"
    seen+="$name "
  done < <(tac "$state/pids")
}

# start_time PID: empty for one that is gone or waits to be buried. It goes with the pid, as a number is used again.
start_time() { sed -n 's/^.*) [^ZX]\( [^ ]*\)\{18\} \([0-9]*\) .*/\2/p' "/proc/$1/stat" 2>/dev/null; }

alive() { [[ -n $2 && $(start_time "$1") == "$2" ]]; } # PID START-TIME

# start NAME COMMAND...: in a session of its own, so that a terminal's signals don't reach it. How it was started is
# kept, to start it again.
start() {
  local name=$1
  shift
  mkdir -p "$state/parts"
  { echo "#!/bin/sh"; printf 'cd %q && exec setsid' "$state"; printf ' %q' "$@"; echo; } >"$state/parts/$name"
  start_again "$name"
}

# start_again NAME
start_again() {
  local pid
  sh "$state/parts/$1" >>"$state/log/$1" 2>&1 </dev/null &
  pid=$!
  disown "$pid"
  echo "$pid $(start_time "$pid") $1" >>"$state/pids"
}

# end PID START-TIME [SECONDS]: asks, and after so many seconds insists; none to insist at once.
end() {
  local i
  alive "$1" "$2" || return 0
  if ((${3:-10} > 0)); then
    kill "$1" 2>/dev/null || true
    for ((i = 0; i < ${3:-10} * 20; i++)); do alive "$1" "$2" || return 0; sleep 0.05; done
  fi
  kill -KILL "$1" 2>/dev/null || true
  for ((i = 0; i < 100; i++)); do alive "$1" "$2" || return 0; sleep 0.05; done
  say "process $1 doesn't end"
}

# each_alive NAME COMMAND...: runs it with the pid and start time of every living process of that name.
each_alive() {
  local name=$1 pid started other
  shift
  while read -r pid started other; do
    if [[ $other == "$name" ]] && alive "$pid" "$started"; then "$@" "$pid" "$started"; fi
  done < <(tac "$state/pids")
}

# stop NAME...
stop() { local name; for name; do each_alive "$name" end; done; }

# certificate NAME SUBJECT [subjectAltName]: signed by the cluster's authority, in the folder where one stands.
key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc)
certificate() {
  {
    # With an extension it is of version 3: others are refused by rustls.
    openssl req -new "${key[@]}" -keyout "$1.key" -out "$1.csr" -subj "$2" -addext keyUsage=digitalSignature ${3:+-addext "subjectAltName=$3"}
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -copy_extensions copyall -out "$1.crt"
  } 2>>"$state/log/openssl"
}

# kubeconfig NAME CREDENTIALS: writes STATE/NAME.kubeconfig; the credentials as YAML flow.
kubeconfig() {
  (umask 077 && cat >"$state/$1.kubeconfig") <<END
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "$(cat "$state/server")", certificate-authority: $state/pki/ca.crt}}]
users: [{name: u, user: {$2}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
END
}
