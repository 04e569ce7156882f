#!/usr/bin/env bash
# Installs XP-Net on a cart's computer, without Docker. Safe to run again: what is there stays.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/install_cart.sh [--service] [--uninstall] [--dry-run] [--platform P]

  --service    start with the machine, too (scripts/service.sh)
  --uninstall  remove the service, .venv, .triton and the plans; packages of apt stay
  --dry-run    only print what would be done; with it, --platform may be another's: rtx, jetson, cpu
TEXT
}

wanted="" service="" uninstall=""
while [ $# -gt 0 ]; do
  case $1 in
    --platform)
      need "$@"
      wanted=$2
      shift
      ;;
    --service) service=yes ;;
    --uninstall) uninstall=yes ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$1' (--help lists all)" ;;
  esac
  shift
done
dry=(${dry_run:+--dry-run})

platform=$(platform "$wanted")
[ -n "$dry_run" ] || [ -w "$root" ] || fail "$root: no permission to write here: run as $(stat -c %U "$root")"
if [ -n "$uninstall" ]; then
  "$root/scripts/service.sh" --remove ${dry[@]+"${dry[@]}"}
  run rm -rf "$root"/.venv "$root"/.triton "$root"/triton_models/*/1/{model.plan,card.json}
  exit 0
fi

# What is installed takes no more; setup.sh asks again before each thing that is missing.
[ -n "$dry_run" ] || [ -x "$root/.venv/bin/xpnet" ] || need_space "$root" 4000
if [ "$platform" = cpu ]; then
  run "$root/scripts/setup.sh"
else
  [ -n "$dry_run" ] || [ -d "$deepstream" ] || fail "no $deepstream: install NVIDIA DeepStream first (docs/compatibility.md)"
  run "$root/scripts/pyds.sh"
  run "$root/scripts/setup.sh" --deepstream
  run "$root/scripts/build_engines.sh" --platform "$platform"
fi
[ -z "$service" ] || "$root/scripts/service.sh" ${dry[@]+"${dry[@]}"}
