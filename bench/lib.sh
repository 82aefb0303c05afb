# Sourced by every datapath. A datapath defines up() and may define
# post_down(), then ends with: main "$@"
#
# up() must leave $A and $B (two network namespaces) each with an eth0 holding
# $ADDR_A and $ADDR_B, and must start every userspace process with spawn, so
# that its CPU time is counted and `down` can end it. $SW is a third namespace
# in which the datapath itself lives: nothing touches the host's own.
set -euo pipefail
A=bench-a B=bench-b SW=bench-sw
ADDR_A=10.99.0.11/24 ADDR_B=10.99.0.12/24
STATE=${BENCH_STATE:-${TMPDIR:-/tmp}/bench-state}
PATH=$PATH:/usr/sbin:/sbin${BENCH_BIN:+:$BENCH_BIN}

skip() { echo "skip: $*" >&2; exit 77; }
need() { command -v "$1" >/dev/null || skip "$1 not found ($2)"; }
in_ns() { ip netns exec "$@"; }

# spawn NS COMMAND...: a datapath process, its pid recorded (ip netns exec execs).
spawn() {
  local ns=$1; shift
  ip netns exec "$ns" "$@" </dev/null >>"$STATE/log" 2>&1 &
  echo $! >>"$STATE/pids"
}

wait_for() { # wait_for COMMAND...: until it succeeds, 5 s at most
  for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.05; done
  echo "timed out: $*" >&2; tail -5 "$STATE/log" >&2; return 1
}

# give IF NS ADDR: move IF out of $SW to be the eth0 of NS.
give() {
  wait_for ip -n "$SW" link show "$1"
  ip -n "$SW" link set "$1" netns "$2" name eth0
  addr "$2" "$3"
}

addr() { # addr NS ADDR
  ip -n "$1" addr add "$2" dev eth0 2>/dev/null || true
  ip -n "$1" link set eth0 up
}

veth() { # veth NS ADDR PORT: eth0 in NS, its other end PORT in $SW
  ip -n "$SW" link add "$3" type veth peer name eth0 netns "$1"
  ip -n "$SW" link set "$3" up
  addr "$1" "$2"
}

bridge() { # a Linux bridge in $SW between two veth pairs
  ip -n "$SW" link add br0 type bridge
  veth "$A" "$ADDR_A" pa; veth "$B" "$ADDR_B" pb
  ip -n "$SW" link set pa master br0; ip -n "$SW" link set pb master br0
  ip -n "$SW" link set br0 up
}

namespaces() {
  mkdir -p "$STATE"; : >"$STATE/pids"; : >"$STATE/log"
  for ns in $A $B $SW; do
    ip netns add "$ns"
    in_ns "$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 \
      net.ipv4.ip_local_port_range="2048 65535" net.ipv4.tcp_tw_reuse=1
    # Per-namespace where the kernel has br_netfilter: off unless a datapath wants it.
    in_ns "$ns" sysctl -qw net.bridge.bridge-nf-call-iptables=0 2>/dev/null || true
    ip -n "$ns" link set lo up
  done
}

down() {
  for pid in $(cat "$STATE/pids" 2>/dev/null); do
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 40); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
    kill -9 "$pid" 2>/dev/null || true
  done
  for ns in $A $B $SW; do ip netns del "$ns" 2>/dev/null || true; done
  rm -rf "$STATE"
}

main() {
  case "${1:-}" in
    up) trap '[ $? = 0 ] || down' EXIT
        if declare -F check >/dev/null; then check; fi
        namespaces; up
        wait_for in_ns "$A" ping -c1 -W1 "${ADDR_B%/*}" ;;
    down) down ;;
    *) echo "usage: $0 up|down" >&2; exit 2 ;;
  esac
}
