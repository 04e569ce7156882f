#!/usr/bin/env bash
# Installs XP-Net on a cart's computer, without Docker. Can be run again: skips what is installed.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/install_cart.sh [--service] [--uninstall] [--dry-run] [--platform P]

  --service     also install the service that starts the cart at boot (scripts/install_service.sh)
  --uninstall   remove the service, .venv, .triton and the plans; system packages stay installed
  --dry-run     only print the commands
  --platform P  with --dry-run: the platform of another machine (rtx, jetson or cpu)
TEXT
}

wanted_platform="" service="" uninstall=""
while [ $# -gt 0 ]; do
  case $1 in
    --platform)
      require_value "$@"
      wanted_platform=$2
      shift
      ;;
    --service) service=yes ;;
    --uninstall) uninstall=yes ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$1' (--help lists all options)" ;;
  esac
  shift
done
dry_run_option=(${dry_run:+--dry-run})

platform=$(choose_platform "$wanted_platform")
[ -n "$dry_run" ] || [ -w "$root" ] || fail "$root: no permission to write: run this as user $(stat -c %U "$root")"
if [ -n "$uninstall" ]; then
  "$root/scripts/install_service.sh" --remove ${dry_run_option[@]+"${dry_run_option[@]}"}
  run rm -rf "$root"/.venv "$root"/.triton "$root"/triton_models/*/1/{model.plan,card.json}
  exit 0
fi

# Only a first installation needs this much; setup.sh checks the space before each later download.
[ -n "$dry_run" ] || [ -x "$root/.venv/bin/xpnet" ] || require_space "$root" 4000
if [ "$platform" = cpu ]; then
  run "$root/scripts/setup.sh"
else
  [ -n "$dry_run" ] || [ -d "$deepstream_dir" ] || fail "no $deepstream_dir: install NVIDIA DeepStream first (docs/compatibility.md)"
  run "$root/scripts/install_pyds.sh"
  run "$root/scripts/setup.sh" --deepstream
  run "$root/scripts/build_engines.sh" --platform "$platform"
fi
[ -z "$service" ] || "$root/scripts/install_service.sh" ${dry_run_option[@]+"${dry_run_option[@]}"}
