#!/bin/sh
# Makes the Go packages of the contracts, here: the path of a contract is its package is its import path.
set -eu
cd "$(dirname "$0")"
PYTHON=${PYTHON:-../../.venv/bin/python}
SET=${SET:-../build/contracts.binpb}

options=module=milepost
for file in $($PYTHON -c "
from google.protobuf.descriptor_pb2 import FileDescriptorSet
for file in FileDescriptorSet.FromString(open('$SET', 'rb').read()).file:
    if file.name.startswith('milepost/') and not file.name.startswith('milepost/conformance/'):
        print(file.name)
"); do
    folder=$(dirname "$file")
    noun=$(basename "$(dirname "$folder")")
    options="$options,M$file=$folder;${noun}v1"
    files="${files:-} $file"
done

find . -name '*.pb.go' -delete
# shellcheck disable=SC2086 # a list of files
$PYTHON -m grpc_tools.protoc --descriptor_set_in="$SET" \
    --plugin=protoc-gen-go="$(go tool -n protoc-gen-go)" --go_out=. --go_opt="$options" \
    --plugin=protoc-gen-go-grpc="$(go tool -n protoc-gen-go-grpc)" --go-grpc_out=. --go-grpc_opt="$options" \
    $files
go build ./...
