#!/usr/bin/env bash
# Prints the figures of docs/performance.md: cold start to ready, embedding speed, retrieval quality and answers.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${RAGSTONE_EVAL_DATA:-../shared/data}
runs=${RAGSTONE_BENCH_RUNS:-7}

cargo build --quiet --release --locked --package ragstone
ragstone=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/release/ragstone
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "== machine: $(date -u +%F), $(nproc) processors, $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -1)"

echo "== cold start of 'ragstone up' to ready, milliseconds, $runs runs, empty data directory each time"
python3 - "$ragstone" "$work" "$runs" <<'PYTHON'
import pathlib, signal, statistics, subprocess, sys, time, urllib.error, urllib.request

ragstone, work, runs = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
times = []
for run in range(runs):
    started = time.monotonic()
    server = subprocess.Popen(
        [ragstone, "up", "--data-dir", work / str(run), "--listen", "127.0.0.1:18180", "--admin-listen", "127.0.0.1:19190"],
        stderr=subprocess.DEVNULL,
    )
    while True:
        try:
            urllib.request.urlopen("http://127.0.0.1:19190/readyz", timeout=1).close()
            break
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, "the server ended"
            time.sleep(0.005)
    times.append((time.monotonic() - started) * 1000)
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0
print(f"min {min(times):.0f}  median {statistics.median(times):.0f}  max {max(times):.0f}")
PYTHON

echo "== embedding in process (all-MiniLM-L6-v2)"
cargo run --quiet --release --locked --package ragstone-models --example embed_bench

if [[ -f $data/xquad/xquad.en.json ]]; then
    echo "== XQuAD English: 240 documents, 1,190 questions"
    "$ragstone" eval "$data/xquad/xquad.en.json" --modes hybrid,dense,keyword
else
    echo "== XQuAD English: skipped, $data/xquad/xquad.en.json is not there (RAGSTONE_EVAL_DATA names the folder)"
fi
