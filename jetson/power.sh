#!/usr/bin/env bash
# Power mode and clocks of a Jetson: shows what it would do, asks, and can be undone.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/../scripts/common.sh"

usage() {
  cat <<'TEXT'
Usage: jetson/power.sh [--mode ID] [--yes] [--dry-run]
       jetson/power.sh --undo [--yes] [--dry-run]

  --mode ID  nvpmodel's power mode (default: the one that is set); NVIDIA takes 0 for the most
             power, and 2 (MAXN SUPER) on an Orin Nano that was flashed with the Super
             configuration; any other Orin Nano has no mode 2
  --undo     mode and clocks as they were before
  --yes      do not ask
  --dry-run  only show

Clocks are locked at the mode's highest until the next start; a mode stays, and for some changes
nvpmodel asks whether to restart.
TEXT
}

# What there was before, for --undo.
state=${XPNET_POWER_STATE:-/var/lib/xpnet/power}
mode="" undo="" yes=""
while [ $# -gt 0 ]; do
  case $1 in
    --mode)
      need "$@"
      mode=$2
      shift
      ;;
    --undo) undo=yes ;;
    --yes) yes=yes ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$1' (--help lists all)" ;;
  esac
  shift
done

machine=$(machine)
[ "$machine" = jetson ] || fail "this machine is $machine: only a Jetson has nvpmodel and jetson_clocks"
for program in nvpmodel jetson_clocks; do
  command -v "$program" > /dev/null || fail "no $program: expected a Jetson with JetPack"
done

ask() {
  [ -z "$yes$dry_run" ] || return 0
  read -r -p "Do it? [y/N] " answer || true
  case ${answer-} in y | Y | yes) ;; *) say "nothing was changed" && exit 0 ;; esac
}

# The last line of `nvpmodel -q` is the mode's number, the one before it its name.
query=$(nvpmodel -q 2>&1) || fail "nvpmodel -q: $(tail -n 1 <<< "$query"); try it as root"
now=$(tail -n 1 <<< "$query")
say "mode now: $(sed -n 's/^NV Power Mode: //p' <<< "$query") ($now)"
modes=$(nvpmodel -p --verbose) || fail "nvpmodel -p --verbose: $(tail -n 1 <<< "$modes")"
say "modes: $(sed -n 's/.*POWER_MODEL: ID=\([0-9]*\) NAME=\(.*\)/\1 \2,/p' <<< "$modes" | tr '\n' ' ')"

if [ -n "$undo" ]; then
  [ -f "$state/mode" ] || fail "$state/mode: nothing to undo"
  before=$(cat "$state/mode")
  say "would set mode $before and the clocks of $state/clocks.conf"
  ask
  as_root nvpmodel -m "$before"
  as_root jetson_clocks --restore "$state/clocks.conf"
  as_root rm -r "$state"
  exit 0
fi

mode=${mode:-$now}
[[ $mode =~ ^[0-9]+$ ]] || fail "--mode $mode: expected a number"
# Not by a pipe, which grep -q may close while nvpmodel still writes: that would read as no such mode.
grep -q "POWER_MODEL: ID=$mode " <<< "$modes" || fail "--mode $mode: this Jetson has no such mode (see above)"
say "would set mode $mode and lock the clocks at its highest"
ask
if [ ! -f "$state/mode" ]; then # what was stored first is what --undo restores
  as_root mkdir -p "$state"
  as_root rm -f "$state/clocks.conf" # of a run that was cut off: jetson_clocks asks before it writes over
  as_root jetson_clocks --store "$state/clocks.conf"
  as_root sh -c "echo $now > '$state/mode'"
fi
[ "$mode" = "$now" ] || as_root nvpmodel -m "$mode"
as_root jetson_clocks
say "done; jetson/power.sh --undo goes back"
