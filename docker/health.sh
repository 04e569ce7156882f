#!/usr/bin/env bash
# Health of a container: where it serves, Triton has to be ready. A graph needs no check, for it
# ends by itself when no frame comes for 30 seconds.
set -euo pipefail
words=$(tr '\0' '\n' < /proc/1/cmdline)
grep -qx serve <<< "$words" || exit 0
exec python -c 'import urllib.request as r; r.build_opener(r.ProxyHandler({})).open("http://127.0.0.1:8000/v2/health/ready", timeout=3)'
