#!/bin/sh
# Runs the example in traffic.rs of this folder, as the README of the Rust client says.
set -eu
client=$(cd "$(dirname "$0")/../../../../clients/rust" && pwd)
mkdir -p "$client/examples"
cp traffic.rs "$client/examples/traffic.rs"
city=$PWD/city
cd "$client"
exec cargo run --quiet --example traffic "$city"
