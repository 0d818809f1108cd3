#!/usr/bin/env bash
# Makes .cache/test-python: a virtual environment with the Python programs the tests start. Does nothing when it is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

environment=.cache/test-python
wanted=scripts/test-requirements.txt
stamp=$environment/requirements.txt
if cmp --silent "$wanted" "$stamp"; then
    exit 0
fi

python3 -c "import ensurepip, venv" 2>/dev/null || {
    echo "the tests need Python's venv (for example: sudo apt-get install python3-venv)" >&2
    exit 1
}
rm -rf "$environment"
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
# Last: an interrupted installation is made anew.
cp "$wanted" "$stamp"
