#!/bin/sh
# Compiles a crate of this workspace so that libFuzzer sees where a run went (as `cargo fuzz` does, by
# flags that stable Rust takes). Cargo calls it by RUSTC_WORKSPACE_WRAPPER: what is not ours is
# compiled once, for the tests as well. A panic tells its line without debug information.
# An example is built only so that Cargo chooses the features of the tests. It is never run: it is not instrumented, and what
# libFuzzer would link into it may be missing.
case " $* " in
    *" engine/examples/"*) exec "$@" -Clink-arg=-Wl,--unresolved-symbols=ignore-all ;;
esac
exec "$@" --cfg fuzzing -Cstrip=debuginfo -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
