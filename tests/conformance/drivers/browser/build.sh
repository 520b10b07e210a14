#!/bin/sh
# Makes build/relay.mjs and the page it serves, build/page.js; the packages are those of the client, and types are checked
# with the other driver's.
set -eu
cd "$(dirname "$0")"
ln -sfn ../../../../clients/typescript/node_modules node_modules
PATH="$PWD/node_modules/.bin:$PATH"
(cd ../typescript && ln -sfn ../../../../clients/typescript/node_modules node_modules && buf generate)
esbuild relay.ts show.ts --bundle --platform=node --format=esm --target=node20 --outdir=build --out-extension:.js=.mjs \
    --log-level=warning
esbuild page.ts --bundle --format=esm --target=es2022 --tsconfig=tsconfig.json --outfile=build/page.js --log-level=warning
