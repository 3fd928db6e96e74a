#!/bin/sh
# Make or complete a virtual environment: set_up.sh PYTHON VENV [PACKAGES]. Called by make; exits 4 with one
# sentence when the machine cannot do it. With PACKAGES, a file with hashes, it gets these and nothing else.
set -u
python=$1 venv=$2 packages=${3-}
need_kb=6000000

stop() {
    echo "set-up: $1" >&2
    exit 4
}

scratch=$(mktemp -d) || stop "cannot write to ${TMPDIR:-/tmp}."
trap 'rm -rf "$scratch"' EXIT
export TMPDIR="$scratch" # uv leaves its lock files there
log=$scratch/log

# The lock has a set of packages for Python 3.11 and a newer one for 3.12 and later (docs/lanes.md).
supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
fits() { "$1" -c "$supported" 2>/dev/null; }

# Print a Python of one of the given minor versions, from PATH, pyenv or uv.
find_python() {
    for minor in "$@"; do
        for found in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python \
            "$(UV_PYTHON_DOWNLOADS=never uv python find "3.$minor" 2>/dev/null)"; do
            if [ -n "$found" ] && fits "$found"; then
                command -v "$found"
                return
            fi
        done
    done
    return 1
}

# What the lock holds for a Python: "Axolotl 0.21.0, transformers 5.20.1".
stack() {
    case $1 in 3.11) marker="< '3.12'" ;; *) marker=">= '3.12'" ;; esac
    for name in axolotl transformers; do
        sed -n "s/^$name==\([^ ]*\) ; python_full_version $marker.*/$name \1/p" requirements.lock
    done | paste -sd , - | sed 's/^axolotl/Axolotl/; s/,/, /'
}

if [ ! -x "$venv/bin/python" ]; then
    case $python in
        newest) python=$(find_python 12 13 11) ;;
        python3 | python) fits "$python" || python=$(find_python 12 13 11) ;;
        python3.1[123]) python=$(find_python "${python#python3.}") ;;
    esac || stop "no Python 3.11, 3.12 or 3.13 found on PATH, in pyenv or uv (looked for $1). Install one, or name it: make ... PYTHON=/path/to/python3.12"
    command -v "$python" >/dev/null || stop "no $python found. Install Python 3.11, 3.12 or 3.13, or name one: make ... PYTHON=/path/to/python3.12"
    fits "$python" || stop "$python is $("$python" -V 2>&1); Python 3.11, 3.12 or 3.13 is needed. Name one: make ... PYTHON=/path/to/python3.12"
    free_kb=$(df -Pk . | awk 'NR == 2 { print $4 }')
    [ -n "$packages" ] || [ "$free_kb" -ge "$need_kb" ] || stop "$((free_kb / 1000000)) GB free here; about 6 GB are needed."
    "$python" -m venv "$venv" >"$log" 2>&1 || stop "$python cannot make a virtual environment: $(tail -n 1 "$log")"
fi
fits "$venv/bin/python" || stop "$venv holds another Python than 3.11, 3.12 or 3.13. Remove it, or give another: make ... VENV=folder"
if [ -n "$packages" ]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$packages" || stop "the packages of $packages could not be installed (above: pip's words)."
    exit 0
fi
version=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
echo "set-up: $venv has Python $version: $(stack "$version")"
if [ "$version" = 3.11 ]; then
    other=$(find_python 12 13) || other=
    echo "set-up: Python 3.12 or 3.13 would bring $(stack 3.12): make ... PYTHON=${other:-python3.12} VENV=.venv312"
else
    echo "set-up: Python 3.11 would bring $(stack 3.11): make ... PYTHON=python3.11 VENV=.venv311"
fi
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
