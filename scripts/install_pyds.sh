#!/usr/bin/env bash
# Gets the wheel of pyds, DeepStream's Python bindings, with NVIDIA's own script, which needs root.
# scripts/setup.sh --deepstream then installs the wheel into .venv.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/install_pyds.sh [--where] [--dry-run]

  (no option)  get the wheel for the installed DeepStream: NVIDIA's 1.2.0 for 7.1, NVIDIA's 1.2.2
               for 8.0; from 9.0 on there is no released wheel, and it is built from source
  --where      only print the path of the wheel
  --dry-run    only print the commands
TEXT
}

installer=$deepstream_dir/user_deepstream_python_apps_install.sh
sources=$deepstream_dir/sources/deepstream_python_apps only_print=""
for option in "$@"; do
  case $option in
    --where) only_print=yes ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$option' (--help lists all options)" ;;
  esac
done

# Sets $wheel to the path of the wheel; fails if there is none.
find_wheel() {
  for wheel in "$sources"/pyds-*.whl "$sources"/bindings/dist/pyds-*.whl; do
    [ ! -f "$wheel" ] || return 0
  done
  return 1
}

if find_wheel; then echo "$wheel" && exit 0; fi
[ -z "$only_print" ] || fail "no wheel of pyds in $sources: run scripts/install_pyds.sh"
[ -f "$installer" ] || fail "no $installer: install NVIDIA DeepStream first"
# Wheels and releases: docs/compatibility.md.
case $(sed -n 's/.*Version:[[:space:]]*//p' "$deepstream_dir/version" | head -n 1) in
  7.1*) options=(--version 1.2.0) ;;
  8.0*) options=(--version 1.2.2) ;;
  *) options=(--build-bindings) ;;
esac
# NVIDIA's script clones into $sources, which must not exist. A folder of an interrupted run of this
# script, which $started marks, is removed. Any other folder is renamed, not removed.
started=$deepstream_dir/sources/.deepstream_python_apps-started
if [ -e "$sources" ]; then
  if [ -f "$started" ]; then run_as_root rm -rf "$sources"; else
    renamed=$sources.$(date +%Y%m%d-%H%M%S)
    info "$sources has no wheel of pyds: renamed to $renamed"
    run_as_root mv "$sources" "$renamed"
  fi
fi
run_as_root touch "$started"
# NVIDIA's script continues after errors, so its exit code is ignored: check that the wheel exists.
run_as_root env DEBIAN_FRONTEND=noninteractive bash "$installer" "${options[@]}" || true
[ -n "$dry_run" ] || find_wheel || fail "NVIDIA's script made no wheel of pyds (see above); run this again to restart it"
run_as_root rm "$started"
