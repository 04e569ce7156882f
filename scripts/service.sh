#!/usr/bin/env bash
# Starts the cart's graph with the machine: installs jetson/xpnet-cart.service, or removes it.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/service.sh [--remove] [--print] [--dry-run]

  (nothing)  install, enable and start it; it runs as the owner of this checkout, and
             /etc/xpnet/cart.conf says what is shown where
  --remove   stop and remove it; /etc/xpnet/cart.conf stays
  --print    only print the unit
TEXT
}

unit=/etc/systemd/system/xpnet-cart.service settings=/etc/xpnet/cart.conf what=install
for word in "$@"; do
  case $word in
    --remove | --print) what=${word#--} ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$word' (--help lists all)" ;;
  esac
done

if [ "$what" = remove ]; then
  [ -e "$unit" ] || { say "not installed" && exit 0; }
  as_root systemctl disable --now "$(basename "$unit")"
  as_root rm "$unit"
  as_root systemctl daemon-reload
  exit 0
fi

owner=$(stat -c %U "$root")
text=$(sed -e "s|@ROOT@|$root|g" -e "s|@USER@|$owner|g" "$root/jetson/xpnet-cart.service")
[ "$what" != print ] || { echo "$text" && exit 0; }
[ "$owner" != root ] || [ -n "$dry_run" ] || fail "$root belongs to root: give it to the user that the cart runs as (chown -R USER)"
command -v systemctl > /dev/null || [ -n "$dry_run" ] || fail "no systemctl: the service needs systemd"
run mkdir -p "$root/build"
made=$(mktemp)
trap 'rm -f "$made"' EXIT
echo "$text" > "$made"
[ -e "$settings" ] || as_root install -D -m 644 "$root/jetson/cart.conf" "$settings"
as_root install -m 644 "$made" "$unit"
as_root systemctl daemon-reload
as_root systemctl enable --now "$(basename "$unit")"
say "started: journalctl -u xpnet-cart tells what it does"
