#!/usr/bin/env bash
# Makes virtual environments with the Python programs the tests start: .cache/test-python with servers (its packages in
# test-requirements.txt), .cache/test-clients with clients (test-clients.txt). Does nothing for one that is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

make_environment() {
    local environment=$1 wanted=$2
    local stamp=$environment/requirements.txt
    if cmp --silent "$wanted" "$stamp"; then
        return
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
}

make_environment .cache/test-python scripts/test-requirements.txt
make_environment .cache/test-clients scripts/test-clients.txt
