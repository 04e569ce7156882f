#!/usr/bin/env bash
# Entry point of the target containers: builds the plan unless it is up to date, then runs `xpnet`
# with the arguments, or scripts/launch_cart.sh if the first argument is its name.
set -euo pipefail
build_engines.sh
[ "${1-}" = launch_cart.sh ] || set -- xpnet "$@"
exec "$@"
