#!/usr/bin/env bash
# Finds a Python that can run the set-up and hands over to tools/set_up.py.
# ACTIVESAM_PYTHON names the interpreter to use instead of the first suitable one.
set -euo pipefail

tools="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

suitable() { # the interpreter exists and is 3.11 or newer
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

if [ -n "${ACTIVESAM_PYTHON:-}" ]; then
    if ! suitable "$ACTIVESAM_PYTHON"; then
        echo "error: ACTIVESAM_PYTHON=$ACTIVESAM_PYTHON is not a Python 3.11 or newer." >&2
        exit 1
    fi
    python="$ACTIVESAM_PYTHON"
else
    python=""
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if suitable "$candidate"; then
            python="$candidate"
            break
        fi
    done
fi
if [ -z "$python" ]; then
    found="$(python3 --version 2>&1 || true)"
    echo "error: no Python 3.11 or newer found (python3 is: ${found:-missing})." \
        "Install one, for example with: sudo apt install python3.11 python3.11-venv python3.11-dev;" \
        "or name it: ACTIVESAM_PYTHON=/path/to/python3.11 make setup" >&2
    exit 1
fi

# PYTHONPATH is left alone: a sourced ROS 2 finds its rclpy through it.
PYTHONDONTWRITEBYTECODE=1 exec "$python" "$tools/set_up.py"
