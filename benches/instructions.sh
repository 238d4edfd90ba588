#!/bin/bash
# Counts the instructions of one run of each hot loop (callgrind) and compares them with what was
# counted before: unlike seconds, they are the same on a busy machine.
#
#   benches/instructions.sh          compares with benches/instructions.txt; more than 3 % is an error
#   benches/instructions.sh --write  writes the file again
#
# They depend on the compiler: the first line of the file is its version.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --release -p icecore-benches --bin loops
loops=target/release/loops
kept=benches/instructions.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What a run costs is what two more of them cost, halved: making the loops is left out.
count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$loops" "$1" "$2" 2>&1 |
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
rustc --version >"$work/found"
"$loops" | while read -r name; do
  one=$(count "$name" 1)
  three=$(count "$name" 3)
  printf '%s\t%s\n' "$(((three - one) / 2))" "$name"
done >>"$work/found"

if [ "${1:-}" = --write ]; then
  cp "$work/found" "$kept"
  cat "$kept"
  exit
fi
if ! cmp -s <(head -1 "$work/found") <(head -1 "$kept"); then
  echo "counted with another compiler, $(head -1 "$kept"): write the file again (--write)" >&2
  exit 2
fi
paste <(tail -n +2 "$kept") <(tail -n +2 "$work/found" | cut -f1) | awk -F'\t' '
  { change = 100 * ($3 / $1 - 1)
    bad = change > 3 ? "  MORE" : ""
    printf "%12d -> %12d  %+6.1f %%  %s%s\n", $1, $3, change, $2, bad
    if (bad) failed = 1 }
  END { exit failed }'
