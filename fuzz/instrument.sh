#!/bin/sh
# Compiles a crate of this workspace so that libFuzzer sees where a run went (as `cargo fuzz` does, by
# flags that stable Rust takes). Cargo calls it by RUSTC_WORKSPACE_WRAPPER: what is not ours is
# compiled once, for the tests as well. A panic tells its line without debug information.
exec "$@" --cfg fuzzing -Cstrip=debuginfo -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
