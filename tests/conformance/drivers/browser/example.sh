#!/bin/sh
# Runs the README's example for browsers where it lies: bundled, on a page, in a browser.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
"$here/node_modules/.bin/esbuild" example.ts --bundle --format=esm --target=es2022 --outfile=example.js \
    --log-level=warning --tsconfig="$here/tsconfig.json"
exec node "$here/build/show.mjs"
