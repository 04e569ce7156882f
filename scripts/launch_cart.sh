#!/usr/bin/env bash
# Shows masks on what the endoscope sends: NVIDIA's deepstream-app, or our own graph.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/launch_cart.sh [--graph | --app] [--source S] [--sink K] [--dry-run] [--platform P]
                              [-- OPTIONS]

  --graph     our graph, `xpnet run` (default)
  --app       NVIDIA's deepstream-app on the files of `xpnet deploy`; not on a machine without a GPU
  --source S  /dev/video0, rtsp://... or a file (default: the demo clip)
  --sink K    screen, or a file .mp4 or .mkv (default: screen); with --app also drm (a Jetson
              without a desktop) and rtsp[:PORT]; with --graph also rtsp://HOST:PORT/NAME
  OPTIONS     go to `xpnet run` or to `xpnet deploy`

XPNET_SOURCE, XPNET_SINK, XPNET_KIND (app or graph) and XPNET_CART_DIR (where deploy writes) set
the defaults.
TEXT
}

wanted="" kind=${XPNET_KIND:-graph} source=${XPNET_SOURCE:-$demo} sink=${XPNET_SINK:-screen}
folder=${XPNET_CART_DIR:-$root/build/cart}
while [ $# -gt 0 ]; do
  case $1 in
    --platform | --source | --sink)
      need "$@"
      case $1 in --platform) wanted=$2 ;; --source) source=$2 ;; --sink) sink=$2 ;; esac
      shift
      ;;
    --app | --graph) kind=${1#--} ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *) fail "unknown option '$1' (--help lists all)" ;;
  esac
  shift
done

platform=$(platform "$wanted")
xpnet=$root/.venv/bin/xpnet elements=deepstream
[ -n "$dry_run" ] || [ -x "$xpnet" ] || fail "not installed: run scripts/install_cart.sh"
[ "$platform" != cpu ] || elements=gstreamer
case $kind in
  graph) run exec "$xpnet" run "$source" --output "$sink" --platform "$elements" "$@" ;;
  app)
    [ "$platform" != cpu ] || fail "no NVIDIA GPU here: deepstream-app cannot run; --graph can"
    # The one Jetson without a hardware encoder.
    [ "$platform" != jetson ] || ! grep -qs 'Orin Nano' /proc/device-tree/model /etc/jetson-model || set -- --software-encoder "$@"
    run rm -f "$folder"/cart_*.txt
    run "$xpnet" deploy --platform "$platform" --source "$source" --sink "$sink" --triton inprocess --output "$folder" "$@"
    no_keys
    run exec deepstream-app -c "$folder"/cart_*.txt
    ;;
  *) fail "XPNET_KIND=$kind: expected graph or app" ;;
esac
