#!/usr/bin/env bash
# Does something to one part of a running cluster, such as kube-apiserver.
#
#   part.sh STATE stop|kill|pause|resume|start NAME
#
# stop ends it as an administrator would, kill by SIGKILL; start brings it up again as it was started first.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

state=$1 verb=$2 name=$3
[[ -f $state/parts/$name ]] || { say "$state has no part '$name'"; exit 1; }

signal() { kill "-$1" "$2"; } # SIGNAL PID START-TIME
kill_at_once() { end "$1" "$2" 0; }
running() { if alive "$1" "$2"; then say "$name is running"; exit 1; fi; }

case $verb in
  stop) stop "$name" ;;
  kill) each_alive "$name" kill_at_once ;;
  pause) each_alive "$name" signal STOP ;;
  resume) each_alive "$name" signal CONT ;;
  start)
    each_alive "$name" running
    start_again "$name"
    ;;
  *) say "no verb '$verb'; see the head of this file"; exit 2 ;;
esac
