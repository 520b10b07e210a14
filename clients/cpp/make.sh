#!/bin/sh
# Makes the C++ package in build/.
set -eu
cd "$(dirname "$0")"
cmake -S . -B build
cmake --build build -j 2
