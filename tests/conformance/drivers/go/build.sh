#!/bin/sh
# Builds the driver of the Go client: build/driver.
set -eu
cd "$(dirname "$0")"
contract=milepost/conformance/v1/conformance.proto
mkdir -p build/conformancev1
options="module=conformance,M$contract=conformance/build/conformancev1;conformancev1"
for file in $(cd ../../../../protos && find milepost -name '*.proto'); do
    options="$options,M$file=$(dirname "$file")"
done
plugin=$(cd ../../../../clients/go && go tool -n protoc-gen-go)
"${PYTHON:-python3}" -m grpc_tools.protoc --descriptor_set_in=../../build/conformance.binpb \
    --plugin=protoc-gen-go="$plugin" --go_out=. --go_opt="$options" "$contract"
go build -o build/driver .
