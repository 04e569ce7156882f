# shellcheck shell=bash
# Functions and paths that the other scripts share. Source it; it changes nothing by itself.
# shellcheck disable=SC2034  # the variables are used by the scripts that source this file
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
name=$(basename "$0" .sh)
deepstream_dir=/opt/nvidia/deepstream/deepstream
demo_clip=$root/docs/demo/colonoscopy.mp4
dry_run=""

# Prints a message with the script's name.
info() { echo "$name: $*"; }

# Prints one error line and exits with 2.
fail() {
  echo "$name: $*" >&2
  exit 2
}

# Runs a command. With --dry-run, only prints it.
run() {
  if [ -z "$dry_run" ]; then "$@"; else printf '+%s\n' "$(printf ' %q' "$@")"; fi
}

# The same as root, with sudo if needed.
run_as_root() {
  local sudo=()
  if [ -z "$dry_run" ] && [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || fail "needs root, and sudo is not installed: ask an administrator to run: $*"
    sudo=(sudo)
  fi
  run ${sudo[@]+"${sudo[@]}"} "$@"
}

# Checks that an option has a value: `require_value "$@"`, then the value is $2.
require_value() { [ $# -ge 2 ] || fail "$1: value is missing (--help lists all options)"; }

# Prints what this machine is: jetson, rtx (an NVIDIA GPU with its driver) or cpu.
detect_machine() {
  case $(uname -m) in
    x86_64) if nvidia-smi -L > /dev/null 2>&1; then echo rtx; else echo cpu; fi ;;
    aarch64)
      [ -f /etc/nv_tegra_release ] || fail "machine is aarch64 without /etc/nv_tegra_release: expected x86_64, or a Jetson with JetPack"
      echo jetson
      ;;
    *) fail "machine is $(uname -m): expected x86_64, or a Jetson" ;;
  esac
}

# Prints the platform to install for: `platform=$(choose_platform WANTED)`. WANTED, the value of
# --platform, may differ from this machine only in a dry run.
choose_platform() {
  local found
  found=$(detect_machine) || exit $?
  case ${1:-$found} in
    "$found") echo "$found" ;;
    rtx | jetson | cpu)
      [ -n "$dry_run" ] || fail "--platform $1: this machine is $found"
      echo "$1"
      ;;
    *) fail "--platform $1: expected rtx, jetson or cpu" ;;
  esac
}

# Replaces /dev/null as standard input with a pipe that never has input. deepstream-app polls its
# input for keys. At the end of the input, which /dev/null always reports, it would print 25 empty
# lines a second (event_thread_func in deepstream_app_main.c of DeepStream 9.1). A service has
# /dev/null as its input.
replace_null_stdin() {
  [ -z "$dry_run" ] && [ /dev/stdin -ef /dev/null ] || return 0
  local pipe
  pipe=$(mktemp -u)
  mkfifo "$pipe"
  exec 0<> "$pipe"
  rm "$pipe"
}

# Checks the free disk space of a folder: `require_space FOLDER MIB`.
require_space() {
  local free
  free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$2" ] || fail "$1: $free MiB free on its disk, expected $2 or more"
}
