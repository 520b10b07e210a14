#!/bin/sh
# Makes the package, here: the contracts as TypeScript, then dist/.
set -eu
cd "$(dirname "$0")"
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent
npm run --silent generate
npm run --silent build
