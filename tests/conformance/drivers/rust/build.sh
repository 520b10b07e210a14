#!/bin/sh
# Makes the driver in build/, with what the client was built of.
set -eu
cd "$(dirname "$0")"
cargo build --quiet --target-dir ../../../../clients/rust/target
mkdir -p build
cp ../../../../clients/rust/target/debug/conformance-driver build/driver
