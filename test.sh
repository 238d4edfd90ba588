#!/usr/bin/env bash
# Runs all tests. Installs the S3 server that they talk to (moto, from PyPI) into target/moto, and the
# packages of the second decoder into target/decoder, the first time; needs Rust and Python 3. Servers
# run on free loopback ports and end with the tests.
set -eu
cd "$(dirname "$0")"
ICECORE_MOTO="$(bash testkit/moto.sh)"
ICECORE_DECODER="$(bash testkit/decoder.sh)"
export ICECORE_MOTO ICECORE_DECODER
exec cargo test --workspace "$@"
