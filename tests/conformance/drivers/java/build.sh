#!/bin/sh
# Makes the driver in build/.
set -eu
cd "$(dirname "$0")"
mvn --batch-mode --quiet compile
