#!/usr/bin/env bash
# Makes sure that the programs the tests start are there: installs them from Debian's or Ubuntu's packages where it may,
# names them where it may not.
set -euo pipefail

# PostgreSQL's server is not on the path.
postgres() { compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v postgres >/dev/null; }

# Debian's nginx is where only administrators look.
nginx() { command -v nginx >/dev/null || [[ -x /usr/sbin/nginx ]]; }

missing=()
command -v strace >/dev/null || missing+=(strace)
command -v redis-server >/dev/null || missing+=(redis-server)
nginx || missing+=(nginx-light)
command -v chromium >/dev/null || missing+=(chromium)
# Node.js from elsewhere brings npm along.
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
postgres || missing+=(postgresql)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
# For the model server, which pip builds.
command -v cmake >/dev/null || missing+=(cmake)
command -v c++ >/dev/null || missing+=(g++)
[[ ${#missing[@]} -eq 0 ]] && exit 0

if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    as_root=()
elif sudo -n true 2>/dev/null && command -v apt-get >/dev/null; then
    as_root=(sudo)
else
    echo "the tests need: ${missing[*]} (for example: sudo apt-get install ${missing[*]})" >&2
    exit 1
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
