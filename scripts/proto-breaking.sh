#!/usr/bin/env bash
# Refuses protos that break clients built against the previous commit.
set -euo pipefail
cd "$(dirname "$0")/.."
buf=$1
if ! git rev-parse --quiet --verify HEAD~1:proto >/dev/null; then
    echo "proto: no earlier commit to compare with"
    exit 0
fi
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
git archive HEAD~1 proto | tar -x -C "$before"
"$buf" breaking proto --against "$before/proto"
