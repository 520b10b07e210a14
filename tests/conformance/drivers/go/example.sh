#!/bin/sh
# Runs the example in main.go of the working folder, as the README says to.
set -eu
client=$(cd "$(dirname "$0")/../../../../clients/go" && pwd)
{
    echo 'module example'
    sed -n '/^go /p; /^require/,/^)/p' "$client/go.mod"
    echo 'require milepost v0.0.0'
    echo "replace milepost => $client"
} > go.mod
cp "$client/go.sum" go.sum
exec go run .
