#!/usr/bin/env bash
# Makes the environment: a venv of Python 3.11 with exactly what requirements.lock names, and this project on its path.
set -euo pipefail
venv=$1 uv_version=$2 python=$3
command -v "$python" >/dev/null 2>&1 || python=python3
if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
  echo "python is '$("$python" --version 2>&1 || echo missing)'; IntentStore needs Python 3.11: install it, or run 'make PYTHON=/path/to/python3.11 ...'" >&2
  exit 1
fi
"$python" -c 'import venv, ensurepip' 2>/dev/null || { echo "Python 3.11 lacks its venv module; install it (Debian: python3.11-venv)" >&2; exit 1; }
bash "$(dirname "$0")/java_check.sh"
[ -x "$venv/bin/python" ] || { echo "setup: making $venv"; "$python" -m venv "$venv"; }
"$venv/bin/python" -m pip install -q --disable-pip-version-check "uv==$uv_version"
echo "setup: installing the locked packages (about a minute, 6 GB on disk)"
UV_HTTP_TIMEOUT=300 "$venv/bin/uv" pip install -q --python "$venv/bin/python" --require-hashes -r requirements.lock
"$venv/bin/uv" pip install -q --python "$venv/bin/python" --no-deps --no-build-isolation -e .
echo "setup: done"
