# shellcheck shell=bash
# What the other scripts share: they read it and nothing happens.
# shellcheck disable=SC2034  # used by those that read it
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
name=$(basename "$0" .sh)
deepstream=/opt/nvidia/deepstream/deepstream
demo=$root/docs/demo/colonoscopy.mp4
dry_run=""

say() { echo "$name: $*"; }

# One line that names the thing, and exit code 2.
fail() {
  echo "$name: $*" >&2
  exit 2
}

# Runs a command; only prints it under --dry-run.
run() {
  if [ -z "$dry_run" ]; then "$@"; else printf '+%s\n' "$(printf ' %q' "$@")"; fi
}

as_root() {
  local sudo=()
  if [ -z "$dry_run" ] && [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || fail "not root and no sudo: ask an administrator for: $*"
    sudo=(sudo)
  fi
  run ${sudo[@]+"${sudo[@]}"} "$@"
}

# For an option with a value: `need "$@"`, then it is $2.
need() { [ $# -ge 2 ] || fail "$1 needs a value (--help lists all options)"; }

# This machine in a word: jetson, rtx (an NVIDIA GPU with its driver) or cpu. Nothing else decides.
machine() {
  case $(uname -m) in
    x86_64) if nvidia-smi -L > /dev/null 2>&1; then echo rtx; else echo cpu; fi ;;
    aarch64)
      [ -f /etc/nv_tegra_release ] || fail "machine is aarch64 without /etc/nv_tegra_release: expected x86_64, or a Jetson with JetPack"
      echo jetson
      ;;
    *) fail "machine is $(uname -m): expected x86_64, or a Jetson" ;;
  esac
}

# `platform=$(platform WANTED)`: this machine's; WANTED may differ from it in a dry run only.
platform() {
  local found
  found=$(machine) || exit $?
  case ${1:-$found} in
    "$found") echo "$found" ;;
    rtx | jetson | cpu)
      [ -n "$dry_run" ] || fail "--platform $1: this machine is $found"
      echo "$1"
      ;;
    *) fail "--platform $1: expected rtx, jetson or cpu" ;;
  esac
}

# For deepstream-app, which reads keys: where nobody types, as in a service, /dev/null always has the
# end of one, and it would write 25 empty lines a second (event_thread_func in
# deepstream_app_main.c of DeepStream 9.1). A pipe that nobody writes to has none.
no_keys() {
  [ -z "$dry_run" ] && [ /dev/stdin -ef /dev/null ] || return 0
  local keys
  keys=$(mktemp -u)
  mkfifo "$keys"
  exec 0<> "$keys"
  rm "$keys"
}

# Fails where a folder's disk has fewer MiB left.
need_space() {
  local free
  free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$2" ] || fail "$1: $free MiB are free on its disk, expected $2 or more"
}
