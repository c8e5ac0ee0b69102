#!/bin/sh
# Set up the environment of the programs that Winnow is compared with, apart from Winnow's own: their versions differ.
# usage: tests/benchmarks/peers/setup.sh PYTHON VENV      settings: TORCH, TORCH_INDEX_URL
set -eu

python=$1
venv=$2
torch=${TORCH:-torch==2.13.0}
wanted="$(dirname "$0")/requirements.txt"
stamp="$venv/.winnow-peers"

[ ! -f "$stamp" ] || ! cmp -s "$stamp" "$wanted" || exit 0
printf 'winnow set-up: installing the peers into %s (some minutes, once)\n' "$venv" >&2
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip="$venv/bin/python -m pip --disable-pip-version-check --quiet"
index=${TORCH_INDEX_URL:+--index-url $TORCH_INDEX_URL}
if command -v nvidia-smi >/dev/null 2>&1 || ! $pip install $index "$torch+cpu" 2>/dev/null; then
    $pip install $index "$torch"
fi
$pip install -r "$wanted"
cp "$wanted" "$stamp"
