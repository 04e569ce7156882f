#!/usr/bin/env bash
# Installs XP-Net on a Jetson without Docker: what only a Jetson needs, then scripts/install_cart.sh.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/../scripts/common.sh"

usage() {
  cat <<'TEXT'
Usage: jetson/install.sh [--service] [--uninstall] [--dry-run]

  JetPack and DeepStream have to be there (docs/jetson.md). DeepStream on a Jetson comes without
  Triton: NVIDIA's triton_backend_setup.sh fetches it, as root, until it has once come to its end
  here. The options are those of scripts/install_cart.sh, which does the rest.
TEXT
}

uninstall=""
for word in "$@"; do
  case $word in
    --dry-run) dry_run=yes ;;
    --uninstall) uninstall=yes ;;
    --service) ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$word' (--help lists all)" ;;
  esac
done

platform=$(platform jetson)
if [ -z "$uninstall" ]; then
  [ -n "$dry_run" ] || [ -d "$deepstream" ] || fail "no $deepstream: install NVIDIA DeepStream first (docs/jetson.md)"
  # NVIDIA's script unpacks libtritonserver.so first and much after it: that the library is there
  # says little. A new DeepStream has a folder of its own, and so no stamp.
  stamp=$deepstream/.triton_backend_setup-done
  if [ ! -f "$stamp" ]; then
    # Its place differs between releases.
    setup=$(find -L "$deepstream" -maxdepth 2 -name triton_backend_setup.sh 2> /dev/null | head -n 1) || true
    [ -n "$dry_run" ] || [ -n "$setup" ] || fail "no triton_backend_setup.sh in $deepstream: is this DeepStream for Jetson?"
    as_root bash "${setup:-$deepstream/triton_backend_setup.sh}" \
      || fail "NVIDIA's triton_backend_setup.sh broke off (see above); running it again starts afresh"
    as_root touch "$stamp"
  fi
fi
exec "$root/scripts/install_cart.sh" --platform "$platform" "$@"
