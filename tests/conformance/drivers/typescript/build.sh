#!/bin/sh
# Makes build/driver.mjs; the packages are those of the client.
set -eu
cd "$(dirname "$0")"
ln -sfn ../../../../clients/typescript/node_modules node_modules
PATH="$PWD/node_modules/.bin:$PATH"
buf generate
tsc -p .
esbuild node.ts --bundle --platform=node --format=esm --target=node20 --outfile=build/driver.mjs --log-level=warning \
    --banner:js='import { createRequire } from "node:module"; const require = createRequire(import.meta.url);'
