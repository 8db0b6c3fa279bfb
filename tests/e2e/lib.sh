# Shared by the end-to-end tests. A test sources it first; from then on it runs in network, process and mount
# namespaces of its own, so that whatever it starts ends with it, however it ends.
#
#     . "$(dirname "$0")/lib.sh"
#     make_world                           a bridge, and behind it a far host with many addresses
#     boot_guest server --kernel 6.1       on tap "tap-server", 10.77.0.11 and fd77::11
#     start_in_world serve smtp            runs there, once it says "ready"
#     in_guest server 'deliver -n 3 10.78.0.1'
#     claim "mail is delivered" test "$delivered" -eq 3
#
# Addresses: the bridge br0 (this host) 10.77.0.1, fd77::1; the world 10.77.0.2, fd77::2 and every address of
# 10.78.0.0/16 and fd78::/64; guests from 10.77.0.11, fd77::11 on, with a default route through the world.
# HYPERWARD names the binary under test. $scratch is a folder of the test's own.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
hyperward=${HYPERWARD:-$root/build/dev/src/cli/hyperward}

if [[ ${HYPERWARD_E2E_INSIDE:-no} == no ]]; then
  [[ $EUID -eq 0 ]] || { echo "$0: needs root, for namespaces and taps" >&2; exit 1; }
  HYPERWARD_E2E_INSIDE=yes exec unshare --net --mount --pid --fork --kill-child --mount-proc -- bash "$0" "$@"
fi
unset HYPERWARD_E2E_INSIDE

scratch=$(mktemp -d -t hyperward-e2e-XXXXXX)
world_pid=
guest_count=0

end_test() {
  local status=$? state
  trap - EXIT
  for state in "$scratch"/guest-*; do
    [[ -d $state ]] && "$root/tests/guest/stop" "$state"
  done
  if [[ $status -ne 0 ]]; then
    echo "failed: $(basename "$0"), status $status" >&2
    tail -n 20 "$scratch"/*.log >&2 2>/dev/null || true
  fi
  rm -rf "$scratch"
  exit "$status"
}
trap end_test EXIT
trap 'exit 130' INT TERM

mount -t bpf bpf /sys/fs/bpf  # pins of this test only
ip link set lo up

make_world() {
  ip link add br0 type bridge
  ip addr add 10.77.0.1/24 dev br0
  ip addr add fd77::1/64 dev br0 nodad
  ip link set br0 up
  unshare --net -- sleep infinity &
  world_pid=$!
  wait_until 5 world_stands
  ip link add to-world type veth peer name eth0 netns "$world_pid"
  ip link set to-world master br0 up
  in_world ip link set lo up
  in_world ip addr add 10.77.0.2/24 dev eth0
  in_world ip addr add fd77::2/64 dev eth0 nodad
  in_world ip link set eth0 up
  in_world ip route add local 10.78.0.0/16 dev lo
  in_world ip -6 route add local fd78::/64 dev lo
  ip route add 10.78.0.0/16 via 10.77.0.2
  ip -6 route add fd78::/64 via fd77::2
}

world_stands() { [[ $(readlink "/proc/$world_pid/ns/net") != $(readlink /proc/self/ns/net) ]]; }

# in_world COMMAND...: programs of tests/guest/programs are found by name there.
in_world() {
  local command=$1
  [[ -f $root/tests/guest/programs/$1.c ]] && command=$("$root/tests/guest/program" "$1")
  nsenter --target "$world_pid" --net -- "$command" "${@:2}"
}

# start_in_world PROGRAM ARGUMENTS...: in the background; its output is $scratch/PROGRAM-LAST_ARGUMENT.log
start_in_world() {
  local log=$scratch/$1-${!#}.log
  in_world "$@" >"$log" 2>&1 &
  wait_until 10 grep -q ^ready "$log"
}

# boot_guest NAME [OPTIONS OF tests/guest/boot...]
boot_guest() {
  local name=$1 number=$((11 + guest_count++))
  ip tuntap add "tap-$name" mode tap
  ip link set "tap-$name" master br0 up
  "$root/tests/guest/boot" --detach "$scratch/guest-$name" --tap "tap-$name" --mac "52:54:00:77:00:$number" \
    --ip4 "10.77.0.$number/24" --gw4 10.77.0.2 --ip6 "fd77::$number/64" --gw6 fd77::2 "${@:2}" >/dev/null
}

# in_guest NAME COMMAND: a line for the guest's shell; its output and its exit status
in_guest() { "$root/tests/guest/in" "$scratch/guest-$1" -- "${*:2}"; }

guest_pid() { cat "$scratch/guest-$1/pid"; }
guest_qmp() { echo "$scratch/guest-$1/qmp.sock"; }

# wait_until SECONDS COMMAND...
wait_until() {
  local end=$((SECONDS + $1))
  until "${@:2}"; do
    [[ $SECONDS -lt $end ]] || { echo "not within $1 s: ${*:2}" >&2; return 1; }
    sleep 0.05
  done
}

# claim "what must hold" COMMAND...
claim() {
  if "${@:2}"; then echo "ok: $1"; else echo "NOT SO: $1 (${*:2})" >&2; exit 1; fi
}
