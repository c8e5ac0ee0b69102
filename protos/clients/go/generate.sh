#!/bin/sh
# Makes the Go stubs in winnow/v1 from the contract. Needs Go, and Python with what `make setup` installs:
#   go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.10
#   go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1
# Afterwards `go mod tidy`, once, notes the modules that they and the client need.
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-python3}
"$python" ../../generate.py --descriptors winnow.binpb --without-rules
files=$(cd ../.. && ls winnow/v1/*.proto)
options=
for file in $files; do
    options="$options --go_opt=M$file=example.org/shop/winnow/v1 --go-grpc_opt=M$file=example.org/shop/winnow/v1"
done
# shellcheck disable=SC2086
"$python" -m grpc_tools.protoc --descriptor_set_in=winnow.binpb --go_out=. --go_opt=module=example.org/shop \
    --go-grpc_out=. --go-grpc_opt=module=example.org/shop $options $files
cp ../service_config.json .
