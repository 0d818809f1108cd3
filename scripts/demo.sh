#!/usr/bin/env bash
# The demo: builds, fetches the model, starts everything, ingests docs/, asks three questions, stops.
set -euo pipefail
cd "$(dirname "$0")/.."

address=127.0.0.1:${RAGSTONE_DEMO_PORT:-18080}
admin=127.0.0.1:${RAGSTONE_DEMO_ADMIN_PORT:-19090}
export RAGSTONE_URL=http://$address
data=$(mktemp -d)
server=

stop() {
    if [[ -n $server ]] && kill -0 "$server" 2>/dev/null; then
        kill -TERM "$server"
        wait "$server" || true
    fi
    rm -rf "$data"
}
trap stop EXIT

step() { printf '\n== %s\n' "$*"; }

step "build"
cargo build --release --locked --package ragstone
ragstone=${CARGO_TARGET_DIR:-target}/release/ragstone

step "fetch the embedding model"
"$ragstone" models pull

step "start gateway, embedding, retrieval, generation and ingestion"
"$ragstone" up --data-dir "$data/ragstone" --listen "$address" --admin-listen "$admin" 2>"$data/log" &
server=$!
ready() { python3 -c "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2)" "http://$admin/readyz" 2>/dev/null; }
until ready; do
    kill -0 "$server" 2>/dev/null || { echo "the server did not start:" >&2; cat "$data/log" >&2; exit 1; }
    sleep 0.1
done

step "ingest docs/"
"$ragstone" ingest docs --wait

for question in \
    "When is a document acknowledged?" \
    "What happens when the embedding service is down?" \
    "What does ragstone doctor check?"; do
    step "$question"
    "$ragstone" ask "$question" | tee "$data/answer"
    grep -q "^Sources:" "$data/answer" || { echo "the answer cites nothing" >&2; exit 1; }
done

step "stop"
kill -TERM "$server"
wait "$server"
server=
echo "done"
