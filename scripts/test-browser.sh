#!/usr/bin/env bash
# Makes .cache/test-browser: playwright-core, which drives the system's Chromium. Does nothing when it is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

version=1.65.1
place=.cache/test-browser
if [[ -f $place/node_modules/playwright-core/package.json && $(cat "$place/version" 2>/dev/null) == "$version" ]]; then
    exit 0
fi
rm -rf "$place"
mkdir -p "$place"
npm install --prefix "$place" --silent --no-audit --no-fund --no-save "playwright-core@$version"
echo "$version" >"$place/version"
