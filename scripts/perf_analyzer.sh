#!/usr/bin/env bash
# Measures the models of a Triton server with NVIDIA's perf_analyzer: `xpnet bench server`.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/perf_analyzer.sh [--dry-run] [OPTIONS]

  --dry-run  only print the command
  OPTIONS    options of `xpnet bench server`; `.venv/bin/xpnet bench server --help` lists them

Without options, it starts a server with all models and measures each of them. `--url HOST:PORT`
measures a running server.
TEXT
}

options=()
for argument in "$@"; do
  case $argument in
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    *) options+=("$argument") ;;
  esac
done
[ -n "$dry_run" ] || [ -x "$root/.venv/bin/xpnet" ] || fail "xpnet is not installed: run scripts/install_cart.sh"
run "$root/.venv/bin/xpnet" bench server ${options[@]+"${options[@]}"}
