#!/bin/sh
# Runs the README's example where it lies, with the package as npm would install it.
set -eu
mkdir -p node_modules
ln -sfn "$(cd "$(dirname "$0")/../../../../clients/typescript" && pwd)" node_modules/milepost
exec node example.mjs
