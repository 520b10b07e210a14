#!/bin/sh
# Makes and runs the example in traffic.cc of this folder, as the README of the C++ client says.
set -eu
client=$(cd "$(dirname "$0")/../../../../clients/cpp" && pwd)
sed -n '/^```cmake$/,/^```$/{/^```/!p}' "$client/README.md" > CMakeLists.txt
cmake -B build -D milepost-client_DIR="$client/build" > build.log
cmake --build build >> build.log
exec build/traffic city
