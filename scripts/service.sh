#!/usr/bin/env bash
# Starts the cart's graph with the machine: installs jetson/xpnet-cart.service, or removes it.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/service.sh [--remove] [--print] [--dry-run]

  (nothing)  install, enable and start it; it runs as the owner of this checkout, and
             /etc/xpnet/cart.conf says what is shown where: at first on a Jetson's screen without a
             desktop, elsewhere on a desktop, which needs DISPLAY and XAUTHORITY there
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

# It stands in a systemd unit, where spaces, quotes, % and $ have a meaning, and in sed's.
[[ $root =~ ^[[:alnum:]/._+-]+$ ]] || fail "$root: expected a path of letters, digits and . _ + - alone for a service: move the checkout"
owner=$(stat -c %U "$root")
text=$(sed -e "s|@ROOT@|$root|g" -e "s|@USER@|$owner|g" "$root/jetson/xpnet-cart.service")
[ "$what" != print ] || { echo "$text" && exit 0; }
[ "$owner" != root ] || [ -n "$dry_run" ] || fail "$root belongs to root: give it to the user that the cart runs as (chown -R USER)"
command -v systemctl > /dev/null || [ -n "$dry_run" ] || fail "no systemctl: the service needs systemd"
run mkdir -p "$root/build"
made=$(mktemp -d)
trap 'rm -r "$made"' EXIT
echo "$text" > "$made/unit"
change=() kind=$(machine) || exit $?
[ "$kind" = jetson ] || change=(-e s/^XPNET_SINK=.*/XPNET_SINK=screen/ -e s/^XPNET_KIND=.*/XPNET_KIND=graph/)
sed -e '' ${change[@]+"${change[@]}"} "$root/jetson/cart.conf" > "$made/settings"
# A source may hold a password; systemd reads the file as root.
if [ -e "$settings" ]; then as_root chmod 600 "$settings"; else as_root install -D -m 600 "$made/settings" "$settings"; fi
as_root install -m 644 "$made/unit" "$unit"
as_root systemctl daemon-reload
as_root systemctl enable --now "$(basename "$unit")"
say "started: journalctl -u xpnet-cart tells what it does"
