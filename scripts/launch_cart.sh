#!/usr/bin/env bash
# Shows a source with masks by this project's graph, or its masks by NVIDIA's deepstream-app.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/launch_cart.sh [--graph | --app] [--source S] [--sink K] [--dry-run] [--platform P]
                              [-- OPTIONS]

  --graph       this project's graph, `xpnet run` (default); without an NVIDIA GPU in mode `latest`
                unless the sink is a file or OPTIONS say otherwise
  --app         NVIDIA's deepstream-app with the files of `xpnet deploy`; needs an NVIDIA GPU, and
                shows the mask without the frame
  --source S    /dev/video0, rtsp://... or a file (default: the demo clip)
  --sink K      screen, drm (a Jetson without a desktop), or a file .mp4 or .mkv (default:
                screen); --app also has rtsp[:PORT], --graph also has rtsp://HOST:PORT/NAME
  --dry-run     only print the commands
  --platform P  with --dry-run: the platform of another machine (rtx, jetson or cpu)
  OPTIONS       options for `xpnet run` or `xpnet deploy`

Environment:
  XPNET_SOURCE, XPNET_SINK  default source and sink
  XPNET_KIND                app or graph
  XPNET_CART_DIR            folder for the files of `xpnet deploy` (default: build/cart)
TEXT
}

wanted_platform="" kind=${XPNET_KIND:-graph}
source=${XPNET_SOURCE:-$demo_clip} sink=${XPNET_SINK:-screen}
folder=${XPNET_CART_DIR:-$root/build/cart}
while [ $# -gt 0 ]; do
  case $1 in
    --platform | --source | --sink)
      require_value "$@"
      case $1 in --platform) wanted_platform=$2 ;; --source) source=$2 ;; --sink) sink=$2 ;; esac
      shift
      ;;
    --app | --graph) kind=${1#--} ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *) fail "unknown option '$1' (--help lists all options)" ;;
  esac
  shift
done

platform=$(choose_platform "$wanted_platform")
xpnet=$root/.venv/bin/xpnet graph_platform=deepstream
[ -n "$dry_run" ] || [ -x "$xpnet" ] || fail "xpnet is not installed: run scripts/install_cart.sh"
[ "$platform" != cpu ] || graph_platform=gstreamer
case $kind in
  graph)
    # A picture that somebody looks at must not wait for inference. On a GPU it hardly does, and
    # `latest` would leave out every second frame; a file gets each frame's own mask.
    if [ "$graph_platform" = gstreamer ]; then
      case $sink in *.mp4 | *.mkv) ;; *) set -- --mode latest "$@" ;; esac
    fi
    run exec "$xpnet" run "$source" --output "$sink" --platform "$graph_platform" "$@"
    ;;
  app)
    [ "$platform" != cpu ] || fail "no NVIDIA GPU found: deepstream-app needs one; use --graph"
    # The Orin Nano is the only Jetson without a hardware encoder.
    [ "$platform" != jetson ] || ! grep -qs 'Orin Nano' /proc/device-tree/model /etc/jetson-model || set -- --software-encoder "$@"
    run rm -f "$folder"/cart_*.txt
    run "$xpnet" deploy --platform "$platform" --source "$source" --sink "$sink" --triton inprocess --output "$folder" "$@"
    replace_null_stdin
    run exec deepstream-app -c "$folder"/cart_*.txt
    ;;
  *) fail "XPNET_KIND=$kind: expected graph or app" ;;
esac
