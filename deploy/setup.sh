#!/bin/sh
# Set Winnow up in a virtual environment: system packages, the locked dependencies, torch, Winnow itself.
# usage: deploy/setup.sh VENV [runtime|dev]      settings: PYTHON, TORCH, TORCH_INDEX_URL
set -eu

venv=$1
kind=${2:-runtime}
torch=${TORCH:-torch==2.13.0}
root=$(cd "$(dirname "$0")/.." && pwd)
stamp="$venv/.winnow-$kind"

say() { printf '%s\n' "$*" >&2; }
stop() { say "winnow set-up: $*"; exit 1; }

# What was set up from the same lock files is not set up again.
wanted=$(cat "$root/requirements.lock" "$root/requirements-dev.lock" "$root/pyproject.toml" "$0" | cksum)" $torch"
[ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ] || exit 0

install_packages() { # the Debian packages that are missing: installed where we may, named where we may not
    missing=$1
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        say "winnow set-up: installing$missing"
        # shellcheck disable=SC2086
        { DEBIAN_FRONTEND=noninteractive apt-get install -y -q $missing ||
            { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q $missing; }; } >/dev/null 2>&1 ||
            stop "could not install$missing; install them yourself and run this again"
    else
        stop "missing:$missing. Get them with: sudo apt-get install -y$missing (or your system's equivalents)"
    fi
}

find_python() {
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
}

python=$(find_python)
[ -n "$python" ] || { install_packages " python3 python3-venv python3-dev g++"; python=$(find_python); }
[ -n "$python" ] || stop "needs Python 3.11 to 3.13; set PYTHON=/path/to/python3.11 and run this again"

missing=""
command -v "${CXX:-c++}" >/dev/null 2>&1 || missing="$missing g++"   # Annoy is built from its sources
"$python" -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"
header='import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))'
"$python" -c "$header" || missing="$missing python3-dev"
fetch_promtool() { # out of Debian's package, which is not installed: that would start a Prometheus
    folder=$(mktemp -d)
    say "winnow set-up: fetching promtool"
    (
        cd "$folder"
        apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; }
        dpkg -x prometheus_*.deb .
        install -m 755 usr/bin/promtool "$1"
    ) >/dev/null 2>&1 || stop "could not fetch promtool; install it yourself (it comes with Prometheus)"
    rm -rf "$folder"
}
if [ "$kind" = dev ]; then command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"; fi
[ -z "$missing" ] || install_packages "$missing"

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
[ "$kind" != dev ] || command -v promtool >/dev/null 2>&1 || [ -x "$venv/bin/promtool" ] ||
    fetch_promtool "$(cd "$venv/bin" && pwd)/promtool"
pip="$venv/bin/python -m pip --disable-pip-version-check --quiet"
say "winnow set-up: installing the locked dependencies into $venv (some minutes, once)"
$pip install --use-pep517 --require-hashes -r "$root/requirements.lock"
# torch stands apart: CPU and CUDA builds have one name and different hashes. Without a GPU the CPU build is taken where
# pip can find it (an index given by TORCH_INDEX_URL, a folder given by PIP_FIND_LINKS); it is a tenth of the size.
index=${TORCH_INDEX_URL:+--index-url $TORCH_INDEX_URL}
if command -v nvidia-smi >/dev/null 2>&1 || ! $pip install $index "$torch+cpu" 2>/dev/null; then
    $pip install $index "$torch"
fi
# Behind torch, which the text encoder of the tests asks for: pip has no hash of it.
if [ "$kind" = dev ]; then $pip install --require-hashes -r "$root/requirements-dev.lock"; fi
$pip install --no-deps --no-build-isolation --editable "$root"
printf '%s' "$wanted" > "$stamp"
