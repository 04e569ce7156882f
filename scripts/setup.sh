#!/usr/bin/env bash
# Installs what XP-Net needs on Debian 12 or Ubuntu 22.04/24.04. Safe to run again: what is there
# stays. Everything but the system packages goes into .venv and .triton of this checkout.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
Usage: scripts/setup.sh [--bench] [--train] [--engines] [--dev]

  (nothing)   GStreamer, Python packages and the Triton server: enough for `xpnet run` and `serve`
  --bench     perf_analyzer and plots for `xpnet bench`, too
  --train     PyTorch and what training and export need, too
  --engines   FP16 graphs and TensorRT-RTX engines, too; includes --train
  --dev       tests and lint, too; includes --engines and --bench

XPNET_TORCH_INDEX=URL  takes PyTorch from that package index, such as PyTorch's own index of CPU
                       builds; without it, from where pip takes everything.
TEXT
}

extras=()
for option in "$@"; do
  case $option in
    --bench) extras+=(bench) ;;
    --train) extras+=(train) ;;
    --engines) extras+=(train engines) ;;
    --dev) extras+=(bench train engines dev) ;;
    -h | --help) usage; exit 0 ;;
    *) echo "setup: unknown option '$option'" >&2; usage >&2; exit 2 ;;
  esac
done

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 2; }
step="starting"
trap 'echo "setup: failed while $step (see above); running it again continues" >&2' ERR

python=/usr/bin/python3
[ "$(uname -m)" = x86_64 ] || fail "machine is $(uname -m): this installs the server for x86_64"
command -v apt-get > /dev/null || fail "no apt-get: expected Debian 12 or Ubuntu 22.04/24.04"

packages=(
  python3 python3-venv python3-gi python3-gst-1.0 gir1.2-gstreamer-1.0
  gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0 gstreamer1.0-tools
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
  gstreamer1.0-plugins-ugly gstreamer1.0-libav
)
[[ ${extras[*]-} != *dev* ]] || packages+=(ffmpeg) # the tests make their broken videos with it

installed() { dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2> /dev/null | grep -q '^ii'; }

install_missing() {
  local missing=() package sudo=()
  for package in "$@"; do installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || fail "not root and no sudo: ask an administrator for: apt-get install ${missing[*]}"
    sudo=(sudo)
  fi
  say "apt: ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "${missing[@]}" > /dev/null
}

step="installing system packages"
install_missing "${packages[@]}"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in 3.10 | 3.11 | 3.12) ;; *) fail "$python is $version: expected 3.10, 3.11 or 3.12" ;; esac
# Triton's Python backend loads this library; Ubuntu 24.04 gave it another package name.
if ! installed "libpython${version}t64"; then
  if apt-cache show "libpython${version}t64" > /dev/null 2>&1; then
    install_missing "libpython${version}t64"
  else
    install_missing "libpython${version}"
  fi
fi

step="creating .venv"
if ! .venv/bin/python -m pip --version > /dev/null 2>&1; then
  say "virtual environment .venv on Python $version, with the system's GStreamer bindings"
  "$python" -m venv --clear --system-site-packages .venv
fi

pip_install() { .venv/bin/python -m pip --disable-pip-version-check install --quiet "$@"; }

# A requirements file is installed once for each of its contents.
requirements() {
  local file=$1 stamp=.venv/installed-$1
  shift
  cmp -s "$file" "$stamp" && return 0
  say "Python packages of $file"
  pip_install -r "$file" -c requirements.txt "$@"
  cp "$file" "$stamp"
}

step="installing Python packages"
requirements requirements.txt --no-deps
index=()
[ -z "${XPNET_TORCH_INDEX-}" ] || index=(--extra-index-url "$XPNET_TORCH_INDEX")
for extra in ${extras[@]+"${extras[@]}"}; do
  more=(${index[@]+"${index[@]}"})
  [ "$extra" != engines ] || more+=(--no-deps) # what ModelOpt needs of its own dependencies is listed
  requirements "requirements-$extra.txt" ${more[@]+"${more[@]}"}
done
if ! .venv/bin/python -c 'import importlib.metadata as m; m.version("xpnet")' 2> /dev/null \
  || [ ! -x .venv/bin/xpnet ]; then
  say "xpnet itself, in place"
  pip_install --no-deps --no-build-isolation -e .
fi

step="installing the Triton server"
triton=nvidia-pytriton==0.7.0 # holds tritonserver 2.51 with its Python backend
server=pytriton/tritonserver
if [ "$(cat .triton/installed 2> /dev/null)" != "$triton $version" ]; then
  say "Triton server into .triton ($triton)"
  rm -rf .triton .triton.partial
  pip_install --no-deps --target .triton.partial "$triton"
  # The backend's stub must be the one of our Python.
  cp ".triton.partial/$server/python_backend_stubs/$version/triton_python_backend_stub" \
    ".triton.partial/$server/backends/python/"
  chmod +x ".triton.partial/$server/bin/tritonserver" \
    ".triton.partial/$server/backends/python/triton_python_backend_stub"
  # Our CPU backend lies beside NVIDIA's, under the name that config.pbtxt gives it.
  ln -s ../../../../xpnet/triton/backends/onnxruntime ".triton.partial/$server/backends/onnxruntime"
  echo "$triton $version" > .triton.partial/installed
  mv .triton.partial .triton
fi

step="installing perf_analyzer"
[[ ${extras[*]-} != *bench* ]] || .venv/bin/python scripts/fetch_perf_analyzer.py

say "done: .venv/bin/xpnet is ready (.venv/bin/xpnet doctor tells what else there is)"
