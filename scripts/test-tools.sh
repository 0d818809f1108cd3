#!/usr/bin/env bash
# Makes sure that the programs the tests start are there: installs them from Debian's or Ubuntu's packages where it may,
# names them where it may not.
set -euo pipefail

# command:package
needed=(strace:strace)
missing=()
for pair in "${needed[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq "${missing[@]}"
elif sudo -n true 2>/dev/null && command -v apt-get >/dev/null; then
    sudo apt-get update -qq
    sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
else
    echo "the tests need: ${missing[*]} (for example: sudo apt-get install ${missing[*]})" >&2
    exit 1
fi
