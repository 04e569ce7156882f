#!/usr/bin/env bash
# Signs a list of checksums with an SSH key. `xpnet doctor checksums --verify-signature` checks it.
set -Eeuo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
Usage: scripts/sign_checksums.sh [--release] KEY

  KEY        private SSH key, or a public one whose private key ssh-agent has
  --release  sign build/release/SHA256SUMS of `make release-files`
             (default: model-files.sha256, the weights, models and cards)

The signature is written beside the list, with the ending .sig.
TEXT
}

list=$root/model-files.sha256 namespace=xpnet-models key=""
while [ $# -gt 0 ]; do
  case $1 in
    --release) list=$root/build/release/SHA256SUMS namespace=xpnet-release ;;
    -h | --help) usage && exit 0 ;;
    -*) fail "unknown option '$1' (--help lists all options)" ;;
    *)
      [ -z "$key" ] || fail "more than one key: expected one"
      key=$1
      ;;
  esac
  shift
done
[ -n "$key" ] || fail "KEY is missing (--help lists all options)"
[ -f "$key" ] || fail "$key: no such key"
[ -f "$list" ] || fail "$list: no such list"
command -v ssh-keygen > /dev/null || fail "ssh-keygen is not installed: apt-get install openssh-client"
# A list that does not describe the files must not be signed.
(cd "$(dirname "$list")" && sha256sum --check --strict --quiet "$(basename "$list")") \
  || fail "$list: files differ from it (see above): nothing was signed"
partial=$(mktemp "$list.sig.XXXXXX")
trap 'rm -f "$partial"' EXIT
ssh-keygen -Y sign -q -f "$key" -n "$namespace" < "$list" > "$partial" || fail "$key: cannot sign (see above)"
[ -s "$partial" ] || fail "$key: ssh-keygen made no signature"
chmod 644 "$partial"
mv "$partial" "$list.sig"
info "$list.sig"
