#!/usr/bin/env bash
# Builds the TensorRT plans of this machine. Skips a plan that is up to date.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/build_engines.sh [--model NAME]... [--precision P]... [--dla CORE] [--force]
                                [--dry-run] [--platform rtx|jetson]

  --model NAME   default: xpnet_lite; the other is xpnet
  --precision P  fp32, fp16 or int8; of several the fastest is kept (default: fp16)
  --dla CORE     on the deep learning accelerator of a Jetson Orin: 0 or 1; what it cannot
                 compute stays on the GPU
  --force        build again, even if the plan is up to date

XPNET_TIMING_CACHE=FILE  where TensorRT keeps its timings (default: in triton_models/)
TEXT
}

wanted="" models=() precisions=() options=() keep=(--if-needed)
while [ $# -gt 0 ]; do
  case $1 in
    --platform | --model | --precision | --dla)
      need "$@"
      case $1 in
        --platform) wanted=$2 ;;
        --model) models+=("$2") ;;
        --precision) precisions+=("$2") ;;
        --dla) options+=(--dla "$2") ;;
      esac
      shift
      ;;
    --force) keep=() ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$1' (--help lists all)" ;;
  esac
  shift
done

platform=$(platform "$wanted")
[ "$platform" != cpu ] || fail "no NVIDIA GPU here: a plan is built on the machine that runs it"
[ -n "$dry_run" ] || [ -x "$root/.venv/bin/xpnet" ] || fail "not installed: run scripts/install_cart.sh"
[ ${#models[@]} -gt 0 ] || models=(xpnet_lite)
[ ${#precisions[@]} -eq 0 ] || options+=(--precision "${precisions[@]}")
[ -z "${XPNET_TIMING_CACHE-}" ] || options+=(--timing-cache "$XPNET_TIMING_CACHE")
for model in "${models[@]}"; do
  run "$root/.venv/bin/xpnet" build --target "$platform" --model "$model" ${keep[@]+"${keep[@]}"} ${options[@]+"${options[@]}"}
done
