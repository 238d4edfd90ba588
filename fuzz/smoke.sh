#!/usr/bin/env bash
# Runs fuzz targets from their corpora, as many at once as there are cores, and fails if one crashes:
#     bash fuzz/smoke.sh [SECONDS for each: 60] [TARGET…: all]
# Needs stable Rust and a C++ compiler. What is found goes to target/fuzz, never into the kept corpus.
set -eu
cd "$(dirname "$0")/.."
seconds="${1:-60}"
shift $(($# > 0))
targets=("$@")
[ $# -gt 0 ] || for file in fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done

# Our own crates alone are instrumented. What they depend on is that of the tests and not compiled again:
# for that, Cargo must choose the same features, which it does for the whole workspace with what its
# tests need. That is what it takes `--examples` for.
RUSTC_WORKSPACE_WRAPPER="$PWD/fuzz/instrument.sh" \
    cargo build --quiet --workspace --examples "${targets[@]/#/--bin=}"

run() {
    local target="$1" work="${CARGO_TARGET_DIR:-target}"
    local log="$work/fuzz/$target.log" corpus="$work/fuzz/corpus/$target"
    rm -rf "$corpus" "$work/fuzz/$target-"*
    mkdir -p "$corpus"
    if "$work/debug/$target" "$corpus" "fuzz/corpus/$target" -max_total_time="$2" -seed=1 \
        -max_len=4096 -timeout=10 -rss_limit_mb=512 -artifact_prefix="$work/fuzz/$target-" \
        >"$log" 2>&1; then
        awk -v target="$target" '$2 == "DONE" {printf "%-16s %10d runs %5d edges  ok\n", target, substr($1, 2), $4; done = 1} END {exit !done}' "$log"
    else
        grep -m 1 -A 3 -e panicked -e ERROR "$log" || tail "$log"
        echo "$target FAILED, see $log; by: $(ls "$work/fuzz/$target-"* 2>/dev/null)"
        return 1
    fi
}
export -f run
export RUST_BACKTRACE=0
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c "run {} $seconds"
