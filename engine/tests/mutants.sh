#!/usr/bin/env bash
# Changes one thing at a time in codec, format, commit and prune, and runs the engine's shorter tests on
# each: a change that none of them notices is told (docs/reliability.md).
#
#   engine/tests/mutants.sh [FIRST [LAST]]    parts FIRST to LAST of 40, drawn evenly; all without
#   MUTANTS='tree.rs:142' engine/tests/mutants.sh    those whose description matches
#
# Needs `cargo install cargo-mutants cargo-nextest --locked`. A part takes some six minutes. It works in
# a clone below target/mutants, and writes what it finds to target/mutants/found/PART.
set -euo pipefail
cd "$(dirname "$0")/../.."
ICECORE_MOTO="$(bash testkit/moto.sh)"
ICECORE_DECODER="$(bash testkit/decoder.sh)"
export ICECORE_MOTO ICECORE_DECODER RUST_BACKTRACE=0 NEXTEST_PROFILE=mutants
root=$PWD/target/mutants
mkdir -p "$root/found"
[ -d "$root/clone" ] || git clone --quiet . "$root/clone"
git -C "$root/clone" fetch --quiet
git -C "$root/clone" reset --quiet --hard FETCH_HEAD
cd "$root/clone"
export CARGO_TARGET_DIR=$root/built
part() {
  cargo mutants --in-place -p icecore-engine --profile mutants --cap-lints=true \
    --test-tool nextest --baseline skip --timeout 150 -E 'impl Debug' \
    -f 'engine/src/codec/**' -f 'engine/src/format/**' -f 'engine/src/repo/commit.rs' \
    -f 'engine/src/ops/prune/**' -o "$root/found/$1" "${@:2}" || [ $? = 2 ]
}
if [ -n "${MUTANTS:-}" ]; then
  part chosen -F "$MUTANTS"
  exit
fi
for part in $(seq "${1:-0}" "${2:-${1:-39}}"); do
  part "$part" --shard "$part/40" --sharding round-robin
done
