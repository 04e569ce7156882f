#!/usr/bin/env bash
# Installs XP-Net on a Jetson without Docker: DeepStream's Triton, then scripts/install_cart.sh.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/../scripts/common.sh"

usage() {
  cat <<'TEXT'
Usage: jetson/install.sh [--service] [--uninstall] [--dry-run]

  --service    also install the service that starts the cart at boot
  --uninstall  remove the service, .venv, .triton and the plans
  --dry-run    only print the commands

Install JetPack and DeepStream first (docs/jetson.md). DeepStream for Jetson does not contain
Triton: this script runs NVIDIA's triton_backend_setup.sh as root, until it has succeeded once, and
then scripts/install_cart.sh.
TEXT
}

uninstall=""
for option in "$@"; do
  case $option in
    --dry-run) dry_run=yes ;;
    --uninstall) uninstall=yes ;;
    --service) ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$option' (--help lists all options)" ;;
  esac
done

platform=$(choose_platform jetson)
if [ -z "$uninstall" ]; then
  [ -n "$dry_run" ] || [ -d "$deepstream_dir" ] || fail "no $deepstream_dir: install NVIDIA DeepStream first (docs/jetson.md)"
  # This file shows that NVIDIA's script succeeded. libtritonserver.so does not: the script unpacks
  # it first. Another version of DeepStream has another folder, so the script runs again for it.
  stamp=$deepstream_dir/.triton_backend_setup-done
  if [ ! -f "$stamp" ]; then
    # Its folder differs between the releases of DeepStream.
    setup=$(find -L "$deepstream_dir" -maxdepth 2 -name triton_backend_setup.sh 2> /dev/null | head -n 1) || true
    [ -n "$dry_run" ] || [ -n "$setup" ] || fail "no triton_backend_setup.sh in $deepstream_dir: expected DeepStream for Jetson"
    run_as_root bash "${setup:-$deepstream_dir/triton_backend_setup.sh}" \
      || fail "NVIDIA's triton_backend_setup.sh failed (see above); run this again to restart it"
    run_as_root touch "$stamp"
  fi
fi
exec "$root/scripts/install_cart.sh" --platform "$platform" "$@"
