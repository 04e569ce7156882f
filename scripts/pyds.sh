#!/usr/bin/env bash
# Gets NVIDIA's pyds, DeepStream's Python binding, by NVIDIA's own script, which wants root.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/pyds.sh [--where] [--dry-run]

  (nothing)  NVIDIA's wheel for this DeepStream: 1.2.0 for 7.1, 1.2.2 for 8.0; from 9.0 on there are
             none, and it is built here from source
  --where    only print where the wheel lies
TEXT
}

installer=$deepstream/user_deepstream_python_apps_install.sh
sources=$deepstream/sources/deepstream_python_apps where=""
for word in "$@"; do
  case $word in
    --where) where=yes ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$word' (--help lists all)" ;;
  esac
done

find_wheel() { # into $wheel
  for wheel in "$sources"/pyds-*.whl "$sources"/bindings/dist/pyds-*.whl; do
    [ ! -f "$wheel" ] || return 0
  done
  return 1
}

if find_wheel; then echo "$wheel" && exit 0; fi
[ -z "$where" ] || fail "no wheel of pyds in $sources: run scripts/pyds.sh"
[ -f "$installer" ] || fail "no $installer: install NVIDIA DeepStream first"
# Wheels and releases as in docs/compatibility.md.
case $(sed -n 's/.*Version:[[:space:]]*//p' "$deepstream/version" | head -n 1) in
  7.1*) how=(--version 1.2.0) ;;
  8.0*) how=(--version 1.2.2) ;;
  *) how=(--build-bindings) ;;
esac
# What is there stands in the way of NVIDIA's script, which clones anew. What it broke off for us goes;
# what somebody else put there is kept.
begun=$deepstream/sources/.deepstream_python_apps-begun
if [ -e "$sources" ]; then
  if [ -f "$begun" ]; then as_root rm -rf "$sources"; else
    aside=$sources.$(date +%Y%m%d-%H%M%S)
    say "$sources holds no wheel of pyds: kept as $aside"
    as_root mv "$sources" "$aside"
  fi
fi
as_root touch "$begun"
# Its exit code says nothing, for it goes on after errors; the wheel does.
as_root env DEBIAN_FRONTEND=noninteractive bash "$installer" "${how[@]}" || true
[ -n "$dry_run" ] || find_wheel || fail "NVIDIA's script made no wheel of pyds (see above); running it again starts afresh"
as_root rm "$begun"
