#!/usr/bin/env bash
# Start of a target's container: the plan is built where its volume has none that fits, then `xpnet`
# runs with the arguments; or scripts/launch_cart.sh, where they begin with its name.
set -euo pipefail
build_engines.sh
[ "${1-}" = launch_cart.sh ] || set -- xpnet "$@"
exec "$@"
