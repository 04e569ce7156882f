#!/usr/bin/env bash
# Builds the TensorRT plans of this machine. Skips a plan that is up to date.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/build_engines.sh [--model NAME]... [--precision P]... [--dla CORE] [--force]
                                [--dry-run] [--platform rtx|jetson]

  --model NAME   xpnet_lite or xpnet (default: xpnet_lite)
  --precision P  fp32, fp16 or int8 (default: fp16); of several, the fastest is kept
  --dla CORE     build for the deep learning accelerator of a Jetson Orin, core 0 or 1; layers
                 that it does not support run on the GPU
  --force        build even if the plan is up to date
  --dry-run      only print the commands
  --platform P   with --dry-run: the platform of another machine

Environment:
  XPNET_TIMING_CACHE  TensorRT's timing cache file (default: in triton_models/)
TEXT
}

wanted_platform="" models=() precisions=() options=() if_needed=(--if-needed)
while [ $# -gt 0 ]; do
  case $1 in
    --platform | --model | --precision | --dla)
      require_value "$@"
      case $1 in
        --platform) wanted_platform=$2 ;;
        --model) models+=("$2") ;;
        --precision) precisions+=("$2") ;;
        --dla) options+=(--dla "$2") ;;
      esac
      shift
      ;;
    --force) if_needed=() ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$1' (--help lists all options)" ;;
  esac
  shift
done

platform=$(choose_platform "$wanted_platform")
[ "$platform" != cpu ] || fail "no NVIDIA GPU found: build a plan on the machine that runs it"
[ -n "$dry_run" ] || [ -x "$root/.venv/bin/xpnet" ] || fail "xpnet is not installed: run scripts/install_cart.sh"
[ ${#models[@]} -gt 0 ] || models=(xpnet_lite)
[ ${#precisions[@]} -eq 0 ] || options+=(--precision "${precisions[@]}")
[ -z "${XPNET_TIMING_CACHE-}" ] || options+=(--timing-cache "$XPNET_TIMING_CACHE")
for model in "${models[@]}"; do
  run "$root/.venv/bin/xpnet" build --target "$platform" --model "$model" ${if_needed[@]+"${if_needed[@]}"} ${options[@]+"${options[@]}"}
done
