#!/usr/bin/env bash
# Runs all tests. Installs the S3 server that they talk to (moto, from PyPI) into target/moto, and the
# packages of the second decoder into target/decoder, the first time; needs Rust and Python 3. Servers
# run on free loopback ports and end with the tests. Most tests wait for a server or a disk, so there are
# four times as many at a time as there are cores.
set -eu
cd "$(dirname "$0")"
ICECORE_MOTO="$(bash testkit/moto.sh)"
ICECORE_DECODER="$(bash testkit/decoder.sh)"
export ICECORE_MOTO ICECORE_DECODER RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((4 * $(getconf _NPROCESSORS_ONLN)))}"
exec cargo test --workspace "$@"
