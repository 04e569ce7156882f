#!/usr/bin/env bash
# Measures the models of a Triton server with NVIDIA's perf_analyzer, by `xpnet bench server`.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/perf_analyzer.sh [--dry-run] [OPTIONS of xpnet bench server]

  Without options: a server of its own, every model that is there. On another machine: --url
  HOST:PORT. `.venv/bin/xpnet bench server --help` lists all options.
TEXT
}

options=()
for word in "$@"; do
  case $word in
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    *) options+=("$word") ;;
  esac
done
[ -n "$dry_run" ] || [ -x "$root/.venv/bin/xpnet" ] || fail "not installed: run scripts/install_cart.sh"
run "$root/.venv/bin/xpnet" bench server ${options[@]+"${options[@]}"}
