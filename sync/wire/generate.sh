#!/bin/sh
# Compiles the .proto files. Needs protoc: Debian's protobuf-compiler, or
# PROTOC="python3 -m grpc_tools.protoc" with grpcio-tools from PyPI. The Go
# plugin is the one of the protobuf module in go.mod.
# usage: generate.sh [folder to write to]
set -eu
cd "$(dirname "$0")"
out=${1:-.}
PROTOC=${PROTOC:-protoc}
if ! command -v "${PROTOC%% *}" >/dev/null; then
	echo "the .pb.go files are left as they are: protoc is not installed" >&2
	exit 0
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -o "$tmp/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
# PROTOC may be several words.
# shellcheck disable=SC2086
$PROTOC --proto_path=. --plugin="protoc-gen-go=$tmp/protoc-gen-go" \
	--go_out="$out" --go_opt=paths=source_relative record.proto link.proto update.proto
# Which protoc it was makes no difference to the code.
sed -i '/^\/\/ \tprotoc  *v/d' "$out"/record.pb.go "$out"/link.pb.go "$out"/update.pb.go
