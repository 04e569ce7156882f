#!/usr/bin/env bash
# Installs or removes jetson/xpnet-cart.service, which starts the cart at boot.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/install_service.sh [--remove] [--print] [--dry-run]

  (no option)  install, enable and start the service; it runs as the owner of this checkout.
               /etc/xpnet/cart.conf sets source and sink. On a Jetson the default is the screen
               without a desktop, otherwise a desktop: set DISPLAY and XAUTHORITY there
  --remove     stop and remove the service; /etc/xpnet/cart.conf stays
  --print      only print the systemd unit
  --dry-run    only print the commands
TEXT
}

unit=/etc/systemd/system/xpnet-cart.service settings=/etc/xpnet/cart.conf action=install
for option in "$@"; do
  case $option in
    --remove | --print) action=${option#--} ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$option' (--help lists all options)" ;;
  esac
done

if [ "$action" = remove ]; then
  [ -e "$unit" ] || { info "the service is not installed" && exit 0; }
  run_as_root systemctl disable --now "$(basename "$unit")"
  run_as_root rm "$unit"
  run_as_root systemctl daemon-reload
  exit 0
fi

# Spaces, quotes, % and $ have a meaning in a systemd unit, and & and | in the sed command below.
[[ $root =~ ^[[:alnum:]/._+-]+$ ]] || fail "$root: path of the checkout contains other characters than letters, digits and . _ + -, which a service cannot have: move the checkout"
owner=$(stat -c %U "$root")
unit_text=$(sed -e "s|@ROOT@|$root|g" -e "s|@USER@|$owner|g" "$root/jetson/xpnet-cart.service")
[ "$action" != print ] || { echo "$unit_text" && exit 0; }
[ "$owner" != root ] || [ -n "$dry_run" ] || fail "$root belongs to root: give it to the user who runs the cart (chown -R USER)"
command -v systemctl > /dev/null || [ -n "$dry_run" ] || fail "systemctl is not installed: the service needs systemd"
run mkdir -p "$root/build"
temporary=$(mktemp -d)
trap 'rm -r "$temporary"' EXIT
echo "$unit_text" > "$temporary/unit"
changes=() machine=$(detect_machine) || exit $?
[ "$machine" = jetson ] || changes=(-e s/^XPNET_SINK=.*/XPNET_SINK=screen/)
sed -e '' ${changes[@]+"${changes[@]}"} "$root/jetson/cart.conf" > "$temporary/settings"
# A source may contain a password, so only root may read the file; systemd reads it as root.
if [ -e "$settings" ]; then run_as_root chmod 600 "$settings"; else run_as_root install -D -m 600 "$temporary/settings" "$settings"; fi
run_as_root install -m 644 "$temporary/unit" "$unit"
run_as_root systemctl daemon-reload
run_as_root systemctl enable --now "$(basename "$unit")"
info "service started; 'journalctl -u xpnet-cart' shows its log"
