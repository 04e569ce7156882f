#!/usr/bin/env bash
# Sets the power mode of a Jetson and locks its clocks. Asks before it changes anything.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/../scripts/common.sh"

usage() {
  cat <<'TEXT'
Usage: jetson/set_power_mode.sh [--mode ID] [--yes] [--dry-run]
       jetson/set_power_mode.sh --undo [--yes] [--dry-run]

  --mode ID  power mode of nvpmodel (default: the current mode). The mode with the most power is 0,
             or 2 (MAXN SUPER) on an Orin Nano that was flashed with the Super configuration;
             any other Orin Nano has no mode 2
  --undo     restore the mode and the clocks that were set before
  --yes      do not ask
  --dry-run  only print the commands

The clocks are locked at the highest of the mode until the next boot. The mode is kept; for some
changes nvpmodel asks whether to reboot.

Environment:
  XPNET_POWER_STATE  folder of the stored mode and clocks (default: /var/lib/xpnet/power)
TEXT
}

state=${XPNET_POWER_STATE:-/var/lib/xpnet/power}
mode="" undo="" yes=""
while [ $# -gt 0 ]; do
  case $1 in
    --mode)
      require_value "$@"
      mode=$2
      shift
      ;;
    --undo) undo=yes ;;
    --yes) yes=yes ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$1' (--help lists all options)" ;;
  esac
  shift
done

machine=$(detect_machine)
[ "$machine" = jetson ] || fail "this machine is $machine: expected a Jetson, which has nvpmodel and jetson_clocks"
for program in nvpmodel jetson_clocks; do
  command -v "$program" > /dev/null || fail "$program is not installed: expected a Jetson with JetPack"
done

# Asks for confirmation, unless --yes or --dry-run is given.
confirm() {
  [ -z "$yes$dry_run" ] || return 0
  read -r -p "Continue? [y/N] " answer || true
  case ${answer-} in y | Y | yes) ;; *) info "nothing was changed" && exit 0 ;; esac
}

# The last line of `nvpmodel -q` is the number of the mode, the line before it the name.
query=$(nvpmodel -q 2>&1) || fail "nvpmodel -q: $(tail -n 1 <<< "$query"); try it as root"
current=$(tail -n 1 <<< "$query")
info "current mode: $(sed -n 's/^NV Power Mode: //p' <<< "$query") ($current)"
modes=$(nvpmodel -p --verbose) || fail "nvpmodel -p --verbose: $(tail -n 1 <<< "$modes")"
info "modes: $(sed -n 's/.*POWER_MODEL: ID=\([0-9]*\) NAME=\(.*\)/\1 \2,/p' <<< "$modes" | tr '\n' ' ')"

if [ -n "$undo" ]; then
  [ -f "$state/mode" ] || fail "$state/mode does not exist: nothing to undo"
  previous=$(cat "$state/mode")
  info "will set mode $previous and restore the clocks of $state/clocks.conf"
  confirm
  run_as_root nvpmodel -m "$previous"
  run_as_root jetson_clocks --restore "$state/clocks.conf"
  run_as_root rm -r "$state"
  exit 0
fi

mode=${mode:-$current}
[[ $mode =~ ^[0-9]+$ ]] || fail "--mode $mode: expected a number"
# Not a pipe: `grep -q` would close it while nvpmodel still writes, and the mode would seem missing.
grep -q "POWER_MODEL: ID=$mode " <<< "$modes" || fail "--mode $mode: this Jetson has no such mode (see above)"
info "will set mode $mode and lock the clocks at its highest"
confirm
if [ ! -f "$state/mode" ]; then # --undo restores the state before the first change
  run_as_root mkdir -p "$state"
  run_as_root rm -f "$state/clocks.conf" # of an interrupted run: jetson_clocks asks before it overwrites a file
  run_as_root jetson_clocks --store "$state/clocks.conf"
  run_as_root sh -c "echo $current > '$state/mode'"
fi
[ "$mode" = "$current" ] || run_as_root nvpmodel -m "$mode"
run_as_root jetson_clocks
info "done; 'jetson/set_power_mode.sh --undo' restores the previous state"
