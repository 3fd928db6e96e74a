#!/bin/sh
# Make or complete the virtual environment: set_up.sh PYTHON VENV. Called by make; exits 4 with one
# sentence when the machine cannot do it.
set -u
python=$1 venv=$2
need_kb=6000000

stop() {
    echo "set-up: $1" >&2
    exit 4
}

scratch=$(mktemp -d) || stop "cannot write to ${TMPDIR:-/tmp}."
trap 'rm -rf "$scratch"' EXIT
export TMPDIR="$scratch" # uv leaves its lock files there
log=$scratch/log

supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))'
if [ ! -x "$venv/bin/python" ]; then
    command -v "$python" >/dev/null || stop "no $python found. Install Python 3.11 or 3.12, or name one: make ... PYTHON=/path/to/python3.12"
    if ! "$python" -c "$supported" 2>/dev/null; then
        for other in python3.12 python3.11; do
            "$other" -c "$supported" 2>/dev/null && python=$other && break
        done
    fi
    "$python" -c "$supported" 2>/dev/null || stop "$python is $("$python" -V 2>&1); Python 3.11 or 3.12 is needed. Name one: make ... PYTHON=/path/to/python3.12"
    free_kb=$(df -Pk . | awk 'NR == 2 { print $4 }')
    [ "$free_kb" -ge "$need_kb" ] || stop "$((free_kb / 1000000)) GB free here; about 6 GB are needed."
    "$python" -m venv "$venv" >"$log" 2>&1 || stop "$python cannot make a virtual environment: $(tail -n 1 "$log")"
fi
"$venv/bin/python" -c "$supported" || stop "$venv holds another Python than 3.11 or 3.12. Remove it, or give another: make ... VENV=folder"
if [ ! -x "$venv/bin/uv" ]; then
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >"$log" 2>&1 || stop "$venv has neither uv nor pip. Install uv into it."
    echo "set-up: installing uv"
    awk '/^[a-z0-9]/ { on = /^uv==/ } on' requirements.lock >"$scratch/uv.txt"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$scratch/uv.txt" >"$log" 2>&1 || stop "uv cannot be installed; is a package index reachable? $(grep -m 1 -i error "$log")"
fi
backend=${UV_TORCH_BACKEND-auto} # empty: torch comes from where everything else does
unset UV_TORCH_BACKEND          # uv would read it too, also where it is empty
if [ -n "${PIP_FIND_LINKS:-}" ]; then
    set -- --find-links "$PIP_FIND_LINKS" --no-verify-hashes
elif [ -n "$backend" ]; then
    set -- --torch-backend="$backend" --no-verify-hashes
else
    set --
fi
echo "set-up: installing the packages of requirements.lock into $venv (3 to 6 GB, minutes)"
# All but torch and its CUDA libraries: exactly the lock, each file by its hash.
awk '/^[a-z0-9]/ { on = !(/^(torch|cuda-|nvidia-)/) || /^torch[a-z]|^nvidia-ml-py/ } on' requirements.lock >"$scratch/lock.txt"
install() {
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        stop "the packages could not be installed (above: uv's words). Check the package index and the disk, then try again."
    }
}
install --no-deps --require-hashes --requirement "$scratch/lock.txt"
# torch: by the lock's versions. PyTorch's index has a build for each CUDA version and for the CPU, whose hashes
# PyPI does not know; from PyPI the lock's hashes hold.
install --constraint requirements.lock "$@" "torch==$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' requirements.lock)"
install --no-deps --editable .
touch "$venv/.tunebook-installed"
